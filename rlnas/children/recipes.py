"""How a child is trained: optimizer, learning-rate schedule, batch normalisation."""

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.children.optimizers import THRESHOLD, factors_by_depth, with_factors
from rlnas.config import RecipeConfig

_STALE, _MOST_MOMENTUM = 0.01, 0.95
"""Batch normalisation: weight of the starting values after one epoch, and the largest
momentum. With 0.95 the statistics are those of the last 20 steps; with Keras's 0.99 they lag
so far behind the weights of brief training that the reference child reaches 0.82 instead of
0.84 on Fashion-MNIST after two epochs of 313 steps, and 0.13 instead of 0.79 after one."""

WEIGHT_DECAY = 0.05
"""Weight decay of AdamW, times the learning rate per step (chosen; Keras's is 0.004, which
does nothing in brief training)."""

DECAYED = 0.01
"""What exponential decay leaves of the learning rate at the last step (chosen)."""

STEPS = {0.5: 0.1, 0.75: 0.01}
"""Shares of the training from which the schedule `step` takes these shares of the rate (after He
et al. 2016, section 4.2)."""

PLATEAU, LEAST_FALL = 0.2, 1e-4
"""Factor of the rate behind an epoch without progress (chosen; Keras's is 0.1), and by how much
the validation loss has to fall to be progress, in nats (Keras's own default)."""


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


def make_optimizer(
    recipe: RecipeConfig, examples: int, model: keras.Model | None = None
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe with its learning-rate schedule.

    Args:
        recipe: How the child is trained.
        examples: Number of training examples.
        model: What is trained; needed where its layers have rates of their own.
    """
    schedule = _schedule(recipe, examples)
    rate = recipe.learning_rate if schedule is None else schedule
    kind, options = _OPTIMIZERS[recipe.optimizer]
    factors: dict[str, Any] = {}
    if recipe.rate_per_layer != 1 and model is not None:
        factors["factors"] = factors_by_depth(model, recipe.rate_per_layer)
    if recipe.schedule == "gradient":
        factors["threshold"] = THRESHOLD
    return (with_factors(kind) if factors else kind)(rate, **options, **factors)


_OPTIMIZERS: dict[str, tuple[type[keras.optimizers.Optimizer], dict[str, Any]]] = {
    "adam": (keras.optimizers.Adam, {}),
    "adamw": (keras.optimizers.AdamW, {"weight_decay": WEIGHT_DECAY}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
    "adagrad": (keras.optimizers.Adagrad, {}),
    "sgd": (keras.optimizers.SGD, {}),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9}),
    "nesterov": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
}


def class_weights(
    recipe: RecipeConfig, y: npt.NDArray[np.integer[Any]], classes: int
) -> npt.NDArray[np.float32] | None:
    """Return how much an example of each class weighs in the loss, float32[classes].

    A class with half as many examples weighs ``2 ** recipe.class_weight`` times as much, and the
    mean over all examples is 1. None where all weigh alike.

    Args:
        recipe: How the child is trained.
        y: Classes of the training part.
        classes: Number of classes.
    """
    if not recipe.class_weight:
        return None
    counts = np.bincount(y, minlength=classes)
    weights = (len(y) / np.maximum(counts, 1)) ** recipe.class_weight
    found: npt.NDArray[np.float32] = (weights * len(y) / (weights @ counts)).astype(np.float32)
    return found


def plateau_factor(val_losses: Sequence[float]) -> float:
    """Return the factor of the learning rate behind some epochs, with the schedule `plateau`.

    Keras has `ReduceLROnPlateau` for it, which is the same with these settings.

    Args:
        val_losses: Validation loss of each epoch so far, in nats.
    """
    best, factor = inf, 1.0
    for loss in val_losses:
        if loss < best - LEAST_FALL:
            best = loss
        else:
            factor *= PLATEAU
    return factor


def learning_rates(recipe: RecipeConfig, examples: int) -> npt.NDArray[np.float32] | None:
    """Return the learning rate of each step of a training, float32[steps].

    It is None where the rates depend on how the training goes.

    Args:
        recipe: How the child is trained.
        examples: Number of training examples.
    """
    if recipe.schedule in ("plateau", "gradient"):
        return None
    steps = np.arange(recipe.epochs * steps_per_epoch(recipe, examples), dtype=np.float32)
    schedule = _schedule(recipe, examples)
    if schedule is None:
        return np.full_like(steps, recipe.learning_rate)
    return np.asarray(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(steps))))


def _schedule(
    recipe: RecipeConfig, examples: int
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """Return the learning-rate schedule of a recipe; None if the rate stays what it is."""
    steps, rate = recipe.epochs * steps_per_epoch(recipe, examples), recipe.learning_rate
    schedules = keras.optimizers.schedules
    match recipe.schedule:
        case "cosine":
            return schedules.CosineDecay(rate, steps)
        case "exponential":
            return schedules.ExponentialDecay(rate, steps, DECAYED)
        case "step":
            # Keras takes the earlier value up to the boundary itself.
            ends = [ceil(share * steps) - 1 for share in STEPS]
            return schedules.PiecewiseConstantDecay(
                ends, [rate, *(rate * s for s in STEPS.values())]
            )
    return None
