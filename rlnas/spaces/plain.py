"""The plain network of many tutorials, written in the choices of a space of image chains."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from rlnas.cost import Conv, Layer, MaxPool, Shape
from rlnas.spaces.choices import nearest, preferred


def plain_network(shape: Shape, choices: Mapping[str, tuple[Any, ...]]) -> tuple[Layer, ...]:
    """Return three convolutions, with a pooling behind the first two where pixels are left.

    Args:
        shape: Of one image.
        choices: By decision name; where they lack a value, the nearest stands for it.
    """
    layers: list[Layer] = []
    smaller = min(shape[:2])
    for number, filters in enumerate((32, 64, 128)):
        convolution = Conv(
            filters=nearest(choices, "conv.filters", filters),
            kernel=nearest(choices, "conv.kernel", 3),
            stride=nearest(choices, "conv.stride", 1),
            activation=preferred(choices, "conv.activation", "relu"),
            batch_norm=preferred(choices, "conv.batch_norm", True),
        )
        layers.append(convolution)
        smaller = ceil(smaller / convolution.stride)
        if number < 2 and smaller > 2:
            layers.append(MaxPool(nearest(choices, "maxpool.size", 2)))
            smaller = ceil(smaller / 2)
    return tuple(layers)
