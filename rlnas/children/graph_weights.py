"""A child's trainable weights in a TensorFlow graph, and the optimizer that moves them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlnas.children.backend import keras

_ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
)
"""Optimizers that move each weight by itself, whatever variable it belongs to."""


class SeparateWeights:
    """Each weight is a variable of its own, as under `keras.Model.fit`.

    Args:
        model: The child.
        optimizer: Its optimizer, not built yet.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """See the class."""
        self._variables, self._optimizer = model.trainable_variables, optimizer
        optimizer.build(self._variables)

    def values(self) -> list[Any]:
        """Return what the weights are now, a tensor each."""
        import tensorflow as tf

        return [tf.convert_to_tensor(variable.value) for variable in self._variables]

    def apply(self, gradients: Sequence[Any]) -> None:
        """Make one step of the optimizer."""
        self._optimizer.apply(gradients, self._variables)

    def write_back(self) -> None:
        """Give the model the weights; it has them."""


class JoinedWeights:
    """All weights stand in one variable, so that the optimizer moves them in one go.

    For optimizers that treat each number alike the result is the same, and the graph has far
    fewer operations: to trace it is much of a small child's time.

    Args:
        model: The child.
        optimizer: Its optimizer, not built yet.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """See the class."""
        self._variables, self._optimizer = model.trainable_variables, optimizer
        self._shapes = [tuple(variable.shape) for variable in self._variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._joined = keras.Variable(self._as_one([v.value for v in self._variables]))
        optimizer.build([self._joined])

    def values(self) -> list[Any]:
        """Return what the weights are now, a tensor each."""
        import tensorflow as tf

        parts = tf.split(self._joined.value, self._sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def apply(self, gradients: Sequence[Any]) -> None:
        """Make one step of the optimizer."""
        self._optimizer.apply([self._as_one(gradients)], [self._joined])

    def write_back(self) -> None:
        """Give the model the weights."""
        for variable, value in zip(self._variables, self.values(), strict=True):
            variable.assign(value)

    @staticmethod
    def _as_one(parts: Sequence[Any]) -> Any:
        import tensorflow as tf

        return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)


def graph_weights(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> SeparateWeights | JoinedWeights:
    """Return the weights of a child, joined where that changes nothing.

    Args:
        model: The child, built.
        optimizer: Its optimizer, not built yet.
    """
    variables = model.trainable_variables
    alike = variables and all(variable.dtype == "float32" for variable in variables)
    if alike and type(optimizer) in _ELEMENTWISE:
        return JoinedWeights(model, optimizer)
    return SeparateWeights(model, optimizer)
