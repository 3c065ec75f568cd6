"""The report of a run as one HTML file that needs nothing else, to be sent and kept."""

import base64
import io
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from rlnas._version import __version__
from rlnas.config import BudgetConfig, RecipeConfig
from rlnas.errors import RlnasError, RunError, SpaceError, StorageError
from rlnas.objectives import R2
from rlnas.search.comparison import plot_runs, with_control
from rlnas.search.diagram import draw_svg
from rlnas.search.explain import Explanation, explain_run, plot_effects
from rlnas.search.folder import RunFolder
from rlnas.search.journal import RUNNING, Trial
from rlnas.search.pareto import UNITS, beyond_target, pareto, plot_pareto
from rlnas.search.progress import duration, when
from rlnas.search.result import SearchResult, read_result, read_space
from rlnas.spaces import Architecture, Space, space_from_json

_TOP = 5
"""Architectures that are drawn (chosen)."""

_TEMPLATE = Path(__file__).with_name("report.html")


def write_report(folder: RunFolder, path: Path) -> None:
    """Write the report of a run, as far as it is.

    Args:
        folder: The run's folder.
        path: HTML file to write; it appears whole.

    Raises:
        RunError: There is no such run, or no trial of it has ended well.
        StorageError: The disk refused.
    """
    text = report_html(folder)
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write the report {path}: {error.strerror or error}; make room or choose "
            "another --to"
        ) from error


def report_html(folder: RunFolder) -> str:
    """Return the report of a run as HTML; arguments and errors as for `write_report`."""
    from jinja2 import Environment, StrictUndefined

    found = read_result(folder)
    if found.best is None:
        raise RunError(f"{found.run} has no trial that ended well yet; let it go on")
    with closing(folder.open()) as journal:
        meta = journal.meta()
    space = _space(read_space(folder))
    # Whatever stands in names of runs, classes or files is text, never markup.
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    template = made.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        **_head(found, meta),
        **_progress(found),
        **_ranking(found),
        **_fronts(found),
        **_effects(found, read_space(folder)),
        **_settings(found, meta, space),
        top=_top(found, space),
        version=__version__,
    )


def _head(found: SearchResult, meta: Mapping[str, Any]) -> dict[str, Any]:
    best = found.best
    score = "R2" if found.score == R2 else "accuracy"
    ended = [trial for trial in found.trials if trial.state != RUNNING]
    failed = sum(trial.reward is None for trial in ended)
    parts = [f"The best architecture is that of trial {best.trial}" if best else ""]
    if best is not None and best.test_accuracy is not None:
        parts[0] += f", with a test {score} of {best.test_accuracy:.4f}"
        reference = [each for each in found.retrained if each.name == "reference"]
        if reference and reference[0].test_accuracy is not None:
            parts.append(f"The reference child has {reference[0].test_accuracy:.4f}")
    if best is not None and best.test_metric is not None:
        parts.append(f"Its test {found.metric.replace('_', ' ')} is {best.test_metric:.4f}")
    if (sentence := beyond_target(found)) is not None:
        parts.append(sentence[0].upper() + sentence[1:])
    parts.append(
        f"{len(ended)} architectures were trained in {duration(found.seconds)}"
        + (f", {failed} of them failed" if failed else "")
    )
    started = when(found.trials[0].started)
    return {
        "run": found.run,
        "subtitle": f"{found.dataset}, controller {found.controller}, {found.status}, {started}",
        "summary": ". ".join(parts) + ".",
        "metric": found.metric.replace("_", " "),
        "config": yaml.safe_dump(meta["config"], sort_keys=False, allow_unicode=True),
    }


def _progress(found: SearchResult) -> dict[str, Any]:
    runs = [found, *([found.control] if found.control else [])]
    beside = with_control(found)
    rows = []
    if beside is not None:
        gaps = {
            "best reward": beside.best_reward,
            "best so far, mean over the trials": beside.area,
            "mean reward of a trial": beside.mean_reward,
            "test figure of the best": beside.test_accuracy,
        }
        rows = [
            [
                name,
                _number(gap.first),
                _number(gap.second),
                "-" if gap.gap is None else f"{gap.gap:+.4f}",
                _interval(gap.low, gap.high),
            ]
            for name, gap in gaps.items()
        ]
    return {"progress": _picture(lambda file: plot_runs(runs, file)), "control": rows}


def _ranking(found: SearchResult) -> dict[str, Any]:
    brief = {entry.name: entry.val_accuracy for entry in found.brief}
    brief |= {
        f"trial-{trial.id}": trial.metrics.val_accuracy[-1]
        for trial in found.trials
        if trial.metrics
    }
    rows = [
        [
            entry.name,
            str(entry.rank or "-"),
            _number(brief.get(entry.name)),
            _number(entry.val_accuracy) if entry.metrics else f"failed: {entry.reason}",
            _number(entry.test_accuracy),
            f"{entry.metrics.params:,}" if entry.metrics else "-",
        ]
        for entry in found.retrained
    ]
    return {"retrained": rows, "kept": f"trial-{found.best.trial}" if found.best else ""}


def _top(found: SearchResult, space: Space | None) -> list[dict[str, str]]:
    rewarded = [trial for trial in found.trials if trial.reward is not None]
    best = sorted(rewarded, key=lambda trial: (-(trial.reward or 0.0), trial.id))[:_TOP]
    return [_drawn(trial, space) for trial in best]


def _drawn(trial: Trial, space: Space | None) -> dict[str, str]:
    network = _architecture(trial, space)
    drawn = network is not None and bool(network.layers)
    return {
        "trial": str(trial.id),
        "reward": _number(trial.reward),
        "params": f"{trial.metrics.params:,}" if trial.metrics else "-",
        "layers": trial.key if network is None else network.describe(),
        "diagram": draw_svg(network, f"trial {trial.id}") if drawn and network else "",
    }


def _fronts(found: SearchResult) -> dict[str, Any]:
    fronts, metric = [], found.metric
    for cost, unit in UNITS.items():
        try:
            points = pareto(found, cost)
        except RunError:
            continue  # it was not measured
        rows = [
            [
                str(point.trial),
                _number(point.value),
                f"{point.cost:,.0f}" if cost in ("params", "flops") else f"{point.cost:.3f}",
                point.layers,
            ]
            for point in points
            if point.front
        ]

        def draw(file: BinaryIO, points: Any = points, cost: str = cost) -> None:
            plot_pareto(points, metric, cost, file)

        fronts.append({"cost": cost, "unit": unit, "rows": rows, "picture": _picture(draw)})
    return {"fronts": fronts}


def _effects(found: SearchResult, space: Mapping[str, Any]) -> dict[str, Any]:
    try:
        explained = explain_run(found, space)
    except RlnasError as error:  # too few trials, or a space of the user's own
        return {"effects": None, "unexplained": f"Not explained: {error}."}
    return {"effects": _explained(explained), "unexplained": ""}


def _explained(found: Explanation) -> dict[str, Any]:
    rows = [
        [
            each.decision,
            each.choice,
            str(each.tried),
            f"{each.effect:+.4f}",
            _interval(each.low, each.high),
            "-" if each.policy is None else f"{each.policy:.2f}",
        ]
        for each in found.effects
    ]
    interactions = [
        [
            " with ".join(
                f"{name} {choice}"
                for name, choice in zip(each.decisions, each.choices, strict=True)
            ),
            f"{each.effect:+.4f}",
            _interval(each.low, each.high),
        ]
        for each in found.interactions
    ]
    return {
        "picture": _picture(lambda file: plot_effects(found, "", file)),
        "trials": found.trials,
        "explained": f"{100 * found.explained:.0f}",
        "rows": rows,
        "interactions": interactions,
    }


def _budgets(meta: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what budgets the search had one after the other; none where it had one.

    Each as flags, as settings of `rlnas.Search`, and where the search was stopped before it had
    all trials of it, behind how many.
    """
    earlier = meta.get("budgets", [])  # runs of earlier versions do not have it
    return [_budget(each) for each in [*earlier, meta["config"]["budget"]]] if earlier else []


def _budget(record: Mapping[str, Any]) -> dict[str, str]:
    ended = record.get("ended")
    budget = BudgetConfig(**{name: record[name] for name in BudgetConfig.model_fields})
    flags, settings = [], []
    if budget.most_trials is not None:
        flags.append(f"--trials {budget.most_trials}")
        settings.append(f"trials={budget.most_trials}")
    if budget.time_limit is not None:
        flags.append(f"--time-limit {budget.time_limit:g}s")
        settings.append(f"time_limit={budget.time_limit:g}")
    stopped = "" if ended in (None, budget.most_trials) else f"  # stopped behind trial {ended}"
    return {"flags": " ".join(flags), "settings": ", ".join(settings), "stopped": stopped}


def _settings(found: SearchResult, meta: Mapping[str, Any], space: Space | None) -> dict[str, Any]:
    recipe = RecipeConfig(**meta["config"]["recipe"])
    best = next((t for t in found.trials if found.best and t.id == found.best.trial), None)
    network = None if best is None else _architecture(best, space)
    if network is not None:
        recipe = network.trained_by(recipe)
    data = meta["data"]
    return {
        "recipe": [(name.replace("_", " "), str(value)) for name, value in recipe],
        "searched": bool(network and network.recipe),
        "data": [
            ("name", data["name"]),
            ("fingerprint", data["fingerprint"]),
            ("test examples", f"{data['test']:,}"),
            ("fingerprint of the space", meta["space_fingerprint"]),
        ],
        "exact": meta["config"]["engine"]["deterministic"],
        "own": ", ".join(meta["own"]),
        "budgets": _budgets(meta),
        "versions": [
            ("seed", str(found.seed)),
            ("threads of a child", str(meta["threads"])),
            *((name, str(each)) for name, each in meta["versions"].items()),
        ],
    }


def _space(record: Mapping[str, Any]) -> Space | None:
    try:
        return space_from_json(record)
    except SpaceError:  # a space of the user's own
        return None


def _architecture(trial: Trial, space: Space | None) -> Architecture | None:
    try:
        return None if space is None else space.architecture(trial.tokens)
    except SpaceError:
        return None


def _picture(draw: Callable[[BinaryIO], None]) -> str:
    """Return what a function draws, PNG, as text for a page."""
    buffer = io.BytesIO()
    draw(buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
