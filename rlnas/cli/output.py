"""Results as a person reads them, with tables that fit the terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from rlnas.cli.validating import Validation
from rlnas.errors import RlnasError
from rlnas.objectives import ACCURACY, R2
from rlnas.search.comparison import Comparison, with_control
from rlnas.search.explain import Explanation
from rlnas.search.folder import RunFolder
from rlnas.search.journal import FAILED, RUNNING, Contender, Trial
from rlnas.search.pareto import UNITS, Point, beyond_target
from rlnas.search.progress import best_of, duration, when
from rlnas.search.result import SearchResult, read_result

_SCORES = {ACCURACY: "accuracy", R2: "R2"}

_PIPE_WIDTH = 140
"""Columns of a table that goes to a file or a pipe (chosen)."""


def record(found: SearchResult, *, history: bool = False) -> dict[str, Any]:
    """Return a result as JSON, its comparison with the control run included."""
    beside = with_control(found)
    return {
        **found.to_json(history=history),
        "control": None if beside is None else beside.to_json(),
    }


def print_result(found: SearchResult) -> None:
    """Print what a search came to: the best, what it is compared with, and where it lies."""
    console = _console()
    if found.best is None:
        console.print(f"run {found.run}: no trial has ended well yet")
        return
    if found.retrained:
        console.print(_comparison(found))
    best = found.best
    console.print(f"best architecture (trial {best.trial}): {best.layers}")
    if best.test_accuracy is not None:
        reference = _of_reference(found, lambda entry: entry.test_accuracy)
        console.print(
            f"test {_SCORES[found.score]} {best.test_accuracy:.4f} on {found.dataset}, "
            f"reference child {reference}, {best.params:,} parameters"
        )
    if best.test_metric is not None:
        reference = _of_reference(found, lambda entry: entry.test_metric(found.metric))
        name = found.metric.replace("_", " ")
        console.print(f"test {name} {best.test_metric:.4f}, reference child {reference}")
    if (sentence := beyond_target(found)) is not None:
        console.print(sentence)
    console.print(f"Keras JSON: {best.architecture}")
    if (beside := with_control(found)) is not None:
        print_comparison(beside)


def print_comparison(found: Comparison) -> None:
    """Print two runs side by side, and what makes the comparison unfair."""
    console = _console()
    first, second = found.runs
    table = Table("figure", title=f"{first} and {second} after {found.trials} trials")
    for title in (first, second, "gap", "95 % interval"):
        table.add_column(title, justify="right")
    for title, gap in (
        ("best reward", found.best_reward),
        ("best so far, mean over the trials", found.area),
        ("mean reward of a trial", found.mean_reward),
        (f"test {_SCORES[found.score]} of the best", found.test_accuracy),
    ):
        interval = "-" if gap.low is None else f"{gap.low:+.4f} to {gap.high:+.4f}"
        apart = "-" if gap.gap is None else f"{gap.gap:+.4f}"
        table.add_row(title, _number(gap.first), _number(gap.second), apart, interval)
    console.print(table)
    for line in found.differing:
        console.print(f"not the same in both: {line}")


def print_pareto(found: SearchResult, points: Sequence[Point], cost: str) -> None:
    """Print the front of a run's trials, the cheapest first."""
    metric = found.metric.replace("_", " ")
    front = [point for point in points if point.front]
    table = Table("trial", title=f"{found.run}: {len(front)} of {len(points)} trials")
    for title in (f"validation {metric}", UNITS[cost]):
        table.add_column(title, justify="right")
    table.add_column("layers")
    for point in front:
        spent = f"{point.cost:,.0f}" if cost in ("params", "flops") else f"{point.cost:.3f}"
        table.add_row(str(point.trial), _number(point.value), spent, point.layers)
    _console().print(table)


def print_explanation(found: Explanation, title: str) -> None:
    """Print the effect of each choice, and which choices interact."""
    console = _console()
    table = Table("decision", "choice", title=title)
    for column in ("tried", "effect", "95 % interval", "policy"):
        table.add_column(column, justify="right")
    before = ""
    for effect in found.effects:
        if before and before != effect.decision:
            table.add_section()
        table.add_row(
            effect.decision if before != effect.decision else "",
            effect.choice,
            str(effect.tried),
            f"{effect.effect:+.4f}",
            f"{effect.low:+.4f} to {effect.high:+.4f}",
            "-" if effect.policy is None else f"{effect.policy:.2f}",
        )
        before = effect.decision
    console.print(table)
    console.print(
        f"from {found.trials} trials; these effects explain {100 * found.explained:.0f} % of the "
        "variance of the rewards, each trial left out in turn"
    )
    for each in found.interactions:
        (first, second), (ours, theirs) = each.decisions, each.choices
        console.print(
            f"together: {first} {ours} with {second} {theirs} {each.effect:+.4f} "
            f"({each.low:+.4f} to {each.high:+.4f})"
        )
    if not found.interactions:
        console.print("no two decisions interact surely")


def print_run(found: SearchResult, folder: RunFolder, newest: int) -> None:
    """Print one run with its newest trials; 0 for all of them."""
    console = _console()
    ended = sum(trial.state != RUNNING for trial in found.trials)
    console.print(
        f"{found.run}: {_standing(found.status, going=folder.is_held())}, {found.controller} on "
        f"{found.dataset}, seed {found.seed}, {ended} trials in {duration(found.seconds)}"
    )
    trials = found.trials[-newest:] if newest else found.trials
    if trials:
        console.print(_history(trials))
    print_result(found)
    if found.status != "done":
        console.print(f"continue with: {folder.resume_line(python=found.python)}")


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how many of some work are done; give what is to be called with it.

    Args:
        what: The name of the work, in the plural.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, count: progress.update(task, completed=done, total=count)


def list_row(folder: RunFolder) -> dict[str, Any]:
    """Return one run as a row of the list; a damaged one has its ``error`` instead."""
    try:
        found = read_result(folder)
    except RlnasError as error:
        return {"run": folder.name, "status": "damaged", "error": str(error)}
    best = best_of(found.trials)
    return {
        "run": found.run,
        "status": found.status,
        "going": folder.is_held(),
        "dataset": found.dataset,
        "controller": found.controller,
        "seed": found.seed,
        "trials": sum(trial.state != RUNNING for trial in found.trials),
        "best_reward": best.reward if best else None,
        "test_accuracy": found.best.test_accuracy if found.best else None,
        "started": found.trials[0].started if found.trials else None,
    }


def _standing(status: str, *, going: bool) -> str:
    """Return how far a run is, and whether anybody goes on with it."""
    return status if going or status == "done" else f"{status}, stopped"


def print_list(rows: list[dict[str, Any]], root: Path) -> None:
    """Print the list of runs."""
    console = _console()
    if not rows:
        console.print(f"there are no runs in {root}; start one with: rlnas search")
        return
    table = Table()
    for title in ("run", "status", "data", "controller", "trials", "best", "test", "started"):
        table.add_column(title, justify="right" if title in ("trials", "best", "test") else "left")
    for row in rows:
        table.add_row(
            row["run"],
            _standing(row["status"], going=row.get("going", True)),
            row.get("dataset", ""),
            row.get("controller", ""),
            str(row.get("trials", "")),
            _number(row.get("best_reward")),
            _number(row.get("test_accuracy")),
            when(row.get("started")),
        )
    console.print(table)
    for row in rows:
        if "error" in row:
            console.print(f"{row['run']}: {row['error']}")


def print_samples(rows: list[dict[str, Any]]) -> None:
    """Print drawn architectures with their probability and size."""
    table = Table("log-probability", "parameters", "known", "layers")
    for row in rows:
        known = "" if row["reward"] is None else f"reward {row['reward']:.4f}"
        table.add_row(_log_prob(row), f"{row['params']:,}", known, row["layers"])
    _console().print(table)


def print_validation(found: Validation) -> None:
    """Print what a space that is right looks like."""
    console = _console()
    shape = " x ".join(map(str, found.input_shape))
    size = "" if found.architectures is None else f", {found.count} architectures"
    console.print(
        f"{found.space} is right: {len(found.decisions)} decisions, at most {found.max_tokens} in "
        f"a network{size}; tried with {shape} and {found.classes} classes"
    )
    for sentence in found.impossible:
        console.print(sentence)
    table = Table("network", "parameters", "FLOPs", "layers")
    named = [("reference", found.reference)]
    named += [(f"drawn {number}", each) for number, each in enumerate(found.drawn, 1)]
    for name, each in named:
        table.add_row(name, f"{each.params:,}", f"{each.flops:,}", Text(each.layers))
    console.print(table)


def _log_prob(row: dict[str, Any]) -> str:
    return "-" if row["log_prob"] is None else f"{row['log_prob']:.2f}"


def _comparison(found: SearchResult) -> Table:
    """Return the brief ranking beside the long one, with reference and baseline."""
    table = Table(title="retrained")
    for title in ("model", "rank in the search", "brief val.", "long val.", "test", "parameters"):
        table.add_column(title, justify="left" if title == "model" else "right")
    brief = {entry.name: entry.val_accuracy for entry in found.brief}
    brief |= {f"trial-{trial.id}": _last(trial) for trial in found.trials}
    for entry in found.retrained:
        kept = found.best is not None and entry.trial == found.best.trial
        table.add_row(
            f"{entry.name} (best)" if kept else entry.name,
            str(entry.rank or "-"),
            _number(brief.get(entry.name)),
            _number(entry.val_accuracy) if entry.metrics else f"failed: {entry.reason}",
            _number(entry.test_accuracy),
            f"{entry.metrics.params:,}" if entry.metrics else "-",
        )
    return table


def _history(trials: tuple[Trial, ...]) -> Table:
    table = Table("trial", "reward", "s", "parameters", "layers")
    for trial in trials:
        metrics = trial.metrics
        reward = trial.state if trial.state in (FAILED, RUNNING) else _number(trial.reward)
        table.add_row(
            str(trial.id),
            reward,
            f"{metrics.seconds:.1f}" if metrics else "-",
            f"{metrics.params:,}" if metrics else "-",
            f"{trial.key}  [{trial.reason}]" if trial.reason else trial.key,
        )
    return table


def _last(trial: Trial) -> float | None:
    return trial.metrics.val_accuracy[-1] if trial.metrics else None


def _of_reference(found: SearchResult, figure: Callable[[Contender], float | None]) -> str:
    entries = [each for each in found.retrained if each.name == "reference"]
    return _number(figure(entries[0])) if entries else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _console() -> Console:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(highlight=False, markup=False, width=width)
