"""Training one child, and measuring it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Array, Data, examples_at_once
from rlnas.children.recipes import make_optimizer
from rlnas.config import RecipeConfig


@dataclass(frozen=True, slots=True)
class History:
    """What training measured after each epoch.

    Attributes:
        loss: Cross-entropy on the training part, mean of the epoch, in nats.
        val_loss: Cross-entropy on the validation part, in nats.
        val_accuracy: Share of the validation part classified correctly.
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]


def train(model: keras.Model, data: Data, recipe: RecipeConfig, seed: int) -> History:
    """Train a model on the training part and validate it after each epoch.

    On the TensorFlow backend all of it is one graph, elsewhere it is `keras.Model.fit`.
    Initial weights and dropout come from Keras's global seed: call
    `keras.utils.set_random_seed` before the model is built.

    Args:
        model: A model from raw inputs to class probabilities; its weights are changed.
        data: The data set; its test part is not touched.
        recipe: Epochs, batch size, optimizer, learning rate and schedule.
        seed: Seed of the order in which examples come, 0 <= seed < 2**31.

    Returns:
        The history. If the loss stopped being finite it may be shorter than the recipe's
        epochs, and holds what was measured.
    """
    model.compile(
        optimizer=make_optimizer(recipe, len(data.x_train)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    if keras.backend.backend() != "tensorflow":
        return train_by_fit(model, data, recipe)
    from rlnas.children.graph_training import train_in_graph

    return History(
        *map(
            _floats,
            train_in_graph(
                model, data, epochs=recipe.epochs, batch_size=recipe.batch_size, seed=seed
            ),
        )
    )


def train_by_fit(model: keras.Model, data: Data, recipe: RecipeConfig) -> History:
    """Train a compiled model by `keras.Model.fit`; see `train`."""
    fitted = model.fit(
        data.x_train,
        data.y_train,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=(data.x_val, data.y_val),
        validation_batch_size=examples_at_once(data.x_val),
        callbacks=[_stop_at_nan(model)],
        verbose=0,
    ).history
    return History(
        loss=_floats(fitted.get("loss", [])),
        val_loss=_floats(fitted.get("val_loss", [])),
        val_accuracy=_floats(fitted.get("val_accuracy", [])),
    )


def _stop_at_nan(model: keras.Model) -> keras.callbacks.Callback:
    """Return what ends a training whose loss is no longer finite.

    Keras's own `TerminateOnNaN` prints to standard output, where others write JSON.
    """

    def check(batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            model.stop_training = True

    return keras.callbacks.LambdaCallback(on_train_batch_end=check)


def accuracy(model: keras.Model, x: Array, y: Array) -> float:
    """Return the share of examples whose most probable class is the right one."""
    probabilities = model.predict(x, batch_size=examples_at_once(x), verbose=0)
    return float(np.mean(np.argmax(probabilities, axis=-1) == y))


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
