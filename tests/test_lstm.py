"""The controllers' LSTM layer against Keras's own, outputs and gradients."""

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.controllers.lstm import LSTM

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the operation is TensorFlow's"
)
UNITS, INPUTS = 6, 4


def in_graph(call):
    """Return a call as networks make it; a loop of Keras complains outside a graph."""
    if keras.backend.backend() != "tensorflow":
        return call
    import tensorflow as tf

    return tf.function(call)


@pytest.fixture(scope="module")
def layers():
    """Ours and Keras's with equal weights, large enough to bend the gates."""
    ours = LSTM(UNITS, name="ours")
    theirs = keras.layers.LSTM(UNITS, return_sequences=True, seed=0)
    for layer in (ours, theirs):
        layer.build((None, None, INPUTS))
    rng = np.random.default_rng(0)
    for mine, other in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
        drawn = rng.normal(size=mine.shape)
        mine.assign(drawn)
        other.assign(drawn)
    return ours, theirs


def inputs(steps):
    return np.random.default_rng(1).normal(size=(3, steps, INPUTS)).astype(np.float32)


@pytest.mark.parametrize("way", ["scanned", pytest.param("fused", marks=tensorflow_only)])
@pytest.mark.parametrize("steps", [1, 7])
def test_outputs_are_those_of_keras(layers, way, steps):
    ours, theirs = layers
    x_t = keras.ops.convert_to_tensor(inputs(steps))
    expected = keras.ops.convert_to_numpy(theirs(x_t))
    assert expected.std() > 0.1
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(in_graph(getattr(ours, way))(x_t)), expected, atol=1e-5
    )
    assert ours(x_t).shape == ours.compute_output_shape(x_t.shape) == (3, steps, UNITS)


@tensorflow_only
@pytest.mark.parametrize("way", ["scanned", "fused"])
def test_gradients_are_those_of_keras(layers, way):
    import tensorflow as tf

    ours, theirs = layers
    x_t = tf.constant(inputs(7))
    target_t = tf.constant(np.random.default_rng(2).normal(size=(3, 7, UNITS)), tf.float32)

    def gradients(call, layer):
        with tf.GradientTape() as tape:
            tape.watch(x_t)
            loss = tf.reduce_sum(call(x_t) * target_t)
        return tape.gradient(loss, [x_t, *(each.value for each in layer.trainable_variables)])

    found = gradients(in_graph(getattr(ours, way)), ours)
    for ours_now, expected in zip(found, gradients(theirs, theirs), strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(ours_now, expected, atol=1e-4)
