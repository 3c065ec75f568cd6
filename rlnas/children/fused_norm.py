"""Batch normalisation of images as one operation of TensorFlow.

Keras 3 makes it of a dozen operations that each go over all values; on a CPU that is most of
the time of a child with large images and many normalisations.
"""

from typing import Any

from rlnas.children.backend import keras


class FusedNorm(keras.layers.Layer):  # type: ignore[misc]
    """Computes what a `keras.layers.BatchNormalization` computes, on its variables.

    Args:
        norm: The layer that stands in the model: built, over the last axis of images,
            with scale and centre.
    """

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        """See the class."""
        super().__init__(name=norm.name)
        self.norm = norm
        self.built = True

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """Return the normalised images; in training the moving statistics move on."""
        import tensorflow as tf

        norm = self.norm
        values = (norm.gamma.value, norm.beta.value)
        if not training:
            moving = (norm.moving_mean.value, norm.moving_variance.value)
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=values[0],
                offset=values[1],
                mean=moving[0],
                variance=moving[1],
                epsilon=norm.epsilon,
                is_training=False,
            ).y
        done = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=values[0],
            offset=values[1],
            mean=[],
            variance=[],
            epsilon=norm.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance = done.batch_variance * (count - 1) / count  # TensorFlow's is the unbiased one
        for moving, now in ((norm.moving_mean, done.batch_mean), (norm.moving_variance, variance)):
            moving.assign(moving * norm.momentum + now * (1 - norm.momentum))
        return done.y


def with_fused_norms(model: keras.Model) -> keras.Model:
    """Return a model on the same layers and variables with faster batch normalisation.

    Args:
        model: A functional or sequential model; it stays as it is.
    """
    if not any(_fits(layer) for layer in model.layers):
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: FusedNorm(layer) if _fits(layer) else layer
    )


def _fits(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.trainable
        and layer.scale
        and layer.center
        and not layer.renorm
        and not layer.synchronized
        and layer.axis in (-1, 3)
        and len(layer.input.shape) == 4
        and layer.compute_dtype == "float32"
    )
