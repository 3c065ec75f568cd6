"""Image chains: a variable-length sequence of layers for classifying images.

A sequence is read as follows: the type of the first layer, then that type's own
decisions, then the type of the next layer, and so on until ``stop``. Behind the stop
comes the head: global average pooling if the data is still an image, then a dense
layer with one unit per class and softmax.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from rlnas.cost import (
    LAYER_TYPES,
    Conv,
    Cost,
    Dense,
    Layer,
    MaxPool,
    Shape,
    head_cost,
    layer_cost,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces.base import Architecture, Decision, Mask, check_tokens
from rlnas.spaces.canonical import canonical_layers, canonical_text

STOP = "stop"

DEFAULT_CHOICES: dict[str, tuple[Any, ...]] = {
    "conv.filters": (16, 32, 64, 128),
    "conv.kernel": (1, 3, 5),
    "conv.stride": (1, 2),
    "conv.activation": ("relu", "elu", "silu"),
    "conv.batch_norm": (False, True),
    "sepconv.filters": (16, 32, 64, 128),
    "sepconv.kernel": (3, 5),
    "sepconv.stride": (1, 2),
    "sepconv.activation": ("relu", "elu", "silu"),
    "sepconv.batch_norm": (False, True),
    "maxpool.size": (2, 3),
    "avgpool.size": (2, 3),
    "dropout.rate": (0.0, 0.1, 0.2, 0.3, 0.5),
    "dense.units": (32, 64, 128, 256),
    "dense.activation": ("relu", "elu", "silu"),
}
"""Chosen after the ranges of Zoph & Le 2016 and Baker et al. 2017, for children of seconds."""

_IMAGE_ONLY = ("conv", "sepconv", "maxpool", "avgpool", "flatten", "globalpool")
_TYPE = "layer"


@dataclass(frozen=True, slots=True)
class _State:
    """What a prefix has come to."""

    shape: Shape
    cost: Cost
    layers: tuple[Layer, ...] = ()
    kind: str | None = None  # type of the layer that is being written
    chosen: tuple[Any, ...] = ()  # its decisions so far
    stopped: bool = False


class ImageSpace:
    """Chains of image layers below caps on parameters and FLOPs.

    Args:
        input_shape: ``(height, width, channels)``.
        classes: Number of classes, at least 2.
        max_layers: Most layers before the head.
        max_params: Cap on the parameters, head included.
        max_flops: Cap on the FLOPs of one example; None for twice those of the
            reference child (chosen).
        choices: Choices by decision name that replace those of `DEFAULT_CHOICES`.

    Raises:
        SpaceError: A shape, a cap or a choice is wrong, or no network fits below the caps.
    """

    name = "image"

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        *,
        max_layers: int = 10,
        max_params: int = 1_000_000,
        max_flops: int | None = None,
        choices: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """See the class."""
        self.input_shape = _checked_shape(input_shape)
        if classes < 2:
            raise SpaceError(f"classes must be at least 2, got {classes}")
        if max_layers < 1:
            raise SpaceError(f"max_layers must be at least 1, got {max_layers}")
        self.classes = classes
        self.max_layers = max_layers
        self.max_params = max_params
        self.choices = _checked_choices(choices or {})
        self._asked_flops = max_flops
        self._reference = _reference_layers(self.input_shape, self.choices)
        reference = network_cost(self._reference, self.input_shape, classes)
        self.max_flops = 2 * reference.flops if max_flops is None else max_flops
        types = (*LAYER_TYPES, STOP)
        self.decisions: tuple[Decision, ...] = (
            Decision(_TYPE, types),
            *(Decision(name, options) for name, options in self.choices.items()),
        )
        self._by_name = {decision.name: decision for decision in self.decisions}
        self._width = max(len(decision.choices) for decision in self.decisions)
        self._state = lru_cache(maxsize=4096)(self._compute_state)
        self._mask = lru_cache(maxsize=4096)(self._compute_mask)
        if not self._mask(()).any():
            raise SpaceError(
                f"no network fits below max_params={max_params} and max_flops={self.max_flops}; "
                "raise the caps"
            )

    @property
    def max_tokens(self) -> int:
        """The most tokens an architecture can have: full layers and the stop token."""
        longest = max(len(_decided(kind)) for kind in LAYER_TYPES)
        return self.max_layers * (1 + longest) + 1

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""
        state = self._state(_plain(prefix))
        if state.stopped:
            return None
        if state.kind is None:
            return self._by_name[_TYPE]
        return self._by_name[f"{state.kind}.{_decided(state.kind)[len(state.chosen)]}"]

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros for a finished prefix."""
        return self._mask(_plain(prefix)).copy()

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the layers that a finished sequence writes.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """
        plain = _plain(tokens)
        check_tokens(self, plain)
        return Architecture(plain, self._state(plain).layers, self.input_shape, self.classes)

    def key(self, architecture: Architecture) -> str:
        """Return the canonical layers as one line of text."""
        return canonical_text(canonical_layers(architecture.layers, self.input_shape))

    def tokens(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """Return the tokens that write these layers, stop token included.

        Raises:
            SpaceError: A layer holds a value that is not among the choices.
        """
        written: list[int] = []
        for layer in layers:
            written.append(self._index(_TYPE, layer.kind))
            for field in _decided(layer.kind):
                written.append(self._index(f"{layer.kind}.{field}", getattr(layer, field)))
        return (*written, self._index(_TYPE, STOP))

    def reference(self) -> Architecture:
        """Return the reference child, which no cap binds.

        Three 3x3 convolutions with batch normalisation and 32, 64 and 128 filters, a
        2x2 max pooling behind the first two: the plain network of many tutorials. Where
        the choices were changed, each value gives way to the nearest choice.
        """
        tokens = self.tokens(self._reference)
        return Architecture(tokens, self._reference, self.input_shape, self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return all that defines the space."""
        return {
            "type": self.name,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "max_layers": self.max_layers,
            "max_params": self.max_params,
            "max_flops": self.max_flops,
            "choices": {name: list(options) for name, options in self.choices.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "ImageSpace":
        """Return the space that `to_json` described.

        Raises:
            SpaceError: A field is missing or wrong.
        """
        options = {name: value for name, value in record.items() if name != "type"}
        try:
            return cls(**options)
        except TypeError as error:
            raise SpaceError(f"the description of an image space is damaged: {error}") from error

    def _index(self, decision: str, value: Any) -> int:
        choices = self._by_name[decision].choices
        if value not in choices:
            raise SpaceError(f"{decision} has no choice {value!r}: expected one of {choices}")
        return choices.index(value)

    def _compute_state(self, prefix: tuple[int, ...]) -> _State:
        if not prefix:
            return _State(self.input_shape, network_cost((), self.input_shape, self.classes))
        before, token = self._state(prefix[:-1]), prefix[-1]
        decision = self.decision(prefix[:-1])
        if decision is None or not 0 <= token < len(decision.choices):
            raise SpaceError(
                f"token {token} at position {len(prefix) - 1} is out of range: "
                f"expected {'nothing' if decision is None else f'0..{len(decision.choices) - 1}'}"
            )
        choice = decision.choices[token]
        if before.kind is None:
            if choice == STOP:
                return replace(before, stopped=True)
            state = replace(before, kind=choice, chosen=())
        else:
            state = replace(before, chosen=(*before.chosen, choice))
        return self._with_finished_layer(state)

    def _with_finished_layer(self, state: _State) -> _State:
        if state.kind is None or len(state.chosen) < len(_decided(state.kind)):
            return state
        layer = LAYER_TYPES[state.kind](*state.chosen)
        shape, cost = layer_cost(layer, state.shape)
        body = state.cost.params - head_cost(state.shape, self.classes).params
        body_flops = state.cost.flops - head_cost(state.shape, self.classes).flops
        total = Cost(body, body_flops) + cost + head_cost(shape, self.classes)
        return _State(shape, total, (*state.layers, layer))

    def _compute_mask(self, prefix: tuple[int, ...]) -> Mask:
        mask = np.zeros(self._width, dtype=np.int8)
        decision = self.decision(prefix)
        if decision is None:
            return mask
        state = self._state(prefix)
        for token, choice in enumerate(decision.choices):
            mask[token] = self._allowed(state, choice)
        return mask

    def _allowed(self, state: _State, choice: Any) -> bool:
        if state.kind is not None:
            return self._completable(state.kind, (*state.chosen, choice), state)
        if choice == STOP:
            return bool(state.layers)
        if len(state.layers) == self.max_layers:
            return False
        return self._completable(str(choice), (), state)

    def _completable(self, kind: str, chosen: tuple[Any, ...], state: _State) -> bool:
        """Tell whether this layer can be finished and stopped behind without breaking a cap.

        What is not yet chosen is filled with its cheapest choice: cost grows with each
        decision when the others are held, so if that does not fit nothing does.
        """
        if not _fits_shape(kind, chosen, state.shape):
            return False
        options = [*chosen]
        for field in _decided(kind)[len(chosen) :]:
            cheapest = self._cheapest(f"{kind}.{field}", field, state.shape)
            if cheapest is None:
                return False
            options.append(cheapest)
        layer = LAYER_TYPES[kind](*options)
        if isinstance(layer, Dense) and layer.units > state.shape[0]:
            return False
        total = self._with_finished_layer(replace(state, kind=kind, chosen=tuple(options))).cost
        return total.params <= self.max_params and total.flops <= self.max_flops

    def _cheapest(self, decision: str, field: str, shape: Shape) -> Any:
        legal = [
            choice
            for choice in self._by_name[decision].choices
            if field != "stride" or choice == 1 or choice <= min(shape[:2])
        ]
        if not legal:
            return None
        if field == "activation":
            return legal[0]
        return max(legal) if field == "stride" else min(legal)


def _decided(kind: str) -> tuple[str, ...]:
    """Return the names of a layer type's own decisions, in order."""
    return _DECIDED[kind]


_DECIDED = {
    kind: tuple(field.name for field in fields(layer)) for kind, layer in LAYER_TYPES.items()
}


def _fits_shape(kind: str, chosen: tuple[Any, ...], shape: Shape) -> bool:
    """Tell whether the layer makes sense on this shape: nothing collapses, nothing is empty."""
    if kind == "dense":
        return len(shape) == 1
    if kind in _IMAGE_ONLY and len(shape) != 3:
        return False
    if kind in ("maxpool", "avgpool"):
        return min(shape[:2]) >= 2
    if kind in ("conv", "sepconv") and len(chosen) > _decided(kind).index("stride"):
        return int(chosen[_decided(kind).index("stride")]) <= min(shape[:2])
    return True


def _plain(tokens: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(token) for token in tokens)


def _checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise SpaceError(f"an image needs the shape (height, width, channels), got {tuple(shape)}")
    height, width, channels = (int(size) for size in shape)
    return height, width, channels


def _checked_choices(changed: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    for name, options in changed.items():
        if name not in DEFAULT_CHOICES:
            raise SpaceError(
                f"unknown decision {name!r}: expected one of {', '.join(DEFAULT_CHOICES)}"
            )
        if not options or len(set(options)) != len(options):
            raise SpaceError(f"{name} needs different choices, at least one, got {list(options)}")
    return {name: tuple(changed.get(name, options)) for name, options in DEFAULT_CHOICES.items()}


def _reference_layers(shape: Shape, choices: Mapping[str, tuple[Any, ...]]) -> tuple[Layer, ...]:
    def nearest(decision: str, wanted: int) -> Any:
        return min(choices[decision], key=lambda choice: abs(choice - wanted))

    def preferred(decision: str, wanted: Any) -> Any:
        return wanted if wanted in choices[decision] else choices[decision][0]

    layers: list[Layer] = []
    smaller = min(shape[:2])
    for number, filters in enumerate((32, 64, 128)):
        layers.append(
            Conv(
                filters=nearest("conv.filters", filters),
                kernel=nearest("conv.kernel", 3),
                stride=nearest("conv.stride", 1),
                activation=preferred("conv.activation", "relu"),
                batch_norm=preferred("conv.batch_norm", True),
            )
        )
        smaller = ceil(smaller / layers[-1].stride)
        if number < 2 and smaller >= 2:
            layers.append(MaxPool(nearest("maxpool.size", 2)))
            smaller = ceil(smaller / 2)
    return tuple(layers)
