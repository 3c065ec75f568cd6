"""Two runs side by side: what each found, the gap, and how sure that is.

One pair of runs says little about two controllers: trials of one run depend on each other, and
another seed gives other runs. The intervals here say what this pair can say; `rlnas benchmark`
repeats a comparison over many seeds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rlnas.errors import RunError
from rlnas.objectives import ACCURACY
from rlnas.search.plots import save_plot
from rlnas.search.result import SearchResult

Floats = npt.NDArray[np.float64]

_CONFIDENCE = 0.95

_STEPS = 500
"""Most steps of the gap over the trials (chosen)."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A figure of both runs; the first less the second, with the ends of its 95 % interval.

    Attributes:
        first: Of the first run; None where it has none yet.
        second: Of the second run.
        gap: First less second.
        low: Lower end of the interval; None where there is no interval.
        high: Its upper end.
    """

    first: float | None
    second: float | None
    gap: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side, at the same number of trials.

    Attributes:
        runs: Their names.
        trials: Ended trials that are compared: as many as the shorter run has.
        best_reward: Best reward so far.
        area: Mean over the trials of the best reward so far: the area below that curve.
        mean_reward: Mean reward of the trials, with Welch's interval (1947).
        test_accuracy: Of the retrained best, with the normal interval of two shares of the
            test examples.
        differing: What was not the same in both runs beside the controller.
        score: What that accuracy is: ``accuracy``, or ``r2``, which has no interval.
    """

    runs: tuple[str, str]
    trials: int
    best_reward: Gap
    area: Gap
    mean_reward: Gap
    test_accuracy: Gap
    differing: tuple[str, ...]
    score: str = ACCURACY

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {**asdict(self), "runs": list(self.runs), "differing": list(self.differing)}


def compare(first: SearchResult, second: SearchResult) -> Comparison:
    """Compare what two runs have come to.

    Raises:
        RunError: One of them has no ended trial with a reward yet.
    """
    for found in (first, second):
        if not any(trial.reward is not None for trial in found.trials):
            raise RunError(
                f"{found.run} has no trial with a reward yet: expected one at least; let it go on"
            )
    rewards, others = _rewards(first), _rewards(second)
    count = min(len(rewards), len(others))
    rewards, others = rewards[:count], others[:count]
    best, best_other = best_so_far(rewards), best_so_far(others)
    return Comparison(
        runs=(first.run, second.run),
        trials=count,
        best_reward=_gap(float(best[-1]), float(best_other[-1])),
        area=_gap(float(np.nanmean(best)), float(np.nanmean(best_other))),
        mean_reward=mean_gap(rewards, others),
        test_accuracy=_test_gap(first, second),
        differing=_differing(first, second),
        score=first.score,
    )


def with_control(found: SearchResult) -> Comparison | None:
    """Return a run beside its control; None while one of them has no reward, or without one."""
    if found.control is None or found.best is None or found.control.best is None:
        return None
    return compare(found, found.control)


def gap_curve(first: SearchResult, second: SearchResult) -> list[tuple[int, dict[str, float]]]:
    """Return how the gap grew: trials, and by tag what it was after them.

    Of long runs 500 steps are told, evenly spread, the last among them.
    """
    rewards, others = _rewards(first), _rewards(second)
    count = min(len(rewards), len(others))
    best, best_other = best_so_far(rewards), best_so_far(others)
    curve = []
    for trials in np.unique(np.linspace(1, count, min(count, _STEPS)).round().astype(int)).tolist():
        mean = mean_gap(rewards[:trials], others[:trials])
        values = {
            "control/best_gap": float(best[trials - 1] - best_other[trials - 1]),
            "control/mean_gap": mean.gap,
            "control/mean_gap_low": mean.low,
            "control/mean_gap_high": mean.high,
        }
        known = {name: value for name, value in values.items() if value is not None}
        curve.append((trials, {name: v for name, v in known.items() if np.isfinite(v)}))
    return curve


def plot(first: SearchResult, second: SearchResult, path: Path) -> None:
    """Draw the rewards of both runs and their best so far.

    Args:
        first: A run.
        second: Another.
        path: PNG file to write.

    Raises:
        StorageError: It cannot be written.
    """
    plot_runs((first, second), path)


def plot_runs(runs: Sequence[SearchResult], path: Path | BinaryIO) -> None:
    """Draw the rewards of runs and their best so far; arguments as for `plot`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for found in runs:
        rewards = _rewards(found)
        trials = np.arange(1, len(rewards) + 1)
        (line,) = axes.step(trials, best_so_far(rewards), where="post", label=found.run)
        axes.plot(trials, rewards, ".", alpha=0.4, color=line.get_color())
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel("trials")
    axes.set_ylabel("reward (dots) and best so far (lines)")
    axes.set_title(" and ".join(found.run for found in runs))
    axes.grid(alpha=0.3)
    axes.legend()
    save_plot(figure, path)


def best_so_far(rewards: Floats) -> Floats:
    """Return the best of each beginning, float64[N]; NaN before the first reward."""
    return np.asarray(np.fmax.accumulate(rewards))


def mean_gap(first: Floats, second: Floats) -> Gap:
    """Return the gap of two means with Welch's interval; NaN rewards are left out."""
    ours, theirs = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(ours) or not len(theirs):
        return Gap(None, None)
    gap = _gap(float(ours.mean()), float(theirs.mean()))
    if min(len(ours), len(theirs)) < 2 or not (ours.var() or theirs.var()):
        return gap
    from scipy import stats  # takes longer to load than most commands take

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of two or three rewards that are alike
        test = stats.ttest_ind(ours, theirs, equal_var=False)
        interval = test.confidence_interval(_CONFIDENCE)
    return Gap(gap.first, gap.second, gap.gap, float(interval.low), float(interval.high))


def _rewards(found: SearchResult) -> Floats:
    """Return the rewards of the ended trials, NaN for failed children."""
    ended = [trial for trial in found.trials if trial.ended is not None]
    return np.array([np.nan if t.reward is None else t.reward for t in ended], dtype=np.float64)


def _gap(first: float | None, second: float | None) -> Gap:
    apart = None if first is None or second is None else first - second
    return Gap(first, second, apart)


def _test_gap(first: SearchResult, second: SearchResult) -> Gap:
    ours = first.best.test_accuracy if first.best else None
    theirs = second.best.test_accuracy if second.best else None
    gap = _gap(ours, theirs)
    shares = first.score == second.score == ACCURACY
    if ours is None or theirs is None or not shares:
        return gap
    if not first.test_examples or not second.test_examples:
        return gap
    spread = ours * (1 - ours) / first.test_examples + theirs * (1 - theirs) / second.test_examples
    half = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * sqrt(spread)
    return Gap(ours, theirs, ours - theirs, ours - theirs - half, ours - theirs + half)


def _differing(first: SearchResult, second: SearchResult) -> tuple[str, ...]:
    """Return what makes the comparison unfair, in words."""
    counts = len(_rewards(first)), len(_rewards(second))
    found = [] if counts[0] == counts[1] else [f"trials: {counts[0]} and {counts[1]}"]
    for name, ours in first.conditions.items():
        theirs = second.conditions.get(name)
        if ours != theirs:
            found.append(f"{name}: {ours} and {theirs}")
    return tuple(found)
