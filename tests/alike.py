"""What the tests of the trainers have in common: a trainer beside `fit`, on the same batches."""

import dataclasses

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.data import sealed
from rlnas.children.decoder import decode
from rlnas.children.training import FitTrainer


def built(child, data):
    """The same untrained child each time."""
    keras.utils.set_random_seed(9)
    return decode(child, scale=data.scale, batch_norm_momentum=0.9)


def reordered(data, order):
    """The data with its training examples in another order."""
    x_train, y_train = data.x_train[order], data.y_train[order]
    return sealed(dataclasses.replace(data, x_train=x_train, y_train=y_train))


class FitInOrder(keras.Model):
    """A model whose `fit` takes the examples as they come."""

    def fit(self, *arguments, **options):
        return super().fit(*arguments, **options, shuffle=False)


def assert_trains_as_fit(trainer, child, data, in_its_order, recipe, seed):
    """Train a child both ways from the same weights and batches; compare figures and weights."""
    ours, plain = built(child, data), built(child, data)
    mine = trainer(data).train(ours, recipe, seed)
    fitted = FitInOrder(plain.inputs, plain.outputs)
    theirs = FitTrainer(in_its_order).train(fitted, recipe, seed)
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-4)
    np.testing.assert_allclose(mine.val_loss, theirs.val_loss, rtol=1e-4)
    assert mine.val_accuracy == pytest.approx(theirs.val_accuracy, abs=1e-6)
    for value, expected in zip(ours.get_weights(), fitted.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)
