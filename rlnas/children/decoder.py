"""From an architecture to a Keras 3 model made of stock layers alone."""

from typing import Any, NamedTuple

from rlnas.children.backend import keras
from rlnas.children.data import Target
from rlnas.children.inputs import Inputs
from rlnas.cost import (
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
    KerasLayer,
    Layer,
    MaxPool,
    MaxPool1D,
    ResidualDense,
    SeparableConv,
    takes_axes,
)
from rlnas.spaces import Architecture

_AXES = "channels_last"
"""Said to each layer, because a user's keras.json may have another default."""


def decode(
    architecture: Architecture,
    *,
    scale: float | None = 1 / 255,
    batch_norm_momentum: float = 0.99,
    dropout: float = 0.0,
    batch_norm: bool = False,
    penalties: tuple[float, float] = (0.0, 0.0),
    inputs: Inputs | None = None,
    target: Target | None = None,
) -> keras.Model:
    """Return the functional Keras model of an architecture.

    All layers have names of their own, so that the same architecture always gives the
    same JSON. Weights come from Keras's global seed.

    Args:
        architecture: The network.
        scale: Factor that takes raw images to 0..1; it becomes a `Rescaling` layer. None for a
            child whose examples are no images.
        batch_norm_momentum: Momentum of the moving statistics of batch normalisation.
        dropout: Rate of a dropout before the head.
        batch_norm: Whether there is a batch normalisation before the head, and that dropout.
        penalties: Weights of the L1 and the L2 penalty on all kernels.
        inputs: Stands in front of the child; None for one of images, or one that takes prepared
            examples.
        target: Takes what a child that predicts a number puts out back to its own scale; None to
            leave it normalised.

    Returns:
        A model from raw inputs, shape ``(batch, *input_shape)`` for images, or from prepared
        ones, to class probabilities, shape ``(batch, classes)``, or to a number, ``(batch, 1)``.
    """
    given, x = _first(architecture, scale) if inputs is None else inputs.layers()
    options = _Options(batch_norm_momentum, penalties, int(architecture.input_shape[-1]))
    outputs: list[keras.KerasTensor] = []
    for number, layer in enumerate(architecture.layers, 1):
        name = f"{layer.kind}_{number}"
        if isinstance(layer, Join):
            x = _joined([outputs[place - 1] for place in layer.of], name)
        else:
            x = _behind(layer, name, x, options)
        outputs.append(x)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(_AXES, name="head_pool")(x)
    elif len(x.shape) == 3:
        x = keras.layers.GlobalAveragePooling1D(_AXES, name="head_pool")(x)
    if batch_norm:
        momentum = float(batch_norm_momentum)
        x = keras.layers.BatchNormalization(momentum=momentum, name="head_norm")(x)
    if dropout:
        x = keras.layers.Dropout(float(dropout), name="head_dropout")(x)
    # Probabilities need all their bits, also where the layers before compute with fewer.
    classes = int(architecture.classes)
    head = keras.layers.Dense(
        classes, activation="softmax" if classes > 1 else None, name="head", dtype="float32"
    )
    x = _penalised(head, penalties)(x)
    if target is not None:
        x = keras.layers.Rescaling(target.scale, target.mean, name="target", dtype="float32")(x)
    return keras.Model(given, x, name="child")


class _Options(NamedTuple):
    """What is the same for all layers."""

    momentum: float
    penalties: tuple[float, float]
    channels: int  # of an example: for a text, its different words


def _first(
    architecture: Architecture, scale: float | None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of a child, and what its first layer sees."""
    shape = [int(size) for size in architecture.input_shape]
    if architecture.layers and isinstance(architecture.layers[0], Embed):
        given = keras.Input(shape[:1], dtype="int32", name="input")
        return given, given
    given = keras.Input(shape, name="input")
    if scale is None:
        return given, given
    return given, keras.layers.Rescaling(float(scale), name="rescaling")(given)


def _behind(layer: Layer, name: str, x: keras.KerasTensor, options: _Options) -> keras.KerasTensor:
    """Return what a layer makes of its input."""
    if isinstance(layer, Attention):
        return _attention(layer, name, x, options.penalties)
    before = x
    for keras_layer in _keras_layers(layer, name, x, options):
        x = _penalised(keras_layer, options.penalties)(x)
    if isinstance(layer, ResidualDense):
        x = keras.layers.Add(name=f"{name}_sum")([before, x])
    return x


def _joined(images: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Return images side by side, brought to one size with zeros around the smaller ones."""
    if len(images) == 1:
        return images[0]
    sides = [max(image.shape[axis] for image in images) for axis in (1, 2)]
    padded = []
    for number, image in enumerate(images, 1):
        gaps = [side - image.shape[axis] for axis, side in enumerate(sides, 1)]
        if any(gaps):
            around = tuple((gap // 2, gap - gap // 2) for gap in gaps)
            padding = keras.layers.ZeroPadding2D(around, _AXES, name=f"{name}_pad_{number}")
            padded.append(padding(image))
        else:
            padded.append(image)
    return keras.layers.Concatenate(name=name)(padded)


def _penalised(layer: keras.Layer, penalties: tuple[float, float]) -> keras.Layer:
    """Return a layer whose kernels cost what the penalties say."""
    if any(penalties):
        regularizer = keras.regularizers.L1L2(*map(float, penalties))
        holder = getattr(layer, "cell", layer)  # a recurrent layer only passes it on
        for name in ("kernel", "depthwise", "pointwise"):
            if hasattr(holder, f"{name}_regularizer"):
                setattr(holder, f"{name}_regularizer", regularizer)
    return layer


def _keras_layers(
    layer: Layer, name: str, x: keras.KerasTensor, options: _Options
) -> list[keras.Layer]:
    """Return the Keras layers that a layer becomes, one behind the other."""
    match layer:
        case Conv() | SeparableConv() | Conv1D():
            return _convolution(layer, name, options.momentum)
        case MaxPool():
            size = int(layer.size)
            return [keras.layers.MaxPooling2D(size, 2, "same", _AXES, name=name)]
        case AveragePool():
            size = int(layer.size)
            return [keras.layers.AveragePooling2D(size, 2, "same", _AXES, name=name)]
        case Dropout():
            return [keras.layers.Dropout(float(layer.rate), name=name)]
        case Flatten():
            return [keras.layers.Flatten(_AXES, name=name)]
        case GlobalPool() if len(x.shape) == 4:
            return [keras.layers.GlobalAveragePooling2D(_AXES, name=name)]
        case GlobalPool():
            return [keras.layers.GlobalAveragePooling1D(_AXES, name=name)]
        case GlobalMaxPool():
            return [keras.layers.GlobalMaxPooling1D(_AXES, name=name)]
        case MaxPool1D():
            size = int(layer.size)
            return [keras.layers.MaxPooling1D(size, 2, "same", _AXES, name=name)]
        case Embed():
            return [keras.layers.Embedding(options.channels, int(layer.units), name=name)]
        case Frames():
            _, frames, bins, channels = x.shape
            return [keras.layers.Reshape((frames, bins * channels), name=name)]
        case LSTM() | GRU():
            return [_recurrent(layer, name, options.penalties)]
        case ResidualDense():
            return _block(layer, name, int(x.shape[-1]), options.momentum)
        case Dense():
            activation = str(layer.activation)
            return [keras.layers.Dense(int(layer.units), activation=activation, name=name)]
        case KerasLayer():
            return [_stock(layer, name, options)]
    raise NotImplementedError(layer.kind)


def _stock(layer: KerasLayer, name: str, same: _Options) -> keras.Layer:
    options: dict[str, Any] = dict(layer.options)
    if takes_axes(layer.name):
        options["data_format"] = _AXES
    if layer.name == "BatchNormalization":
        options = {"momentum": float(same.momentum), **options}
    if isinstance(inner := options.get("layer"), KerasLayer):
        stock = _stock(inner, f"{name}_forward", same)
        options["layer"] = _penalised(stock, same.penalties)  # also that of the other direction
    return getattr(keras.layers, layer.name)(**options, name=name)


def _recurrent(layer: LSTM | GRU, name: str, penalties: tuple[float, float]) -> keras.Layer:
    kind = keras.layers.LSTM if isinstance(layer, LSTM) else keras.layers.GRU
    if not layer.bidirectional:
        return kind(int(layer.units), return_sequences=True, name=name)
    one_way = kind(int(layer.units), return_sequences=True, name=f"{name}_forward")
    return keras.layers.Bidirectional(_penalised(one_way, penalties), name=name)


def _attention(
    layer: Attention, name: str, x: keras.KerasTensor, penalties: tuple[float, float]
) -> keras.KerasTensor:
    """Return the input, and what each step gathers from all others of it."""
    heads = int(layer.heads)
    normalised = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
    attended = keras.layers.MultiHeadAttention(
        heads,
        max(1, x.shape[-1] // heads),
        kernel_regularizer=keras.regularizers.L1L2(*penalties) if any(penalties) else None,
        name=name,
    )(normalised, normalised)
    return keras.layers.Add(name=f"{name}_sum")([x, attended])


def _block(layer: ResidualDense, name: str, width: int, momentum: float) -> list[keras.Layer]:
    activation, rate = str(layer.activation), float(layer.rate)
    dropout = [keras.layers.Dropout(rate, name=f"{name}_dropout")] if rate else []
    return [
        keras.layers.BatchNormalization(momentum=float(momentum), name=f"{name}_norm"),
        keras.layers.Dense(int(layer.units), activation=activation, name=f"{name}_inner"),
        *dropout,
        keras.layers.Dense(width, name=f"{name}_outer"),
    ]


def _convolution(
    layer: Conv | SeparableConv | Conv1D, name: str, momentum: float
) -> list[keras.Layer]:
    kinds = {
        Conv: keras.layers.Conv2D,
        SeparableConv: keras.layers.SeparableConv2D,
        Conv1D: keras.layers.Conv1D,
    }
    convolution = kinds[type(layer)](
        int(layer.filters),
        int(layer.kernel),
        strides=1 if isinstance(layer, Conv1D) else int(layer.stride),
        padding="same",
        data_format=_AXES,
        use_bias=not layer.batch_norm,
        name=name,
    )
    norm = keras.layers.BatchNormalization(momentum=float(momentum), name=f"{name}_norm")
    activation = keras.layers.Activation(str(layer.activation), name=f"{name}_{layer.activation}")
    return [convolution, norm, activation] if layer.batch_norm else [convolution, activation]
