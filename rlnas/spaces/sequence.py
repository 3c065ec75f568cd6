"""Chains for sequences: texts, and recordings as spectrograms.

Rules keep out what is hardly ever worth a training:

- a text begins with an embedding, the only one; a spectrogram with convolutions over both of its
  axes, or with its frames as a sequence;
- a sequence ends in a global pooling, unless nothing more fits; what is behind that is flat;
- filters never become fewer, and dense layers never grow;
- no pooling follows a pooling, and no dropout a dropout;
- there are at most two recurrent layers, two attentions and two dense layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rlnas.cost import (
    Conv,
    Conv1D,
    Dropout,
    Embed,
    GlobalMaxPool,
    GlobalPool,
    Layer,
    MaxPool,
    Shape,
    layer_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces.chain import ChainSpace
from rlnas.spaces.choices import DEFAULT_CHOICES, nearest, preferred, whole_number
from rlnas.spaces.fitting import Ground, usual_choices

_RECURRENT = ("lstm", "gru")
_ENDS = ("globalpool", "globalmaxpool")
_POOLS = ("maxpool1d", "maxpool", "avgpool")
_OF_IMAGES = ("conv", "sepconv", "maxpool", "avgpool", "frames")
_DROPPED_BEHIND = (*_POOLS, *_ENDS, *_RECURRENT, "embed", "dense", "frames", "flatten")
_MOST = 2
"""Recurrent layers, attentions and dense layers of a network (chosen)."""
_SHORTEST = 4
"""Steps of a sequence, or pixels of a side, that are pooled over at least (chosen)."""
_FLATTENED = 4096
"""Values of a spectrogram that may be flattened at most (chosen)."""

_SEQUENCE_CHOICES: dict[str, tuple[Any, ...]] = {
    "conv1d.filters": (32, 64, 128),
    "conv1d.kernel": (2, 3, 5),
    "conv1d.activation": ("relu", "elu", "silu"),
    "conv1d.batch_norm": (False, True),
    "maxpool1d.size": (2, 3),
    "lstm.units": (16, 32, 64),
    "lstm.bidirectional": (False, True),
    "gru.units": (16, 32, 64),
    "gru.bidirectional": (False, True),
    "attention.heads": (1, 2, 4),
    "dropout.rate": (0.0, 0.1, 0.2, 0.3, 0.5),
    "dense.units": (16, 32, 64, 128),
    "dense.activation": ("relu", "elu", "silu"),
}
"""Chosen, for children of seconds."""

TEXT_CHOICES: dict[str, tuple[Any, ...]] = {
    "embed.units": (16, 32, 64, 128),
    **_SEQUENCE_CHOICES,
}
AUDIO_CHOICES: dict[str, tuple[Any, ...]] = {
    **{
        name: options
        for name, options in DEFAULT_CHOICES.items()
        if name.partition(".")[0] in _OF_IMAGES
    },
    **_SEQUENCE_CHOICES,
}


class TextSpace(ChainSpace):
    """Chains for texts; arguments are those of `ChainSpace`.

    An example has the shape ``(words, vocabulary)``: so many words at most, of so many different
    ones. A network has at least 3 layers; the caps on FLOPs and activations are by default eight
    times those of the reference child (chosen: recurrent layers cost more than it).

    The reference child is the convolution of Kim 2014 with one width: an embedding of 64 numbers,
    64 filters over 5 words, the largest value of each, and dropout.
    """

    name = "text"
    types = (
        *("embed", "conv1d", "maxpool1d", "lstm", "gru", "attention", "dropout"),
        *("globalpool", "globalmaxpool", "dense"),
    )
    default_choices: ClassVar[Mapping[str, tuple[Any, ...]]] = TEXT_CHOICES
    fewest = 3
    flops_factor = 8.0
    activations_factor = 8.0

    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        sizes = tuple(shape) if isinstance(shape, Sequence) else ()
        if len(sizes) != 2:
            raise SpaceError(f"a text needs the shape (words, vocabulary), got {shape!r}")
        return tuple(whole_number("a size of the input shape", size) for size in sizes)

    def _reference_layers(self) -> tuple[Layer, ...]:
        choices = self.choices
        return (
            Embed(nearest(choices, "embed.units", 64)),
            Conv1D(
                filters=nearest(choices, "conv1d.filters", 64),
                kernel=nearest(choices, "conv1d.kernel", 5),
                activation=preferred(choices, "conv1d.activation", "relu"),
                batch_norm=preferred(choices, "conv1d.batch_norm", False),
            ),
            GlobalMaxPool(),
            Dropout(nearest(choices, "dropout.rate", 0.3)),
        )

    def _may_follow(self, kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
        if not layers or kind == "embed":
            return not layers and kind == "embed"
        return _goes_on(kind, layers, shape)

    def _may_end(self, shape: Shape) -> bool:
        return len(shape) == 1

    def _worthwhile(self, kind: str, field: str, ground: Ground) -> tuple[Any, ...]:
        return _usual(self.choices, kind, field, ground)


class AudioSpace(ChainSpace):
    """Chains for recordings, whose spectrogram they see; arguments are those of `ChainSpace`.

    An example has the shape ``(frames, bins, 1)``. A network has at least 4 layers; the caps on
    FLOPs and activations are by default four times those of the reference child (chosen).

    The reference child is the plain network of convolutions that spectrograms are usually
    classified with: 16, 32 and 64 filters of 3x3 with batch normalisation, each with a 2x2 max
    pooling, then the mean over all frames and bins and a dropout.
    """

    name = "audio"
    types = (
        *("conv", "sepconv", "maxpool", "avgpool", "frames", "conv1d", "maxpool1d", "lstm", "gru"),
        *("attention", "dropout", "flatten", "globalpool", "globalmaxpool", "dense"),
    )
    default_choices: ClassVar[Mapping[str, tuple[Any, ...]]] = AUDIO_CHOICES
    fewest = 4
    activations_factor = 4.0

    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        sizes = tuple(shape) if isinstance(shape, Sequence) else ()
        if len(sizes) != 3 or sizes[2] != 1:
            raise SpaceError(f"a spectrogram needs the shape (frames, bins, 1), got {shape!r}")
        return tuple(whole_number("a size of the input shape", size) for size in sizes)

    def _reference_layers(self) -> tuple[Layer, ...]:
        choices, shape = self.choices, self.input_shape
        layers: list[Layer] = []
        for filters in (16, 32, 64):
            layers.append(
                Conv(
                    filters=nearest(choices, "conv.filters", filters),
                    kernel=nearest(choices, "conv.kernel", 3),
                    stride=nearest(choices, "conv.stride", 1),
                    activation=preferred(choices, "conv.activation", "relu"),
                    batch_norm=preferred(choices, "conv.batch_norm", True),
                )
            )
            shape, _ = layer_cost(layers[-1], shape)
            if min(shape[:2]) >= _SHORTEST:
                layers.append(MaxPool(nearest(choices, "maxpool.size", 2)))
                shape, _ = layer_cost(layers[-1], shape)
        return (*layers, GlobalPool(), Dropout(nearest(choices, "dropout.rate", 0.3)))

    def _may_follow(self, kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
        if not layers:
            return kind in ("conv", "frames")
        if kind in _POOLS and len(shape) == 3:
            return kind != "maxpool1d" and _pools(layers) and min(shape[:2]) >= _SHORTEST
        if kind in _OF_IMAGES:
            return len(shape) == 3
        if kind == "flatten":
            return len(shape) == 3 and shape[0] * shape[1] * shape[2] <= _FLATTENED
        if kind == "globalpool" and len(shape) == 3:
            return True
        return _goes_on(kind, layers, shape)

    def _may_end(self, shape: Shape) -> bool:
        return len(shape) == 1

    def _worthwhile(self, kind: str, field: str, ground: Ground) -> tuple[Any, ...]:
        choices = _usual(self.choices, kind, field, ground)
        if field == "stride":
            return tuple(each for each in choices if each == 1 or min(ground.shape[:2]) > each)
        return choices


def _goes_on(kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
    """Tell whether a layer of a sequence, or behind its pooling, is worth writing."""
    kinds = [each.kind for each in layers]
    if kind == "dropout":
        return kinds[-1] in _DROPPED_BEHIND
    if kind == "dense":
        return len(shape) == 1 and kinds.count("dense") < _MOST
    if len(shape) != 2:
        return False
    if kind == "maxpool1d":
        return _pools(layers) and shape[0] >= _SHORTEST
    if kind in _RECURRENT:
        return sum(each in _RECURRENT for each in kinds) < _MOST
    return kind != "attention" or kinds.count("attention") < _MOST


def _pools(layers: tuple[Layer, ...]) -> bool:
    """Tell whether a pooling would not follow a pooling."""
    return [each.kind for each in layers if each.kind != "dropout"][-1] not in _POOLS


def _usual(
    choices: Mapping[str, tuple[Any, ...]], kind: str, field: str, ground: Ground
) -> tuple[Any, ...]:
    if kind == "attention":  # heads share the channels evenly
        return tuple(each for each in choices["attention.heads"] if ground.shape[1] % each == 0)
    return usual_choices(choices, kind, field, ground)
