"""An evaluator that trains each child several times: on folds of the data, and from new seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlnas.children.data import Data
from rlnas.config import RecipeConfig
from rlnas.evaluation.base import Outcome
from rlnas.evaluation.training import TrainingEvaluator, TrainingSettings, UserFunction
from rlnas.objectives import ACCURACY, Failure, Metrics
from rlnas.spaces import Architecture


class RepeatedEvaluator(TrainingEvaluator):
    """Trains a child on each fold and from several seeds; what it measures is their mean.

    The trained weights that are kept, and what is trained by `evaluate_model`, are those of the
    first training.

    Args:
        folds: The data set once for each fold; one for none.
        repeats: Trainings on each fold, each from a seed of its own.
        function: As for `TrainingEvaluator`.
        settings: As for `TrainingEvaluator`.
    """

    def __init__(
        self,
        folds: Sequence[Data],
        repeats: int,
        function: UserFunction | None = None,
        settings: TrainingSettings | None = None,
    ) -> None:
        """See the class."""
        super().__init__(folds[0], function, settings)
        others = [TrainingEvaluator(fold, function, settings) for fold in folds[1:]]
        self._others, self._repeats = others, repeats

    def evaluate(
        self,
        architecture: Architecture,
        recipe: RecipeConfig,
        seed: int,
        folder: Path | None = None,
        *,
        floors: tuple[float, ...] = (),
    ) -> Outcome:
        """Train the child several times; one failure is the failure of all.

        Raises:
            StorageError: The trained weights could not be written.
        """
        found: list[Metrics] = []
        for fold in range(1 + len(self._others)):
            for repeat in range(self._repeats):
                first = not found
                own = seed if first else _seed(seed, fold, repeat)
                kept = folder if first else None
                if fold:
                    other = self._others[fold - 1]
                    outcome = other.evaluate(architecture, recipe, own, kept)
                else:
                    outcome = super().evaluate(architecture, recipe, own, kept, floors=floors)
                if isinstance(outcome, Failure):
                    number = len(found) + 1
                    return Failure(f"in training {number} of {self._count}: {outcome.reason}")
                found.append(outcome)
        return mean_metrics(found, self._settings.metric)

    @property
    def _count(self) -> int:
        return (1 + len(self._others)) * self._repeats


def mean_metrics(found: Sequence[Metrics], metric: str = ACCURACY) -> Metrics:
    """Return what several trainings of a child measured as one: means, and the spread.

    Times and memory are those of the whole: the sum of the seconds, the largest memory.

    Args:
        found: At least one, all of as many epochs.
        metric: Whose spread is told: the accuracy behind the epoch in which its mean is highest, or
            a name in the extra figures.
    """
    if len(found) == 1:
        return found[0]
    accuracy = _mean([each.val_accuracy for each in found])
    best = int(np.argmax(np.nan_to_num(accuracy, nan=-np.inf)))
    scores = [
        each.val_accuracy[best] if metric == ACCURACY else each.extra[metric] for each in found
    ]
    names = [name for name in found[0].extra if all(name in each.extra for each in found)]
    return replace(
        found[0],
        val_accuracy=accuracy,
        val_loss=_mean([each.val_loss for each in found]),
        loss=_mean([each.loss for each in found]),
        extra={name: float(np.mean([each.extra[name] for each in found])) for name in names},
        seconds=sum(each.seconds for each in found),
        peak_memory=max(each.peak_memory for each in found),
        latency=float(np.mean([each.latency for each in found])),
        spread=float(np.std(scores, ddof=1)),
        trainings=len(found),
    )


def _mean(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean of curves, as far as the shortest goes."""
    return tuple(float(np.mean(values)) for values in zip(*curves, strict=False))


def _seed(seed: int, fold: int, repeat: int) -> int:
    """Return the seed of another training of a child, 0 <= seed < 2**31."""
    state = np.random.SeedSequence([seed, fold, repeat]).generate_state(1)
    return int(state[0]) >> 1
