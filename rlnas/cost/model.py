"""What a layer costs, worked out from its record and the shape of its input; no Keras.

Shapes are ``(height, width, channels)`` while the data is an image and
``(features,)`` afterwards, always without the batch axis. One multiply-add counts
as two FLOPs, as TensorFlow's profiler counts.
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


@dataclass(frozen=True, slots=True)
class Cost:
    """Static cost of a layer or of a whole network.

    Attributes:
        params: Number of weights, those that are not trained included.
        flops: Floating point operations of one forward pass of one example.
        activations: Values that the convolutions put out for one example. They tell the
            time of training better than FLOPs do (Radosavovic et al. 2020, section 4).
    """

    params: int = 0
    flops: int = 0
    activations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of two parts together."""
        return Cost(
            self.params + other.params,
            self.flops + other.flops,
            self.activations + other.activations,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        """Return the cost without a part of it."""
        return Cost(
            self.params - other.params,
            self.flops - other.flops,
            self.activations - other.activations,
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
            return out, Cost(flops=prod(out) * layer.size**2)
        case Dropout():
            return shape, Cost()
        case Flatten():
            return (prod(_image(layer, shape)),), Cost()
        case GlobalPool():
            return (_image(layer, shape)[2],), Cost(flops=prod(shape))
        case Dense():
            if len(shape) != 1:
                raise SpaceError(f"dense needs a flat input, got the shape {shape}")
            return (layer.units,), dense_cost(shape[0], layer.units)


def dense_cost(features: int, units: int) -> Cost:
    """Return the cost of a fully connected layer with bias."""
    return Cost(params=(features + 1) * units, flops=(2 * features + 1) * units)


def head_cost(shape: Shape, classes: int) -> Cost:
    """Return the cost of the head: global average pooling if needed, then the classes."""
    if len(shape) == 1:
        return dense_cost(shape[0], classes)
    flat, pooling = layer_cost(GlobalPool(), shape)
    return pooling + dense_cost(flat[0], classes)


def network_cost(layers: Iterable[Layer], input_shape: Shape, classes: int) -> Cost:
    """Return the cost of a whole network, its head included.

    Raises:
        SpaceError: A layer does not take what comes from the layer before it.
    """
    shape, total = input_shape, Cost(flops=prod(input_shape))  # the rescaling of the input
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
    per_pixel = 2 * weights + bias + (2 * layer.filters if layer.batch_norm else 0)
    flops = pixels * (per_pixel + layer.filters)
    return out, Cost(weights + bias + norm, flops, pixels * put_out)


def _image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise SpaceError(f"{layer.kind} needs an image, got the shape {shape}")
    return shape[0], shape[1], shape[2]
