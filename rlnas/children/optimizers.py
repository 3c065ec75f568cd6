"""Optimizers whose learning rate differs from layer to layer, or goes by the gradient's size."""

from collections.abc import Sequence
from typing import Any

from rlnas.children.backend import keras

THRESHOLD, LOWERED = 1.0, 0.1
"""Norm of a whole gradient from which on a step has the full rate, and the factor below it
(chosen)."""


def with_factors(kind: Any) -> Any:
    """Return a kind of optimizer that takes two arguments more.

    `factors` are those of the learning rate, one for each variable it is built with; `threshold`
    is the norm of all gradients together below which the rate is a tenth. Weight decay goes by
    the rate without them.

    Args:
        kind: A class of optimizers of Keras whose `update_step` moves one variable.
    """

    class WithFactors(kind):  # type: ignore[misc]
        def __init__(
            self,
            *args: Any,
            factors: Sequence[float] = (),
            threshold: float = 0.0,
            **options: Any,
        ) -> None:
            super().__init__(*args, **options)
            self.factors, self.threshold = tuple(factors), threshold

        def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> Any:
            ops = keras.ops
            squares = sum(ops.sum(ops.square(gradient)) for gradient in grads)
            small = ops.less(ops.sqrt(squares), self.threshold)
            self._share = ops.where(small, LOWERED, 1.0)
            return super().apply(grads, trainable_variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            place = self._get_variable_index(variable)
            factor = self.factors[place] if self.factors else 1.0
            super().update_step(gradient, variable, learning_rate * factor * self._share)

    return WithFactors


def factors_by_depth(model: keras.Model, factor: float) -> tuple[float, ...]:
    """Return the factor of the learning rate of each trainable variable of a model.

    Layers with a kernel are counted from the last one back; what has none, such as batch
    normalisation, goes with the layer before it (Howard & Ruder 2018, section 3.2).

    Args:
        model: A functional or sequential model.
        factor: From each layer to the one before it.
    """
    depths: list[int] = []
    depth = 0
    for layer in model.layers:
        shapes = [len(variable.shape) for variable in layer.trainable_variables]
        depth += any(size > 1 for size in shapes)
        depths += [depth] * len(shapes)
    return tuple(factor ** (depth - each) for each in depths)
