"""What the tests of the trainers have in common: a trainer beside `fit`, on the same batches."""

import dataclasses
import functools
from unittest import mock

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.data import sealed
from rlnas.children.decoder import decode
from rlnas.children.training import FitTrainer
from rlnas.config import RecipeConfig


def built(child, data, recipe=None):
    """The same untrained child each time."""
    keras.utils.set_random_seed(9)
    recipe = recipe or RecipeConfig()
    return decode(
        child,
        scale=data.scale,
        batch_norm_momentum=0.9,
        dropout=recipe.dropout,
        batch_norm=recipe.batch_norm,
        penalties=(recipe.l1, recipe.l2),
    )


def reordered(data, order):
    """The data with its training examples in another order."""
    x_train, y_train = data.x_train[order], data.y_train[order]
    return sealed(dataclasses.replace(data, x_train=x_train, y_train=y_train))


def assert_trains_as_fit(trainer, child, data, in_its_order, recipe, seed):
    """Train a child both ways from the same weights and batches; compare figures and weights."""
    ours = built(child, data, recipe)
    mine = trainer(data).train(ours, recipe, seed)
    plain = built(child, data, recipe)  # now, for changes of images take their seeds from Keras's
    in_order = functools.partialmethod(keras.Model.fit, shuffle=False)
    with mock.patch.object(keras.Model, "fit", in_order):
        theirs = FitTrainer(in_its_order).train(plain, recipe, seed)
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-4)
    np.testing.assert_allclose(mine.val_loss, theirs.val_loss, rtol=1e-4)
    assert mine.val_accuracy == pytest.approx(theirs.val_accuracy, abs=1e-6)
    for value, expected in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)


def profiled_flops(model):
    """Return the FLOPs that TensorFlow's profiler counts in a forward pass of one example."""
    import tensorflow as tf
    from tensorflow.python.framework.ops import get_stats_for_node_def

    asked = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = function.get_concrete_function(asked).graph
    counted = [
        get_stats_for_node_def(graph, operation.node_def, "flops").value
        for operation in graph.get_operations()
    ]
    return sum(int(each) for each in counted if each)
