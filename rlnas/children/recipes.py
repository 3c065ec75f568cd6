"""How a child is trained: optimizer, learning-rate schedule, batch normalisation."""

from math import ceil

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.config import RecipeConfig

_STALE, _MOST_MOMENTUM = 0.01, 0.95
"""Batch normalisation: weight of the starting values after one epoch, and the largest
momentum. With 0.95 the statistics are those of the last 20 steps; with Keras's 0.99 they lag
so far behind the weights of brief training that the reference child reaches 0.82 instead of
0.84 on Fashion-MNIST after two epochs of 313 steps, and 0.13 instead of 0.79 after one."""

WEIGHT_DECAY = 0.05
"""Weight decay of AdamW, times the learning rate per step (chosen; Keras's is 0.004, which
does nothing in brief training)."""


def steps_per_epoch(recipe: RecipeConfig, examples: int) -> int:
    """Return the number of optimizer steps of one epoch."""
    return ceil(examples / recipe.batch_size)


def batch_norm_momentum(recipe: RecipeConfig, examples: int) -> float:
    """Return a momentum with which the moving statistics are true after one epoch.

    With Keras's default of 0.99 the starting values still weigh a lot after brief
    training, and validation accuracy is worthless. With momentum m they weigh m**s
    after s steps; m is chosen so that this is 0.01 after one epoch, and at most 0.95.

    Args:
        recipe: How the child is trained.
        examples: Number of training examples.
    """
    return float(min(_MOST_MOMENTUM, _STALE ** (1 / steps_per_epoch(recipe, examples))))


def make_optimizer(recipe: RecipeConfig, examples: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe with its learning-rate schedule.

    Args:
        recipe: How the child is trained.
        examples: Number of training examples.
    """
    schedule = _schedule(recipe, examples)
    rate = recipe.learning_rate if schedule is None else schedule
    optimizers = keras.optimizers
    match recipe.optimizer:
        case "adam":
            return optimizers.Adam(rate)
        case "adamw":
            return optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
        case "rmsprop":
            return optimizers.RMSprop(rate)
        case "momentum":
            return optimizers.SGD(rate, momentum=0.9)
        case "nesterov":
            return optimizers.SGD(rate, momentum=0.9, nesterov=True)
        case _:
            return optimizers.SGD(rate)


def learning_rates(recipe: RecipeConfig, examples: int) -> npt.NDArray[np.float32]:
    """Return the learning rate of each step of a training, float32[steps].

    Args:
        recipe: How the child is trained.
        examples: Number of training examples.
    """
    steps = np.arange(recipe.epochs * steps_per_epoch(recipe, examples), dtype=np.float32)
    schedule = _schedule(recipe, examples)
    if schedule is None:
        return np.full_like(steps, recipe.learning_rate)
    return np.asarray(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(steps))))


def _schedule(
    recipe: RecipeConfig, examples: int
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """Return the learning-rate schedule of a recipe; None if the rate stays what it is."""
    if recipe.schedule != "cosine":
        return None
    steps = recipe.epochs * steps_per_epoch(recipe, examples)
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
