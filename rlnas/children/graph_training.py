"""Training a child in one TensorFlow graph: epochs, steps, shuffling and validation.

It computes what `keras.Model.fit` computes, with no Python between the steps: most of a small
child's time under `fit` is spent there and in tracing several functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data, examples_at_once
from rlnas.children.fused_norm import with_fused_norms
from rlnas.children.graph_weights import graph_weights
from rlnas.children.history import History
from rlnas.children.measures import cross_entropy, right
from rlnas.children.recipes import make_optimizer, steps_per_epoch
from rlnas.config import RecipeConfig

_STEPS_AT_ONCE = 100
"""Steps between two looks at Python, where Ctrl-C is heard (chosen: a few seconds)."""

_WORTH_OPTIMISING = 3e10
"""FLOPs of a training from which TensorFlow's optimisation of the graph is worth its time: it
costs 0.1 s and saves a tenth (measured on one core with digits and Fashion-MNIST)."""

_LEAST_NODES, _NEVER = 4, 2**30
"""Operations from which TensorFlow optimises a graph: its own default, and more than any has."""


class GraphTrainer:
    """Trains children on data that fits into memory; the data goes to the device once.

    Args:
        data: The data set; its test part is not touched.
        jit_compile: Compile the steps with XLA.
    """

    def __init__(self, data: Data, *, jit_compile: bool = False) -> None:
        """See the class."""
        self._data, self._jit_compile = data, jit_compile

    def train(
        self,
        model: keras.Model,
        recipe: RecipeConfig,
        seed: int,
        *,
        flops: int = 0,
        floors: Sequence[float] = (),
    ) -> History:
        """Train a model; see `rlnas.children.training.Trainer`."""
        import tensorflow as tf

        count = len(self._data.x_train)
        steps = steps_per_epoch(recipe, count)
        small = 0 < flops * 3 * count * recipe.epochs < _WORTH_OPTIMISING
        at_once = examples_at_once(self._data.x_val)
        run = _graph(model, recipe, count, at_once, jit_compile=self._jit_compile)
        lowest = np.full(recipe.epochs, -np.inf, np.float32)
        lowest[: len(floors)] = floors[: recipe.epochs]
        given = (*self._tensors, tf.constant(seed), tf.constant(lowest))
        step, going = 0, True
        state = (tf.zeros([count], tf.int32), tf.constant(0.0), tf.zeros([recipe.epochs, 3]))
        with _unoptimised() if small else nullcontext():
            while going and step < recipe.epochs * steps:
                until = min(step + _STEPS_AT_ONCE, recipe.epochs * steps)
                going, done, *state = run(*given, tf.constant(step), tf.constant(until), *state)
                step = int(done)
        measured = np.asarray(state[-1])[: -(-step // steps)]
        return History.of_epochs(measured)

    @cached_property
    def _tensors(self) -> tuple[Any, ...]:
        import tensorflow as tf

        data = self._data
        parts = (data.x_train, data.y_train, data.x_val, data.y_val)
        return tuple(tf.convert_to_tensor(part) for part in parts)


@contextmanager
def _unoptimised() -> Iterator[None]:
    """Leave graphs as they were traced; those of others in this process come behind it."""
    import tensorflow as tf

    set_options = tf.config.optimizer.set_experimental_options
    set_options({"min_graph_nodes": _NEVER})
    try:
        yield
    finally:
        set_options({"min_graph_nodes": _LEAST_NODES})


def _graph(
    model: keras.Model, recipe: RecipeConfig, count: int, at_once: int, *, jit_compile: bool
) -> Any:
    """Return a compiled function that makes the steps from one to another, and validates.

    It takes the data in four parts, the seed, the lowest accuracy with which each epoch may go
    on, the numbers of the first step and of the one behind the last, and the state: the order
    int32[count] of the epoch, the sum of its losses, and what was measured, float32[epochs, 3].
    It returns whether to go on, the number of the next step, and the state.
    """
    import tensorflow as tf

    fused = model if jit_compile else with_fused_norms(model)  # XLA fuses by itself
    weights = graph_weights(model, make_optimizer(recipe, count))
    steps, batch_size = steps_per_epoch(recipe, count), recipe.batch_size
    learn, look = _step(fused, weights), _look(fused)
    if jit_compile:
        learn = tf.function(learn, jit_compile=True)  # not look: its last piece is of any size

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def run(
        x: Any,
        y: Any,
        x_val: Any,
        y_val: Any,
        seed: Any,
        floors: Any,
        step: Any,
        until: Any,
        order: Any,
        nats: Any,
        measured: Any,
    ) -> tuple[Any, ...]:
        going = tf.constant(True)
        while going and step < until:
            epoch, start = step // steps, step % steps * batch_size
            if start == 0:
                order = tf.random.experimental.stateless_shuffle(tf.range(count), [seed, epoch])
                nats = tf.constant(0.0)
            chosen = order[start : tf.minimum(start + batch_size, count)]
            nats += learn(tf.gather(x, chosen), tf.gather(y, chosen))
            going = tf.math.is_finite(nats)
            step += 1
            if step % steps == 0 or not going:
                weights.write_back()
                val_nats, right = tf.constant(0.0), tf.constant(0.0)
                for first in tf.range(0, tf.shape(x_val)[0], at_once):
                    part = slice(first, first + at_once)
                    more, found = look(x_val[part], y_val[part])
                    val_nats, right = val_nats + more, right + found
                examples = tf.cast(tf.shape(x_val)[0], tf.float32)
                row = tf.stack([nats / count, val_nats / examples, right / examples])
                measured = tf.tensor_scatter_nd_update(measured, [[epoch]], [row])
                going = going and tf.reduce_max(measured[:, 2]) >= floors[epoch]
        return going, step, order, nats, measured

    return run


def _step(model: keras.Model, weights: Any) -> Any:
    """Return what makes one step on a batch and returns the sum of its losses."""
    import tensorflow as tf

    state = model.non_trainable_variables

    def step(x: Any, y: Any) -> Any:
        values = weights.values()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            outputs, new_state, penalties = model.stateless_call(
                values, [each.value for each in state], x, training=True, return_losses=True
            )
            nats = cross_entropy(y, outputs)
            loss = tf.reduce_mean(nats) + sum(penalties)
        weights.apply(tape.gradient(loss, values, unconnected_gradients="zero"))
        for variable, value in zip(state, new_state, strict=True):
            if value is not variable.value:
                variable.assign(value)
        return tf.reduce_sum(nats)

    return step


def _look(model: keras.Model) -> Any:
    """Return what gives the sum of the losses of some examples, and how many were right."""
    import tensorflow as tf

    def look(x: Any, y: Any) -> tuple[Any, Any]:
        outputs = model(x, training=False)
        return tf.reduce_sum(cross_entropy(y, outputs)), tf.reduce_sum(right(y, outputs))

    return look
