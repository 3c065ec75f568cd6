"""How metrics become the number the controller learns from."""

import math
from dataclasses import dataclass

from rlnas.objectives.base import Metrics

LARGEST = 1e15
"""Largest reward (chosen): its square, summed over all weights, still fits into float32."""

ACCURACY, R2 = "accuracy", "r2"
_NEGATIVE = ("log_loss", "mae")
"""Metrics of which less is better."""


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

    def weighed(self, value: float, metrics: Metrics) -> float:
        """Return the reward of a child whose metric is `value`."""
        share = self.of(metrics) / self.target
        match self.form:
            case "hard":
                return _times(value, 1 / max(share, 1.0))
            case "soft":
                return _times(value, share**-self.weight) if share > 0 else value
            case _:
                return value - self.weight * abs(share - 1)


def _times(value: float, factor: float) -> float:
    """Return a value times a factor; one below 0, as R2 may be, gets worse by a smaller factor."""
    return value * factor if value >= 0 else value / factor


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
        value = self.value(metrics)
        try:
            size = math.pow(abs(value), self.exponent)
        except OverflowError:
            size = LARGEST
        reward = math.copysign(min(size, LARGEST), value)
        return reward if self.cost is None else self.cost.weighed(reward, metrics)

    def value(self, metrics: Metrics) -> float:
        """Return the metric that is rewarded, negative where less of it is better."""
        if self.metric == ACCURACY or (self.metric == R2 and R2 not in metrics.extra):
            return self.accuracy(metrics)  # which is R2 where a number is predicted
        figure = metrics.extra[self.metric]
        return -figure if self.metric in _NEGATIVE else figure

    def accuracy(self, metrics: Metrics) -> float:
        """Return the best validation accuracy of the last epochs."""
        last = [
            value for value in metrics.val_accuracy[-self.last_epochs :] if math.isfinite(value)
        ]
        return float(max(last, default=0.0))
