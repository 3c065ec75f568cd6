"""The graph trainer computes what `keras.Model.fit` computes."""

import dataclasses

import alike
import numpy as np
import pytest

from rlnas.children import feeds, graph_training
from rlnas.children.backend import keras
from rlnas.children.datasets import load_data
from rlnas.children.graph_training import GraphTrainer
from rlnas.children.recipes import make_optimizer
from rlnas.children.training import FitTrainer
from rlnas.config import OPTIMIZERS, DataConfig, RecipeConfig
from rlnas.cost import Conv, Dense, Dropout, GlobalPool, MaxPool, SeparableConv
from rlnas.spaces import Architecture

tf = pytest.importorskip("tensorflow", reason="the graph trainer is TensorFlow's")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the graph trainer is TensorFlow's", allow_module_level=True)

DATA = load_data(None, DataConfig(), 0).sampled(150, 0)
LAYERS = (
    Conv(8, 3, 1, "relu", True),
    MaxPool(2),
    Dropout(0.2),
    SeparableConv(8, 3, 1, "silu", False),
    GlobalPool(),
    Dense(8, "elu"),
)
CHILD = Architecture((), LAYERS, DATA.input_shape, DATA.classes)
SEED = 4


def built():
    return alike.built(CHILD, DATA)


def in_the_same_order(data, epoch):
    """Return the data as the graph sees it in an epoch."""
    count = len(data.x_train)
    order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[SEED, epoch]).numpy()
    return alike.reordered(data, order)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_epoch_equals_fit_from_the_same_weights_and_batches(optimizer):
    recipe = RecipeConfig(epochs=1, batch_size=32, optimizer=optimizer)  # the last batch has 22
    ordered = in_the_same_order(DATA, 0)
    alike.assert_trains_as_fit(GraphTrainer, CHILD, DATA, ordered, recipe, SEED)


PARTS = [
    {"schedule": "exponential", "l1": 1e-3, "l2": 1e-2, "dropout": 0.3},
    {"batch_norm": True, "optimizer": "momentum"},  # Adam makes steps of a gradient of nearly 0
    {"schedule": "step", "label_smoothing": 0.2, "augment": "flip,rotation"},
    {"schedule": "gradient", "rate_per_layer": 0.5, "augment": "zoom,shift"},
    {"schedule": "gradient", "rate_per_layer": 0.5, "optimizer": "momentum"},
    {"class_weight": 1.0, "label_smoothing": 0.1},
    {"augment": "time_mask,frequency_mask", "augment_strength": 0.6},
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_each_part_of_the_recipe_trains_as_under_fit(part):
    recipe = RecipeConfig(epochs=1, batch_size=32, **part)
    ordered = in_the_same_order(DATA, 0)
    alike.assert_trains_as_fit(GraphTrainer, CHILD, DATA, ordered, recipe, SEED)


def test_each_epoch_has_its_own_order_and_each_seed_too():
    first, second = in_the_same_order(DATA, 0), in_the_same_order(DATA, 1)
    assert not np.array_equal(first.y_train, second.y_train)
    recipe = RecipeConfig(epochs=2, batch_size=32)
    losses = [GraphTrainer(DATA).train(built(), recipe, seed).loss for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_learning_rate_follows_the_schedule_to_its_end(monkeypatch):
    made = []
    monkeypatch.setattr(
        graph_training,
        "make_optimizer",
        lambda *given: made.append(make_optimizer(*given)) or made[0],
    )
    recipe = RecipeConfig(epochs=3, batch_size=32, schedule="cosine")
    GraphTrainer(DATA).train(built(), recipe, SEED)
    assert int(made[0].iterations) == 3 * 5
    assert float(made[0].learning_rate) == pytest.approx(0.0, abs=1e-9)


def test_plateau_lowers_the_rate_of_a_child_that_learns_nothing(monkeypatch):
    made = []
    monkeypatch.setattr(
        graph_training,
        "make_optimizer",
        lambda *given: made.append(make_optimizer(*given)) or made[0],
    )
    recipe = RecipeConfig(epochs=3, batch_size=32, schedule="plateau", learning_rate=1e-9)
    plain = Architecture((), (GlobalPool(),), DATA.input_shape, DATA.classes)
    GraphTrainer(DATA).train(alike.built(plain, DATA), recipe, SEED)
    assert float(made[0].learning_rate) == pytest.approx(1e-9 * 0.2**2)  # the first is progress


@pytest.mark.parametrize("trainer", [GraphTrainer, FitTrainer])
def test_training_ends_below_its_floor(trainer):
    recipe = RecipeConfig(epochs=3, batch_size=32)
    assert len(trainer(DATA).train(built(), recipe, SEED, floors=(0.0, 0.0)).loss) == 3
    assert len(trainer(DATA).train(built(), recipe, SEED, floors=(0.0, 1.1)).loss) == 2


def test_small_child_leaves_the_optimisation_of_other_graphs_as_it_was():
    GraphTrainer(DATA).train(built(), RecipeConfig(epochs=1), SEED, flops=1)
    assert tf.config.optimizer.get_experimental_options()["min_graph_nodes"] == 4


def assert_same_bits(first, second):
    """Train a child with two trainers; compare figures and weights."""
    recipe, trained = RecipeConfig(epochs=2, batch_size=32), []  # 5 steps an epoch
    for trainer in (first, second):
        model = built()
        trained.append((trainer().train(model, recipe, SEED), model.get_weights()))
    (history, weights), (other_history, other_weights) = trained
    assert history == other_history
    for ours, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(ours, other)


def test_steps_at_once_change_no_bit(monkeypatch):
    def few_at_once():
        monkeypatch.setattr(graph_training, "_STEPS_AT_ONCE", 2)
        return GraphTrainer(DATA)

    assert_same_bits(lambda: GraphTrainer(DATA), few_at_once)


@pytest.mark.parametrize("at_once", [1000, 7])
def test_streamed_data_changes_no_bit(monkeypatch, at_once):
    for module in (graph_training, feeds):
        monkeypatch.setattr(module, "examples_at_once", lambda _: at_once)
    assert_same_bits(lambda: GraphTrainer(DATA), lambda: GraphTrainer(DATA, stream=True))


def test_a_stream_reads_each_example_once_an_epoch(monkeypatch):
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            read.extend(np.atleast_1d(rows).tolist())
            return np.asarray(self)[rows]

    watched = dataclasses.replace(DATA, x_train=DATA.x_train.view(Watched))
    GraphTrainer(watched, stream=True).train(built(), RecipeConfig(epochs=2, batch_size=32), SEED)
    assert sorted(read) == sorted([*range(150), *range(150)])
