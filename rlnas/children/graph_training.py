"""Training a child in TensorFlow graphs of its own: one for the steps, one for the validation.

It computes what `keras.Model.fit` computes, with no Python between the steps: most of a small
child's time under `fit` is spent there and in tracing several functions. One thing differs: of an
embedding Keras's Adam squares the gradient of each place where a word stands, and not their sum.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.augmentation import random_changes
from rlnas.children.backend import keras
from rlnas.children.data import Data, examples_at_once
from rlnas.children.feeds import Feed, ResidentFeed, StreamFeed
from rlnas.children.fused_layers import MovingStatistics, with_fused_layers
from rlnas.children.graph_loss import graph_loss
from rlnas.children.graph_weights import graph_weights
from rlnas.children.history import History, goes_on
from rlnas.children.measures import example_score
from rlnas.children.recipes import (
    class_weights,
    learning_rates,
    make_optimizer,
    plateau_factor,
    steps_per_epoch,
)
from rlnas.config import RecipeConfig

_STEPS_AT_ONCE = 100
"""Steps between two looks at Python, where Ctrl-C is heard (chosen: a few seconds)."""

_WORTH_OPTIMISING = 3e11
"""FLOPs of a training from which TensorFlow's optimisation of the graph is worth its time: it
costs 0.05 s and saves a hundredth (measured on one core with digits and Fashion-MNIST)."""

_LEAST_NODES, _NEVER = 4, 2**30
"""Operations from which TensorFlow optimises a graph: its own default, and more than any has."""


class GraphTrainer:
    """Trains children on data that goes to the device once, or in batches while it trains.

    Args:
        data: The data set; its test part is not touched.
        jit_compile: Compile the steps with XLA.
        stream: Whether the data stays with the host, for it is too large for the device.
    """

    def __init__(self, data: Data, *, jit_compile: bool = False, stream: bool = False) -> None:
        """See the class."""
        self._data, self._jit_compile, self._streams = data, jit_compile, stream

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
        feed = self._feed(recipe.batch_size)
        optimizer = make_optimizer(recipe, count, model)
        learn, look = graphs(
            model, optimizer, recipe, self._data, feed, jit_compile=self._jit_compile
        )
        measured: list[tuple[float, float, float]] = []
        with optimised(flops, count, recipe.epochs):
            for epoch in range(recipe.epochs):
                order = tf.random.experimental.stateless_shuffle(tf.range(count), [seed, epoch])
                source, nats = feed.training(order), tf.constant(0.0)
                for first in range(0, steps, _STEPS_AT_ONCE):
                    until = min(first + _STEPS_AT_ONCE, steps)
                    nats = learn(source, tf.constant(first), tf.constant(until), nats)
                    if not np.isfinite(float(nats)):
                        break
                examples = len(self._data.y_val)
                val_nats, hits = (float(each) / examples for each in look(feed.validation()))
                measured.append((float(nats) / count, val_nats, hits))
                if not goes_on(measured, floors):
                    break
                if recipe.schedule == "plateau":
                    factor = plateau_factor([row[1] for row in measured])
                    optimizer.learning_rate = recipe.learning_rate * factor
        return History.of_epochs(measured)

    def _feed(self, batch_size: int) -> Feed:
        if self._streams:
            return StreamFeed(self._data, batch_size)
        return ResidentFeed(self._tensors, batch_size)

    @cached_property
    def _tensors(self) -> tuple[Any, ...]:
        import tensorflow as tf

        data = self._data
        parts = (data.x_train, data.y_train, data.x_val, data.y_val)
        return tuple(tf.convert_to_tensor(part) for part in parts)


@contextmanager
def optimised(flops: int, examples: int, epochs: int) -> Iterator[None]:
    """Let TensorFlow optimise graphs meanwhile, but not those of a training that is too small.

    Args:
        flops: FLOPs of a forward pass of one example; 0 if not known.
        examples: Training examples.
        epochs: How often each is seen.
    """
    if not 0 < 3 * flops * examples * epochs < _WORTH_OPTIMISING:
        yield
        return
    import tensorflow as tf

    set_options = tf.config.optimizer.set_experimental_options
    set_options({"min_graph_nodes": _NEVER})
    try:
        yield
    finally:
        set_options({"min_graph_nodes": _LEAST_NODES})


def graphs(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    recipe: RecipeConfig,
    data: Data,
    feed: Feed,
    *,
    jit_compile: bool,
) -> tuple[Any, Any]:
    """Return two compiled functions: one makes steps, one validates.

    The first takes a source of training batches, the number of the first step and of the one behind
    the last, and the sum of the losses so far, and returns that sum; it ends early when that is not
    finite. The second takes a source of the validation part and returns the sum of the losses and
    that of the scores.

    Loops are written out: where TensorFlow reads them from Python it needs half as much time
    again, and a temporary file.
    """
    import tensorflow as tf

    fused, statistics = model, MovingStatistics([])
    if not jit_compile:  # XLA fuses by itself
        fused, statistics = with_fused_layers(model)
    weights = graph_weights(model, optimizer, learning_rates(recipe, len(data.x_train)))
    changes = random_changes(recipe)
    shares = class_weights(recipe, data.y_train, data.classes)
    step = _step(fused, weights, statistics, recipe.label_smoothing, shares)
    look = _look(fused, data.spread)
    if jit_compile:
        step = tf.function(step, jit_compile=True)  # not look: its last piece is of any size

    def learn(source: Any, first: Any, until: Any, nats: Any) -> Any:
        def body(number: Any, nats: Any) -> tuple[Any, Any]:
            x, y = feed.batch(source, number)
            for change in changes:
                x = change(x, training=True)
            return number + 1, nats + step(x, y)

        def unfinished(number: Any, nats: Any) -> Any:
            return tf.logical_and(number < until, tf.math.is_finite(nats))

        _, nats = tf.while_loop(unfinished, body, (first, nats))
        weights.write_back()
        statistics.write_back()
        return nats

    pieces = -(-len(data.y_val) // examples_at_once(data.x_val))

    def validate(source: Any) -> Any:
        if pieces == 1:
            return look(*feed.piece(source, 0))

        def body(number: Any, nats: Any, hits: Any) -> tuple[Any, Any, Any]:
            more, found = look(*feed.piece(source, number))
            return number + 1, nats + more, hits + found

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, nats, hits = tf.while_loop(lambda number, *_: number < pieces, body, start)
        return nats, hits

    return tf.function(learn, autograph=False), tf.function(validate, autograph=False)


def _step(
    model: keras.Model,
    weights: Any,
    statistics: MovingStatistics,
    smoothing: float,
    shares: npt.NDArray[np.float32] | None,
) -> Any:
    """Return what makes one step on a batch and returns the sum of its losses.

    Args:
        model: What is trained.
        weights: Its weights.
        statistics: Its moving statistics.
        smoothing: Of the labels.
        shares: How much each class weighs; None for all alike.
    """
    import tensorflow as tf

    state = model.non_trainable_variables

    def step(x: Any, y: Any) -> Any:
        values = weights.values()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            outputs, new_state, penalties = model.stateless_call(
                values, [each.value for each in state], x, training=True, return_losses=True
            )
            nats, logits, gradient = graph_loss(y, outputs, smoothing)
        if shares is not None:
            gradient *= tf.cast(tf.gather(shares, y), gradient.dtype)[:, None]
        examples = tf.shape(y)[0]
        begin = [gradient / tf.cast(examples, gradient.dtype), *map(tf.ones_like, penalties)]
        gradients = tape.gradient([logits, *penalties], values, begin, "zero")
        weights.apply(gradients)
        statistics.move(examples)
        for variable, value in zip(state, new_state, strict=True):
            if value is not variable.value:
                variable.assign(value)
        return tf.reduce_sum(nats)

    return step


def _look(model: keras.Model, spread: float | None) -> Any:
    """Return what gives the sum of the losses of some examples, and that of their scores."""
    import tensorflow as tf

    def look(x: Any, y: Any) -> tuple[Any, Any]:
        outputs = model(x, training=False)
        nats, _, _ = graph_loss(y, outputs)
        return tf.reduce_sum(nats), tf.reduce_sum(example_score(y, outputs, spread))

    return look
