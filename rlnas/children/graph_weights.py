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


_ADAMS = (keras.optimizers.Adam, keras.optimizers.AdamW)


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
        rates: Its learning rate in each step, float32[steps]; None to ask the optimizer.
    """

    def __init__(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer, rates: Any
    ) -> None:
        """See the class."""
        self._variables, self._optimizer = model.trainable_variables, optimizer
        self._shapes = [tuple(variable.shape) for variable in self._variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._joined = keras.Variable(self._as_one([v.value for v in self._variables]))
        if rates is not None and type(optimizer) in _ADAMS and not optimizer.amsgrad:
            self._optimizer = FusedAdam(optimizer, rates)
        self._optimizer.build([self._joined])

    def values(self) -> list[Any]:
        """Return what the weights are now, a tensor each."""
        import tensorflow as tf

        parts = zip(tf.split(self._joined.value, self._sizes), self._shapes, strict=True)
        return [tf.reshape(part, shape) if len(shape) != 1 else part for part, shape in parts]

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

        flat = tf.constant([-1])
        return tf.concat([tf.reshape(p, flat) if len(p.shape) != 1 else p for p in parts], 0)


class FusedAdam:
    """Adam or AdamW as one operation of TensorFlow, for a single variable.

    Keras makes it of a dozen that each go over all weights and moments, which is a fifth of a
    child's time where it has some hundred thousand weights.

    Args:
        optimizer: Whose settings and count of steps are used.
        rates: Its learning rate in each step, float32[steps].
    """

    def __init__(self, optimizer: keras.optimizers.Adam, rates: Any) -> None:
        """See the class."""
        self._settings = optimizer
        betas = np.array([[optimizer.beta_1, optimizer.beta_2]], np.float32)
        powers = betas ** np.arange(1, len(rates) + 1, dtype=np.float32)[:, None]
        self._of_steps = np.concatenate([rates[:, None], powers], axis=1)  # float32[steps, 3]

    def build(self, variables: Sequence[Any]) -> None:
        """Make the moments of the only variable."""
        import tensorflow as tf

        self._settings.build([])
        zeros = tf.zeros(variables[0].shape)
        self._moments = tf.Variable(zeros), tf.Variable(zeros)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Make one step."""
        import tensorflow as tf

        settings, variable = self._settings, variables[0].value
        rate, power, other_power = tf.unstack(tf.gather(self._of_steps, settings.iterations.value))
        if settings.weight_decay:
            variable.assign(variable * (1 - rate * settings.weight_decay))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._moments[0].handle,
            v=self._moments[1].handle,
            beta1_power=power,
            beta2_power=other_power,
            lr=rate,
            beta1=settings.beta_1,
            beta2=settings.beta_2,
            epsilon=settings.epsilon,
            grad=gradients[0],
        )
        settings.iterations.assign_add(1)


def graph_weights(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, rates: Any
) -> SeparateWeights | JoinedWeights:
    """Return the weights of a child, joined where that changes nothing.

    Args:
        model: The child, built.
        optimizer: Its optimizer, not built yet.
        rates: Its learning rate in each step, float32[steps]; None to ask the optimizer.
    """
    variables = model.trainable_variables
    alike = variables and all(variable.dtype == "float32" for variable in variables)
    if alike and type(optimizer) in _ELEMENTWISE:
        return JoinedWeights(model, optimizer, rates)
    return SeparateWeights(model, optimizer)
