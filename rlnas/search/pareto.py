"""The trials of a run that no other one beats in both: the metric, and what the child costs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO

from rlnas.config import LESS_IS_BETTER
from rlnas.errors import RunError
from rlnas.objectives import ACCURACY, Cost, Metrics, Objective
from rlnas.search.plots import save_plot
from rlnas.search.result import SearchResult

UNITS = {"params": "parameters", "flops": "FLOPs", "latency": "ms", "size": "MB"}
"""The costs, and what they are counted in."""

_WHOLE = 1000.0
"""From here on costs are written without decimals (chosen)."""

_OPTIONS = {"latency": "--latency", "size": "--cost size --cost-target MB"}
"""What a search needs to measure the costs that are not worked out."""


def beyond_target(found: SearchResult) -> str | None:
    """Return in a sentence that the model that was kept costs more than it should, if it does."""
    name, target = (found.conditions[f"objective.{each}"] for each in ("cost", "target"))
    spent = None if found.best is None else found.best.cost
    if spent is None or spent <= target:
        return None
    return (
        f"no model that was retrained keeps to the target: the best takes {_spent(spent)} "
        f"{UNITS[name]}, the target is {_spent(target)}; give it more trials or a higher target"
    )


def _spent(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Point:
    """A trial between its metric and its cost.

    Attributes:
        trial: Its number.
        value: The metric that the run rewards, before costs; more is better.
        cost: What the child costs.
        front: Whether no other trial is as good in both and better in one.
        layers: Its network.
    """

    trial: int
    value: float
    cost: float
    front: bool
    layers: str

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON."""
        return asdict(self)


def pareto(found: SearchResult, cost: str = "params") -> list[Point]:
    """Return all trials of a run that have both figures, the cheapest first.

    Args:
        found: The run.
        cost: One of `UNITS`.

    Raises:
        RunError: No trial has that figure.
    """
    rule = found.conditions
    objective = Objective(rule["objective.last_epochs"], metric=rule["objective.metric"])
    measured = [
        (trial.id, trial.key, trial.metrics) for trial in found.trials if trial.metrics is not None
    ]
    return _points(found.run, measured, objective, cost)


def brief_pareto(
    run: str,
    rule: Mapping[str, Any],
    measured: Iterable[tuple[int, str, Metrics]],
    cost: str,
    others: int,
) -> tuple[str, list[Point]]:
    """Return the metric of a run, and the same points with only some of those behind the front.

    Args:
        run: Its name.
        rule: What is rewarded, as `ObjectiveConfig` has it.
        measured: Number, key and metrics of its trials (`Journal.measured`).
        cost: One of `UNITS`.
        others: How many that are not on the front, evenly spread over the costs, at most.

    Raises:
        RunError: No trial has that figure.
    """
    objective = Objective(rule["last_epochs"], metric=rule.get("metric", ACCURACY))
    points = _points(run, measured, objective, cost)
    behind = [point.trial for point in points if not point.front]
    kept = set(behind[:: max(1, ceil(len(behind) / others))] if others else ())
    return objective.metric, [point for point in points if point.front or point.trial in kept]


def _points(
    run: str, measured: Iterable[tuple[int, str, Metrics]], objective: Objective, cost: str
) -> list[Point]:
    measure = Cost(cost, 1.0)
    figures = [
        (measure.of(metrics), -objective.value(metrics), number, key)
        for number, key, metrics in measured
        if measure.of(metrics) > 0
    ]
    if not figures:
        hint = f"; search with {_OPTIONS[cost]}" if cost in _OPTIONS else ""
        raise RunError(f"no trial of {run} has a measured {cost}{hint}")
    figures.sort()
    front = _front(figures)
    return [
        Point(number, -minus, spent, number in front, key) for spent, minus, number, key in figures
    ]


def plot_pareto(points: Sequence[Point], metric: str, cost: str, path: Path | BinaryIO) -> None:
    """Draw all trials, and the front as a line.

    Args:
        points: From `pareto`.
        metric: Name of the metric.
        cost: Name of the cost.
        path: PNG file to write, or one that is open.

    Raises:
        StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    others = [point for point in points if not point.front]
    best = [point for point in points if point.front]
    axes.plot([p.cost for p in others], [p.value for p in others], ".", alpha=0.5, label="trials")
    axes.step([p.cost for p in best], [p.value for p in best], "o-", where="post", label="front")
    for point in best:
        place = (point.cost, point.value)
        axes.annotate(str(point.trial), place, textcoords="offset points", xytext=(4, -12))
    axes.set_xscale("log")
    axes.set_xlabel(f"{cost}, {UNITS[cost]}" if UNITS[cost] != "parameters" else "parameters")
    sign = ", as a negative number" if metric in LESS_IS_BETTER else ""
    axes.set_ylabel(f"validation {metric.replace('_', ' ')}{sign}")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    save_plot(figure, path)


def _front(figures: Iterable[tuple[float, float, int, str]]) -> set[int]:
    """Return the numbers of the best, of (cost, loss, number, key) in order of cost and loss."""
    front: set[int] = set()
    least = float("inf")
    for _, loss, number, _ in figures:
        if loss < least:
            front.add(number)
            least = loss
    return front
