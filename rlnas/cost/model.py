"""What a layer costs, worked out from its record and the shape of its input; no Keras.

Shapes are ``(height, width, channels)`` while the data is an image and
``(features,)`` afterwards, always without the batch axis. FLOPs are counted as TensorFlow's
profiler counts those of inference: a multiply-add is two, a maximum or an exponential is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod

from rlnas.cost.layers import (
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    SeparableConv,
)
from rlnas.errors import SpaceError

Shape = tuple[int, ...]

_VALUE = 4
"""Bytes of a value in float32."""

_ACTIVATION_FLOPS, _NORM_FLOPS = {"silu": 2, "softmax": 5}, 5
"""What the profiler counts for an activation of a value, and for a channel of batch normalisation
beside its pixels."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Static cost of a layer or of a whole network.

    Attributes:
        params: Number of weights, those that are not trained included.
        flops: Floating point operations of one forward pass of one example.
        activations: Values that the convolutions put out for one example. They tell the
            time of training better than FLOPs do (Radosavovic et al. 2020, section 4).
        memory: Bytes of the values that all layers put out for one example, in float32. A step
            of training keeps about so much for each example of its batch.
    """

    params: int = 0
    flops: int = 0
    activations: int = 0
    memory: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of two parts together."""
        return Cost(
            self.params + other.params,
            self.flops + other.flops,
            self.activations + other.activations,
            self.memory + other.memory,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        """Return the cost without a part of it."""
        return Cost(
            self.params - other.params,
            self.flops - other.flops,
            self.activations - other.activations,
            self.memory - other.memory,
        )


def layer_cost(layer: Layer, shape: Shape) -> tuple[Shape, Cost]:
    """Return the shape behind a layer and what the layer costs.

    Args:
        layer: The layer.
        shape: Shape of its input.

    Raises:
        SpaceError: The layer does not take an input of this shape.
    """
    match layer:
        case Conv() | SeparableConv():
            return _convolution(layer, shape)
        case MaxPool() | AveragePool():
            height, width, channels = _image(layer, shape)
            out: Shape = (ceil(height / 2), ceil(width / 2), channels)
            return out, Cost(flops=prod(out) * layer.size**2, memory=_VALUE * prod(out))
        case Dropout():
            return shape, Cost(memory=_VALUE * prod(shape) if layer.rate else 0)
        case Flatten():
            return (prod(_image(layer, shape)),), Cost()
        case GlobalPool():
            channels = _image(layer, shape)[2]
            return (channels,), Cost(flops=prod(shape), memory=_VALUE * channels)
        case Dense():
            if len(shape) != 1:
                raise SpaceError(f"dense needs a flat input, got the shape {shape}")
            return (layer.units,), dense_cost(shape[0], layer.units, layer.activation)


def activation_flops(name: str) -> int:
    """Return the FLOPs of an activation for one value: none where the profiler counts none."""
    return _ACTIVATION_FLOPS.get(name, 0)


def dense_cost(features: int, units: int, activation: str) -> Cost:
    """Return the cost of a fully connected layer with bias."""
    return Cost(
        params=(features + 1) * units,
        flops=(2 * features + 1 + activation_flops(activation)) * units,
        memory=_VALUE * units,
    )


def head_cost(shape: Shape, classes: int) -> Cost:
    """Return the cost of the head: global average pooling if needed, then the classes."""
    if len(shape) == 1:
        return dense_cost(shape[0], classes, "softmax")
    flat, pooling = layer_cost(GlobalPool(), shape)
    return pooling + dense_cost(flat[0], classes, "softmax")


def network_cost(layers: Iterable[Layer], input_shape: Shape, classes: int) -> Cost:
    """Return the cost of a whole network, its head included.

    Raises:
        SpaceError: A layer does not take what comes from the layer before it.
    """
    values = prod(input_shape)
    shape, total = input_shape, Cost(flops=2 * values, memory=_VALUE * values)  # the rescaling
    for layer in layers:
        shape, cost = layer_cost(layer, shape)
        total += cost
    return total + head_cost(shape, classes)


def _convolution(layer: Conv | SeparableConv, shape: Shape) -> tuple[Shape, Cost]:
    height, width, channels = _image(layer, shape)
    out = (ceil(height / layer.stride), ceil(width / layer.stride), layer.filters)
    pixels, window = out[0] * out[1], layer.kernel**2
    if isinstance(layer, Conv):
        weights, put_out = window * channels * layer.filters, layer.filters
    else:
        weights = window * channels + channels * layer.filters
        put_out = channels + layer.filters
    bias = 0 if layer.batch_norm else layer.filters
    norm = 4 * layer.filters if layer.batch_norm else 0  # gamma, beta, moving mean and variance
    normalised = 2 * layer.filters if layer.batch_norm else 0  # and per layer, what scales it
    activated = activation_flops(layer.activation) * layer.filters
    flops = pixels * (2 * weights + bias + normalised + activated)
    flops += _NORM_FLOPS * layer.filters if layer.batch_norm else 0
    kept = put_out + layer.filters * (2 if layer.batch_norm else 1)
    return out, Cost(weights + bias + norm, flops, pixels * put_out, _VALUE * pixels * kept)


def _image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise SpaceError(f"{layer.kind} needs an image, got the shape {shape}")
    return shape[0], shape[1], shape[2]
