"""Training a child with JAX: one compiled function for an epoch with all its steps.

It computes what `keras.Model.fit` computes, with no Python between the steps. The data lies on
the device, and validation is part of the same function.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data, examples_at_once
from rlnas.children.history import History, goes_on
from rlnas.children.measures import cross_entropy, right
from rlnas.children.recipes import make_optimizer, steps_per_epoch
from rlnas.config import RecipeConfig

_State = tuple[list[Any], list[Any], list[Any]]
"""Trainable variables, the others of the model, those of the optimizer."""


class ScanTrainer:
    """Trains children on data that fits into memory; the data goes to the device once.

    Args:
        data: The data set; its test part is not touched.
    """

    def __init__(self, data: Data) -> None:
        """See the class."""
        self._data = data

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
        optimizer = make_optimizer(recipe, len(self._data.x_train))
        optimizer.build(model.trainable_variables)
        trainable, others = model.trainable_variables, model.non_trainable_variables
        variables = [*trainable, *others, *optimizer.variables]
        state = _values(trainable), _values(others), _values(optimizer.variables)
        run, measured = _epoch(model, optimizer, recipe, self._data), []
        for epoch in range(recipe.epochs):
            state, figures = run(state, *self._arrays, seed, epoch)
            measured.append(np.asarray(figures).tolist())
            if not goes_on(measured, floors):
                break
        for variable, value in zip(variables, chain(*state), strict=True):
            variable.assign(value)
        return History.of_epochs(measured)

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        import jax.numpy as jnp

        data = self._data
        return tuple(jnp.asarray(each) for each in (data.x_train, data.y_train, *_pieces(data)))


def _values(variables: Sequence[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _pieces(data: Data) -> tuple[Any, Any, Any]:
    """Return the validation part in equal pieces, with weights that are 0 for what fills the last.

    Returns:
        Arrays ``(pieces, examples at once, ...)``: examples, classes and weights.
    """
    count, at_once = len(data.y_val), min(len(data.y_val), examples_at_once(data.x_val))
    places = np.arange(-(-count // at_once) * at_once).reshape(-1, at_once)
    weights = (places < count).astype(np.float32)
    places = np.minimum(places, count - 1)
    return data.x_val[places], data.y_val[places], weights


def _epoch(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: RecipeConfig, data: Data
) -> Callable[..., tuple[_State, Any]]:
    """Return a compiled function that trains for one epoch and validates.

    It takes the state, the training part, the pieces of the validation part, the seed and the
    number of the epoch. It returns the state, and the figures of the epoch, float32[3].
    """
    import jax
    import jax.numpy as jnp

    count, examples = len(data.x_train), len(data.y_val)
    whole = count // recipe.batch_size * recipe.batch_size  # examples in full batches
    steps = steps_per_epoch(recipe, count)

    @partial(jax.jit, donate_argnums=0)
    def run(
        state: _State, x: Any, y: Any, x_val: Any, y_val: Any, weights: Any, seed: Any, epoch: Any
    ) -> tuple[_State, Any]:
        order = jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), count)
        learn = _step(model, optimizer, x, y)
        batches = order[:whole].reshape(-1, recipe.batch_size)
        state, nats = jax.lax.scan(learn, state, batches)
        total = jnp.sum(nats)
        if len(batches) < steps:
            state, last = learn(state, order[whole:])
            total += last
        look = _look(model, state)
        _, measured = jax.lax.scan(look, None, (x_val, y_val, weights))
        return state, jnp.stack([total / count, *(jnp.sum(each) / examples for each in measured)])

    return run


def _step(model: keras.Model, optimizer: keras.optimizers.Optimizer, x: Any, y: Any) -> Any:
    """Return what makes one step on chosen examples and returns the sum of their losses."""
    import jax
    import jax.numpy as jnp

    def step(state: _State, chosen: Any) -> tuple[_State, Any]:
        trainable, others, slots = state

        def loss_of(trainable: list[Any]) -> tuple[Any, Any]:
            outputs, now, penalties = model.stateless_call(
                trainable, others, x[chosen], training=True, return_losses=True
            )
            nats = cross_entropy(y[chosen], outputs)
            return jnp.mean(nats) + sum(penalties), (now, jnp.sum(nats))

        gradients, (others, nats) = jax.grad(loss_of, has_aux=True)(trainable)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, others, slots), nats

    return step


def _look(model: keras.Model, state: _State) -> Any:
    """Return what gives the sum of the losses of a piece, and how many were right."""
    import jax.numpy as jnp

    def look(_: None, piece: tuple[Any, Any, Any]) -> tuple[None, tuple[Any, Any]]:
        x, y, weights = piece
        outputs, _ = model.stateless_call(*state[:2], x, training=False)
        nats, hits = cross_entropy(y, outputs), right(y, outputs)
        return None, (jnp.sum(weights * nats), jnp.sum(weights * hits))

    return look
