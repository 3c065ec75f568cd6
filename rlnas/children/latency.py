"""How long a child takes for one example."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rlnas.children.backend import keras
from rlnas.children.data import Array

_WARM_UP, _TIMED = 10, 100
"""Runs before the clock starts, and those that are timed (chosen)."""


def latency(model: keras.Model, x: Array) -> float:
    """Return the time of a forward pass with batch size 1, compiled and warmed up.

    Args:
        model: The child.
        x: Examples, ``(n, ...)``; the first is used.

    Returns:
        The median of 100 runs, in milliseconds.
    """
    run, seconds = _forward(model, x[:1]), []
    for _ in range(_WARM_UP):
        run()
    for _ in range(_TIMED):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds)


def _forward(model: keras.Model, x: Array) -> Callable[[], Any]:
    """Return what puts an example through the model and waits for the outputs."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            compiled, given = tf.function(lambda x: model(x, training=False)), tf.constant(x)
            return lambda: compiled(given).numpy()
        case "jax":
            import jax

            state = [
                [variable.value for variable in group]
                for group in (model.trainable_variables, model.non_trainable_variables)
            ]
            jitted = jax.jit(lambda x: model.stateless_call(*state, x, training=False)[0])
            return lambda: jitted(x).block_until_ready()
    return lambda: model.predict_on_batch(x)
