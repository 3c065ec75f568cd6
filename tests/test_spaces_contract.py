"""The spaces that ship keep the contract of `rlnas.spaces.Space`."""

import numpy as np
import pytest

from rlnas.config import RecipeConfig
from rlnas.spaces import ImageSpace, RecipeSpace, TableSpace
from rlnas.testing import check_space, small_space


@pytest.mark.parametrize(
    ("space", "walks"),
    [
        (ImageSpace((28, 28, 1), 10), 60),
        (ImageSpace((8, 8, 1), 10, max_layers=4), 60),
        (ImageSpace((1, 1, 3), 2, max_layers=3), 60),
        (ImageSpace((5, 2, 3), 2, max_layers=20, max_params=500), 60),
        (ImageSpace((32, 32, 3), 100, max_flops=1_000_000), 60),
        (ImageSpace((28, 28, 1), 10, choices={"conv.stride": (1, 2, 4)}), 60),
        (small_space(), 200),
    ],
    ids=["default", "digits", "one pixel", "few parameters", "few FLOPs", "choices", "small"],
)
def test_image_space_keeps_the_contract(space, walks):
    check_space(space, np.random.default_rng(0), walks=walks)


@pytest.mark.parametrize(
    "space",
    [
        RecipeSpace(ImageSpace((8, 8, 1), 10)),
        RecipeSpace(ImageSpace((8, 8, 1), 10), ["learning_rate"]),
        RecipeSpace(
            TableSpace(["00", "01", "10"]),
            ["optimizer", "augment"],
            recipe=RecipeConfig(augment="flip,shift", augment_strength=0.15),
            choices={"recipe.optimizer": ["sgd", "adam"]},
        ),
    ],
    ids=["all", "rate", "table"],
)
def test_recipe_space_keeps_the_contract(space):
    check_space(space, np.random.default_rng(0), walks=60)
