"""The space of a grammar: what a user's rules write, for data of a shape."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np

from rlnas.cost import Cost, Embed, Layer, Shape, head_cost, layer_cost, network_cost
from rlnas.errors import SpaceError
from rlnas.spaces.base import Architecture, Decision, Mask, check_tokens, whole_tokens
from rlnas.spaces.canonical import canonical_text, is_idle
from rlnas.spaces.choices import whole_number
from rlnas.spaces.grammar.check import check_grammar, followers
from rlnas.spaces.grammar.rules import END, Grammar, GrammarError, Place, Position

_TRIED = 2000
"""Positions that are tried to find out whether a prefix can be finished (chosen)."""

_STRIDE = 50

_RANKS = {"image": 3, "audio": 3, "text": 2, "tabular": 1}


class _Why(NamedTuple):
    """Why a way to the end was not gone on.

    Attributes:
        tokens: How far it came.
        sentence: What was wrong.
        place: Where that stands in the rules.
    """

    tokens: int = -1
    sentence: str = "all ways were tried"
    place: Place = ("decisions",)


class _State(NamedTuple):
    """What a prefix means."""

    position: Position
    layers: tuple[Layer, ...]
    shape: Shape
    cost: Cost


class GrammarSpace:
    """The networks that the rules of a user write, below caps.

    A choice is allowed where its condition holds and some way from it to the end fits the data
    and the caps.

    Args:
        rules: The rules as plain data, as YAML gives them, or a grammar.
        input_shape: Shape of one example.
        classes: Number of classes; 1 where a number is predicted.
        max_params: Cap on the parameters, head included; None for none.
        max_flops: Cap on the FLOPs of one example; None for none.
        max_activations: Cap on the values that convolutions and the like put out for one
            example; None for none.

    Raises:
        GrammarError: A rule is wrong.
        SpaceError: No network of it fits the data and the caps.
    """

    type = "grammar"

    def __init__(
        self,
        rules: Mapping[str, Any] | Grammar,
        input_shape: Sequence[int],
        classes: int,
        *,
        max_params: int | None = 1_000_000,
        max_flops: int | None = None,
        max_activations: int | None = None,
    ) -> None:
        """See the class."""
        self.grammar = rules if isinstance(rules, Grammar) else Grammar.of(rules)
        self.name = self.grammar.name
        self.extent = check_grammar(self.grammar)
        self.max_tokens = self.extent.longest
        self.input_shape = self._checked_shape(input_shape)
        self.classes = whole_number("classes", classes)
        caps = {
            "max_params": max_params,
            "max_flops": max_flops,
            "max_activations": max_activations,
        }
        self._caps = {
            name: None if most is None else whole_number(name, most) for name, most in caps.items()
        }
        self.decisions = tuple(
            Decision(name, tuple(choice.value for choice in rule.choices))
            for name, rule in self.grammar.rules.items()
        )
        self._by_name = {decision.name: decision for decision in self.decisions}
        self._width = max(len(decision.choices) for decision in self.decisions)
        self._state = lru_cache(maxsize=65536)(self._compute_state)
        self._mask = lru_cache(maxsize=4096)(self._compute_mask)
        self._why = _Why()  # of the way that came farthest
        if not self._mask(()).any():
            raise GrammarError(
                self._why.place,
                f"no network of the space {self.name} fits examples of the shape "
                f"{self.input_shape} and the caps: {self._why.sentence}",
            )
        self._reference = self._reference_tokens()

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""
        name = self._state(whole_tokens(prefix)).position.name
        return None if name == END else self._by_name[name]

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros for a finished prefix."""
        return self._mask(whole_tokens(prefix)).copy()

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the layers that a finished sequence writes.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """
        tokens = whole_tokens(tokens)
        check_tokens(self, tokens)
        return Architecture(tokens, self._state(tokens).layers, self.input_shape, self.classes)

    def key(self, architecture: Architecture) -> str:
        """Return the layers that do something as one line of text."""
        return canonical_text([layer for layer in architecture.layers if not is_idle(layer)])

    def reference(self) -> Architecture:
        """Return the reference child of the rules, or what their first choices write."""
        return self.architecture(self._reference)

    def to_json(self) -> dict[str, Any]:
        """Return all that defines the space."""
        return {
            "type": self.type,
            "rules": self.grammar.to_json(),
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            **self._caps,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the space that `to_json` described.

        Raises:
            SpaceError: A field is missing or wrong.
        """
        try:
            return cls(**{name: record[name] for name in record if name != "type"})
        except TypeError as error:
            raise SpaceError(
                f"the description of a {cls.type} space is damaged: {error}"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the space travel to other processes, without its caches."""
        return type(self).from_json, (self.to_json(),)

    def _checked_shape(self, shape: Sequence[int]) -> Shape:
        kind, rank = self.grammar.data, _RANKS[self.grammar.data]
        sizes = tuple(shape)
        if len(sizes) != rank:
            raise SpaceError(
                f"the space {self.name} is for data of the kind {kind}, whose examples have {rank} "
                f"sizes, got the shape {sizes}"
            )
        return tuple(whole_number("a size of the input shape", size) for size in sizes)

    def _reference_tokens(self) -> tuple[int, ...]:
        """Return the tokens of the reference child."""
        wanted = self.grammar.reference
        tokens: list[int] = []
        while decision := self.decision(tokens):
            if wanted is None:
                tokens.append(int(np.flatnonzero(self._mask(tuple(tokens)))[0]))
                continue
            place = ("reference", min(len(tokens), len(wanted) - 1)) if wanted else ("reference",)
            told = f"choice {len(tokens) + 1} is of {decision.name}"
            allowed = [decision.choices[token] for token in np.flatnonzero(self.mask(tokens))]
            expected = f"expected one of {', '.join(map(str, allowed))}"
            if len(tokens) == len(wanted):
                raise GrammarError(place, f"{told}, and the list is at its end; {expected}")
            if wanted[len(tokens)] not in allowed:
                raise GrammarError(place, f"{told}, got {wanted[len(tokens)]!r}; {expected}")
            tokens.append(decision.choices.index(wanted[len(tokens)]))
        if wanted is not None and len(wanted) > len(tokens):
            raise GrammarError(
                ("reference", len(tokens)), f"the network is finished after {len(tokens)} choices"
            )
        return tuple(tokens)

    def _compute_state(self, prefix: tuple[int, ...]) -> _State:
        if not prefix:
            whole = network_cost((), self.input_shape, self.classes)
            head = head_cost(self.input_shape, self.classes)
            return _State(self.grammar.first(), (), self.input_shape, whole - head)
        for length in range(_STRIDE, len(prefix), _STRIDE):
            self._state(prefix[:length])  # keeps the recursion below Python's limit
        before, token = self._state(prefix[:-1]), prefix[-1]
        name = before.position.name
        if name == END or not 0 <= token < len(self._by_name[name].choices):
            expected = "nothing" if name == END else f"0..{len(self._by_name[name].choices) - 1}"
            raise SpaceError(
                f"token {token} at position {len(prefix) - 1} is out of range: expected {expected}"
            )
        position = self.grammar.behind(before.position, token)
        values = {**before.position.values, name: self._by_name[name].choices[token]}
        layers, shape, cost = before.layers, before.shape, before.cost
        place: Place = ("decisions", name)
        try:
            for planned in self.grammar.rules[name].choices[token].layers:
                place, layer = planned.place, planned.made(values)
                self._check_place(layer, layers)
                shape, more = layer_cost(layer, shape)
                layers, cost = (*layers, layer), cost + more
            self._check_caps(cost)
            if position.name == END:
                if self.grammar.data == "text" and not layers:
                    raise SpaceError("a network of texts begins with embed")
                self._check_caps(cost + head_cost(shape, self.classes))
        except SpaceError as error:
            raise GrammarError(place, str(error)) from error
        return _State(position, layers, shape, cost)

    def _check_place(self, layer: Layer, layers: tuple[Layer, ...]) -> None:
        first = self.grammar.data == "text" and not layers
        if isinstance(layer, Embed) != first:
            raise SpaceError(
                "a network of texts begins with embed, and has no other"
                if self.grammar.data == "text"
                else "embed is for texts"
            )

    def _check_caps(self, cost: Cost) -> None:
        for cap, value in (
            ("max_params", cost.params),
            ("max_flops", cost.flops),
            ("max_activations", cost.activations),
        ):
            most = self._caps[cap]
            if most is not None and value > most:
                raise SpaceError(f"{value:,} is above {cap}, {most:,}")

    def _compute_mask(self, prefix: tuple[int, ...]) -> Mask:
        mask = np.zeros(self._width, dtype=np.int8)
        position = self._state(prefix).position
        if position.name != END:
            for token in self.grammar.allowed(position):
                mask[token] = self._can_finish((*prefix, token))
        return mask

    def _can_finish(self, prefix: tuple[int, ...]) -> bool:
        """Tell whether a way from a prefix to the end is found."""
        todo = [prefix]
        for _ in range(_TRIED):
            if not todo:
                return False
            tried = todo.pop()
            try:
                position = self._state(tried).position
            except GrammarError as error:
                if len(tried) > self._why.tokens:
                    self._why = _Why(len(tried), error.sentence, error.place)
                continue
            if position.name == END:
                return True
            allowed = self.grammar.allowed(position)
            choices = self.grammar.rules[position.name].choices
            near = sorted(allowed, key=lambda token: self._distances[choices[token].next])
            todo += [(*tried, token) for token in reversed(near)]
        return False

    def impossible(self, walks: int) -> list[GrammarError]:
        """Return each choice that no network drawn at random could make, with the reason.

        Args:
            walks: How many networks are drawn.
        """
        rng, possible = np.random.default_rng(0), set()
        refused: dict[tuple[str, int], tuple[int, ...]] = {}  # behind which tokens
        for _ in range(walks):
            tokens: tuple[int, ...] = ()
            while decision := self.decision(tokens):
                allowed = self.mask(tokens).nonzero()[0].tolist()
                possible |= {(decision.name, token) for token in allowed}
                for token in self.grammar.allowed(self._state(tokens).position):
                    refused.setdefault((decision.name, token), tokens)
                tokens = (*tokens, allowed[int(rng.integers(len(allowed)))])
        return [
            self._refusal(name, token, behind)
            for (name, token), behind in refused.items()
            if (name, token) not in possible
        ]

    def _refusal(self, name: str, token: int, behind: tuple[int, ...]) -> GrammarError:
        self._why = _Why()
        self._can_finish((*behind, token))
        value = self._by_name[name].choices[token]
        sentence = f"no network can have {value} of {name}: {self._why.sentence}"
        return GrammarError(self._why.place, sentence)

    @cached_property
    def _distances(self) -> dict[str, int]:
        """Return the fewest decisions from each one to the end, conditions left out.

        One that was decided as often as it may be is passed over.
        """
        found = {END: 0}
        for _ in self.grammar.rules:
            for name, rule in self.grammar.rules.items():
                later = [found[each] for each in followers(rule) if each in found]
                if later:
                    found[name] = min(found.get(name, len(self.grammar.rules)), 1 + min(later))
        return found
