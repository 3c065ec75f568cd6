"""How metrics become the number the controller learns from."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlnas.config import LESS_IS_BETTER
from rlnas.objectives.base import Metrics

LARGEST = 1e15
"""Largest reward (chosen): its square, summed over all weights, still fits into float32."""

ACCURACY, R2 = "accuracy", "r2"

Floats = npt.NDArray[np.float64]
Numbers = float | Floats


@dataclass(frozen=True, slots=True)
class Cost:
    """What a child is to spend little of.

    Attributes:
        name: A field of `Metrics`: ``params``, ``flops``, ``latency`` or ``size``.
        target: How much of it a child may spend.
        form: ``hard`` or ``soft`` (Tan et al. 2019, MnasNet, section 3), or ``absolute`` (Bender
            et al. 2020, TuNAS, section 3).
        weight: How much it counts, in the last two.
    """

    name: str
    target: float
    form: str = "hard"
    weight: float = 0.07

    def of(self, metrics: Metrics) -> float:
        """Return what a child spent."""
        return float(getattr(metrics, self.name))

    def met_by(self, metrics: Metrics) -> bool:
        """Tell whether a child kept to the target."""
        return self.of(metrics) <= self.target

    def share(self, metrics: Metrics) -> float:
        """Return what a child spent as a share of the target."""
        return self.of(metrics) / self.target

    def weighed(self, value: Numbers, share: Numbers) -> Floats:
        """Return the reward of children whose metric is `value`.

        Args:
            value: The metric, to its power; one, or of several children.
            share: What they spent as a share of the target.

        Returns:
            As many rewards, from minus to plus `LARGEST`.
        """
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            rewards = np.nan_to_num(self._form(value, share), nan=0.0)
        return np.clip(rewards, -LARGEST, LARGEST)

    def _form(self, value: Numbers, share: Numbers) -> Floats:
        match self.form:
            case "hard":
                return _times(value, 1 / np.maximum(share, 1.0))
            case "soft":
                return _times(value, np.where(np.equal(share, 0), 1.0, share) ** -self.weight)
            case _:
                return np.asarray(value - self.weight * np.abs(share - 1))


def _times(value: Numbers, factor: Numbers) -> Floats:
    """Return a value times a factor; one below 0, as R2 may be, gets worse by a smaller factor."""
    return np.where(np.greater_equal(value, 0), value * factor, np.divide(value, factor))


@dataclass(frozen=True, slots=True)
class Objective:
    """The reward of Zoph & Le 2016: the best validation accuracy of the last epochs, to a power.

    Instead of the accuracy it may be another metric behind the last epoch, and with it what the
    child costs.

    Attributes:
        last_epochs: How many of the last epochs count (they took 5).
        exponent: Power to which the metric is raised (they took 3; 1 keeps its unit).
        metric: What is rewarded: ``accuracy``, or a name in `Metrics.extra`.
        cost: What the child is to spend little of; None for nothing.
    """

    last_epochs: int = 5
    exponent: float = 1.0
    metric: str = ACCURACY
    cost: Cost | None = None

    def reward(self, metrics: Metrics) -> float:
        """Return the reward of a child, from 0 to 1 for an accuracy without a cost.

        A user's own figure below 0 keeps its sign, so that the order stays; one that
        would give more than `LARGEST`, on either side of 0, gives that.
        """
        if self.cost is None:
            return self._powered(metrics)
        return float(self.cost.weighed(self._powered(metrics), self.cost.share(metrics)))

    @property
    def weigh(self) -> Callable[[Floats, Floats], Floats] | None:
        """How a cost counts in the reward; None where none does."""
        return None if self.cost is None else self.cost.weighed

    def spent(self, metrics: Metrics) -> tuple[float, float] | None:
        """Return the reward without the cost, and what was spent as a share of its target.

        None where no cost counts, or the child is not known to have spent anything.
        """
        if self.cost is None or not 0 < (share := self.cost.share(metrics)) < math.inf:
            return None
        return self._powered(metrics), share

    def _powered(self, metrics: Metrics) -> float:
        value = self.value(metrics)
        try:
            size = math.pow(abs(value), self.exponent)
        except OverflowError:
            size = LARGEST
        return math.copysign(min(size, LARGEST), value)

    def value(self, metrics: Metrics) -> float:
        """Return the metric that is rewarded, negative where less of it is better."""
        if self.metric == ACCURACY or (self.metric == R2 and R2 not in metrics.extra):
            return self.accuracy(metrics)  # which is R2 where a number is predicted
        figure = metrics.extra[self.metric]
        return -figure if self.metric in LESS_IS_BETTER else figure

    def accuracy(self, metrics: Metrics) -> float:
        """Return the best validation accuracy of the last epochs."""
        last = [
            value for value in metrics.val_accuracy[-self.last_epochs :] if math.isfinite(value)
        ]
        return float(max(last, default=0.0))
