"""Evaluators that build and train real Keras children."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data
from rlnas.children.decoder import decode
from rlnas.children.figures import figure
from rlnas.children.history import History, is_behind
from rlnas.children.latency import latency
from rlnas.children.recipes import batch_norm_momentum
from rlnas.children.runtime import prepare
from rlnas.children.training import Trainer, make_trainer
from rlnas.children.weights import megabytes, save_weights
from rlnas.config import RecipeConfig
from rlnas.errors import first_line
from rlnas.evaluation.base import Outcome
from rlnas.evaluation.memory import peak_megabytes, reset_peak
from rlnas.objectives import ACCURACY, Failure, Metrics
from rlnas.spaces import Architecture

WEIGHTS = "model.weights.h5"

_LOWERED = 0.4
"""Factor of the learning rate at each restart: Baker et al. 2017, section 5."""

_LONGEST = 200  # characters of a user's value that a reason quotes

UserFunction = Callable[[Any, Data, int], Any]
"""A user's evaluator: ``(model, data, seed)`` to an accuracy, a mapping or `Metrics`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How children are trained, whatever their recipe is.

    Attributes:
        restarts: How often a child that is no better than chance after its first epoch begins
            anew with a lower learning rate, before it is stopped; None to let it go on. No
            better than chance is what names the same class for all.
        mixed_precision: Compute in bfloat16, with weights in float32.
        jit_compile: Compile steps with XLA, where the backend does not do so anyway.
        latency: Measure how long the trained child takes for one example.
        size: Measure how large the ``.keras`` file of the child is.
        metric: What is measured beside the accuracy behind the last epoch; see
            `rlnas.children.figures.figure`.
        resident_megabytes: Size up to which the data lies in the memory of the device; what is
            larger comes in batches.
    """

    restarts: int | None = None
    mixed_precision: bool = False
    jit_compile: bool = False
    latency: bool = False
    size: bool = False
    metric: str = ACCURACY
    resident_megabytes: float = inf


class TrainingEvaluator:
    """Builds a child, trains it as the recipe says and validates it after each epoch.

    Args:
        data: The data set; its test part is not touched.
        function: A user's own training instead: takes the built model, the data and
            the seed, and returns the validation accuracy, or a mapping with
            ``val_accuracy`` and further figures, or `Metrics`.
        settings: How it trains, beside the recipe.
    """

    def __init__(
        self,
        data: Data,
        function: UserFunction | None = None,
        settings: TrainingSettings | None = None,
    ) -> None:
        """See the class."""
        self._data = data
        self._function = function
        self._settings = settings or TrainingSettings()

    def start(self, threads: int) -> None:
        """Make ready for training in a process of its own.

        Args:
            threads: Threads of a child.
        """
        prepare(threads, deterministic=not self._settings.jit_compile)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {name: value for name, value in vars(self).items() if name != "_trainer"}

    @cached_property
    def _trainer(self) -> Trainer:
        settings = self._settings
        stream = self._data.megabytes > settings.resident_megabytes
        return make_trainer(self._data, jit_compile=settings.jit_compile, stream=stream)

    def build(self, architecture: Architecture, recipe: RecipeConfig, seed: int) -> keras.Model:
        """Return the untrained child in full precision; Keras's global seed is set before."""
        recipe = architecture.trained_by(recipe)
        keras.utils.set_random_seed(seed)
        momentum = batch_norm_momentum(recipe, len(self._data.x_train))
        return decode(
            architecture,
            scale=None if self._data.inputs else self._data.scale,
            batch_norm_momentum=momentum,
            dropout=recipe.dropout,
            batch_norm=recipe.batch_norm,
            penalties=(recipe.l1, recipe.l2),
        )

    def evaluate(
        self,
        architecture: Architecture,
        recipe: RecipeConfig,
        seed: int,
        folder: Path | None = None,
        *,
        floors: tuple[float, ...] = (),
    ) -> Outcome:
        """Build and train the child; see `Evaluator.evaluate`.

        Raises:
            StorageError: The trained weights could not be written.
        """
        try:
            with _precision(mixed=self._settings.mixed_precision):
                model = self.build(architecture, recipe, seed)
        except Exception as error:
            return Failure(f"the child could not be built: {_described(error)}")
        recipe = architecture.trained_by(recipe)
        cost = architecture.cost
        return self.evaluate_model(
            model, recipe, seed, flops=cost.flops, folder=folder, floors=floors
        )

    def evaluate_model(
        self,
        model: keras.Model,
        recipe: RecipeConfig,
        seed: int,
        *,
        flops: int = 0,
        folder: Path | None = None,
        floors: tuple[float, ...] = (),
    ) -> Outcome:
        """Train a model that is already built, by the same protocol.

        Args:
            model: From raw inputs to class probabilities.
            recipe: How it is trained.
            seed: Seed that a user's own training gets.
            flops: Floating point operations of one example, 0 if not known.
            folder: Where the trained weights go; None to drop them.
            floors: As for `Evaluator.evaluate`; a user's own training does not see them.

        Raises:
            StorageError: The trained weights could not be written.
        """
        reset_peak()
        started = time.perf_counter()
        try:
            if self._function is None:
                outcome = self._trained(model, recipe, seed, flops, floors)
            else:
                outcome = _user_metrics(self._function(model, self._data, seed))
        except Exception as error:
            return Failure(f"training failed: {_described(error)}")
        if isinstance(outcome, Failure):
            return outcome
        seconds, memory = time.perf_counter() - started, peak_megabytes()
        settings, extra = self._settings, outcome.extra
        timed = outcome.latency  # of a user's own evaluator
        try:
            if settings.latency and not timed:
                timed = latency(model, self._data.x_val)
            if settings.metric != ACCURACY and self._function is None:
                data = self._data
                measured = figure(settings.metric, model, data.x_val, data.y_val, data.target)
                extra = {**extra, settings.metric: measured}
            size = megabytes(model) if settings.size and not outcome.size else outcome.size
        except Exception as error:
            return Failure(f"measuring the trained child failed: {_described(error)}")
        if settings.metric not in (ACCURACY, *extra):
            return Failure(f"the evaluator returned no {settings.metric}, which is to be rewarded")
        if folder is not None:
            save_weights(model, folder / WEIGHTS)
        record = {
            **outcome.to_json(),
            "extra": extra,
            "size": size,
            "params": int(model.count_params()),
            "flops": outcome.flops or flops,
            "seconds": outcome.seconds or seconds,
            "peak_memory": outcome.peak_memory or memory,
            "latency": timed,
        }
        return Metrics.from_json(record)

    def _trained(
        self,
        model: keras.Model,
        recipe: RecipeConfig,
        seed: int,
        flops: int,
        floors: tuple[float, ...],
    ) -> Outcome:
        """Train a model, and begin anew with a lower rate while it is no better than chance."""
        most = self._settings.restarts
        if most is not None:
            first = max([self._chance, *floors[:1]])
            floors = (first, *floors[1:])
        restarts, start = 0, model.get_weights() if most else []
        history = self._trainer.train(model, recipe, seed, flops=flops, floors=floors)
        while restarts < (most or 0) and self._failed_to_start(history):
            restarts += 1
            model.set_weights(start)
            rate = _LOWERED * recipe.learning_rate
            recipe = recipe.model_copy(update={"learning_rate": rate})
            history = self._trainer.train(model, recipe, seed, flops=flops, floors=floors)
        return _metrics(history, recipe.epochs, floors, restarts)

    def _failed_to_start(self, history: History) -> bool:
        """Tell whether the training ended after its first epoch, at chance or without a loss."""
        lost = not math.isfinite(history.loss[0])
        return len(history.loss) == 1 and (lost or history.val_accuracy[0] < self._chance)

    @cached_property
    def _chance(self) -> float:
        """What just more than the largest class of the validation part makes, as a share.

        Of numbers it is the R2 of their mean, 0.
        """
        if self._data.target is not None:
            return 0.0
        return float((np.bincount(self._data.y_val).max() + 0.5) / len(self._data.y_val))


@contextmanager
def _precision(*, mixed: bool) -> Iterator[None]:
    """Let layers that are made meanwhile compute in bfloat16, if asked for."""
    before = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _metrics(history: History, epochs: int, floors: tuple[float, ...], restarts: int) -> Outcome:
    """Return what a training measured, or why it failed."""
    for name, values in (("loss", history.loss), ("validation loss", history.val_loss)):
        for epoch, value in enumerate(values, 1):
            if not math.isfinite(value):
                return Failure(f"the {name} became {value} in epoch {epoch}")
    reached = len(history.val_accuracy)
    if reached < epochs and not is_behind(history.val_accuracy, floors):
        return Failure(f"the loss became NaN or infinite in epoch {len(history.loss)}")
    return Metrics(
        val_accuracy=history.val_accuracy,
        val_loss=history.val_loss,
        loss=history.loss,
        stopped=reached < epochs,
        restarts=restarts,
    )


def _user_metrics(value: Any) -> Outcome:
    """Return what a user's own evaluator gave as metrics, or a failure that says what is wrong."""
    if isinstance(value, Failure):
        return value
    figures = dict(value) if isinstance(value, Mapping) else {"val_accuracy": value}
    if isinstance(value, Metrics):
        figures = value.to_json()
    elif "val_accuracy" in figures:
        figures = {"val_accuracy": figures.pop("val_accuracy"), "extra": figures}
    else:
        return Failure(f"the evaluator returned no val_accuracy, only {list(map(str, figures))}")
    try:
        metrics = _plain(figures)
    except (TypeError, ValueError, OverflowError):
        odd = (_odd(figures) if isinstance(value, Mapping) else {}) or value
        return Failure(f"the evaluator returned {_short(odd)}: expected numbers")
    return _fault(metrics) or metrics


def _plain(figures: Mapping[str, Any]) -> Metrics:
    """Return metrics made of Python's own numbers, whatever numbers the user took."""
    accuracies, val_losses, losses = (
        tuple(map(float, np.atleast_1d(figures.get(name, ()))))
        for name in ("val_accuracy", "val_loss", "loss")
    )
    return Metrics(
        val_accuracy=accuracies,
        val_loss=val_losses,
        loss=losses,
        flops=int(figures.get("flops", 0)),
        seconds=float(figures.get("seconds", 0)),
        peak_memory=float(figures.get("peak_memory", 0)),
        latency=float(figures.get("latency", 0)),
        size=float(figures.get("size", 0)),
        extra={str(name): float(figure) for name, figure in figures.get("extra", {}).items()},
    )


def _fault(metrics: Metrics) -> Failure | None:
    if not metrics.val_accuracy:
        return Failure("the evaluator returned an empty val_accuracy: expected a number per epoch")
    for name, figures in metrics.to_json().items():
        parts = figures if isinstance(figures, dict) else {name: figures}
        for part, number in parts.items():
            if not np.all(np.isfinite(number)):
                return Failure(f"the evaluator returned {part} {number}: expected finite numbers")
    return None


def _odd(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return those figures that are no numbers."""
    extra = figures.get("extra", {})
    flat = {**figures, **(extra if isinstance(extra, Mapping) else {})}
    return {name: figure for name, figure in flat.items() if name != "extra" and _is_odd(figure)}


def _is_odd(figure: Any) -> bool:
    try:
        np.asarray(figure, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return True
    return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _described(error: Exception) -> str:
    kind, text = type(error).__name__, first_line(error)
    return kind if text == kind else f"{kind}: {text}"
