"""How a child is trained: optimizers, schedules, the momentum of batch normalisation."""

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.recipes import (
    batch_norm_momentum,
    class_weights,
    learning_rates,
    make_optimizer,
    plateau_factor,
    steps_per_epoch,
)
from rlnas.children.training import _lower
from rlnas.config import OPTIMIZERS, SCHEDULES, RecipeConfig, make_config

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


def test_exponential_decay_leaves_a_hundredth_at_the_end():
    recipe = RecipeConfig(epochs=2, batch_size=4, learning_rate=0.5, schedule="exponential")
    found = rates(recipe, examples=8, steps=5)  # 2 steps per epoch; roots of 0.01
    assert found == pytest.approx([0.5, 0.158114, 0.05, 0.0158114, 0.005], rel=1e-5)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (2, [1, 1, 0.1, 0.01]),  # 4 steps: the half are 2, three quarters are 3
        (3, [1, 1, 1, 0.1, 0.1, 0.01]),  # 6 steps: 3 and 4.5
    ],
)
def test_steps_lower_the_rate_at_the_half_and_at_three_quarters(epochs, expected):
    recipe = RecipeConfig(epochs=epochs, batch_size=4, learning_rate=1.0, schedule="step")
    assert rates(recipe, examples=8, steps=2 * epochs) == pytest.approx(expected)


FALLS = [1.0, 0.8, 0.8, 0.79995, 0.7, 0.9, 0.69]
"""Validation losses; those of epochs 3, 4 and 6 did not fall, the fourth by too little."""


def test_plateau_takes_a_fifth_behind_each_epoch_without_progress():
    found = [plateau_factor(FALLS[:epochs]) for epochs in range(len(FALLS) + 1)]
    assert found == pytest.approx([1, 1, 1, 0.2, 0.04, 0.04, 0.008, 0.008])


def test_plateau_is_what_the_callback_of_keras_does():
    recipe, model = RecipeConfig(schedule="plateau", learning_rate=0.5), flat_model()
    model.compile(make_optimizer(recipe, 100), "mse")
    (callback,) = _lower(recipe)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(FALLS):
        callback.on_epoch_end(epoch, {"val_nats": loss})
        expected = 0.5 * plateau_factor(FALLS[: epoch + 1])
        assert float(model.optimizer.learning_rate) == pytest.approx(expected, rel=1e-5)


def flat_model():
    """Two dense layers with a normalisation between them, all weights 1."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(1, kernel_initializer="ones"),
            layers.BatchNormalization(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    return model


def moved(recipe, gradient):
    """How far one step moves each variable of the model."""
    model = flat_model()
    before = [np.array(variable) for variable in model.trainable_variables]
    optimizer = make_optimizer(recipe, 100, model)
    gradients = [keras.ops.full(variable.shape, gradient) for variable in before]
    optimizer.apply(gradients, model.trainable_variables)
    after = [np.array(variable) for variable in model.trainable_variables]
    return [float(np.squeeze(b - a)) for b, a in zip(before, after, strict=True)]


def test_layers_nearer_to_the_input_learn_more_slowly():
    recipe = RecipeConfig(optimizer="sgd", learning_rate=0.5, schedule="fixed", rate_per_layer=0.5)
    # Kernel and bias, scale and centre of the normalisation with them, kernel and bias.
    assert moved(recipe, 1.0) == pytest.approx([0.25] * 4 + [0.5] * 2)


@pytest.mark.parametrize(
    ("gradient", "rate"),
    [(0.40, 0.05), (0.41, 0.5)],  # the norm of six of them: 0.98 and 1.004
)
def test_small_gradients_go_with_a_tenth_of_the_rate(gradient, rate):
    recipe = RecipeConfig(optimizer="sgd", learning_rate=0.5, schedule="gradient")
    assert moved(recipe, gradient) == pytest.approx([rate * gradient] * 6, rel=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adam", "Adam", {"beta_1": 0.9, "beta_2": 0.999}),
        ("adamw", "AdamW", {"weight_decay": 0.05}),
        ("rmsprop", "RMSprop", {"rho": 0.9}),
        ("adagrad", "Adagrad", {"initial_accumulator_value": 0.1}),
        ("sgd", "SGD", {"momentum": 0.0, "nesterov": False}),
        ("momentum", "SGD", {"momentum": 0.9, "nesterov": False}),
        ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_name_gives_the_optimizer(name, kind, options, schedule):
    optimizer = make_optimizer(RecipeConfig(optimizer=name, schedule=schedule), 100)
    assert isinstance(optimizer, getattr(keras.optimizers, kind))
    assert options.items() <= optimizer.get_config().items()


@pytest.mark.parametrize("schedule", ["plateau", "gradient"])
def test_learning_rates_that_come_with_the_training_are_not_known_before(schedule):
    assert learning_rates(RecipeConfig(schedule=schedule), 20) is None


@pytest.mark.parametrize("schedule", ["cosine", "fixed", "exponential", "step"])
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


def test_rare_classes_weigh_more_and_the_mean_stays():
    y = np.array([0, 0, 0, 1])
    assert class_weights(RecipeConfig(class_weight=0.0), y, 2) is None
    assert class_weights(RecipeConfig(class_weight=1.0), y, 2) == pytest.approx([2 / 3, 2])
    found = class_weights(RecipeConfig(class_weight=0.5), y, 3)  # one class has no example
    assert found[1] / found[0] == pytest.approx(3**0.5)
    assert found[y].mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("metric", "weight"), [("accuracy", 0.0), ("f1", 0.5), ("balanced_accuracy", 1.0), ("auc", 0)]
)
def test_classes_weigh_as_the_metric_asks_unless_it_is_said(metric, weight):
    objective = {"objective": {"metric": metric}}
    assert make_config(objective).recipe.class_weight == weight
    said = make_config({**objective, "recipe": {"class_weight": 0.25, "epochs": 3}})
    assert said.recipe.class_weight == 0.25
    again = make_config(make_config(objective).model_dump(mode="json"))
    assert again.recipe == make_config(objective).recipe
