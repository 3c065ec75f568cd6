"""Training a child with JAX: one compiled function for an epoch with all its steps.

It computes what `keras.Model.fit` computes, with no Python between the steps. The data lies on
the device, and validation is part of the same function. Data that is too large for that comes in
parts, each of many steps, and the next is read while the device computes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np

from rlnas.children.augmentation import augmented
from rlnas.children.backend import keras
from rlnas.children.data import Data, examples_at_once
from rlnas.children.history import History, goes_on
from rlnas.children.measures import example_loss, example_score
from rlnas.children.recipes import class_weights, make_optimizer, plateau_factor, steps_per_epoch
from rlnas.config import RecipeConfig

_PART = 64e6
"""Bytes of the examples that come to the device together where not all of them fit (chosen)."""

_State = tuple[list[Any], list[Any], list[Any]]
"""Trainable variables, the others of the model, those of the optimizer."""


class ScanTrainer:
    """Trains children on data that goes to the device once, or in parts while it trains.

    Args:
        data: The data set; its test part is not touched.
        stream: Whether the data stays with the host, for it is too large for the device.
    """

    def __init__(self, data: Data, *, stream: bool = False) -> None:
        """See the class."""
        self._data, self._streams = data, stream

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
        optimizer = make_optimizer(recipe, len(self._data.x_train), model)
        model = augmented(model, recipe)
        optimizer.build(model.trainable_variables)
        trainable, others = model.trainable_variables, model.non_trainable_variables
        variables = [*trainable, *others, *optimizer.variables]
        state = _values(trainable), _values(others), _values(optimizer.variables)
        if self._streams:
            run = _streamed_epoch(model, optimizer, recipe, self._data)
        else:
            run = partial(_epoch(model, optimizer, recipe, self._data), self._arrays)
        measured: list[list[float]] = []
        for epoch in range(recipe.epochs):
            state, figures = run(state, seed, epoch)
            measured.append(np.asarray(figures).tolist())
            if not goes_on(measured, floors):
                break
            if recipe.schedule == "plateau":
                factor = plateau_factor([row[1] for row in measured])
                optimizer.learning_rate = recipe.learning_rate * factor
                state[2][:] = _with_rate(optimizer, state[2])
        for variable, value in zip(variables, chain(*state), strict=True):
            variable.assign(value)
        return History.of_epochs(measured)

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        import jax.numpy as jnp

        data = self._data
        return tuple(jnp.asarray(each) for each in (data.x_train, data.y_train, *_pieces(data)))


def _with_rate(optimizer: keras.optimizers.Optimizer, values: list[Any]) -> list[Any]:
    """Return values of the optimizer's variables with its own learning rate among them."""
    return [
        variable.value if variable.name == "learning_rate" else value
        for variable, value in zip(optimizer.variables, values, strict=True)
    ]


def _values(variables: Sequence[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _pieces(data: Data) -> tuple[Any, Any, Any]:
    """Return the validation part in equal pieces, with weights that are 0 for what fills the last.

    Returns:
        Arrays ``(pieces, examples at once, ...)``: examples, classes and weights.
    """
    places, weights = _places(data)
    return data.x_val[places], data.y_val[places], weights


def _places(data: Data) -> tuple[Any, Any]:
    """Return which examples of the validation part each piece has, and their weights."""
    count, at_once = len(data.y_val), min(len(data.y_val), examples_at_once(data.x_val))
    places = np.arange(-(-count // at_once) * at_once).reshape(-1, at_once)
    weights = (places < count).astype(np.float32)
    return np.minimum(places, count - 1), weights


def _epoch(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: RecipeConfig, data: Data
) -> Callable[..., tuple[_State, Any]]:
    """Return a compiled function that trains for one epoch and validates.

    It takes the training part and the pieces of the validation part, the state, the seed and the
    number of the epoch. It returns the state, and the figures of the epoch, float32[3].
    """
    import jax
    import jax.numpy as jnp

    count, examples = len(data.x_train), len(data.y_val)
    whole = count // recipe.batch_size * recipe.batch_size  # examples in full batches
    steps = steps_per_epoch(recipe, count)

    step = _step(model, optimizer, recipe, data)

    @partial(jax.jit, donate_argnums=1)
    def run(arrays: tuple[Any, ...], state: _State, seed: Any, epoch: Any) -> tuple[_State, Any]:
        x, y, *pieces = arrays
        order = _order(count, seed, epoch)

        def learn(state: _State, chosen: Any) -> tuple[_State, Any]:
            learned: tuple[_State, Any] = step(state, (x[chosen], y[chosen]))
            return learned

        batches = order[:whole].reshape(-1, recipe.batch_size)
        state, nats = jax.lax.scan(learn, state, batches)
        total = jnp.sum(nats)
        if len(batches) < steps:
            state, last = learn(state, order[whole:])
            total += last
        look = _look(model, state, data.spread)
        _, measured = jax.lax.scan(look, None, tuple(pieces))
        return state, jnp.stack([total / count, *(jnp.sum(each) / examples for each in measured)])

    return run


def _streamed_epoch(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: RecipeConfig, data: Data
) -> Callable[..., tuple[_State, Any]]:
    """Return a function that trains for one epoch and validates, on data that is not on the device.

    It takes the state, the seed and the number of the epoch, and returns what `_epoch` does.
    """
    import jax

    step = _step(model, optimizer, recipe, data)
    size, count = recipe.batch_size, len(data.x_train)
    at_once = max(1, int(_PART // (size * data.x_train[:1].nbytes)))  # steps
    whole = count // size * size

    @partial(jax.jit, donate_argnums=0)
    def learn(state: _State, part: tuple[Any, Any]) -> tuple[_State, Any]:
        state, nats = jax.lax.scan(step, state, part)
        return state, nats.sum()

    @jax.jit
    def look(state: _State, piece: tuple[Any, Any, Any]) -> Any:
        return _look(model, state, data.spread)(None, piece)[1]

    def run(state: _State, seed: int, epoch: int) -> tuple[_State, Any]:
        order = np.asarray(_order(count, seed, epoch))
        batches = order[:whole].reshape(-1, size)
        parts = [batches[first : first + at_once] for first in range(0, len(batches), at_once)]
        parts += [order[whole:][None]] if whole < count else []
        total = 0.0
        for part in _ahead((data.x_train[rows], data.y_train[rows]) for rows in parts):
            state, nats = learn(state, part)
            total += float(nats)
        pieces = (
            (data.x_val[rows], data.y_val[rows], weights)
            for rows, weights in zip(*_places(data), strict=True)
        )
        looks = np.array([look(state, piece) for piece in _ahead(pieces)])
        return state, np.array([total / count, *(looks.sum(axis=0) / len(data.y_val))])

    return run


def _ahead(parts: Iterable[Any]) -> Iterator[Any]:
    """Yield the parts, each read while the one before it is worked on."""
    parts = iter(parts)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = reader.submit(next, parts, None)
            yield part


def _order(count: int, seed: Any, epoch: Any) -> Any:
    """Return the order of the examples in an epoch."""
    import jax

    return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), count)


def _step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: RecipeConfig, data: Data
) -> Any:
    """Return what makes one step on a batch and returns the sum of its losses."""
    import jax
    import jax.numpy as jnp

    smoothing, shares = recipe.label_smoothing, class_weights(recipe, data.y_train, data.classes)

    def step(state: _State, batch: tuple[Any, Any]) -> tuple[_State, Any]:
        (trainable, others, slots), (x, y) = state, batch

        def loss_of(trainable: list[Any]) -> tuple[Any, Any]:
            outputs, now, penalties = model.stateless_call(
                trainable, others, x, training=True, return_losses=True
            )
            nats = example_loss(y, outputs)
            loss = example_loss(y, outputs, smoothing) if smoothing else nats
            if shares is not None:
                loss *= jnp.asarray(shares)[y]
            return jnp.mean(loss) + sum(penalties), (now, jnp.sum(nats))

        gradients, (others, nats) = jax.grad(loss_of, has_aux=True)(trainable)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, others, slots), nats

    return step


def _look(model: keras.Model, state: _State, spread: float | None) -> Any:
    """Return what gives the sum of the losses of a piece, and that of their scores."""
    import jax.numpy as jnp

    def look(_: None, piece: tuple[Any, Any, Any]) -> tuple[None, tuple[Any, Any]]:
        x, y, weights = piece
        outputs, _ = model.stateless_call(*state[:2], x, training=False)
        nats, hits = example_loss(y, outputs), example_score(y, outputs, spread)
        return None, (jnp.sum(weights * nats), jnp.sum(weights * hits))

    return look
