"""The loss of a graph and its gradient are those of Keras's own loss."""

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.graph_loss import graph_loss

tf = pytest.importorskip("tensorflow", reason="the graph is TensorFlow's")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the graph is TensorFlow's", allow_module_level=True)

RNG = np.random.default_rng(0)
X = tf.constant(RNG.normal(0, 8, (7, 4)), tf.float32)
Y = tf.constant([0, 3, 2, 2, 1, 0, 3])


def softmax(x):
    return keras.activations.softmax(x)


def without_logits(x):
    """Probabilities whose origin Keras does not know."""
    return tf.identity(keras.activations.softmax(x))


@pytest.mark.parametrize("head", [softmax, without_logits])
def test_loss_and_gradient_are_those_of_keras(head):
    weights = tf.constant(RNG.normal(0, 0.4, (4, 5)), tf.float32)

    @tf.function
    def ours():
        with tf.GradientTape() as tape:
            tape.watch(weights)
            nats, logits, gradient = graph_loss(Y, head(X @ weights))
        return nats, tape.gradient(logits, weights, gradient)

    @tf.function
    def theirs():
        with tf.GradientTape() as tape:
            tape.watch(weights)
            nats = keras.losses.sparse_categorical_crossentropy(Y, softmax(X @ weights))
        return nats, tape.gradient(nats, weights)

    for value, expected in zip(ours(), theirs(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-4, atol=2e-4)


def test_certain_and_wrong_child_has_a_finite_loss():
    @tf.function
    def ours():
        return graph_loss(tf.constant([1]), softmax(tf.constant([[1000.0, 0.0]])))

    nats, _, gradient = ours()
    np.testing.assert_allclose(nats, [1000.0])
    np.testing.assert_allclose(gradient, [[1.0, -1.0]])
