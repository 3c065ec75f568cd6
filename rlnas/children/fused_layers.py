"""Layers that compute what Keras's own compute, in fewer operations of TensorFlow.

Keras makes batch normalisation of a dozen operations that each go over all values. TensorFlow
computes the sigmoid of silu twice, and where the size of a batch is not fixed, its gradients look
for what was broadcast. Each operation costs time in each step, and more when the graph is traced.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlnas.children.backend import keras


class FusedNorm(keras.layers.Layer):  # type: ignore[misc]
    """A `keras.layers.BatchNormalization` of images.

    The moving statistics do not move on by themselves; see `MovingStatistics`.

    Args:
        norm: The layer that stands in the model: built, over the last axis of images of a fixed
            size, with scale and centre.
    """

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        """See the class."""
        super().__init__(name=norm.name)
        self.norm = norm
        self.built = True
        self.seen: list[Any] = []

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """Return the normalised images; training leaves mean and variance in `seen`."""
        import tensorflow as tf

        norm = self.norm
        mean, variance = [], []
        if not training:
            mean, variance = norm.moving_mean.value, norm.moving_variance.value
        done = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=norm.gamma.value,
            offset=norm.beta.value,
            mean=mean,
            variance=variance,
            epsilon=norm.epsilon,
            is_training=training,
        )
        self.seen = [done.batch_mean, done.batch_variance]
        return done.y

    @staticmethod
    def fits(layer: keras.layers.Layer) -> bool:
        """Return whether a layer is one that this can stand for."""
        return (
            type(layer) is keras.layers.BatchNormalization
            and layer.trainable
            and layer.scale
            and layer.center
            and not layer.renorm
            and not layer.synchronized
            and layer.axis in (-1, 3)
            and len(layer.input.shape) == 4
            and None not in layer.input.shape[1:]
            and layer.compute_dtype == "float32"
        )


class FusedSilu(keras.layers.Layer):  # type: ignore[misc]
    """A `keras.layers.Activation` by silu, whose gradient uses the sigmoid again.

    Args:
        activation: The layer that stands in the model.
    """

    def __init__(self, activation: keras.layers.Activation) -> None:
        """See the class."""
        super().__init__(name=activation.name)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the inputs times their sigmoid."""
        import tensorflow as tf

        def silu(x: Any) -> tuple[Any, Callable[[Any], Any]]:
            sigmoid = tf.sigmoid(x)
            y = x * sigmoid
            return y, lambda above: above * (sigmoid + y * (1 - sigmoid))

        return tf.custom_gradient(silu)(inputs)

    @staticmethod
    def fits(layer: keras.layers.Layer) -> bool:
        """Return whether a layer is one that this can stand for."""
        return (
            type(layer) is keras.layers.Activation
            and layer.activation is keras.activations.silu
            and layer.compute_dtype == "float32"
        )


class FusedDropout(keras.layers.Layer):  # type: ignore[misc]
    """A `keras.layers.Dropout`, with the same places dropped.

    Args:
        dropout: The layer that stands in the model.
    """

    def __init__(self, dropout: keras.layers.Dropout) -> None:
        """See the class."""
        super().__init__(name=dropout.name)
        self.dropout = dropout
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, in training with some of them 0 and the others scaled up."""
        import tensorflow as tf

        rate = self.dropout.rate
        if not training:
            return inputs
        seed = tf.cast(self.dropout.seed_generator.next(), tf.int32)
        drawn = tf.random.stateless_uniform(tf.shape(inputs), seed)
        kept = tf.where(drawn >= rate, 1 / (1 - rate), 0.0)

        def drop(x: Any) -> tuple[Any, Callable[[Any], Any]]:
            return x * kept, lambda above: above * kept

        return tf.custom_gradient(drop)(inputs)

    @staticmethod
    def fits(layer: keras.layers.Layer) -> bool:
        """Return whether a layer is one that this can stand for."""
        return (
            type(layer) is keras.layers.Dropout
            and 0 < layer.rate < 1
            and layer.noise_shape is None
            and layer.compute_dtype == "float32"
        )


class MovingStatistics:
    """The moving means and variances of many normalisations in one variable.

    Moved on together they are a few operations of a graph, and not some twenty each.

    Args:
        norms: The normalisations, which share no variable.
    """

    def __init__(self, norms: Sequence[FusedNorm]) -> None:
        """See the class."""
        import tensorflow as tf

        self._norms = norms
        if not norms:
            return
        layers = [each.norm for each in norms]
        self._moving = [x for norm in layers for x in (norm.moving_mean, norm.moving_variance)]
        self._sizes = [int(each.shape[0]) for each in self._moving]
        self._momentum = self._for_each([norm.momentum for norm in layers for _ in range(2)])
        # TensorFlow's variance is the unbiased one of n values: Keras's is 1 - 1/n times that.
        places = [int(np.prod(norm.input.shape[1:3])) for norm in layers]
        self._bias = self._for_each([share for each in places for share in (0, 1 / each)])
        self._joined = tf.Variable(tf.concat([each.value for each in self._moving], 0))

    def _for_each(self, numbers: Sequence[float]) -> Any:
        """Return float32[all statistics] from a number for each variable."""
        return np.repeat(numbers, self._sizes).astype(np.float32)

    def move(self, examples: Any) -> None:
        """Move on by what a step has left in the norms.

        Args:
            examples: Number of examples of the batch, int32[].
        """
        import tensorflow as tf

        if not self._norms:
            return
        now = tf.concat([each for norm in self._norms for each in norm.seen], 0)
        weight = (1 - self._momentum) * (1 - self._bias / tf.cast(examples, tf.float32))
        self._joined.assign(self._joined * self._momentum + now * weight)

    def write_back(self) -> None:
        """Give the layers their statistics."""
        import tensorflow as tf

        if not self._norms:
            return
        for each, value in zip(self._moving, tf.split(self._joined, self._sizes), strict=True):
            each.assign(value)


_KINDS = (FusedNorm, FusedSilu, FusedDropout)


def with_fused_layers(model: keras.Model) -> tuple[keras.Model, MovingStatistics]:
    """Return a model on the same variables with faster layers.

    Args:
        model: A functional or sequential model; it stays as it is.

    Returns:
        The model, which is the given one if no layer fits, and its moving statistics.
    """
    norms: list[FusedNorm] = []

    def fused(layer: keras.layers.Layer) -> keras.layers.Layer:
        for kind in _KINDS:
            if kind.fits(layer):
                layer = kind(layer)
                break
        if isinstance(layer, FusedNorm):
            norms.append(layer)
        return layer

    if any(kind.fits(layer) for layer in model.layers for kind in _KINDS):
        model = keras.models.clone_model(model, clone_function=fused)
    return model, MovingStatistics(norms)
