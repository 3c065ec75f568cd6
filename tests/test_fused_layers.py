"""The fused layers compute what Keras's own compute, on the same variables."""

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.children.fused_layers import (
    FusedDropout,
    FusedNorm,
    FusedSilu,
    MovingStatistics,
    with_fused_layers,
)
from rlnas.cost import Conv, Dense, Dropout, GlobalPool
from rlnas.spaces import Architecture

tf = pytest.importorskip("tensorflow", reason="the fused layers are TensorFlow's")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the fused layers are TensorFlow's", allow_module_level=True)


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
    for change in (lambda model: (model, MovingStatistics([])), with_fused_layers):
        model = norm_model(shape, momentum=0.8, epsilon=0.01)
        called, statistics = change(model)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = called(x, training=training)
            loss = tf.reduce_sum(y**3)
        gradients = tape.gradient(loss, [x, *model.trainable_variables])
        if training:
            statistics.move(tf.constant(6))
            statistics.write_back()
        found.append([y, *gradients, *model.get_weights()])
    assert type(called.layers[-1]) is FusedNorm
    for keras_own, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=2e-4, atol=2e-4)


def test_moving_statistics_of_several_norms_keep_to_their_layers():
    inputs = keras.Input((4, 4, 2))
    first = keras.layers.BatchNormalization(momentum=0.9)(inputs)
    second = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.MaxPooling2D()(first))
    model = keras.Model(inputs, second)
    before = model.get_weights()
    fused, statistics = with_fused_layers(model)
    x = np.random.default_rng(2).normal(1, 2, (5, 4, 4, 2)).astype(np.float32)
    fused(x, training=True)
    statistics.move(tf.constant(5))
    statistics.write_back()
    ours = model.get_weights()
    model.set_weights(before)
    model(x, training=True)
    for value, expected in zip(ours, model.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: keras.layers.Activation("silu"), FusedSilu),
        (lambda: keras.layers.Dropout(0.4, seed=3), FusedDropout),
    ],
    ids=["silu", "dropout"],
)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_of_two_calls_are_those_of_keras(make, kind, training):
    x = tf.constant(np.random.default_rng(2).normal(0, 3, (6, 5, 4)), tf.float32)
    found = []
    for fuse in (False, True):
        inputs = keras.Input((5, 4))
        model = keras.Model(inputs, make()(inputs))
        called = with_fused_layers(model)[0] if fuse else model
        assert isinstance(called.layers[-1], kind) == fuse
        for _ in range(2):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = called(x, training=training)
                loss = tf.reduce_sum(y**3)
            found.append([y, tape.gradient(loss, x)])
    for keras_own, ours in zip(found[:2], found[2:], strict=True):
        np.testing.assert_allclose(ours[0], keras_own[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours[1], keras_own[1], rtol=1e-4, atol=1e-5)


def test_model_keeps_its_json_and_shares_its_variables():
    layers = (Conv(4, 3, 1, "silu", True), Dropout(0.2), GlobalPool(), Dense(3, "elu"))
    model = decode(Architecture((), layers, (6, 6, 1), 2))
    before = model.to_json()
    fused, _ = with_fused_layers(model)
    assert model.to_json() == before
    assert {id(each) for each in fused.variables} == {id(each) for each in model.variables}


def frozen():
    model = norm_model((4, 4, 2))
    model.layers[-1].trainable = False
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: norm_model((7,)),
        lambda: norm_model((None, 4, 2)),
        lambda: norm_model((4, 4, 2), axis=1),
        frozen,
    ],
    ids=["flat", "any size", "rows", "frozen"],
)
def test_what_the_operation_does_not_compute_stays_with_keras(make):
    model = make()
    assert with_fused_layers(model)[0] is model
