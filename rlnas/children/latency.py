"""How long a child takes for one example."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Array

_WARM_UP, _TIMED = 2, 20
"""Runs before the clock starts, and those that are timed (chosen)."""

_PASSES = 10
"""Forward passes of one run (chosen): a call from Python takes as long as a small child."""


def latency(model: keras.Model, x: Array) -> float:
    """Return the time of a forward pass with batch size 1, compiled and warmed up.

    Each run is one call of a compiled loop of 10 passes, one after the other, so that the call from
    Python, which no deployed model makes, hardly counts. Where Keras has neither TensorFlow nor JAX
    below it, a run is one pass that is called from Python.

    Args:
        model: The child.
        x: Examples, ``(n, ...)``; the first is used.

    Returns:
        The least of 20 runs, in milliseconds for one pass: other work on the machine can only make
        a run longer.
    """
    run, passes = _forward(model, x[:1])
    seconds = []
    for _ in range(_WARM_UP):
        run()
    for _ in range(_TIMED):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds) / passes


def _forward(model: keras.Model, x: Array) -> tuple[Callable[[], Any], int]:
    """Return what puts an example through the model and waits for it, and how often it does so."""
    examples = np.repeat(x, _PASSES, axis=0)
    match keras.backend.backend():
        case "tensorflow":
            return _with_tensorflow(model, examples), _PASSES
        case "jax":
            return _with_jax(model, examples), _PASSES
    return lambda: model.predict_on_batch(x), 1


def _with_tensorflow(model: keras.Model, examples: Array) -> Callable[[], Any]:
    """Return what puts one example after the other through the model."""
    import tensorflow as tf

    def total(example: Any) -> Any:
        outputs = tf.nest.flatten(model(example[tf.newaxis], training=False))
        return tf.add_n([tf.reduce_sum(tf.cast(output, "float32")) for output in outputs])

    def each(examples: Any) -> Any:
        signature = tf.TensorSpec((), "float32")
        return tf.map_fn(total, examples, parallel_iterations=1, fn_output_signature=signature)

    passes, given = tf.function(each), tf.constant(examples)
    return lambda: passes(given).numpy()


def _with_jax(model: keras.Model, examples: Array) -> Callable[[], Any]:
    """Return what puts one example after the other through the model."""
    import jax

    state = [
        [variable.value for variable in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]

    def total(example: Any) -> Any:
        outputs = model.stateless_call(*state, example[None], training=False)[0]
        return sum(output.astype("float32").sum() for output in jax.tree.leaves(outputs))

    passes, given = jax.jit(lambda examples: jax.lax.map(total, examples)), jax.device_put(examples)
    return lambda: passes(given).block_until_ready()
