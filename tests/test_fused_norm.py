"""The fused batch normalisation computes what Keras's own computes, on the same variables."""

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.children.fused_norm import FusedNorm, with_fused_norms
from rlnas.cost import Conv, Dense, GlobalPool
from rlnas.spaces import Architecture

tf = pytest.importorskip("tensorflow", reason="the fused operation is TensorFlow's")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the fused operation is TensorFlow's", allow_module_level=True)


def norm_model(shape, **options):
    """Return a model of one batch normalisation with weights that are not the starting ones."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.BatchNormalization(**options)(inputs))
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_output_gradient_and_moving_statistics_are_those_of_keras(shape, training):
    x = tf.constant(np.random.default_rng(2).normal(1, 2, (6, *shape)), tf.float32)
    found = []
    for change in (lambda model: model, with_fused_norms):
        model = norm_model(shape, momentum=0.8, epsilon=0.01)
        called = change(model)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = called(x, training=training)
            loss = tf.reduce_sum(y**3)
        gradients = tape.gradient(loss, [x, *model.trainable_variables])
        found.append([y, *gradients, *model.get_weights()])
    assert type(called.layers[-1]) is FusedNorm
    for keras_own, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=2e-4, atol=2e-4)


def test_model_keeps_its_json_and_shares_its_variables():
    layers = (Conv(4, 3, 1, "relu", True), GlobalPool(), Dense(3, "elu"))
    model = decode(Architecture((), layers, (6, 6, 1), 2))
    before = model.to_json()
    fused = with_fused_norms(model)
    assert model.to_json() == before
    assert {id(each) for each in fused.variables} == {id(each) for each in model.variables}


def frozen():
    model = norm_model((4, 4, 2))
    model.layers[-1].trainable = False
    return model


@pytest.mark.parametrize(
    "make",
    [lambda: norm_model((7,)), lambda: norm_model((4, 4, 2), axis=1), frozen],
    ids=["flat", "rows", "frozen"],
)
def test_what_the_operation_does_not_compute_stays_with_keras(make):
    model = make()
    assert with_fused_norms(model) is model
