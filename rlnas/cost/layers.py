"""The layers an architecture is made of, as plain records.

They are the common language of the spaces (which write them), the cost model
(which weighs them), the decoder (which turns them into Keras layers) and the
diagrams. The order of the fields is the order in which a controller decides them.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from rlnas.cost.keras_layers import KerasLayer, keras_layer
from rlnas.errors import SpaceError


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with "same" padding, batch normalisation if asked for, then the activation."""

    kind: ClassVar[str] = "conv"
    filters: int
    kernel: int
    stride: int
    activation: str
    batch_norm: bool


@dataclass(frozen=True, slots=True)
class SeparableConv:
    """Depthwise-separable convolution, otherwise as `Conv`."""

    kind: ClassVar[str] = "sepconv"
    filters: int
    kernel: int
    stride: int
    activation: str
    batch_norm: bool


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Max pooling over ``size`` by ``size`` pixels, stride 2, "same" padding."""

    kind: ClassVar[str] = "maxpool"
    size: int


@dataclass(frozen=True, slots=True)
class AveragePool:
    """Average pooling over ``size`` by ``size`` pixels, stride 2, "same" padding."""

    kind: ClassVar[str] = "avgpool"
    size: int


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout with the given rate, 0 <= rate < 1."""

    kind: ClassVar[str] = "dropout"
    rate: float


@dataclass(frozen=True, slots=True)
class Flatten:
    """All pixels and channels become one vector."""

    kind: ClassVar[str] = "flatten"


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean of each channel over all pixels."""

    kind: ClassVar[str] = "globalpool"


@dataclass(frozen=True, slots=True)
class Dense:
    """Fully connected layer with its activation."""

    kind: ClassVar[str] = "dense"
    units: int
    activation: str


@dataclass(frozen=True, slots=True)
class Embed:
    """A vector of ``units`` numbers for each word of a text."""

    kind: ClassVar[str] = "embed"
    units: int


@dataclass(frozen=True, slots=True)
class Conv1D:
    """Convolution over a sequence, "same" padding, otherwise as `Conv`."""

    kind: ClassVar[str] = "conv1d"
    filters: int
    kernel: int
    activation: str
    batch_norm: bool


@dataclass(frozen=True, slots=True)
class MaxPool1D:
    """Max pooling over ``size`` steps of a sequence, stride 2, "same" padding."""

    kind: ClassVar[str] = "maxpool1d"
    size: int


@dataclass(frozen=True, slots=True)
class LSTM:
    """Long short-term memory over a sequence, one output per step, of both directions if asked."""

    kind: ClassVar[str] = "lstm"
    units: int
    bidirectional: bool


@dataclass(frozen=True, slots=True)
class GRU:
    """Gated recurrent unit, otherwise as `LSTM`."""

    kind: ClassVar[str] = "gru"
    units: int
    bidirectional: bool


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention over a normalised sequence, added to it (Vaswani et al. 2017, norm first)."""

    kind: ClassVar[str] = "attention"
    heads: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Each row of an image, all its columns and channels, becomes a step of a sequence."""

    kind: ClassVar[str] = "frames"


@dataclass(frozen=True, slots=True)
class GlobalMaxPool:
    """The largest value of each channel over all steps."""

    kind: ClassVar[str] = "globalmaxpool"


@dataclass(frozen=True, slots=True)
class ResidualDense:
    """A block of two dense layers, added to its input (Gorishniy et al. 2021, ResNet).

    Batch normalisation, ``units`` with the activation, dropout, as many units as come in.
    """

    kind: ClassVar[str] = "resdense"
    units: int
    activation: str
    rate: float


@dataclass(frozen=True, slots=True)
class Join:
    """What earlier layers put out, side by side along the channels (Zoph & Le 2016, section 3.3).

    Images of different sizes are brought to the largest with zeros around them.

    Attributes:
        of: Numbers of the layers, from 1 for the first of the chain, this record's own kind
            counted too.
    """

    kind: ClassVar[str] = "join"
    of: tuple[int, ...]


OwnLayer = (
    Conv
    | SeparableConv
    | MaxPool
    | AveragePool
    | Dropout
    | Flatten
    | GlobalPool
    | Dense
    | Embed
    | Conv1D
    | MaxPool1D
    | LSTM
    | GRU
    | Attention
    | Frames
    | GlobalMaxPool
    | ResidualDense
    | Join
)
"""A layer with a record of its own."""

Layer = OwnLayer | KerasLayer

_IMAGE_LAYERS: tuple[type[OwnLayer], ...] = (
    *(Conv, SeparableConv, MaxPool, AveragePool, Dropout, Flatten, GlobalPool, Dense),
)
_SEQUENCE_LAYERS: tuple[type[OwnLayer], ...] = (
    *(Embed, Conv1D, MaxPool1D, LSTM, GRU, Attention, Frames, GlobalMaxPool),
)

_KERAS = "keras"
"""Type of a stock layer in JSON."""

IMAGE_TYPES = tuple(layer.kind for layer in _IMAGE_LAYERS)
"""Types of the layers of an image chain, in the order of their tokens."""

LAYER_TYPES: dict[str, type[OwnLayer]] = {
    layer.kind: layer for layer in (*_IMAGE_LAYERS, *_SEQUENCE_LAYERS, ResidualDense, Join)
}


def layer_to_json(layer: Layer) -> dict[str, Any]:
    """Return a layer as JSON, for example ``{"type": "dropout", "rate": 0.2}``."""
    if isinstance(layer, KerasLayer):
        return {"type": _KERAS, "name": layer.name, "options": _plain(layer)}
    return {"type": layer.kind, **asdict(layer)}


def _plain(layer: KerasLayer) -> dict[str, Any]:
    """Return the options of a stock layer as JSON."""
    plain: dict[str, Any] = {}
    for name, value in layer.options:
        plain[name] = list(value) if isinstance(value, tuple) else value
        if isinstance(value, KerasLayer):
            plain[name] = {value.name: _plain(value)}
    return plain


def layer_from_json(record: dict[str, Any]) -> Layer:
    """Return the layer that `layer_to_json` wrote.

    Raises:
        SpaceError: The type or a field of it is unknown or missing.
    """
    options = dict(record)
    kind = options.pop("type", None)
    if kind == _KERAS and options.keys() == {"name", "options"}:
        return keras_layer(options["name"], options["options"])
    layer_type = LAYER_TYPES.get(str(kind))
    if layer_type is None:
        raise SpaceError(f"unknown layer type {kind!r}: expected one of {', '.join(LAYER_TYPES)}")
    expected = [field.name for field in fields(layer_type)]
    if sorted(options) != sorted(expected):
        raise SpaceError(
            f"layer {kind!r} needs exactly the fields {expected}, got {sorted(options)}"
        )
    if layer_type is Join:
        return Join(tuple(options["of"]))
    return layer_type(**options)


def describe(layer: Layer) -> str:
    """Return a layer in one short phrase, for example ``conv 32 3x3 relu bn``."""
    match layer:
        case Conv() | SeparableConv():
            stride = f" /{layer.stride}" if layer.stride > 1 else ""
            norm = " bn" if layer.batch_norm else ""
            size = f"{layer.kernel}x{layer.kernel}"
            return f"{layer.kind} {layer.filters} {size}{stride} {layer.activation}{norm}"
        case MaxPool() | AveragePool():
            return f"{layer.kind} {layer.size}x{layer.size}"
        case Dropout():
            return f"dropout {_exact(layer.rate)}"
        case Conv1D():
            norm = " bn" if layer.batch_norm else ""
            return f"conv1d {layer.filters} {layer.kernel} {layer.activation}{norm}"
        case MaxPool1D():
            return f"maxpool1d {layer.size}"
        case LSTM() | GRU():
            ways = "bidirectional " if layer.bidirectional else ""
            return f"{ways}{layer.kind} {layer.units}"
        case Embed():
            return f"embed {layer.units}"
        case Attention():
            return f"attention {layer.heads}"
        case ResidualDense():
            return f"resdense {layer.units} {layer.activation} {_exact(layer.rate)}"
        case Dense():
            return f"dense {layer.units} {layer.activation}"
        case Join():
            return f"join {' '.join(map(str, layer.of))}"
        case KerasLayer():
            return str(layer)
        case _:
            return layer.kind


def _exact(rate: float) -> str:
    """Return a rate so that no two rates look alike, and usual ones are short."""
    short = f"{rate:g}"
    return short if float(short) == rate else repr(float(rate))
