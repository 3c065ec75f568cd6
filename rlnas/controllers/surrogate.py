"""Cheap predictors of reward that screen proposals.

Letters: N known architectures, M candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.special import ndtri
from scipy.stats import rankdata
from threadpoolctl import ThreadpoolController

from rlnas.controllers.features import Features, Singles, distances

Floats = npt.NDArray[np.float64]
_BLAS, _ONE_THREAD = ThreadpoolController(), {"limits": 1, "user_api": "blas"}
"""Systems of this size gain nothing from a second thread, and where other processes keep the
cores busy, the threads' waiting for each other costs a hundredfold."""

Distances = npt.NDArray[Any]
"""float32 where many are predicted, float64 where a system is solved."""

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Differences over which the likeness of two architectures falls to 1/e (chosen)."""

COUNTS_LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""The same for what they contain, wherever it stands (chosen)."""

SHARES = (0.2, 0.5, 0.8)
"""How much of the variance depends on where choices stand, beside none and all (chosen)."""

NOISES = (0.001, 0.01, 0.03, 0.1, 0.3)
"""Share of the variance of rewards that is chance (chosen)."""

_HOPELESS = 30.0
"""Nats below the likeliest setting at which one weighs nothing: exp(-30) is 1e-13 (chosen)."""

_WEIGHED_AGAIN = 1.5
"""Growth of what is known after which the kernels are weighed anew (chosen)."""


class Surrogate(Protocol):
    """Predicts rewards on a scale on which only their order counts.

    Attributes:
        name: What it is called in the config.
    """

    name: str

    def fit(
        self, known: Features, targets: Floats, trials: int, noise: Floats | None = None
    ) -> None:
        """Learn anew.

        Args:
            known: N architectures.
            targets: float64[N].
            noise: float64[N], the variance of each target's chance in their mean; None where all
                are alike.
            trials: How many architectures are known in truth, of which these are a part. A
                second fit with as many changes nothing.
        """

    def predict(self, candidates: Features) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each candidate, float64[M] each."""

    def state(self) -> dict[str, Any]:
        """Return what the next fit depends on beside its arguments."""

    def load(self, state: Mapping[str, Any]) -> None:
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
    """``sum_l p_l exp(-(d + c) / l) + sum_m q_m exp(-c / m)``, weights p and q that sum to 1.

    d is the number of decisions in which two architectures differ, whichever they are, c the
    number of choices that one has and the other lacks, wherever they stand. The second sum
    sees that two architectures are made of the same parts also where they have hardly a
    decision in common. Both distances are of negative type, so that the kernel is positive
    definite (Schoenberg 1938).

    Attributes:
        weights: float64[10]: p of the `LENGTHS`, and behind them q of the `COUNTS_LENGTHS`.
        noise: Share of the variance that is chance.
    """

    weights: Floats
    noise: float

    def likeness(self, decided: Distances, contained: Distances) -> Distances:
        """Return the kernel of two kinds of distances, as `distances` returns them."""
        placed, counted = np.split(self.weights, [len(LENGTHS)])
        likeness: Distances = _falling(decided + contained, placed, LENGTHS)
        likeness += _falling(contained, counted, COUNTS_LENGTHS)
        return likeness


def _falling(apart: Distances, weights: Floats, lengths: Sequence[float]) -> Distances:
    """Return ``sum_l w_l exp(-apart / l)``; distances are halves, so few values are worked out."""
    halves = (2.0 * apart).astype(np.intp)
    distances = 0.5 * np.arange(halves.max(initial=0) + 1)
    values = np.zeros(len(distances))
    for weight, length in zip(weights.tolist(), lengths, strict=True):
        values += weight * np.exp(-distances / length)  # one by one: the same bits for any number
    return np.asarray(values.astype(apart.dtype)[halves])


@dataclass(frozen=True, slots=True)
class _Solved:
    """A system of equations that was solved, and how likely it makes the targets."""

    likelihood: float
    variance: float
    factor: Floats
    weights: Floats


class GaussianProcess:
    """A Gaussian process whose kernel falls with the number of differences.

    Its kernel is the mean of those of a small grid, each weighted by how likely it makes the
    targets (Rasmussen & Williams 2006, equations 5.7 and 5.8, with the variance that maximises
    the likelihood in closed form). With few targets many settings are about as likely, and to
    take the likeliest alone would trust chance. The weights are worked out anew whenever half as
    much again is known.
    """

    name = "gp"

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: Features | None = None
        self._kernel: Kernel | None = None
        self._weighed = 0  # trials that were known when the kernels were weighed
        self._likeness: Floats = np.zeros((0, 0))  # float64[N, N]
        self._variance = 0.0
        self._factor: Singles = np.zeros((0, 0), dtype=np.float32)
        self._weights: Singles = np.zeros(0, dtype=np.float32)

    def fit(
        self, known: Features, targets: Floats, trials: int, noise: Floats | None = None
    ) -> None:
        """Learn anew; arguments as in `Surrogate.fit`."""
        with _BLAS.limit(**_ONE_THREAD):
            if self._kernel is None or trials >= _WEIGHED_AGAIN * self._weighed:
                apart = _apart(known, known)
                self._kernel, self._weighed = _mean_kernel(*apart, targets, noise), trials
                self._likeness, self._known = self._kernel.likeness(*apart), known
            else:
                self._measure(known, self._kernel)
            solved = _solved(self._likeness, self._kernel.noise, targets, noise)
        self._variance = solved.variance
        # To predict many candidates is what takes the time; single precision is enough for it.
        self._factor = solved.factor.astype(np.float32)
        self._weights = solved.weights.astype(np.float32)

    def _measure(self, known: Features, kernel: Kernel) -> None:
        """Work out how alike what is known is; most was worked out for the last fit."""
        old = self._known
        new = len(old) if old is not None and known.begins_with(old) else 0
        rows = kernel.likeness(*_apart(known.since(new), known))
        self._likeness, self._known = _grown(self._likeness, rows), known

    def predict(self, candidates: Features) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each candidate's true value."""
        if self._kernel is None or self._known is None:
            raise RuntimeError("predict() before fit()")
        with _BLAS.limit(**_ONE_THREAD):
            likeness = self._kernel.likeness(*distances(candidates, self._known))
            known = solve_triangular(self._factor, likeness.T, lower=True, check_finite=False)
            explained = np.einsum("nm,nm->m", known, known).astype(np.float64)
        variance = self._variance * np.maximum(1.0 - explained, 1e-6)
        return (likeness @ self._weights).astype(np.float64), np.sqrt(variance)

    def state(self) -> dict[str, Any]:
        """Return the kernel and its age; empty before the first fit."""
        if self._kernel is None:
            return {}
        return {
            "weights": self._kernel.weights.tolist(),
            "noise": self._kernel.noise,
            "weighed": self._weighed,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Set what `state` returned."""
        self._known, self._kernel, self._weighed = None, None, 0
        if state:
            weights = np.array(state["weights"], dtype=np.float64)
            self._kernel = Kernel(weights, float(state["noise"]))
            self._weighed = int(state["weighed"])


def _apart(first: Features, second: Features) -> tuple[Floats, Floats]:
    """Return the distances as `distances` does, in the precision in which systems are solved."""
    decided, contained = distances(first, second)
    return decided.astype(np.float64), contained.astype(np.float64)


def _grown(square: Floats, rows: Floats) -> Floats:
    """Return a symmetric matrix with more rows, and as columns the same.

    Args:
        square: float64[N, N]; of less than the whole only the first are taken.
        rows: float64[K, M], the last K of M, where the first M - K are those of the square.
    """
    count, size = rows.shape
    whole = np.empty((size, size))
    first = size - count
    whole[:first, :first] = square[:first, :first]
    whole[first:] = rows
    whole[:first, first:] = rows[:, :first].T
    return whole


def _mean_kernel(
    decided: Floats, contained: Floats, targets: Floats, noise_of: Floats | None = None
) -> Kernel:
    """Return the mean of the kernels of the grid, each as heavy as it makes the targets likely."""
    kernels: list[list[float]] = []
    logs: list[float] = []
    start = 0
    whole = np.ones(1)
    parts = [
        *(_falling(decided + contained, whole, (length,)) for length in LENGTHS),
        *(_falling(contained, whole, (length,)) for length in COUNTS_LENGTHS),
    ]
    for weights in _grid():
        chosen = np.flatnonzero(weights)  # one or two: as `Kernel.likeness` adds them up
        likeness = sum(weights[place] * parts[place] for place in chosen)
        found = _likelihoods(likeness, targets, start, max(logs, default=-np.inf), noise_of)
        start = max(found, key=lambda place: found[place])
        kernels += [[*weights, NOISES[place]] for place in found]
        logs += found.values()
    likelihoods = np.exp(np.array(logs) - max(logs))
    *mean, noise = (likelihoods @ np.array(kernels) / likelihoods.sum()).tolist()
    return Kernel(np.array(mean), noise)


def _likelihoods(
    likeness: Floats,
    targets: Floats,
    start: int,
    highest: float,
    noise_of: Floats | None = None,
) -> dict[int, float]:
    """Return the log likelihood by the place of the noise, without those that are hopeless.

    Nearly always it has one maximum over the noise (so it was with all kernels on both tables, save
    for a few with ten targets), so that behind a hopeless noise on the way down there is no better
    one. Where there is one, the mean loses a kernel; it stays a mean of good ones.

    Args:
        likeness: float64[N, N], without noise.
        targets: float64[N].
        start: Place to begin at; the nearer to the maximum, the fewer are worked out.
        highest: Log likelihood of the likeliest setting so far.
        noise_of: As in `Surrogate.fit`.
    """
    found = {start: _solved(likeness, NOISES[start], targets, noise_of).likelihood}
    for places in (range(start + 1, len(NOISES)), range(start - 1, -1, -1)):
        before = found[start]
        for place in places:
            now = found[place] = _solved(likeness, NOISES[place], targets, noise_of).likelihood
            highest = max(highest, before, now)
            if now < min(before, highest - _HOPELESS):
                break
            before = now
    return found


def _grid() -> list[Floats]:
    """Return the weights of kernels with one length of each kind, or of one kind alone."""
    kinds = len(LENGTHS), len(COUNTS_LENGTHS)
    placed, counted = np.split(np.eye(sum(kinds)), [kinds[0]])
    mixed = [
        share * first + (1.0 - share) * second
        for share, first, second in product(SHARES, placed, counted)
    ]
    return [*placed, *counted, *mixed]


def _solved(
    likeness: Floats, noise: float, targets: Floats, noise_of: Floats | None = None
) -> _Solved:
    noisy = likeness.copy()
    noisy.flat[:: len(noisy) + 1] += noise if noise_of is None else noise * noise_of
    # LAPACK itself, on the transposed matrix, which is the same: SciPy copies it back and forth.
    factor, failed = dpotrf(noisy.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(f"{failed}-th leading minor is not positive definite")
    weights, _ = dpotrs(factor, targets, lower=1)
    variance = max(float(targets @ weights) / len(targets), 1e-9)
    determinant = float(np.sum(np.log(np.diag(factor))))
    likelihood = -0.5 * len(targets) * np.log(variance) - determinant
    return _Solved(likelihood, variance, factor, weights)


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

    def fit(
        self, known: Features, targets: Floats, trials: int, noise: Floats | None = None
    ) -> None:
        """Learn anew; arguments as in `Surrogate.fit`."""
        from sklearn.ensemble import RandomForestRegressor

        self._widths = known.decided.shape[1], known.contained.shape[1]
        bits = self._bits(known)
        self._kept = np.flatnonzero(bits.any(axis=0) & ~bits.all(axis=0))  # the others say nothing
        self._forest = RandomForestRegressor(50, max_features=0.5, random_state=self._seed)
        weights = None if noise is None else 1.0 / noise
        self._forest.fit(bits[:, self._kept], targets, sample_weight=weights)

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

    def state(self) -> dict[str, Any]:
        """Return the seed."""
        return {"seed": self._seed}

    def load(self, state: Mapping[str, Any]) -> None:
        """Set the seed."""
        self._seed = int(state["seed"])
