"""The training recipe as tokens: behind an architecture stands how it is trained.

The architecture's own sequence comes first, then one decision for each part of the recipe that
is searched, in the order of `RecipeConfig`. How strongly examples are changed is only decided
where they are changed at all. What is not searched is as the config says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from typing import Any

import numpy as np
from pydantic import ValidationError

from rlnas.config import (
    AUGMENTATIONS,
    AUGMENTATIONS_OF,
    OPTIMIZERS,
    RECIPE_PARTS,
    SCHEDULES,
    RecipeConfig,
)
from rlnas.errors import SpaceError, first_line, unknown_name
from rlnas.spaces.base import (
    Architecture,
    Decision,
    Mask,
    Space,
    anchor,
    check_tokens,
    whole_tokens,
)

RECIPE_PREFIX = "recipe."
"""What the names of its decisions begin with."""

_STRENGTH = "augment_strength"

RECIPE_CHOICES: dict[str, tuple[Any, ...]] = {
    "batch_size": (16, 32, 64, 128),
    "optimizer": OPTIMIZERS,
    "learning_rate": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    "schedule": SCHEDULES,
    "rate_per_layer": (1.0, 0.8, 0.6),
    "l1": (0.0, 1e-6, 1e-5, 1e-4),
    "l2": (0.0, 1e-5, 1e-4, 1e-3),
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.5),
    "batch_norm": (False, True),
    "label_smoothing": (0.0, 0.05, 0.1),
    "class_weight": (0.0, 0.25, 0.5, 1.0),
    **{name: (False, True) for name in AUGMENTATIONS},
    _STRENGTH: (0.05, 0.1, 0.2),
}
"""Choices by part; those of the config's own recipe are added (chosen: learning rates in half
decades, the others around what is usual)."""


@dataclass(frozen=True, slots=True)
class Times:
    """A factor: the choice is meant that is nearest to so many times that of the config."""

    factor: float


SUGGESTED: tuple[dict[str, Any], ...] = (
    {"learning_rate": Times(3)},
    {"learning_rate": Times(1 / 3)},
    {"flip": True},
    {"flip": True, "shift": True},
    {"flip": True, "shift": True, "dropout": 0.3},
    {"time_mask": True, "frequency_mask": True},
    {"dropout": 0.3},
    {"label_smoothing": 0.1},
)
"""Changes of the recipe that often help, by decision (chosen: what practitioners try first, most
of all the learning rate, by a factor of 3: Bengio 2012, Practical recommendations for
gradient-based training; flips, and flips with shifts, were seen to help on CIFAR-10, and a higher
rate on TREC with few texts). Most parts of a recipe change little, so that few trials hardly find
by chance those that do not; a portfolio of likely ones is tried before (as Feurer et al. 2022 begin
a search)."""


class RecipeSpace:
    """The architectures of another space, each with the recipe it is trained by.

    Args:
        space: The other space.
        parts: What of the recipe is searched, of `RECIPE_PARTS`; None for all.
        recipe: The recipe of the config. The reference child is trained by it, and its values
            are among the choices.
        choices: Choices by part that replace those of `RECIPE_CHOICES`, for example
            ``{"recipe.learning_rate": (0.001, 0.01)}``.
        augmentations: The random changes that fit the data, a kind of `AUGMENTATIONS_OF`.

    Raises:
        SpaceError: A part is unknown, or a choice is not one of it.
    """

    name = "recipe"

    def __init__(
        self,
        space: Space,
        parts: Sequence[str] | None = None,
        *,
        recipe: RecipeConfig | None = None,
        choices: Mapping[str, Sequence[Any]] | None = None,
        augmentations: Sequence[str] = AUGMENTATIONS_OF["image"],
    ) -> None:
        """See the class."""
        self.space = space
        self.parts = _known_parts(RECIPE_PARTS if parts is None else parts)
        self._recipe = RecipeConfig() if recipe is None else recipe
        self._changing = tuple(augmentations)
        offered = checked_recipe_choices(self.parts, self._recipe, choices or {}, self._changing)
        self._own = tuple(Decision(RECIPE_PREFIX + name, offered[name]) for name in offered)
        self._strength = self._own[-1] if "augment" in self.parts else None
        self._always = self._own[:-1] if self._strength else self._own
        self.decisions = (*space.decisions, *self._own)
        self._width = max(len(decision.choices) for decision in self.decisions)
        self.max_tokens = space.max_tokens + len(self._own)
        self._end = lru_cache(maxsize=4096)(self._compute_end)

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""
        prefix = whole_tokens(prefix)
        end = self._end(prefix)
        return self.space.decision(prefix) if end is None else self._next(prefix[end:])

    def anchor(self, prefix: Sequence[int]) -> int | None:
        """Return behind how many tokens the part ended that is decided on; see `Decision`."""
        return anchor(self.space, prefix) if self._end(whole_tokens(prefix)) is None else None

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros for a finished prefix."""
        prefix = whole_tokens(prefix)
        mask = np.zeros(self._width, dtype=np.int8)
        end = self._end(prefix)
        if end is None:
            inner = self.space.mask(prefix)
            mask[: len(inner)] = inner
        elif decision := self._next(prefix[end:]):
            mask[: len(decision.choices)] = 1
        return mask

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the network that a finished sequence writes, with its recipe.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """
        tokens = whole_tokens(tokens)
        check_tokens(self, tokens)
        end = self._end(tokens)
        network = self.space.architecture(tokens[:end])
        return replace(network, tokens=tokens, recipe=self._changes(tokens[end:]))

    def key(self, architecture: Architecture) -> str:
        """Return the canonical key of the network, and the recipe behind it."""
        changed = any(name == _STRENGTH for name, _ in architecture.recipe)
        own = len(self._always) + changed
        network = replace(architecture, tokens=architecture.tokens[:-own], recipe=())
        return f"{self.space.key(network)} | {architecture.recipe_text}"

    def reference(self) -> Architecture:
        """Return the reference child of the other space, trained by the recipe of the config."""
        network, own = self.space.reference(), self._written({})
        return replace(network, tokens=(*network.tokens, *own), recipe=self._changes(own))

    def suggestions(self) -> list[tuple[int, ...]]:
        """Return the reference child with recipes that often help, `SUGGESTED`; what fits of them.

        There are none where a cap keeps out the reference child.
        """
        reference = self.reference().tokens
        try:
            check_tokens(self, reference)
        except SpaceError:
            return []
        written = [self._suggested(reference, changes) for changes in SUGGESTED]
        return [tokens for tokens in written if tokens not in (None, reference)]

    def _suggested(
        self, reference: tuple[int, ...], changes: Mapping[str, Any]
    ) -> tuple[int, ...] | None:
        """Return the reference child with some decisions changed; None if one is not offered."""
        offered = {each.name.removeprefix(RECIPE_PREFIX): each.choices for each in self._own}
        meant = {
            name: self._nearest(name, value.factor, offered.get(name, ()))
            if isinstance(value, Times)
            else value
            for name, value in changes.items()
        }
        if any(value not in offered.get(name, ()) for name, value in meant.items()):
            return None
        return (*reference[: self._end(reference)], *self._written(meant))

    def _nearest(self, name: str, factor: float, choices: Sequence[float]) -> float | None:
        """Return the choice whose ratio to so many times the config's own is nearest to 1."""
        aim = log(factor) + log(_value(self._recipe, name))
        return min(choices, key=lambda choice: abs(log(choice) - aim), default=None)

    def _written(self, changes: Mapping[str, Any]) -> list[int]:
        """Return the recipe of the config, with some decisions changed, as tokens."""
        own: list[int] = []
        while decision := self._next(own):
            name = decision.name.removeprefix(RECIPE_PREFIX)
            own.append(decision.choices.index(changes.get(name, _value(self._recipe, name))))
        return own

    def to_json(self) -> dict[str, Any]:
        """Return all that defines the space."""
        return {
            "type": self.name,
            "space": self.space.to_json(),
            "parts": list(self.parts),
            "recipe": self._recipe.model_dump(mode="json"),
            "choices": {decision.name: list(decision.choices) for decision in self._own},
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the space travel to other processes, without its caches."""
        choices = {decision.name: decision.choices for decision in self._own}
        return _made, (self.space, self.parts, self._recipe, choices, self._changing)

    def _compute_end(self, prefix: tuple[int, ...]) -> int | None:
        """Return how many tokens the architecture has; None where it is not finished."""
        for length in range(0, len(prefix), 50):
            self._end(prefix[:length])  # keeps the recursion below Python's limit
        before = self._end(prefix[:-1]) if prefix else None
        if before is not None:
            return before
        return len(prefix) if self.space.decision(prefix) is None else None

    def _next(self, own: Sequence[int]) -> Decision | None:
        """Return what is decided behind these tokens of the recipe."""
        if len(own) < len(self._always):
            return self._always[len(own)]
        if self._strength and len(own) == len(self._always) and _augment(self._values(own)):
            return self._strength
        return None

    def _values(self, own: Sequence[int]) -> dict[str, Any]:
        """Return the choices that tokens of the recipe stand for, by part."""
        return {
            decision.name.removeprefix(RECIPE_PREFIX): decision.choices[token]
            for decision, token in zip(self._own, own, strict=False)
        }

    def _changes(self, own: Sequence[int]) -> tuple[tuple[str, Any], ...]:
        """Return what tokens of the recipe set, by field of `RecipeConfig` and in its order."""
        values = self._values(own)
        if "augment" in self.parts:
            values["augment"] = ",".join(_augment(values)) or "none"
        return tuple((name, values[name]) for name in RecipeConfig.model_fields if name in values)


def suggestions(space: Space) -> list[tuple[int, ...]]:
    """Return what is worth a trial before anything but the reference child is known of a space."""
    return space.suggestions() if isinstance(space, RecipeSpace) else []


def recipe_fields(space: Space) -> tuple[str, ...]:
    """Return the fields of `RecipeConfig` that the decisions of a space set, in its order."""
    names = [decision.name for decision in space.decisions]
    parts = {name.removeprefix(RECIPE_PREFIX) for name in names if name.startswith(RECIPE_PREFIX)}
    if parts & set(AUGMENTATIONS):
        parts.add("augment")
    return tuple(name for name in RecipeConfig.model_fields if name in parts)


def _made(
    space: Space,
    parts: Sequence[str],
    recipe: RecipeConfig,
    choices: Mapping[str, Sequence[Any]],
    augmentations: Sequence[str],
) -> RecipeSpace:
    return RecipeSpace(space, parts, recipe=recipe, choices=choices, augmentations=augmentations)


def _known_parts(parts: Sequence[str]) -> tuple[str, ...]:
    for name in parts:
        if name not in RECIPE_PARTS:
            raise SpaceError(unknown_name("part of the recipe", str(name), RECIPE_PARTS))
    if not parts:
        raise SpaceError(f"expected parts of the recipe, of {', '.join(RECIPE_PARTS)}, got none")
    return tuple(name for name in RECIPE_PARTS if name in parts)


def checked_recipe_choices(
    parts: Sequence[str],
    recipe: RecipeConfig,
    changed: Mapping[str, Sequence[Any]],
    augmentations: Sequence[str],
) -> dict[str, tuple[Any, ...]]:
    """Return the choices of each decision of the recipe, its name without the prefix.

    Args:
        parts: What of the recipe is searched, of `RECIPE_PARTS`.
        recipe: The recipe of the config, whose values are added.
        changed: Choices by decision that replace the default ones.
        augmentations: The random changes that fit the data.

    Raises:
        SpaceError: A decision is unknown, or a choice does not fit it.
    """
    names = [name for part in parts for name in _decided(part, augmentations)]
    for name in changed:
        if name.removeprefix(RECIPE_PREFIX) not in names or not name.startswith(RECIPE_PREFIX):
            known = [RECIPE_PREFIX + each for each in names]
            raise SpaceError(unknown_name("decision of the recipe", str(name), known))
    offered = {}
    for name in names:
        options = tuple(changed.get(RECIPE_PREFIX + name, RECIPE_CHOICES[name]))
        own = _value(recipe, name)
        checked = tuple(_checked(name, option) for option in options)
        if own not in checked:
            checked = (*checked, own)
            checked = tuple(sorted(checked)) if not isinstance(own, str) else checked
        if len(set(checked)) != len(checked):
            raise SpaceError(f"{RECIPE_PREFIX}{name} needs different choices, got {list(options)}")
        offered[name] = checked
    return offered


def _decided(part: str, augmentations: Sequence[str]) -> tuple[str, ...]:
    return (*augmentations, _STRENGTH) if part == "augment" else (part,)


def _value(recipe: RecipeConfig, name: str) -> Any:
    """Return what a recipe says at a decision."""
    return name in recipe.augmentations if name in AUGMENTATIONS else getattr(recipe, name)


def _checked(name: str, value: Any) -> Any:
    """Return a choice as the recipe takes it.

    Raises:
        SpaceError: The recipe does not take it.
    """
    if name in AUGMENTATIONS:
        if not isinstance(value, bool | np.bool):
            raise SpaceError(
                f"a choice of {RECIPE_PREFIX}{name} must be true or false, got {value!r}"
            )
        return bool(value)
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return getattr(RecipeConfig.model_validate({name: plain}), name)
    except ValidationError as error:
        reason = first_line(ValueError(error.errors()[0]["msg"]))
        raise SpaceError(f"{value!r} is no choice of {RECIPE_PREFIX}{name}: {reason}") from error


def _augment(values: Mapping[str, Any]) -> list[str]:
    return [name for name in AUGMENTATIONS if values.get(name)]
