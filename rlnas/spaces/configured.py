"""The spaces of rlnas as a config describes them."""

from collections.abc import Sequence

from rlnas.config import SpaceConfig
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
        max_params=config.max_params,
        max_flops=config.max_flops,
        max_activations=config.max_activations,
        choices={
            decision: options
            for decision, options in config.choices.items()
            if not decision.startswith(RECIPE_PREFIX)
        },
    )
