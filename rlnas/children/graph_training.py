"""Training a child in one TensorFlow graph that holds epochs, steps and validation.

It computes what `keras.Model.fit` computes, without Python between the steps: most of a
small child's time under `fit` is spent there and in tracing several functions.
"""

from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data

_VALIDATION_BATCH = 256


def train_in_graph(
    model: keras.Model, data: Data, *, epochs: int, batch_size: int, seed: int
) -> tuple[Any, Any, Any]:
    """Train a compiled model on data that fits in memory.

    Args:
        model: A model from raw inputs to class probabilities, compiled with its optimizer.
        data: The data set; its test part is not touched.
        epochs: Passes over the training part.
        batch_size: Examples of a step; the last one of an epoch may have fewer.
        seed: Seed of the order in which examples come.

    Returns:
        float32[epochs] each: mean training loss, validation loss (nats), validation accuracy.
        An epoch in which the training loss stops being finite is the last.
    """
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            nats = _cross_entropy(y, model(x, training=True))
            loss = tf.reduce_mean(nats) + sum(model.losses)
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.reduce_sum(nats)

    def validate(x: Any, y: Any) -> tuple[Any, Any]:
        nats, right = tf.constant(0.0), tf.constant(0)
        for start in tf.range(0, tf.shape(x)[0], _VALIDATION_BATCH):
            part = slice(start, start + _VALIDATION_BATCH)
            probabilities = model(x[part], training=False)
            nats += tf.reduce_sum(_cross_entropy(y[part], probabilities))
            found = tf.argmax(probabilities, axis=-1, output_type=y.dtype)
            right += tf.reduce_sum(tf.cast(found == y[part], tf.int32))
        count = tf.cast(tf.shape(x)[0], tf.float32)
        return nats / count, tf.cast(right, tf.float32) / count

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def run(x: Any, y: Any, x_val: Any, y_val: Any) -> tuple[Any, Any, Any, Any]:
        count, ended = tf.shape(x)[0], tf.constant(0)
        losses, val_losses, val_accuracies = (
            tf.TensorArray(tf.float32, size=epochs) for _ in range(3)
        )
        for epoch in tf.range(epochs):
            order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, epoch])
            nats = tf.constant(0.0)
            for start in tf.range(0, count, batch_size):
                chosen = order[start : start + batch_size]
                nats += step(tf.gather(x, chosen), tf.gather(y, chosen))
                if not tf.math.is_finite(nats):
                    break
            val_loss, val_accuracy = validate(x_val, y_val)
            losses = losses.write(epoch, nats / tf.cast(count, tf.float32))
            val_losses = val_losses.write(epoch, val_loss)
            val_accuracies = val_accuracies.write(epoch, val_accuracy)
            ended += 1
            if not tf.math.is_finite(nats):
                break
        return losses.stack(), val_losses.stack(), val_accuracies.stack(), ended

    parts = [data.x_train, data.y_train, data.x_val, data.y_val]
    tensors = [tf.convert_to_tensor(part) for part in parts]
    *measured, ended = run(*tensors)
    loss, val_loss, val_accuracy = (np.asarray(each)[: int(ended)] for each in measured)
    return loss, val_loss, val_accuracy


def _cross_entropy(y: Any, probabilities: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(y, probabilities)
