"""From an architecture to a Keras 3 model made of stock layers alone."""

from rlnas.children.backend import keras
from rlnas.cost import (
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
from rlnas.spaces import Architecture

_AXES = "channels_last"
"""Said to each layer, because a user's keras.json may have another default."""


def decode(
    architecture: Architecture,
    *,
    scale: float = 1 / 255,
    batch_norm_momentum: float = 0.99,
    dropout: float = 0.0,
    penalties: tuple[float, float] = (0.0, 0.0),
) -> keras.Model:
    """Return the functional Keras model of an architecture.

    All layers have names of their own, so that the same architecture always gives the
    same JSON. Weights come from Keras's global seed.

    Args:
        architecture: The network.
        scale: Factor that takes raw inputs to 0..1; it becomes a `Rescaling` layer.
        batch_norm_momentum: Momentum of the moving statistics of batch normalisation.
        dropout: Rate of a dropout before the head.
        penalties: Weights of the L1 and the L2 penalty on all kernels.

    Returns:
        A model from raw inputs, shape ``(batch, *input_shape)``, to class
        probabilities, shape ``(batch, classes)``.
    """
    inputs = keras.Input([int(size) for size in architecture.input_shape], name="input")
    x = keras.layers.Rescaling(float(scale), name="rescaling")(inputs)
    for number, layer in enumerate(architecture.layers, 1):
        for keras_layer in _keras_layers(layer, f"{layer.kind}_{number}", batch_norm_momentum):
            x = _penalised(keras_layer, penalties)(x)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(_AXES, name="head_pool")(x)
    if dropout:
        x = keras.layers.Dropout(float(dropout), name="head_dropout")(x)
    # Probabilities need all their bits, also where the layers before compute with fewer.
    head = keras.layers.Dense(
        int(architecture.classes), activation="softmax", name="head", dtype="float32"
    )
    outputs = _penalised(head, penalties)(x)
    return keras.Model(inputs, outputs, name="child")


def _penalised(layer: keras.Layer, penalties: tuple[float, float]) -> keras.Layer:
    """Return a layer whose kernels cost what the penalties say."""
    if any(penalties):
        regularizer = keras.regularizers.L1L2(*map(float, penalties))
        for name in ("kernel", "depthwise", "pointwise"):
            if hasattr(layer, f"{name}_regularizer"):
                setattr(layer, f"{name}_regularizer", regularizer)
    return layer


def _keras_layers(layer: Layer, name: str, momentum: float) -> list[keras.Layer]:
    match layer:
        case Conv() | SeparableConv():
            return _convolution(layer, name, momentum)
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
        case GlobalPool():
            return [keras.layers.GlobalAveragePooling2D(_AXES, name=name)]
        case Dense():
            activation = str(layer.activation)
            return [keras.layers.Dense(int(layer.units), activation=activation, name=name)]


def _convolution(layer: Conv | SeparableConv, name: str, momentum: float) -> list[keras.Layer]:
    kinds = {Conv: keras.layers.Conv2D, SeparableConv: keras.layers.SeparableConv2D}
    convolution = kinds[type(layer)](
        int(layer.filters),
        int(layer.kernel),
        strides=int(layer.stride),
        padding="same",
        data_format=_AXES,
        use_bias=not layer.batch_norm,
        name=name,
    )
    norm = keras.layers.BatchNormalization(momentum=float(momentum), name=f"{name}_norm")
    activation = keras.layers.Activation(str(layer.activation), name=f"{name}_{layer.activation}")
    return [convolution, norm, activation] if layer.batch_norm else [convolution, activation]
