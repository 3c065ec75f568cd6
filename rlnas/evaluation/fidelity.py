"""Fidelity: which children are trained for all epochs, and which are stopped before.

A rule looks at what earlier children had reached and says, for each epoch, what a child must
have reached to go on. It is asked when the child is proposed, so that a run can be repeated.
"""

from collections.abc import Sequence
from math import ceil
from typing import Protocol

import numpy as np

Curves = Sequence[Sequence[float]]
"""Validation accuracies of earlier children, after each epoch that they had."""

_FEWEST = 10
"""Children that had as many epochs before the median of them counts (chosen)."""

_GRACE = 3
"""No median counts before one in so many of the epochs, a third of them (chosen).

On 10,000 images of CIFAR-10 a network that has 0.36 after the first of 5 epochs, where the
reference child has 0.43, ends above it: at 0.683, the reference child at 0.668.
"""

_HALVED_BY = 3
"""Of so many children one goes on from a rung (Li et al. 2018 took 3, Li et al. 2020 4)."""

_RUNGS = 2
"""Rungs before the last epoch (chosen)."""


class Fidelity(Protocol):
    """Says how good a child must be to go on."""

    def floors(self, curves: Curves) -> tuple[float, ...]:
        """Return the least best accuracy so far with which a child goes on after each epoch.

        Args:
            curves: What earlier children reached.

        Returns:
            For each epoch from the first on; 0, or nothing at the end, where every child does.
        """


class FullFidelity:
    """Every child is trained for all epochs."""

    def floors(self, curves: Curves) -> tuple[float, ...]:
        """Return no floor."""
        return ()


class MedianRule:
    """Stops a child whose best so far is below the median of what others had on average by then.

    None is stopped before a third of the epochs.

    Daniel Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017,
    section 3.2.2.

    Args:
        epochs: Of a whole training.
    """

    def __init__(self, epochs: int) -> None:
        """See the class."""
        self._epochs = epochs

    def floors(self, curves: Curves) -> tuple[float, ...]:
        """Return the medians of the running means; arguments as in `Fidelity.floors`."""
        return tuple(self._floor(epoch, curves) for epoch in range(1, self._epochs))

    def _floor(self, epoch: int, curves: Curves) -> float:
        means = [float(np.mean(curve[:epoch])) for curve in curves if len(curve) >= epoch]
        if epoch * _GRACE < self._epochs or len(means) < _FEWEST:
            return 0.0
        return float(np.median(means))


class Halving:
    """Lets the best third go on from each of two rungs: successive halving without waiting.

    The rungs lie after a ninth and a third of the epochs. A child is compared with all that were
    on the rung before it, as in the stopping form of ASHA (Liam Li et al., "A System for Massively
    Parallel Hyperparameter Tuning", MLSys 2020), so that none waits for others.

    Args:
        epochs: Of a whole training.
    """

    def __init__(self, epochs: int) -> None:
        """See the class."""
        lengths = (ceil(epochs / _HALVED_BY**rung) for rung in range(1, _RUNGS + 1))
        self.rungs = sorted({length for length in lengths if length < epochs})

    def floors(self, curves: Curves) -> tuple[float, ...]:
        """Return the best third's least accuracy at each rung; see `Fidelity.floors`."""
        floors = [0.0] * max(self.rungs, default=0)
        for rung in self.rungs:
            reached = [max(curve[:rung]) for curve in curves if len(curve) >= rung]
            if len(reached) >= _HALVED_BY:
                floors[rung - 1] = float(np.quantile(reached, 1 - 1 / _HALVED_BY))
        return tuple(floors)


def make_fidelity(name: str, epochs: int) -> Fidelity:
    """Return a rule by its name, one of `rlnas.config.FIDELITIES`.

    Args:
        name: Which rule.
        epochs: Of a whole training.
    """
    match name:
        case "median":
            return MedianRule(epochs)
        case "halving":
            return Halving(epochs)
    return FullFidelity()
