"""The grammars of architectures: which token may follow which prefix."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rlnas.config import AUGMENTATIONS, RecipeConfig
from rlnas.cost import ACTIVATIONS
from rlnas.errors import SpaceError, first_line
from rlnas.spaces.base import (
    Architecture,
    Decision,
    Mask,
    Space,
    anchor,
    check_token,
    check_tokens,
    fingerprint,
    max_choices,
    observation,
    prefix_of,
)
from rlnas.spaces.chain import ChainSpace
from rlnas.spaces.choices import DEFAULT_CHOICES, checked_choices
from rlnas.spaces.configured import CHAINS, caps_of, chain_of, check_own_rules
from rlnas.spaces.grammar import Grammar, GrammarError, GrammarSpace, place_in_text, read_grammar
from rlnas.spaces.image import ImageSpace
from rlnas.spaces.recipe import (
    RECIPE_CHOICES,
    RECIPE_PREFIX,
    RecipeSpace,
    checked_recipe_choices,
    recipe_fields,
    suggestions,
)
from rlnas.spaces.sequence import AudioSpace, TextSpace
from rlnas.spaces.skip import SkipSpace
from rlnas.spaces.table import TableSpace
from rlnas.spaces.tabular import TabularSpace

__all__ = [
    "ACTIVATIONS",
    "CHAINS",
    "DEFAULT_CHOICES",
    "RECIPE_CHOICES",
    "RECIPE_PREFIX",
    "Architecture",
    "AudioSpace",
    "ChainSpace",
    "Decision",
    "Grammar",
    "GrammarError",
    "GrammarSpace",
    "ImageSpace",
    "Mask",
    "RecipeSpace",
    "SkipSpace",
    "Space",
    "TableSpace",
    "TabularSpace",
    "TextSpace",
    "anchor",
    "caps_of",
    "chain_of",
    "check_own_rules",
    "check_token",
    "check_tokens",
    "checked_choices",
    "checked_recipe_choices",
    "fingerprint",
    "max_choices",
    "observation",
    "place_in_text",
    "prefix_of",
    "read_grammar",
    "recipe_fields",
    "space_from_json",
    "suggestions",
]


def space_from_json(record: Mapping[str, Any]) -> Space:
    """Return the space that a `to_json` described.

    Raises:
        SpaceError: The type is unknown or the description damaged.
    """
    if not isinstance(record, Mapping):
        raise SpaceError(f"expected the JSON of a space, got {type(record).__name__}")
    if record.get("type") == RecipeSpace.name:
        return _recipe_space(record)
    kinds: dict[Any, Any] = {
        **CHAINS,
        TableSpace.name: TableSpace,
        GrammarSpace.type: GrammarSpace,
    }
    kind = kinds.get(record.get("type"))
    if kind is None:
        raise SpaceError(
            f"unknown type of space {record.get('type')!r}: expected one of "
            f"{sorted([*kinds, RecipeSpace.name])}"
        )
    space: Space = kind.from_json(record)
    return space


def _recipe_space(record: Mapping[str, Any]) -> Space:
    try:
        recipe = RecipeConfig.model_validate(record["recipe"])
        return RecipeSpace(
            space_from_json(record["space"]),
            record["parts"],
            recipe=recipe,
            choices=record["choices"],
            augmentations=[
                name for name in AUGMENTATIONS if f"{RECIPE_PREFIX}{name}" in record["choices"]
            ],
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise SpaceError(
            f"the description of a space with recipes is damaged: {first_line(error)}"
        ) from error
