"""The spaces of rlnas as a config describes them."""

from collections.abc import Sequence
from typing import Any

from rlnas.config import SpaceConfig
from rlnas.errors import SpaceError
from rlnas.spaces.chain import ChainSpace
from rlnas.spaces.image import ImageSpace
from rlnas.spaces.recipe import RECIPE_PREFIX
from rlnas.spaces.sequence import AudioSpace, TextSpace
from rlnas.spaces.skip import SkipSpace
from rlnas.spaces.tabular import TabularSpace

CHAINS: dict[str, type[ChainSpace]] = {
    space.name: space for space in (ImageSpace, SkipSpace, TextSpace, AudioSpace, TabularSpace)
}
"""The spaces of chains by name: for each kind of data one of the same name, and others."""

_CAPS = ("max_params", "max_flops", "max_activations")
_OF_CHAINS = {"max_layers": "--max-layers", "min_layers": "--min-layers", "choices": ""}


def chain_of(
    config: SpaceConfig, name: str, input_shape: Sequence[int], classes: int
) -> ChainSpace:
    """Return a space of chains.

    Args:
        config: Its limits and choices; those of the recipe are left to `RecipeSpace`.
        name: Which one, of `CHAINS`.
        input_shape: Shape of an example.
        classes: Number of classes.

    Raises:
        SpaceError: No network fits, or a choice is wrong.
    """
    return CHAINS[name](
        input_shape,
        classes,
        max_layers=config.max_layers,
        min_layers=config.min_layers,
        **caps_of(config),
        choices={
            decision: options
            for decision, options in config.choices.items()
            if not decision.startswith(RECIPE_PREFIX)
        },
    )


def caps_of(config: SpaceConfig) -> dict[str, Any]:
    """Return the caps on the cost of a child, as every space takes them."""
    return {cap: getattr(config, cap) for cap in _CAPS}


def check_own_rules(config: SpaceConfig) -> None:
    """Check that a space with rules of its own is given no settings of a space of chains.

    Raises:
        SpaceError: It is.
    """
    for field, flag in _OF_CHAINS.items():
        if getattr(config, field) != SpaceConfig.model_fields[field].default:
            raise SpaceError(
                f"space.{field}{f' ({flag})' if flag else ''} is of the spaces of rlnas, and "
                f"{config.name} has its own rules; leave it out"
            )
