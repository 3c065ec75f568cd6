"""Cheap predictors of reward that screen proposals.

Letters: N known architectures, M candidates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import ndtri
from scipy.stats import rankdata

from rlnas.controllers.features import Features, Singles, distances

Floats = npt.NDArray[np.float64]

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Differences over which the likeness of two architectures falls to 1/e (chosen)."""

COUNTS_LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""The same for what they contain, wherever it stands (chosen)."""

SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
"""How much of the variance depends on where choices stand (chosen)."""

NOISES = (0.001, 0.01, 0.03, 0.1, 0.3)
"""Share of the variance of rewards that is chance (chosen)."""


class Surrogate(Protocol):
    """Predicts rewards on a scale on which only their order counts.

    Attributes:
        name: What it is called in the config.
    """

    name: str

    def fit(self, known: Features, targets: Floats, trials: int) -> None:
        """Learn anew.

        Args:
            known: N architectures.
            targets: float64[N].
            trials: How many architectures are known in truth, of which these are a part. A
                second fit with as many changes nothing.
        """

    def predict(self, candidates: Features) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each candidate, float64[M] each."""

    def state(self) -> dict[str, float]:
        """Return what the next fit depends on beside its arguments."""

    def load(self, state: Mapping[str, float]) -> None:
        """Set what `state` returned; what was fitted is to be fitted again."""


def rank_normalised(rewards: Floats) -> Floats:
    """Return normal quantiles of the ranks: only the order of rewards counts.

    Equal rewards get equal targets (Blom 1958, with the offset 1/2 of Hazen).
    """
    return np.asarray(ndtri(shares(rewards)), dtype=np.float64)


def shares(rewards: Floats) -> Floats:
    """Return the share of rewards that are worse than each, half of its equals counted in."""
    return np.asarray((rankdata(rewards) - 0.5) / len(rewards), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Kernel:
    """``share exp(-(d + c) / length) + (1 - share) exp(-c / counts_length)``.

    d is the number of decisions in which two architectures differ, whichever they are, c the
    number of choices that one has and the other lacks, wherever they stand. The second term
    sees that two architectures are made of the same parts also where they have hardly a
    decision in common. Both distances are of negative type, so that the kernel is positive
    definite (Schoenberg 1938).

    Attributes:
        length: Over how many differences the likeness falls to 1/e.
        counts_length: The same of the second term.
        share: Weight of the first term.
        noise: Share of the variance that is chance.
    """

    length: float
    counts_length: float
    share: float
    noise: float

    def likeness(self, decided: Singles, contained: Singles) -> Singles:
        """Return the kernel of two kinds of distances, as `distances` returns them."""
        likeness = np.zeros_like(decided)
        if self.share > 0:
            np.add(decided, contained, out=likeness)
            likeness *= -1.0 / self.length
            np.exp(likeness, out=likeness)
            likeness *= self.share
        if self.share < 1:
            parts = contained * (-1.0 / self.counts_length)
            np.exp(parts, out=parts)
            parts *= 1.0 - self.share
            likeness += parts
        return likeness


_VALUES = {
    "length": LENGTHS,
    "counts_length": COUNTS_LENGTHS,
    "share": SHARES,
    "noise": NOISES,
}


@dataclass(frozen=True, slots=True)
class _Fit:
    """What is kept of a fit: the solved system, and how likely it makes the targets."""

    likelihood: float
    kernel: Kernel
    variance: float
    factor: Singles
    weights: Singles


class GaussianProcess:
    """A Gaussian process whose kernel falls with the number of differences.

    Its settings are those of a small grid under which the targets are most likely (Rasmussen &
    Williams 2006, equation 5.8, with the variance that maximises it in closed form): the whole
    grid at first, then one setting after the other, whenever a tenth more is known.
    """

    name = "gp"

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: Features | None = None
        self._fit: _Fit | None = None
        self._kernel: Kernel | None = None
        self._searched = 0  # trials that were known when the settings were searched

    def fit(self, known: Features, targets: Floats, trials: int) -> None:
        """Learn anew; arguments as in `Surrogate.fit`."""
        apart = distances(known, known)
        if self._kernel is None:
            fit = max((_solved(apart, targets, kernel) for kernel in _grid()), key=_likelihood_of)
            self._searched = trials
        else:
            fit = _solved(apart, targets, self._kernel)
            if trials >= 1.1 * self._searched:
                fit = _improved(fit, apart, targets)
                self._searched = trials
        self._known, self._fit, self._kernel = known, fit, fit.kernel

    def predict(self, candidates: Features) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each candidate's true value."""
        if self._fit is None or self._known is None:
            raise RuntimeError("predict() before fit()")
        fit = self._fit
        likeness = fit.kernel.likeness(*distances(candidates, self._known))
        known = solve_triangular(fit.factor, likeness.T, lower=True, check_finite=False)
        explained = np.einsum("nm,nm->m", known, known).astype(np.float64)
        variance = np.maximum(1.0 - explained, 1e-6)
        return (likeness @ fit.weights).astype(np.float64), np.sqrt(fit.variance * variance)

    def state(self) -> dict[str, float]:
        """Return the kernel's settings and their age; empty before the first fit."""
        if self._kernel is None:
            return {}
        return {**asdict(self._kernel), "searched": float(self._searched)}

    def load(self, state: Mapping[str, float]) -> None:
        """Set what `state` returned."""
        self._known, self._fit = None, None
        settings = {name: value for name, value in state.items() if name != "searched"}
        self._kernel = Kernel(**settings) if state else None
        self._searched = int(state.get("searched", 0))


def _grid() -> list[Kernel]:
    return [Kernel(*settings) for settings in product(*_VALUES.values())]


def _improved(fit: _Fit, apart: tuple[Singles, Singles], targets: Floats) -> _Fit:
    """Return the best fit that other values of one setting after the other give."""
    for name, values in _VALUES.items():
        kernels = [replace(fit.kernel, **{name: value}) for value in values]
        others = [_solved(apart, targets, each) for each in kernels if each != fit.kernel]
        fit = max([fit, *others], key=_likelihood_of)
    return fit


def _likelihood_of(fit: _Fit) -> float:
    return fit.likelihood


def _solved(apart: tuple[Singles, Singles], targets: Floats, kernel: Kernel) -> _Fit:
    likeness = kernel.likeness(*apart).astype(np.float64)
    likeness[np.diag_indices_from(likeness)] += kernel.noise
    factor = cholesky(likeness, lower=True, check_finite=False)
    weights = cho_solve((factor, True), targets, check_finite=False)
    variance = max(float(targets @ weights) / len(targets), 1e-9)
    determinant = float(np.sum(np.log(np.diag(factor))))
    likelihood = -0.5 * len(targets) * np.log(variance) - determinant
    # To predict many candidates is what takes the time, and single precision is enough for that.
    return _Fit(likelihood, kernel, variance, factor.astype(np.float32), weights.astype(np.float32))


class Forest:
    """A random forest; its spread over the trees is the uncertainty.

    Args:
        seed: Seed of its bootstrap samples.
    """

    name = "forest"

    def __init__(self, seed: int) -> None:
        """See the class."""
        self._seed = seed
        self._widths = (0, 0)
        self._kept: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._forest: Any = None

    def fit(self, known: Features, targets: Floats, trials: int) -> None:
        """Learn anew; arguments as in `Surrogate.fit`."""
        from sklearn.ensemble import RandomForestRegressor

        self._widths = known.decided.shape[1], known.contained.shape[1]
        bits = self._bits(known)
        self._kept = np.flatnonzero(bits.any(axis=0) & ~bits.all(axis=0))  # the others say nothing
        self._forest = RandomForestRegressor(50, max_features=0.5, random_state=self._seed)
        self._forest.fit(bits[:, self._kept], targets)

    def predict(self, candidates: Features) -> tuple[Floats, Floats]:
        """Return mean and standard deviation over the trees."""
        bits = self._bits(candidates)[:, self._kept]
        each = np.stack([tree.predict(bits) for tree in self._forest.estimators_])
        return each.mean(axis=0), each.std(axis=0)

    def _bits(self, features: Features) -> Singles:
        """Return all bits side by side, as many of each kind as in the last fit."""
        bits: Singles = np.zeros((len(features), sum(self._widths)), dtype=np.float32)
        start = 0
        for width, given in zip(self._widths, (features.decided, features.contained), strict=True):
            kept = min(width, given.shape[1])
            bits[:, start : start + kept] = given[:, :kept]
            start += width
        return bits

    def state(self) -> dict[str, float]:
        """Return the seed."""
        return {"seed": float(self._seed)}

    def load(self, state: Mapping[str, float]) -> None:
        """Set the seed."""
        self._seed = int(state["seed"])
