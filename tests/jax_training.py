"""The JAX trainer computes what `keras.Model.fit` computes.

`test_jax.py` runs this file in a process whose Keras has the backend JAX.
"""

import alike
import numpy as np
import pytest

from rlnas.children import scan_training
from rlnas.children.datasets import load_data
from rlnas.children.scan_training import ScanTrainer
from rlnas.children.training import make_trainer
from rlnas.config import DataConfig, RecipeConfig
from rlnas.cost import Conv, GlobalPool
from rlnas.spaces import Architecture

DATA = load_data(None, DataConfig(), 0).sampled(150, 0)
LAYERS = (
    Conv(8, 3, 1, "relu", True),
    GlobalPool(),
)
CHILD = Architecture((), LAYERS, DATA.input_shape, DATA.classes)
SEED = 4


def built():
    return alike.built(CHILD, DATA)


def in_the_same_order(data, epoch):
    """Return the data as the trainer sees it in an epoch."""
    import jax

    key = jax.random.fold_in(jax.random.key(SEED), epoch)
    order = np.asarray(jax.random.permutation(key, len(data.x_train)))
    return alike.reordered(data, order)


def test_it_is_the_trainer_of_this_backend():
    assert isinstance(make_trainer(DATA), ScanTrainer)


@pytest.mark.parametrize("optimizer", ["adamw", "nesterov"])
def test_one_epoch_equals_fit_from_the_same_weights_and_batches(optimizer):
    recipe = RecipeConfig(epochs=1, batch_size=32, optimizer=optimizer)  # the last batch has 22
    ordered = in_the_same_order(DATA, 0)
    alike.assert_trains_as_fit(ScanTrainer, CHILD, DATA, ordered, recipe, SEED)


@pytest.mark.parametrize(
    "part",
    [
        {"schedule": "gradient", "rate_per_layer": 0.5},
        {"l1": 1e-3, "l2": 1e-2, "dropout": 0.3, "label_smoothing": 0.2},
        {"augment": "flip,rotation,zoom,shift", "augment_strength": 0.3},
        {"class_weight": 0.5},
        {"augment": "time_mask,frequency_mask", "augment_strength": 0.6},
    ],
    ids=str,
)
def test_parts_of_the_recipe_train_as_under_fit(part):
    recipe = RecipeConfig(epochs=1, batch_size=32, **part)
    alike.assert_trains_as_fit(ScanTrainer, CHILD, DATA, in_the_same_order(DATA, 0), recipe, SEED)


def test_plateau_lowers_the_rate_of_a_child_that_learns_nothing(monkeypatch):
    lowered, found = scan_training._with_rate, []

    def watched(*given):
        values = lowered(*given)
        found.append(float(values[1]))  # behind the number of the step
        return values

    monkeypatch.setattr(scan_training, "_with_rate", watched)
    recipe = RecipeConfig(epochs=3, batch_size=32, schedule="plateau", learning_rate=1e-9)
    plain = Architecture((), (GlobalPool(),), DATA.input_shape, DATA.classes)
    ScanTrainer(DATA).train(alike.built(plain, DATA), recipe, SEED)
    assert found == pytest.approx([1e-9, 0.2e-9, 0.04e-9])


def test_each_epoch_has_its_own_order_and_each_seed_too():
    recipe = RecipeConfig(epochs=2, batch_size=32)
    losses = [ScanTrainer(DATA).train(built(), recipe, seed).loss for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert not np.array_equal(
        in_the_same_order(DATA, 0).y_train, in_the_same_order(DATA, 1).y_train
    )


def test_training_ends_below_its_floor_and_where_the_loss_is_not_finite():
    recipe = RecipeConfig(epochs=3, batch_size=32)
    assert len(ScanTrainer(DATA).train(built(), recipe, SEED, floors=(0.0, 0.0)).loss) == 3
    assert len(ScanTrainer(DATA).train(built(), recipe, SEED, floors=(0.0, 1.1)).loss) == 2
    wild = RecipeConfig(epochs=3, batch_size=32, optimizer="sgd", learning_rate=1e30)
    history = ScanTrainer(DATA).train(built(), wild, SEED)
    assert len(history.loss) < 3
    assert not np.isfinite(history.loss[-1])


def test_validation_in_pieces_is_validation_at_once(monkeypatch):
    recipe, measured = RecipeConfig(epochs=1, batch_size=32), []
    for at_once in (1000, 7):
        monkeypatch.setattr("rlnas.children.scan_training.examples_at_once", lambda _, n=at_once: n)
        measured.append(ScanTrainer(DATA).train(built(), recipe, SEED))
    np.testing.assert_allclose(measured[0].val_loss, measured[1].val_loss, rtol=1e-5)
    assert measured[0].val_accuracy == pytest.approx(measured[1].val_accuracy, abs=1e-6)


@pytest.mark.parametrize("steps", [100, 3])
def test_streamed_data_trains_the_same(monkeypatch, steps):
    monkeypatch.setattr(scan_training, "_PART", steps * 32 * DATA.x_train[:1].nbytes)
    recipe, trained = RecipeConfig(epochs=2, batch_size=32), []  # 5 steps an epoch, one shorter
    for stream in (False, True):
        model = built()
        history = ScanTrainer(DATA, stream=stream).train(model, recipe, SEED)
        trained.append((history, model.get_weights()))
    (history, weights), (streamed, other_weights) = trained
    np.testing.assert_allclose(history.loss, streamed.loss, rtol=1e-4)
    np.testing.assert_allclose(history.val_loss, streamed.val_loss, rtol=1e-4)
    assert history.val_accuracy == pytest.approx(streamed.val_accuracy, abs=1e-6)
    for ours, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-5)
