"""Chains of layers: the sequence of decisions that all such spaces have in common.

A sequence is read as follows: the type of the first layer, then that type's own
decisions, then the type of the next layer, and so on until ``stop``. Behind the stop
comes the head. What kinds of chains there are differ in their layers and rules.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from rlnas.cost import (
    LAYER_TYPES,
    Conv,
    Conv1D,
    Cost,
    Layer,
    SeparableConv,
    Shape,
    head_cost,
    layer_cost,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces.base import Architecture, Decision, Mask, check_tokens, whole_tokens
from rlnas.spaces.canonical import canonical_text, is_idle
from rlnas.spaces.choices import checked_choices, whole_number
from rlnas.spaces.fitting import DECIDED, Fitting, Ground

STOP = "stop"

_TYPE = "layer"
_FIELDS = {
    *("input_shape", "classes", "max_layers", "min_layers"),
    *("max_params", "max_flops", "max_activations", "choices"),
}
"""What a description in JSON holds besides the type."""
_STRIDE = 50
"""Tokens after which a prefix is read ahead, far below the depth of recursion Python allows."""


class Node(NamedTuple):
    """A layer that later ones can be connected to."""

    number: int  # of its record in the network
    shape: Shape
    end: int  # tokens up to its last
    taken: bool = False  # by a later layer


class State(NamedTuple):
    """What a prefix has come to; the cost is without a head."""

    ground: Ground
    cost: Cost
    layers: tuple[Layer, ...] = ()
    kind: str | None = None  # type of the layer that is being written
    chosen: tuple[Any, ...] = ()  # its decisions so far
    stopped: bool = False
    depth: int = 0  # layers that were written; joins are not
    nodes: tuple[Node, ...] = ()  # what later layers can be connected to, where they can
    switched: tuple[bool, ...] = ()  # for each node, whether the layer being written takes it


class ChainSpace(ABC):
    """Chains of layers below caps on parameters, FLOPs and activations.

    The caps hold behind each layer, with the head that would follow if the network ended
    there.

    Args:
        input_shape: Shape of one example.
        classes: Number of classes; 1 where a number is predicted.
        max_layers: Most layers before the head.
        min_layers: Fewest layers before the head, where more than fewer fit; None for the
            space's own default, or `max_layers` if that is less.
        max_params: Cap on the parameters, head included.
        max_flops: Cap on the FLOPs of one example; None for a multiple of those of the
            reference child.
        max_activations: Cap on the values that convolutions and the like put out for one
            example; None for three times those of the reference child (chosen).
        choices: Choices by decision name that replace the space's own.

    Raises:
        SpaceError: A shape, a cap or a choice is wrong, `min_layers` is more than
            `max_layers`, or no network fits below the caps.
    """

    name: ClassVar[str]
    types: ClassVar[tuple[str, ...]]
    """Types of its layers, in the order of their tokens."""
    default_choices: ClassVar[Mapping[str, tuple[Any, ...]]]
    fewest: ClassVar[int]
    """Layers before the head at least, where nothing is said."""
    flops_factor: ClassVar[float] = 4.0
    """Cap on the FLOPs in those of the reference child, where nothing is said (chosen)."""
    activations_factor: ClassVar[float] = 3.0
    """The same of the activations (chosen)."""

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
        self.input_shape = self._checked_shape(input_shape)
        self.classes = whole_number("classes", classes)
        self.max_layers = whole_number("max_layers", max_layers)
        self.min_layers = self._fewest_layers(min_layers)
        self.max_params = whole_number("max_params", max_params)
        self.choices = checked_choices({} if choices is None else choices, self.default_choices)
        self._reference = self._reference_layers()
        cost = network_cost(self._reference, self.input_shape, self.classes)
        flops = round(self.flops_factor * cost.flops) if max_flops is None else max_flops
        self.max_flops = whole_number("max_flops", flops)
        if max_activations is None:
            self.max_activations = max(1, round(self.activations_factor * cost.activations))
        else:
            self.max_activations = whole_number("max_activations", max_activations)
        caps = Cost(self.max_params, self.max_flops, self.max_activations)
        self._fitting = Fitting(self.choices, self.classes, caps, self._worthwhile)
        self.decisions: tuple[Decision, ...] = (
            Decision(_TYPE, (*self.types, STOP)),
            *(Decision(name, options) for name, options in self.choices.items()),
            *self._more_decisions(),
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

    @abstractmethod
    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of one example as the space takes it."""

    @abstractmethod
    def _reference_layers(self) -> tuple[Layer, ...]:
        """Return the layers of the reference child."""

    @abstractmethod
    def _may_follow(self, kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
        """Tell whether a type of layer is worth writing, whatever it costs."""

    @abstractmethod
    def _may_end(self, shape: Shape) -> bool:
        """Tell whether a network may end where its output has this shape."""

    @abstractmethod
    def _worthwhile(self, kind: str, field: str, ground: Ground) -> tuple[Any, ...]:
        """Return the choices of a decision that make sense behind these layers."""

    def _end(self, state: State) -> tuple[Layer, ...]:
        """Return the layers that the stop adds to a network."""
        return ()

    def _more_decisions(self) -> tuple[Decision, ...]:
        """Return decisions that are neither a layer's type nor a field of it."""
        return ()

    def _canonical(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Return one form for all chains that are the same network."""
        return [layer for layer in layers if not is_idle(layer)]

    def _to_write(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Return which of a network's layers are written: the stop adds the others."""
        return layers

    @property
    def max_tokens(self) -> int:
        """The most tokens an architecture can have: full layers and the stop token."""
        longest = max(len(DECIDED[kind]) for kind in self.types)
        return self.max_layers * (1 + longest) + 1

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""
        return self._decision(plain(prefix))

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros for a finished prefix."""
        return self._mask(plain(prefix)).copy()

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the layers that a finished sequence writes.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """
        return self._architecture(plain(tokens))

    def key(self, architecture: Architecture) -> str:
        """Return the canonical layers as one line of text."""
        return canonical_text(self._canonical(architecture.layers))

    def tokens(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """Return the tokens that write these layers, stop token included.

        Raises:
            SpaceError: A layer holds a value that is not among the choices, or does not take
                what comes from the layer before it.
        """
        written: list[int] = []
        for layer in self._to_write(layers):
            written.append(self._index(_TYPE, layer.kind))
            for field in DECIDED[layer.kind]:
                written.append(self._index(f"{layer.kind}.{field}", getattr(layer, field)))
        return (*written, self._index(_TYPE, STOP))

    def reference(self) -> Architecture:
        """Return the reference child, a plain good network, which no cap binds."""
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
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the space that `to_json` described.

        Raises:
            SpaceError: A field is missing or wrong.
        """
        article = "an" if cls.name[0] in "aeiou" else "a"
        damaged = f"the description of {article} {cls.name} space is damaged"
        options: dict[str, Any] = {name: record[name] for name in record if name != "type"}
        if missing := sorted(_FIELDS - options.keys()):
            raise SpaceError(f"{damaged}: it lacks {', '.join(missing)}")
        try:
            return cls(**options)
        except TypeError as error:
            raise SpaceError(f"{damaged}: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the space travel to other processes, without its caches."""
        return type(self).from_json, (self.to_json(),)

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

    def _nothing(self) -> State:
        """Return what there is before the first layer."""
        head = head_cost(self.input_shape, self.classes)
        whole = network_cost((), self.input_shape, self.classes)
        return State(Ground(self.input_shape), whole - head)

    def _compute_state(self, prefix: Sequence[int]) -> State:
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
        return self._behind(before, choice, len(prefix))

    def _behind(self, before: State, choice: Any, end: int) -> State:
        """Return the state behind one more choice.

        Args:
            before: The state before it.
            choice: What was chosen.
            end: How many tokens there are with it.
        """
        if before.kind is None:
            if choice == STOP:
                return before._replace(stopped=True, layers=before.layers + self._end(before))
            state = before._replace(kind=choice, chosen=())
        else:
            state = before._replace(chosen=(*before.chosen, choice))
        if state.kind is None or len(state.chosen) < len(DECIDED[state.kind]):
            return state
        return longer(state, LAYER_TYPES[state.kind](*state.chosen))

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
            whole = state.depth >= self.min_layers and self._may_end_behind(state)
            mask[decision.choices.index(STOP)] = whole or not mask.any()
        return mask

    def _may_end_behind(self, state: State) -> bool:
        """Tell whether a network may end here."""
        return self._may_end(state.ground.shape)

    def _may_begin(self, kind: str, state: State) -> bool:
        """Tell whether a layer of this type may come next."""
        if state.depth == self.max_layers:
            return False
        worth = self._may_follow(kind, state.layers, state.ground.shape)
        return worth and self._fitting.completable(kind, state.ground, state.cost)

    def _fewest_layers(self, asked: int | None) -> int:
        if asked is None:
            return min(self.fewest, self.max_layers)
        fewest = whole_number("min_layers", asked)
        if fewest > self.max_layers:
            raise SpaceError(
                f"min_layers must be at most max_layers, got {fewest} and {self.max_layers}; "
                "lower the one or raise the other"
            )
        return fewest


def longer(state: State, layer: Layer) -> State:
    """Return the state behind one more layer."""
    shape, cost = layer_cost(layer, state.ground.shape)
    wide = state.ground.widest
    if isinstance(layer, Conv | SeparableConv | Conv1D):
        wide = layer.filters
    ground = Ground(shape, wide, first=False)
    return state._replace(
        ground=ground,
        cost=state.cost + cost,
        layers=(*state.layers, layer),
        kind=None,
        chosen=(),
        depth=state.depth + 1,
    )


def plain(tokens: Sequence[int]) -> Sequence[int]:
    """Return tokens as a key of the caches: as bytes, quick to make and to find, where they fit."""
    if type(tokens) is bytes:
        return tokens
    try:
        return bytes(tuple(tokens))
    except (TypeError, ValueError):  # no whole numbers, or not all from 0 to 255
        return whole_tokens(tokens)
