"""What a benchmark comes to: regrets, shares, and paired comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

BUDGETS = (20, 50, 100, 192, 300)
"""Trials at which regret is told: 192 and 300 are budgets of published comparisons."""


def standings(
    regrets: Mapping[str, Floats],
    best_report: float,
    optimum_at: Mapping[str, Sequence[float]],
    tried: Mapping[str, Sequence[int]],
    ms_per_trial: Mapping[str, float],
    budgets: Sequence[int],
    opponents: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of all controllers.

    Args:
        regrets: float64[seeds, budgets] by controller; row i of all has the same seed.
        best_report: What no regret means.
        optimum_at: Trial of the optimum by controller, infinite where it was not found.
        tried: Networks that each search tried, by controller.
        ms_per_trial: By controller.
        budgets: Trials of the columns.
        opponents: Names among which the best other is looked for.

    Returns:
        By controller: ``at`` by budget with ``regret_mean``, ``regret_stderr`` and
        ``report_mean``, ``optimum_share``, ``median_trials_to_optimum`` (None where fewer than
        half found it), ``fewest_trials`` (of the search that ended first),
        ``ms_per_trial``, and ``against`` with paired comparisons.
    """
    return {
        name: {
            "at": {
                str(budget): {
                    "regret_mean": float(column.mean()),
                    "regret_stderr": _stderr(column),
                    "report_mean": best_report - float(column.mean()),
                }
                for budget, column in zip(budgets, matrix.T, strict=True)
            },
            "optimum_share": float(np.mean(np.isfinite(optimum_at[name]))),
            "median_trials_to_optimum": _finite(float(np.median(optimum_at[name]))),
            "fewest_trials": int(min(tried[name])),
            "ms_per_trial": ms_per_trial[name],
            "against": {
                other: compared(matrix, regrets[other], budgets)
                for other in _others(name, regrets, opponents)
            },
        }
        for name, matrix in regrets.items()
    }


def compared(ours: Floats, theirs: Floats, budgets: Sequence[int]) -> dict[str, Any]:
    """Return paired comparisons of regret by budget; a negative difference is less regret.

    Args:
        ours: float64[seeds, budgets].
        theirs: The same with the same seeds.
        budgets: Trials of the columns.

    Returns:
        By budget: ``difference`` with the ends ``low`` and ``high`` of its 95 % interval
        (Student's t over the pairs), ``wins`` and ``losses``, and ``p`` of the sign test.
    """
    result = {}
    for place, budget in enumerate(budgets):
        apart = ours[:, place] - theirs[:, place]
        wins, losses = int(np.sum(apart < 0)), int(np.sum(apart > 0))
        low, high = _interval(apart)
        p = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
        result[str(budget)] = {
            "difference": float(apart.mean()),
            "low": low,
            "high": high,
            "wins": wins,
            "losses": losses,
            "p": float(p),
        }
    return result


def _others(name: str, regrets: Mapping[str, Floats], opponents: Sequence[str]) -> list[str]:
    """Return with whom a controller is compared: random, and the best other in the end."""
    others = [other for other in opponents if other != name]
    if not others:
        return []
    best = min(others, key=lambda other: float(regrets[other][:, -1].mean()))
    return list(dict.fromkeys([*(["random"] if "random" in others else []), best]))


def _interval(apart: Floats) -> tuple[float | None, float | None]:
    if len(apart) < 2:
        return None, None
    half = stats.t.ppf(0.975, len(apart) - 1) * _stderr(apart)
    return float(apart.mean() - half), float(apart.mean() + half)


def _stderr(column: Floats) -> float:
    return float(column.std(ddof=1) / np.sqrt(len(column))) if len(column) > 1 else 0.0


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None
