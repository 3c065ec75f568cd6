"""What a space is: decisions, architectures and the protocol between spaces and the rest.

Letters: A is the largest number of choices of any decision, T the largest number of tokens.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlnas.config import RecipeConfig
from rlnas.cost import Cost, Layer, Shape, describe, layer_to_json, network_cost
from rlnas.errors import SpaceError

Mask = npt.NDArray[np.int8]

_IDLE = {
    "rate_per_layer": 1.0,
    "l1": 0.0,
    "l2": 0.0,
    "dropout": 0.0,
    "batch_norm": False,
    "label_smoothing": 0.0,
    "class_weight": 0.0,
    "augment": "none",
}
"""Values of the recipe's fields that leave a training as it is without them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One kind of position in a token sequence.

    Attributes:
        name: What is decided, for example ``"conv.filters"``.
        choices: What may stand there; a token is an index into it.
        looks_back: Whether it is about an earlier part of the sequence, and its choices are
            whether that is not taken, or is. The space then has a method ``anchor(prefix)`` that
            returns behind how many tokens that part ended; None before other decisions.
    """

    name: str
    choices: tuple[Any, ...]
    looks_back: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """A finished network: what was written, and what it means.

    Attributes:
        tokens: The sequence as it was written, stop token included.
        layers: The layers before the head; none for a row of a table.
        input_shape: Shape of one example.
        classes: Number of classes, the units of the head.
        text: What a table calls it; empty for a network of layers.
        recipe: What it sets of the recipe it is trained by: fields of
            `rlnas.config.RecipeConfig` and their values; none of them where only the network
            is searched.
    """

    tokens: tuple[int, ...]
    layers: tuple[Layer, ...]
    input_shape: Shape
    classes: int
    text: str = ""
    recipe: tuple[tuple[str, Any], ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether it is a row of a table: a name, of whose layers nothing is known."""
        return bool(self.text)

    @property
    def cost(self) -> Cost:
        """Parameters and FLOPs, the head included; zeros for a row of a table."""
        if self.is_named:
            return Cost()
        return network_cost(self.layers, self.input_shape, self.classes)

    def describe(self) -> str:
        """Return the layers, and the recipe if it is searched, in one line of text."""
        network = self.text or " > ".join(describe(layer) for layer in self.layers)
        recipe = f" | {self.recipe_text}" if self.recipe else ""
        return f"{network or '(head only)'}{recipe}"

    @property
    def recipe_text(self) -> str:
        """What is set of the recipe, in one line of text that leaves out what does nothing."""
        told = [f"{name} {value}" for name, value in self.recipe if value != _IDLE.get(name)]
        return ", ".join(told) or "no part of the recipe"

    def trained_by(self, recipe: RecipeConfig) -> RecipeConfig:
        """Return a recipe with what the architecture sets of it."""
        return recipe.model_copy(update=dict(self.recipe)) if self.recipe else recipe

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON."""
        return {
            "tokens": list(self.tokens),
            "layers": [layer_to_json(layer) for layer in self.layers],
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            **({"recipe": dict(self.recipe)} if self.recipe else {}),
        }


class Space(Protocol):
    """The grammar of architectures: which token may follow which prefix.

    A space is immutable and all its methods are pure functions. A prefix is a
    sequence of tokens each of which the mask allowed; the space may refuse others
    with `SpaceError`. Every prefix can be finished: its mask is never all zeros.
    """

    @property
    def name(self) -> str:
        """Name of the kind of space, for example ``"image"``."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All kinds of decisions, each name once, in a fixed order."""

    @property
    def max_tokens(self) -> int:
        """T, the most tokens an architecture can have, stop token included."""

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return what is decided next, or None when the prefix is finished."""

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A], 1 for allowed.

        All zeros for a finished prefix.
        """

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return what a finished sequence means.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not finished.
        """

    def key(self, architecture: Architecture) -> str:
        """Return the canonical key: equal networks have equal keys."""

    def reference(self) -> Architecture:
        """Return the reference child: a plain good network, to compare a search with.

        It is written in the space's tokens, but no cap of the space binds it.
        """

    def to_json(self) -> dict[str, Any]:
        """Return all that defines the space; `space_from_json` reads it."""


def max_choices(space: Space) -> int:
    """Return A, the largest number of choices of any decision of the space."""
    return max(len(decision.choices) for decision in space.decisions)


def anchor(space: Space, prefix: Sequence[int]) -> int | None:
    """Return behind how many tokens the part ended that the next decision is about.

    None before decisions that are not about an earlier part; see `Decision`.
    """
    found = getattr(space, "anchor", None)
    return None if found is None else found(prefix)


def fingerprint(space: Space) -> str:
    """Return twelve hexadecimal digits that differ when the spaces differ."""
    text = json.dumps(space.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_tokens(space: Space, tokens: Sequence[int]) -> None:
    """Check that a token sequence is legal and finished.

    Raises:
        SpaceError: It is not; the sentence names the token, its position and what was expected.
    """
    for position, token in enumerate(tokens):
        decision = space.decision(tokens[:position])
        if decision is None:
            raise SpaceError(
                f"the architecture is finished after {position} tokens, got {len(tokens)}; "
                "drop the rest"
            )
        check_token(space, tokens[:position], int(token), decision)
    if (decision := space.decision(tokens)) is not None:
        raise SpaceError(
            f"the architecture is not finished after {len(tokens)} tokens: "
            f"{decision.name} is still to be decided"
        )


def check_token(space: Space, prefix: Sequence[int], token: int, decision: Decision) -> None:
    """Check one token against its decision and its mask.

    Raises:
        SpaceError: It is out of range or masked.
    """
    place = f"token {token} at position {len(prefix)} ({decision.name})"
    if not 0 <= token < len(decision.choices):
        raise SpaceError(f"{place} is out of range: expected 0..{len(decision.choices) - 1}")
    mask = space.mask(prefix)
    if not mask[token]:
        raise SpaceError(
            f"{place} is not allowed here: expected one of {np.flatnonzero(mask).tolist()}"
        )


def whole_tokens(tokens: Sequence[int]) -> tuple[int, ...]:
    """Return tokens as Python's own whole numbers.

    Raises:
        SpaceError: They are none.
    """
    try:
        return tuple(index(token) for token in tokens)
    except TypeError as error:
        raise SpaceError(f"tokens must be whole numbers, got {tokens!r}") from error


def observation(tokens: Sequence[int], max_tokens: int) -> npt.NDArray[np.int64]:
    """Return a prefix as an observation: int64[T], token + 1, 0 where nothing is chosen yet."""
    padded = np.zeros(max_tokens, dtype=np.int64)
    padded[: len(tokens)] = np.asarray(tokens, dtype=np.int64) + 1
    return padded


def prefix_of(observed: npt.NDArray[Any]) -> tuple[int, ...]:
    """Return the prefix that an observation shows; the inverse of `observation`."""
    return tuple((observed[: np.count_nonzero(observed)] - 1).tolist())
