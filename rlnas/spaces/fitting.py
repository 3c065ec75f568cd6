"""Which decisions of a layer make sense behind other layers, and keep a network below its caps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

from rlnas.cost import (
    LAYER_TYPES,
    Cost,
    Shape,
    activation_flops,
    head_cost,
    join_cost,
    layer_cost,
)

DECIDED = {
    kind: tuple(field.name for field in fields(layer)) for kind, layer in LAYER_TYPES.items()
}
"""Names of each layer type's own decisions, in order."""


class Ground(NamedTuple):
    """What the choices of the next layer depend on, whatever they cost."""

    shape: Shape
    widest: int = 0  # filters of the last convolution
    first: bool = True  # no layer was written
    beside: tuple[Shape, ...] = ()  # of other images that the head would take too


Worthwhile = Callable[[str, str, Ground], tuple[Any, ...]]
"""Returns the choices of a layer's field that make sense behind some layers, whatever they cost."""


def usual_choices(
    choices: Mapping[str, tuple[Any, ...]], kind: str, field: str, ground: Ground
) -> tuple[Any, ...]:
    """Return the choices of a field by two rules: filters never become fewer, units never more."""
    offered = choices[f"{kind}.{field}"]
    match field:
        case "filters":
            return tuple(each for each in offered if each >= ground.widest)
        case "units" if kind == "dense":
            return tuple(each for each in offered if each <= ground.shape[0])
        case _:
            return offered


class Fitting:
    """Tells which choices a layer has, decision by decision.

    Args:
        choices: By decision name.
        classes: Units of the head.
        caps: What a network may cost at most, with the head that would follow.
        worthwhile: Returns the choices that make sense.
    """

    def __init__(
        self,
        choices: Mapping[str, tuple[Any, ...]],
        classes: int,
        caps: Cost,
        worthwhile: Worthwhile,
    ) -> None:
        """See the class."""
        self._choices, self._classes, self._caps = choices, classes, caps
        self._legal = lru_cache(maxsize=4096)(worthwhile)
        self._cheapest = lru_cache(maxsize=4096)(self._compute_cheapest)
        self._closing_cost = lru_cache(maxsize=16384)(self._compute_closing_cost)
        self._closing_costs = lru_cache(maxsize=8192)(self._compute_closing_costs)

    def completable(self, kind: str, ground: Ground, body: Cost) -> bool:
        """Tell whether a layer of this type can be written and stopped behind below the caps.

        All is filled with its cheapest choice: cost grows with each decision when the others are
        held, so if that does not fit nothing does.

        Args:
            kind: Type of the layer.
            ground: What it stands behind.
            body: Cost of the layers before it, without a head.
        """
        chosen = self._cheapest(kind, 0, ground)
        if chosen is None:
            return False
        return _within(self._closing_cost(kind, chosen, ground), self._caps - body)

    def allowed(
        self, kind: str, chosen: Sequence[Any], ground: Ground, body: Cost
    ) -> tuple[bool, ...]:
        """Tell which choices the next decision of a layer has.

        Args:
            kind: Type of the layer.
            chosen: Its decisions so far; of those behind the next the cheapest choice is taken.
            ground: What it stands behind.
            body: Cost of the layers before it, without a head.
        """
        left = self._caps - body
        return tuple(
            added is not None and _within(added, left)
            for added in self._closing_costs(kind, tuple(chosen), ground)
        )

    def _compute_closing_costs(
        self, kind: str, chosen: tuple[Any, ...], ground: Ground
    ) -> tuple[Cost | None, ...]:
        """Return the closing cost by the next decision's choices, None for what is not legal."""
        field = DECIDED[kind][len(chosen)]
        choices = self._choices[f"{kind}.{field}"]
        rest = self._cheapest(kind, len(chosen) + 1, ground)
        legal = () if rest is None else self._legal(kind, field, ground)
        return tuple(
            self._closing_cost(kind, (*chosen, choice, *(rest or ())), ground)
            if choice in legal
            else None
            for choice in choices
        )

    def _compute_closing_cost(self, kind: str, chosen: tuple[Any, ...], ground: Ground) -> Cost:
        """Return what a layer costs together with the head behind it."""
        behind, cost = layer_cost(LAYER_TYPES[kind](*chosen), ground.shape)
        if ground.beside:
            behind, _ = join_cost([*ground.beside, behind])
        return cost + head_cost(behind, self._classes)

    def _compute_cheapest(self, kind: str, place: int, ground: Ground) -> tuple[Any, ...] | None:
        """Return the cheapest choices of a layer from a decision on, or None where one has none."""
        options: list[Any] = []
        for field in DECIDED[kind][place:]:
            legal = self._legal(kind, field, ground)
            if not legal:
                return None
            match field:
                case "activation":
                    options.append(min(legal, key=activation_flops))
                case "stride":
                    options.append(max(legal))
                case _:
                    options.append(min(legal))
        return tuple(options)


def _within(added: Cost, left: Cost) -> bool:
    """Tell whether a cost keeps what is left of the caps."""
    return (
        added.params <= left.params
        and added.flops <= left.flops
        and added.activations <= left.activations
    )
