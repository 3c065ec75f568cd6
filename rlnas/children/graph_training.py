"""Training a child in TensorFlow graphs that hold many steps, or a whole validation pass.

It computes what `keras.Model.fit` computes, with next to no Python between the steps: most
of a small child's time under `fit` is spent there and in tracing several functions.
"""

from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data, examples_at_once
from rlnas.children.fused_norm import with_fused_norms

_STEPS_AT_ONCE = 100
"""Steps between two looks at Python, where Ctrl-C is heard (chosen: a few seconds)."""


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

    steps, validate = _graphs(model, batch_size, examples_at_once(data.x_val))
    parts = (data.x_train, data.y_train, data.x_val, data.y_val)
    x, y, x_val, y_val = (tf.convert_to_tensor(part) for part in parts)
    count, at_once = len(data.x_train), _STEPS_AT_ONCE * batch_size
    measured: list[list[Any]] = []
    for epoch in range(epochs):
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, epoch])
        nats = tf.constant(0.0)
        for start in range(0, count, at_once):
            stop = min(start + at_once, count)
            nats = steps(x, y, order, tf.constant(start), tf.constant(stop), nats)
            if not np.isfinite(nats):
                break
        measured.append([nats / count, *validate(x_val, y_val)])
        if not np.isfinite(nats):
            break
    loss, val_loss, val_accuracy = np.asarray(measured, dtype=np.float32).T
    return loss, val_loss, val_accuracy


def _graphs(model: keras.Model, batch_size: int, at_once: int) -> tuple[Any, Any]:
    """Return two compiled functions: one makes some steps, one validates."""
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)
    fused = with_fused_norms(model)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            nats = _cross_entropy(y, fused(x, training=True))
            loss = tf.reduce_mean(nats) + sum(model.losses)
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.reduce_sum(nats)

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def steps(x: Any, y: Any, order: Any, first: Any, stop: Any, nats: Any) -> Any:
        for start in tf.range(first, stop, batch_size):
            chosen = order[start : tf.minimum(start + batch_size, stop)]
            nats += step(tf.gather(x, chosen), tf.gather(y, chosen))
            if not tf.math.is_finite(nats):
                break
        return nats

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def validate(x: Any, y: Any) -> tuple[Any, Any]:
        nats, right = tf.constant(0.0), tf.constant(0)
        for start in tf.range(0, tf.shape(x)[0], at_once):
            part = slice(start, start + at_once)
            probabilities = fused(x[part], training=False)
            nats += tf.reduce_sum(_cross_entropy(y[part], probabilities))
            found = tf.argmax(probabilities, axis=-1, output_type=y.dtype)
            right += tf.reduce_sum(tf.cast(found == y[part], tf.int32))
        count = tf.cast(tf.shape(x)[0], tf.float32)
        return nats / count, tf.cast(right, tf.float32) / count

    return steps, validate


def _cross_entropy(y: Any, probabilities: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(y, probabilities)
