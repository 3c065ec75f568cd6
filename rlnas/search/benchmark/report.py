"""A benchmark's figures as a Markdown table and as a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlnas.search.benchmark.standings import Floats

_EXACT = 0.01
"""Regret below which the axis of the plot is linear, so that 0 has a place (chosen)."""


def markdown(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown.

    Args:
        found: As `Benchmark.figures` returns them.
    """
    controllers = found["controllers"]
    budgets = list(next(iter(controllers.values()))["at"])
    text = (
        f"{found['table']}: {found['seeds']} searches each, paired by seed; regret of what the "
        f"search would pick, mean (standard error); no regret is {found['optimum']:.4f}.\n\n"
    )
    text += _row(["controller", *(f"at {budget}" for budget in budgets), *_OTHERS])
    text += _row(["---"] * (1 + len(budgets) + len(_OTHERS)))
    for name, figures in controllers.items():
        cells = [_regret(figures["at"][budget]) for budget in budgets]
        text += _row([name, *cells, *_other(figures)])
    for name, figures in controllers.items():
        if figures["fewest_trials"] < found["trials"]:
            text += (
                f"\n{name} ended early: it proposed nothing new any more, in one search after "
                f"{figures['fewest_trials']} networks.\n"
            )
    compared = [(name, each) for name, each in controllers.items() if each["against"]]
    if compared:
        text += "\nPaired differences of regret (below 0: the first is better).\n\n"
        text += _row(["controllers", "at", "difference [95 % interval]", "wins", "losses", "p"])
        text += _row(["---"] * 6)
    for name, figures in compared:
        for other, rows in figures["against"].items():
            for budget, row in rows.items():
                text += _row([f"{name} less {other}", budget, *_compared(row)])
    return text


def plot(curves: Mapping[str, Floats], found: Mapping[str, Any], path: Path) -> None:
    """Draw mean regret over trials with a 95 % band.

    Args:
        curves: float64[seeds, trials] by controller; NaN where there is no figure.
        found: As `Benchmark.figures` returns them.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        places = np.flatnonzero(np.isfinite(curve).all(axis=0))
        mean = curve[:, places].mean(axis=0)
        half = 1.96 * curve[:, places].std(axis=0, ddof=1 if len(curve) > 1 else 0)
        half /= np.sqrt(len(curve))
        marker = "o" if len(places) < curve.shape[1] else None
        (line,) = axes.plot(places + 1, mean, label=name, marker=marker, markersize=4)
        low = np.maximum(mean - half, 0.0)
        axes.fill_between(places + 1, low, mean + half, alpha=0.2, color=line.get_color())
    axes.set_yscale("symlog", linthresh=_EXACT)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("networks tried")
    axes.set_ylabel("regret of what the search would pick")
    axes.set_title(f"{found['table']}, {found['seeds']} searches each, 95 % band")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


_OTHERS = ("reached the best reward", "median trials to it", "ms a trial")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _regret(figures: Mapping[str, float]) -> str:
    return f"{figures['regret_mean']:.4f} ({figures['regret_stderr']:.4f})"


def _other(figures: Mapping[str, Any]) -> list[str]:
    median = figures["median_trials_to_optimum"]
    return [
        f"{100 * figures['optimum_share']:.1f} %",
        "-" if median is None else f"{median:g}",
        f"{figures['ms_per_trial']:.1f}",
    ]


def _compared(row: Mapping[str, Any]) -> list[str]:
    interval = "" if row["low"] is None else f" [{row['low']:+.4f}, {row['high']:+.4f}]"
    return [
        f"{row['difference']:+.4f}{interval}",
        str(row["wins"]),
        str(row["losses"]),
        f"{row['p']:.2g}",
    ]
