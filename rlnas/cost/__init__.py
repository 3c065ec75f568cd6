"""Layers as records, and what they cost: shapes, parameters and FLOPs without Keras."""

from rlnas.cost.layers import (
    LAYER_TYPES,
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    SeparableConv,
    describe,
    layer_from_json,
    layer_to_json,
)
from rlnas.cost.model import (
    Cost,
    Shape,
    activation_flops,
    dense_cost,
    head_cost,
    layer_cost,
    network_cost,
)

__all__ = [
    "LAYER_TYPES",
    "AveragePool",
    "Conv",
    "Cost",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "Layer",
    "MaxPool",
    "SeparableConv",
    "Shape",
    "activation_flops",
    "dense_cost",
    "describe",
    "head_cost",
    "layer_cost",
    "layer_from_json",
    "layer_to_json",
    "network_cost",
]
