"""How a child is trained: optimizers, schedules, the momentum of batch normalisation."""

import pytest

from rlnas.children.backend import keras
from rlnas.children.recipes import (
    batch_norm_momentum,
    learning_rates,
    make_optimizer,
    steps_per_epoch,
)
from rlnas.config import OPTIMIZERS, SCHEDULES, RecipeConfig

COSINE = [1.0, 0.9330127, 0.75, 0.5, 0.25, 0.0669873, 0.0]
"""Half of 1 + cos of 0, 30, 60, 90, 120, 150 and 180 degrees."""


def rates(recipe, examples, steps):
    """Return the learning rate before each of the first steps."""
    optimizer = make_optimizer(recipe, examples)
    found = []
    for step in range(steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


@pytest.mark.parametrize(("examples", "steps"), [(1, 1), (64, 1), (65, 2), (1222, 20)])
def test_last_smaller_batch_is_a_step_too(examples, steps):
    assert steps_per_epoch(RecipeConfig(batch_size=64), examples) == steps


def test_cosine_falls_to_zero_at_the_last_step_of_the_last_epoch():
    recipe = RecipeConfig(epochs=2, batch_size=4, learning_rate=0.5, schedule="cosine")
    found = rates(recipe, examples=10, steps=8)  # 3 steps per epoch
    assert found == pytest.approx([0.5 * share for share in [*COSINE, 0.0]], abs=1e-6)


def test_fixed_learning_rate_stays():
    recipe = RecipeConfig(epochs=2, batch_size=4, learning_rate=0.25, schedule="fixed")
    assert rates(recipe, examples=10, steps=8) == [0.25] * 8


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adam", "Adam", {"beta_1": 0.9, "beta_2": 0.999}),
        ("adamw", "AdamW", {"weight_decay": 0.05}),
        ("rmsprop", "RMSprop", {"rho": 0.9}),
        ("sgd", "SGD", {"momentum": 0.0, "nesterov": False}),
        ("momentum", "SGD", {"momentum": 0.9, "nesterov": False}),
        ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_name_gives_the_optimizer(name, kind, options, schedule):
    optimizer = make_optimizer(RecipeConfig(optimizer=name, schedule=schedule), 100)
    assert type(optimizer) is getattr(keras.optimizers, kind)
    assert options.items() <= optimizer.get_config().items()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learning_rates_are_those_the_optimizer_takes(schedule):
    recipe = RecipeConfig(epochs=2, batch_size=8, learning_rate=0.3, schedule=schedule)
    taken = rates(recipe, examples=20, steps=2 * 3)
    assert learning_rates(recipe, 20) == pytest.approx(taken, rel=1e-6, abs=1e-9)


def test_every_known_optimizer_is_tested_above():
    tested = test_name_gives_the_optimizer.pytestmark[0].args[1]
    assert {name for name, _, _ in tested} == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("examples", "momentum"),
    [
        (10, 0.01),  # one step: all but 1 % is new after it
        (20, 0.1),  # two steps: the square root of 0.01
        (40, 0.3162278),  # four: the root of that
        (10 * 89, 0.9495724),  # exp(ln 0.01 / 89)
        (10 * 90, 0.95),  # exp(ln 0.01 / 90) = 0.950118 is cut
        (10**6, 0.95),
    ],
)
def test_starting_values_weigh_a_hundredth_after_one_epoch(examples, momentum):
    found = batch_norm_momentum(RecipeConfig(batch_size=10), examples)
    assert found == pytest.approx(momentum, abs=1e-7)


def test_moving_mean_of_keras_is_true_after_one_epoch():
    momentum = batch_norm_momentum(RecipeConfig(batch_size=10), 45)  # 5 steps
    norm = keras.layers.BatchNormalization(momentum=momentum)
    for _ in range(5):
        norm(keras.ops.full((8, 2), 100.0), training=True)
    mean = keras.ops.convert_to_numpy(norm.moving_mean)  # began at 0
    assert mean.tolist() == pytest.approx([99.0, 99.0], rel=1e-5)
