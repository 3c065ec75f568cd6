"""What a layer costs, worked out from its record and the shape of its input; no Keras.

Shapes are ``(height, width, channels)`` while the data is an image, ``(steps, channels)`` while
it is a sequence and ``(features,)`` afterwards, always without the batch axis. A text is a sequence
of words, each a channel that is one: ``(words, vocabulary)``, kept as the words' numbers. FLOPs
are counted as TensorFlow's
profiler counts those of inference: a multiply-add is two, a maximum or an exponential is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, prod

from rlnas.cost.keras_layers import KerasLayer, weigh
from rlnas.cost.layers import (
    GRU,
    LSTM,
    Attention,
    AveragePool,
    Conv,
    Conv1D,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Frames,
    GlobalMaxPool,
    GlobalPool,
    Join,
    Layer,
    MaxPool,
    MaxPool1D,
    ResidualDense,
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
        layer: The layer; none that joins, which has several inputs: see `layer_costs`.
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
        case GlobalPool() if len(shape) == 3:
            channels = shape[2]
            return (channels,), Cost(flops=prod(shape), memory=_VALUE * channels)
        case GlobalPool() | GlobalMaxPool():
            channels = _sequence(layer, shape)[1]
            flops = prod(shape) if isinstance(layer, GlobalPool) else 0
            return (channels,), Cost(flops=flops, memory=_VALUE * channels)
        case Frames():
            height, width, channels = _image(layer, shape)
            return (height, width * channels), Cost()
        case Dense():
            return (layer.units,), dense_cost(_flat(layer, shape), layer.units, layer.activation)
        case ResidualDense():
            return shape, _block(layer, _flat(layer, shape))
        case KerasLayer():
            found = weigh(layer, shape, activation_flops)
            cost = Cost(found.params, found.flops, found.activations, _VALUE * found.kept)
            return found.shape, cost
        case _:
            return _over_sequence(layer, *_sequence(layer, shape))


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
    """Return the cost of the head: global average pooling if needed, then the classes.

    One class is no class: the head then puts out a number as it is.
    """
    activation = "softmax" if classes > 1 else "linear"
    if len(shape) == 1:
        return dense_cost(shape[0], classes, activation)
    flat, pooling = layer_cost(GlobalPool(), shape)
    return pooling + dense_cost(flat[0], classes, activation)


def network_cost(layers: Iterable[Layer], input_shape: Shape, classes: int) -> Cost:
    """Return the cost of a whole network, its head included.

    Raises:
        SpaceError: A layer does not take what comes from the layer before it.
    """
    values = prod(input_shape)
    shape, total = input_shape, Cost()
    if len(input_shape) == 3:
        total = Cost(flops=2 * values, memory=_VALUE * values)  # the rescaling
    for behind, cost in layer_costs(layers, input_shape):
        shape = behind
        total += cost
    return total + head_cost(shape, classes)


def layer_costs(layers: Iterable[Layer], input_shape: Shape) -> list[tuple[Shape, Cost]]:
    """Return the shape behind each layer of a network and what the layer costs, without a head.

    Raises:
        SpaceError: A layer does not take what comes from the layers before it.
    """
    found: list[tuple[Shape, Cost]] = []
    for layer in layers:
        if isinstance(layer, Join):
            found.append(join_cost([_behind(found, number) for number in layer.of]))
        else:
            found.append(layer_cost(layer, found[-1][0] if found else input_shape))
    return found


def join_cost(shapes: Sequence[Shape]) -> tuple[Shape, Cost]:
    """Return the shape of images side by side, and what it costs to put them there.

    Raises:
        SpaceError: One of them is no image.
    """
    if not shapes or any(len(shape) != 3 for shape in shapes):
        raise SpaceError(f"a join needs images, got the shapes {list(shapes)}")
    height, width = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    joined = (height, width, sum(shape[2] for shape in shapes))
    if len(shapes) == 1:
        return joined, Cost()
    padded = sum(height * width * each[2] for each in shapes if each[:2] != (height, width))
    return joined, Cost(memory=_VALUE * (prod(joined) + padded))


def _behind(found: Sequence[tuple[Shape, Cost]], number: int) -> Shape:
    if not 1 <= number <= len(found):
        raise SpaceError(f"a join of layer {number} stands behind {len(found)} layers")
    return found[number - 1][0]


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


def _over_sequence(layer: Layer, steps: int, channels: int) -> tuple[Shape, Cost]:
    """Return what a layer that takes a sequence and gives one makes of it, and its cost."""
    match layer:
        case Embed():
            values = steps * layer.units
            return (steps, layer.units), Cost(channels * layer.units, 0, values, _VALUE * values)
        case Conv1D():
            return _convolution_1d(layer, steps, channels)
        case MaxPool1D():
            out = (ceil(steps / 2), channels)
            return out, Cost(flops=prod(out) * layer.size, memory=_VALUE * prod(out))
        case LSTM() | GRU():
            return _recurrent(layer, steps, channels)
        case Attention():
            return (steps, channels), _attention(layer, steps, channels)
    raise SpaceError(f"{layer.kind} takes no sequence, got the shape {(steps, channels)}")


def _convolution_1d(layer: Conv1D, steps: int, channels: int) -> tuple[Shape, Cost]:
    weights = layer.kernel * channels * layer.filters
    bias = 0 if layer.batch_norm else layer.filters
    norm = 4 * layer.filters if layer.batch_norm else 0
    normalised = 2 * layer.filters if layer.batch_norm else 0
    activated = activation_flops(layer.activation) * layer.filters
    flops = steps * (2 * weights + bias + normalised + activated)
    flops += _NORM_FLOPS * layer.filters if layer.batch_norm else 0
    values = steps * layer.filters
    kept = values * (3 if layer.batch_norm else 2)
    return (steps, layer.filters), Cost(weights + bias + norm, flops, values, _VALUE * kept)


def _recurrent(layer: LSTM | GRU, steps: int, channels: int) -> tuple[Shape, Cost]:
    """Return shape and cost; FLOPs are those of the products, gates are left out."""
    gates, biases = (4, 1) if isinstance(layer, LSTM) else (3, 2)
    ways = 2 if layer.bidirectional else 1
    products = gates * layer.units * (channels + layer.units)
    params = ways * (products + biases * gates * layer.units)
    values = ways * steps * layer.units
    # A step of training keeps the gates and the state of each step too.
    kept = values * (gates + 2)
    out = (steps, ways * layer.units)
    return out, Cost(params, ways * steps * 2 * products, values, _VALUE * kept)


def _attention(layer: Attention, steps: int, channels: int) -> Cost:
    size = max(1, channels // layer.heads)
    inner = layer.heads * size
    projections = 3 * (channels * inner + inner) + inner * channels + channels
    params = projections + 2 * channels  # and the normalisation before it
    flops = 2 * steps * 4 * channels * inner + 4 * steps * steps * inner
    values = steps * channels
    kept = 6 * values + layer.heads * steps * steps
    return Cost(params, flops, values, _VALUE * kept)


def _block(layer: ResidualDense, features: int) -> Cost:
    inner = dense_cost(features, layer.units, layer.activation)
    outer = dense_cost(layer.units, features, "linear")
    norm = Cost(4 * features, (2 + _NORM_FLOPS) * features, 0, _VALUE * features)
    added = Cost(flops=features, memory=_VALUE * features)
    return norm + inner + outer + added


def _image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise SpaceError(f"{layer.kind} needs an image, got the shape {shape}")
    return shape[0], shape[1], shape[2]


def _sequence(layer: Layer, shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise SpaceError(f"{layer.kind} needs a sequence, got the shape {shape}")
    return shape[0], shape[1]


def _flat(layer: Layer, shape: Shape) -> int:
    if len(shape) != 1:
        raise SpaceError(f"{layer.kind} needs a flat input, got the shape {shape}")
    return shape[0]
