"""Image chains: a variable-length sequence of layers for classifying images.

A sequence is read as follows: the type of the first layer, then that type's own
decisions, then the type of the next layer, and so on until ``stop``. Behind the stop
comes the head: an image is flattened where it may be, else pooled globally; then a dense
layer with one unit per class and softmax. Flattening comes first because it learns faster
(the reference child on Fashion-MNIST, 6 epochs: 0.926 test accuracy flattened, 0.911
pooled globally); ``globalpool`` can be written.

Besides shapes and caps, rules keep out what is hardly ever worth a training:

- a network begins with a plain convolution, at full resolution up to 64 pixels a side;
- filters never become fewer;
- no pooling follows a pooling;
- dropout stands only behind poolings, flattening and dense layers, never twice in a row;
- an image is flattened only once it was halved twice, and by a token pooled globally only
  behind four convolutions too;
- there are at most two dense layers;
- a network has at least `min_layers` layers and halves its image twice, unless nothing more
  fits.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from rlnas.cost import (
    LAYER_TYPES,
    Conv,
    Cost,
    Flatten,
    GlobalPool,
    Layer,
    SeparableConv,
    Shape,
    head_cost,
    layer_cost,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces.base import Architecture, Decision, Mask, check_tokens, whole_tokens
from rlnas.spaces.canonical import canonical_layers, canonical_text
from rlnas.spaces.choices import checked_choices, whole_number
from rlnas.spaces.fitting import DECIDED, Fitting, Ground
from rlnas.spaces.plain import plain_network
from rlnas.spaces.rules import IMAGE_ENDS, fits_shape, may_follow

STOP = "stop"

_TYPE = "layer"
_FIELDS = {
    *("input_shape", "classes", "max_layers", "min_layers"),
    *("max_params", "max_flops", "max_activations", "choices"),
}
"""What a description in JSON holds besides the type."""
_FEWEST = 4
"""Layers before the head at least, where nothing is said (chosen)."""
_MOST_FLAT = 1_000_000
"""Parameters up to which the reference child is flattened, as many as `max_params` is (chosen)."""
_STRIDE = 50
"""Tokens after which a prefix is read ahead, far below the depth of recursion Python allows."""


class _State(NamedTuple):
    """What a prefix has come to; the cost is without a head."""

    ground: Ground
    cost: Cost
    layers: tuple[Layer, ...] = ()
    kind: str | None = None  # type of the layer that is being written
    chosen: tuple[Any, ...] = ()  # its decisions so far
    stopped: bool = False


class ImageSpace:
    """Chains of image layers below caps on parameters, FLOPs and activations.

    The caps hold behind each layer, with the head that would follow if the network ended
    there. Poolings and strides leave at least two pixels of each side (one pixel is what
    global pooling is for), dense layers need a flat input and never grow.

    Args:
        input_shape: ``(height, width, channels)``.
        classes: Number of classes, at least 2.
        max_layers: Most layers before the head.
        min_layers: Fewest layers before the head, where more than fewer fit; None for 4
            (chosen), or `max_layers` if that is less.
        max_params: Cap on the parameters, head included.
        max_flops: Cap on the FLOPs of one example; None for twice those of the
            reference child (chosen).
        max_activations: Cap on the values that the convolutions put out for one example;
            None for three times those of the reference child (chosen).
        choices: Choices by decision name that replace those of `DEFAULT_CHOICES`.

    Raises:
        SpaceError: A shape, a cap or a choice is wrong, `min_layers` is more than
            `max_layers`, or no network fits below the caps.
    """

    name = "image"

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        *,
        max_layers: int = 10,
        min_layers: int | None = None,
        max_params: int = 1_000_000,
        max_flops: int | None = None,
        max_activations: int | None = None,
        choices: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """See the class."""
        self.input_shape = _plain_shape(input_shape)
        self._flat_size = tuple(max(2, ceil(ceil(size / 2) / 2)) for size in self.input_shape[:2])
        self.classes = whole_number("classes", classes, least=2)
        self.max_layers = whole_number("max_layers", max_layers)
        self.min_layers = _fewest_layers(min_layers, self.max_layers)
        self.max_params = whole_number("max_params", max_params)
        self.choices = checked_choices({} if choices is None else choices)
        self._reference = self._reference_layers()
        cost = network_cost(self._reference, self.input_shape, self.classes)
        flops = 2 * cost.flops if max_flops is None else max_flops
        activations = 3 * cost.activations if max_activations is None else max_activations
        self.max_flops = whole_number("max_flops", flops)
        self.max_activations = whole_number("max_activations", activations)
        caps = Cost(self.max_params, self.max_flops, self.max_activations)
        self._fitting = Fitting(self.choices, self.classes, caps)
        types = (*LAYER_TYPES, STOP)
        self.decisions: tuple[Decision, ...] = (
            Decision(_TYPE, types),
            *(Decision(name, options) for name, options in self.choices.items()),
        )
        self._by_name = {decision.name: decision for decision in self.decisions}
        self._width = max(len(decision.choices) for decision in self.decisions)
        self._state = lru_cache(maxsize=4096)(self._compute_state)
        self._decision = lru_cache(maxsize=4096)(self._compute_decision)
        self._mask = lru_cache(maxsize=4096)(self._compute_mask)
        self._architecture = lru_cache(maxsize=4096)(self._compute_architecture)
        if not self.mask(()).any():
            raise SpaceError(
                f"no network fits below max_params={max_params}, max_flops={self.max_flops} "
                f"and max_activations={self.max_activations} with these choices; raise the caps or "
                "allow more choices"
            )

    @property
    def max_tokens(self) -> int:
        """The most tokens an architecture can have: full layers and the stop token."""
        longest = max(len(DECIDED[kind]) for kind in LAYER_TYPES)
        return self.max_layers * (1 + longest) + 1

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""
        return self._decision(_plain(prefix))

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros for a finished prefix."""
        return self._mask(_plain(prefix)).copy()

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the layers that a finished sequence writes.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """
        return self._architecture(_plain(tokens))

    def key(self, architecture: Architecture) -> str:
        """Return the canonical layers as one line of text."""
        return canonical_text(canonical_layers(architecture.layers, self.input_shape))

    def tokens(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """Return the tokens that write these layers, stop token included.

        Raises:
            SpaceError: A layer holds a value that is not among the choices, or does not take
                what comes from the layer before it.
        """
        written: list[int] = []
        for layer in self._written(layers):
            written.append(self._index(_TYPE, layer.kind))
            for field in DECIDED[layer.kind]:
                written.append(self._index(f"{layer.kind}.{field}", getattr(layer, field)))
        return (*written, self._index(_TYPE, STOP))

    def reference(self) -> Architecture:
        """Return the reference child, which no cap binds.

        Three 3x3 convolutions with batch normalisation and 32, 64 and 128 filters, a
        2x2 max pooling behind the first two, then flattened: the plain network of many
        tutorials. Where the choices were changed, each value gives way to the nearest choice.
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
            "min_layers": self.min_layers,
            "max_params": self.max_params,
            "max_flops": self.max_flops,
            "max_activations": self.max_activations,
            "choices": {name: list(options) for name, options in self.choices.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "ImageSpace":
        """Return the space that `to_json` described.

        Raises:
            SpaceError: A field is missing or wrong.
        """
        damaged = "the description of an image space is damaged"
        options: dict[str, Any] = {name: record[name] for name in record if name != "type"}
        if missing := sorted(_FIELDS - options.keys()):
            raise SpaceError(f"{damaged}: it lacks {', '.join(missing)}")
        try:
            return cls(**options)
        except TypeError as error:
            raise SpaceError(f"{damaged}: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the space travel to other processes, without its caches."""
        return ImageSpace.from_json, (self.to_json(),)

    def _written(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """Return the layers that must be written: the stop flattens, or must be kept from it."""
        if len(layers) > self.min_layers and self._flattening(layers[:-1]) == tuple(layers[-1:]):
            return tuple(layers[:-1])
        return (*layers, GlobalPool()) if self._flattening(layers) else tuple(layers)

    def _flattening(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """Return what the stop adds behind these layers: Flatten where it may be, or nothing."""
        state = self._nothing()
        for layer in layers:
            state = _longer(state, layer)
        return self._head(state)

    def _index(self, decision: str, value: Any) -> int:
        choices = self._by_name[decision].choices
        if value not in choices:
            raise SpaceError(f"{decision} has no choice {value!r}: expected one of {choices}")
        return choices.index(value)

    def _compute_architecture(self, tokens: Sequence[int]) -> Architecture:
        if not self._legal(tokens):
            check_tokens(self, tokens)  # says what is wrong
        return Architecture(
            tuple(tokens), self._state(tokens).layers, self.input_shape, self.classes
        )

    def _legal(self, tokens: Sequence[int]) -> bool:
        """Tell whether tokens are surely legal and finished, by the masks behind each."""
        return type(tokens) is bytes and (
            all(
                token < self._width and self._mask(tokens[:place])[token]
                for place, token in enumerate(tokens)
            )
            and self._decision(tokens) is None
        )

    def _nothing(self) -> _State:
        """Return what there is before the first layer."""
        head = head_cost(self.input_shape, self.classes)
        whole = network_cost((), self.input_shape, self.classes)
        return _State(Ground(self.input_shape), whole - head)

    def _compute_state(self, prefix: Sequence[int]) -> _State:
        if not prefix:
            return self._nothing()
        for length in range(_STRIDE, len(prefix), _STRIDE):
            self._state(prefix[:length])  # keeps the recursion below Python's limit
        before, token = self._state(prefix[:-1]), prefix[-1]
        decision = self._decision(prefix[:-1])
        if decision is None or not 0 <= token < len(decision.choices):
            raise SpaceError(
                f"token {token} at position {len(prefix) - 1} is out of range: "
                f"expected {'nothing' if decision is None else f'0..{len(decision.choices) - 1}'}"
            )
        choice = decision.choices[token]
        if before.kind is None:
            if choice == STOP:
                return before._replace(stopped=True, layers=before.layers + self._head(before))
            state = before._replace(kind=choice, chosen=())
        else:
            state = before._replace(chosen=(*before.chosen, choice))
        return self._with_finished_layer(state)

    def _with_finished_layer(self, state: _State) -> _State:
        if state.kind is None or len(state.chosen) < len(DECIDED[state.kind]):
            return state
        return _longer(state, LAYER_TYPES[state.kind](*state.chosen))

    def _head(self, state: _State) -> tuple[Layer, ...]:
        """Return what the stop adds to a network: Flatten where it may be written, or nothing."""
        shape = state.ground.shape
        image = len(shape) == 3 and self._halved_twice(shape)
        may = image and self._fitting.completable("flatten", state.ground, state.cost)
        return (Flatten(),) if may else ()

    def _may_end(self, shape: Shape) -> bool:
        """Tell whether this is no longer a large image."""
        return len(shape) == 1 or self._halved_twice(shape)

    def _halved_twice(self, shape: Shape) -> bool:
        return all(now <= small for now, small in zip(shape, self._flat_size, strict=False))

    def _compute_decision(self, prefix: Sequence[int]) -> Decision | None:
        state = self._state(prefix)
        if state.stopped:
            return None
        if state.kind is None:
            return self._by_name[_TYPE]
        return self._by_name[f"{state.kind}.{DECIDED[state.kind][len(state.chosen)]}"]

    def _compute_mask(self, prefix: Sequence[int]) -> Mask:
        mask = np.zeros(self._width, dtype=np.int8)
        decision = self._decision(prefix)
        if decision is None:
            return mask
        state = self._state(prefix)
        if state.kind is not None:
            mask[: len(decision.choices)] = self._fitting.allowed(
                state.kind, state.chosen, state.ground, state.cost
            )
            return mask
        for token, choice in enumerate(decision.choices):
            mask[token] = choice != STOP and self._may_begin(str(choice), state)
        if state.layers:
            whole = len(state.layers) >= self.min_layers and self._may_end(state.ground.shape)
            mask[decision.choices.index(STOP)] = whole or not mask.any()
        return mask

    def _may_begin(self, kind: str, state: _State) -> bool:
        """Tell whether a layer of this type may come next."""
        if len(state.layers) == self.max_layers or not may_follow(kind, state.layers):
            return False
        shape = state.ground.shape
        if kind in IMAGE_ENDS and not self._halved_twice(shape):
            return False
        fits = fits_shape(kind, shape)
        return fits and self._fitting.completable(kind, state.ground, state.cost)

    def _reference_layers(self) -> tuple[Layer, ...]:
        body = plain_network(self.input_shape, self.choices)
        shape: Shape = self.input_shape
        for layer in body:
            shape, _ = layer_cost(layer, shape)
        flattened = (*body, Flatten())
        params = network_cost(flattened, self.input_shape, self.classes).params
        return flattened if self._halved_twice(shape) and params <= _MOST_FLAT else body


def _longer(state: _State, layer: Layer) -> _State:
    shape, cost = layer_cost(layer, state.ground.shape)
    wide = layer.filters if isinstance(layer, Conv | SeparableConv) else state.ground.widest
    ground = Ground(shape, wide, first=False)
    return _State(ground, state.cost + cost, (*state.layers, layer))


def _fewest_layers(asked: int | None, most: int) -> int:
    if asked is None:
        return min(_FEWEST, most)
    fewest = whole_number("min_layers", asked)
    if fewest > most:
        raise SpaceError(
            f"min_layers must be at most max_layers, got {fewest} and {most}; "
            "lower the one or raise the other"
        )
    return fewest


def _plain(tokens: Sequence[int]) -> Sequence[int]:
    """Return tokens as a key of the caches: as bytes, quick to make and to find, where they fit."""
    if type(tokens) is bytes:
        return tokens
    try:
        return bytes(tuple(tokens))
    except (TypeError, ValueError):  # no whole numbers, or not all from 0 to 255
        return whole_tokens(tokens)


def _plain_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) != 3:
        raise SpaceError(f"an image needs the shape (height, width, channels), got {shape!r}")
    height, width, channels = (whole_number("a size of the input shape", size) for size in sizes)
    return height, width, channels
