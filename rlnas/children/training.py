"""Training one child, and measuring it."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np

from rlnas.children.augmentation import augmented
from rlnas.children.backend import keras
from rlnas.children.data import Array, Data, examples_at_once, spread_of
from rlnas.children.history import History, is_behind
from rlnas.children.measures import example_loss, example_score
from rlnas.children.recipes import LEAST_FALL, PLATEAU, class_weights, make_optimizer
from rlnas.config import RecipeConfig


class Trainer(Protocol):
    """Trains children on one data set; made once, so that the data goes to the device once."""

    def train(
        self,
        model: keras.Model,
        recipe: RecipeConfig,
        seed: int,
        *,
        flops: int = 0,
        floors: Sequence[float] = (),
    ) -> History:
        """Train a model on the training part and validate it after each epoch.

        Initial weights and dropout come from Keras's global seed: call
        `keras.utils.set_random_seed` before the model is built.

        Args:
            model: A model from raw inputs to class probabilities; its weights are changed.
            recipe: How it is trained; its dropout and penalties are the model's own.
            seed: Seed of the order in which examples come, 0 <= seed < 2**31.
            flops: FLOPs of one example, by which a trainer may choose its way; 0 if not known.
            floors: For each epoch, from the first on, the least validation accuracy, the best so
                far, with which the training goes on; epochs without one always go on.

        Returns:
            The history. If the loss stopped being finite or the accuracy stayed below a floor, it
            is shorter than the recipe's epochs, and holds what was measured.
        """


class FitTrainer:
    """Trains by `keras.Model.fit`, on any backend; see `Trainer`.

    Args:
        data: The data set; its test part is not touched.
        jit_compile: Compile with XLA; else Keras decides.
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
        """Train a model; the order of the examples comes from Keras's global seed."""
        data = self._data
        optimizer = make_optimizer(recipe, len(data.x_train), model)
        fitted_model = augmented(model, recipe)
        weights = class_weights(recipe, data.y_train, data.classes)
        fitted_model.compile(
            optimizer=optimizer,
            loss=partial(_loss, smoothing=recipe.label_smoothing),
            metrics=_metrics(data.spread),
            jit_compile=self._jit_compile or "auto",
        )
        fitted = fitted_model.fit(
            data.x_train,
            data.y_train,
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            validation_data=(data.x_val, data.y_val),
            validation_batch_size=examples_at_once(data.x_val),
            callbacks=[*_lower(recipe), _stop(fitted_model, floors)],
            class_weight=None if weights is None else dict(enumerate(map(float, weights))),
            verbose=0,
        ).history
        columns = (fitted.get(name, []) for name in ("nats", "val_nats", "val_accuracy"))
        return History.of_epochs(zip_longest(*columns, fillvalue=math.nan))


def _loss(y: Any, outputs: Any, smoothing: float) -> Any:
    """Return the loss of each example; Keras hands classes on as floats."""
    y = keras.ops.reshape(y, (-1,))
    return example_loss(
        y if outputs.shape[-1] == 1 else keras.ops.cast(y, "int32"), outputs, smoothing
    )


def _metrics(spread: float | None) -> list[Any]:
    """Return what Keras measures: the score, and the loss without smoothing or penalties."""
    if spread is None:
        return ["accuracy", keras.metrics.SparseCategoricalCrossentropy(name="nats")]
    kind = keras.metrics.MeanMetricWrapper

    def scores(y: Any, outputs: Any) -> Any:
        return example_score(keras.ops.reshape(y, (-1,)), outputs, spread)

    return [kind(scores, name="accuracy"), kind(partial(_loss, smoothing=0.0), name="nats")]


def _lower(recipe: RecipeConfig) -> list[keras.callbacks.Callback]:
    """Return what lowers the learning rate where the schedule goes by the validation loss."""
    if recipe.schedule != "plateau":
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_nats", mode="min", factor=PLATEAU, patience=1, min_delta=LEAST_FALL
        )
    ]


def _stop(model: keras.Model, floors: Sequence[float]) -> keras.callbacks.Callback:
    """Return what ends a training whose loss is not finite, or whose accuracy is too low.

    Keras's own `TerminateOnNaN` prints to standard output, where others write JSON.
    """
    accuracies: list[float] = []

    def check(batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            model.stop_training = True

    def compare(epoch: int, logs: dict[str, float]) -> None:
        accuracies.append(logs["val_accuracy"])
        if is_behind(accuracies, floors):
            model.stop_training = True

    return keras.callbacks.LambdaCallback(on_train_batch_end=check, on_epoch_end=compare)


def make_trainer(data: Data, *, jit_compile: bool = False, stream: bool = False) -> Trainer:
    """Return the fastest trainer of the backend; `FitTrainer` where there is no other.

    Args:
        data: The data set.
        jit_compile: Compile steps with XLA; JAX always does.
        stream: Whether the data is too large for the device; Keras's own `fit` decides by itself.
    """
    match keras.backend.backend():
        case "tensorflow":
            from rlnas.children.graph_training import GraphTrainer

            return GraphTrainer(data, jit_compile=jit_compile, stream=stream)
        case "jax":
            from rlnas.children.scan_training import ScanTrainer

            return ScanTrainer(data, stream=stream)
    return FitTrainer(data, jit_compile=jit_compile)


def score(model: keras.Model, x: Array, y: Array) -> float:
    """Return the share of examples whose most probable class is the right one; of numbers, R2."""
    outputs = model.predict(x, batch_size=examples_at_once(x), verbose=0)
    if outputs.shape[-1] == 1:
        return 1.0 - float(np.mean(np.square(outputs[:, 0] - y))) / spread_of(y)
    return float(np.mean(np.argmax(outputs, axis=-1) == y))
