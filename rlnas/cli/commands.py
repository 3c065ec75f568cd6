"""The commands. Each imports what needs Keras only when it runs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from rlnas.cli import output
from rlnas.cli.benchmarking import benchmark
from rlnas.cli.options import (
    ConfigCommand,
    config_options,
    given_flags,
    json_option,
    root_option,
    run_argument,
)
from rlnas.cli.serving import serve, worker
from rlnas.config import dump_config, make_config, read_config, with_flags
from rlnas.search.comparison import compare, plot
from rlnas.search.explain import explain_run, plot_effects
from rlnas.search.folder import RunFolder, find_run, run_folders
from rlnas.search.pareto import UNITS, pareto, plot_pareto
from rlnas.search.progress import Lines, LiveTable, SearchProgress
from rlnas.search.result import SearchResult, read_result, read_space

_ENGINE = [
    "threads",
    *(
        f"engine.{name}"
        for name in ("executor", "workers", "ray_address", "child_time_limit", "child_memory")
    ),
]
"""Settings that a run may go on with otherwise than it began."""


@click.command(
    cls=ConfigCommand,
    epilog="For example: rlnas search --dataset fashion_mnist --train-samples 10000 --trials 60 "
    "--epochs 2",
)
@config_options()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings from a YAML file; flags go before it.",
)
@click.option(
    "--print-config", is_flag=True, help="Write the full config as YAML and do nothing else."
)
@root_option
@json_option
def search(
    config_file: Path | None, print_config: bool, root: Path, as_json: bool, **values: Any
) -> None:
    """Search for the best architecture, retrain it, and export it as Keras JSON."""
    stored = read_config(config_file) if config_file else {}
    config = make_config(with_flags(stored, given_flags(values)))
    if print_config:
        click.echo(dump_config(config, comments=True), nl=False)
        return
    if config.name is not None:
        RunFolder(root, config.name).check_free()  # before anything slow is loaded
    from rlnas.search.resuming import start_run

    found = start_run(config, root, _progress(as_json))
    _finish(found, as_json)


@click.command(cls=ConfigCommand)
@run_argument
@config_options(["budget.trials", "budget.time_limit", *_ENGINE])
@root_option
@json_option
def resume(run: str, root: Path, as_json: bool, **values: Any) -> None:
    """Continue a run after any stop.

    With one worker, or as a deterministic run, it comes to the same result as if it had never
    stopped. A run that has ended prints its result. With a larger --trials or --time-limit it
    searches on, until the first of them is reached.
    """
    from rlnas.search.resuming import resume_run

    found = resume_run(find_run(root, run), given_flags(values), _progress(as_json))
    _finish(found, as_json)


@click.command(name="list")
@root_option
@json_option
def list_runs(root: Path, as_json: bool) -> None:
    """List all runs with their state and their best."""
    rows = [output.list_row(folder) for folder in run_folders(root)]
    if as_json:
        click.echo(json.dumps({"root": str(root), "runs": rows}))
    else:
        output.print_list(rows, root)


@click.command()
@run_argument
@click.option(
    "-n",
    "--newest",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Newest trials to show; 0 for all.",
)
@root_option
@json_option
def show(run: str, newest: int, root: Path, as_json: bool) -> None:
    """Show one run: its best, what it is compared with, and its trials."""
    folder = find_run(root, run)
    found = read_result(folder)
    if as_json:
        click.echo(json.dumps(output.record(found, history=True)))
    else:
        output.print_run(found, folder, newest)


@click.command()
@run_argument
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1, max=10_000),
    default=10,
    show_default=True,
    help="Architectures to draw.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draw."
)
@root_option
@json_option
def sample(run: str, number: int, seed: int, root: Path, as_json: bool) -> None:
    """Print what the trained controller would build now; nothing is trained or changed."""
    from rlnas.search.sampling import sample_run

    rows = sample_run(find_run(root, run), number, seed)
    if as_json:
        click.echo(json.dumps({"run": run, "architectures": rows}))
    else:
        output.print_samples(rows)


@click.command(cls=ConfigCommand)
@run_argument
@config_options(["final.top_k", "final.epochs", "final.refit", "data.final_samples", *_ENGINE])
@root_option
@json_option
def retrain(run: str, root: Path, as_json: bool, **values: Any) -> None:
    """Retrain the best of a run anew, for example more of them or longer, and export the best."""
    from rlnas.search.resuming import retrain_run

    found = retrain_run(find_run(root, run), given_flags(values), _progress(as_json))
    _finish(found, as_json)


@click.command()
@run_argument
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Folder to write to; it is made if it is not there.",
)
@click.option(
    "--trial",
    "numbers",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="NUMBER",
    help="This trial, as the search trained it, instead of the best; each to FOLDER/trial-NUMBER. "
    "May be given several times.",
)
@root_option
@json_option
def export(run: str, target: Path, numbers: tuple[int, ...], root: Path, as_json: bool) -> None:
    """Copy the best architecture of a run to a folder, and check that it loads.

    The folder gets architecture.json (Keras JSON), model.keras (with weights), model.py
    (a plain Keras script), summary.txt, diagram.svg and report.json.
    """
    from rlnas.search.resuming import export_run, export_trials

    if numbers:
        folders = export_trials(find_run(root, run), numbers, target)
        _told_exports(run, folders, as_json)
        return
    files = export_run(find_run(root, run), target)
    if as_json:
        click.echo(json.dumps({"run": run, "folder": str(target), "files": files}))
    else:
        click.echo(f"exported {run} to {target}: {', '.join(files)}; loaded back and compared")


@click.command(name="compare")
@click.argument("first")
@click.argument("second")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="PNG file of the plot. Default: compare-SECOND.png in the folder of the first run.",
)
@root_option
@json_option
def compare_runs(first: str, second: str, picture: Path | None, root: Path, as_json: bool) -> None:
    """Compare two runs: their best, their trials, the gaps with 95 % intervals, and a plot.

    Runs are compared at as many trials as the shorter one has. One pair of runs says little
    about two controllers: rlnas benchmark repeats a comparison over many seeds.
    """
    run, other = (read_result(find_run(root, name)) for name in (first, second))
    found = compare(run, other)
    path = picture or find_run(root, first).path / f"compare-{other.run}.png"
    plot(run, other, path)
    if as_json:
        click.echo(json.dumps({**found.to_json(), "plot": str(path)}))
    else:
        output.print_comparison(found)
        click.echo(f"plot: {path}")


@click.command(name="pareto")
@run_argument
@click.option(
    "--cost",
    type=click.Choice(list(UNITS)),
    default="params",
    show_default=True,
    help="What the children cost.",
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="PNG file of the plot. Default: pareto-COST.png in the folder of the run.",
)
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Export these trials too, each to FOLDER/trial-NUMBER as the search trained it.",
)
@root_option
@json_option
def show_pareto(
    run: str, cost: str, picture: Path | None, target: Path | None, root: Path, as_json: bool
) -> None:
    """Show the trials that no other one beats in both: the metric, and what the child costs.

    The metric is what the run rewards, on the validation part after the brief training.
    """
    folder = find_run(root, run)
    found = read_result(folder)
    points = pareto(found, cost)
    path = picture or folder.path / f"pareto-{cost}.png"
    plot_pareto(points, found.metric, cost, path)
    folders: list[str] = []
    if target is not None:
        from rlnas.search.resuming import export_trials

        numbers = [point.trial for point in points if point.front]
        folders = [str(each) for each in export_trials(folder, numbers, target)]
    if as_json:
        record = {"run": run, "cost": cost, "plot": str(path), "folders": folders}
        click.echo(json.dumps({**record, "trials": [point.to_json() for point in points]}))
    else:
        output.print_pareto(found, points, cost)
        click.echo(f"plot: {path}")
        if folders:
            click.echo(f"exported to {', '.join(folders)}; loaded back and compared")


def _told_exports(run: str, folders: Sequence[Path], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"run": run, "folders": [str(folder) for folder in folders]}))
    else:
        click.echo(f"exported {run} to {', '.join(map(str, folders))}; loaded back and compared")


@click.command(name="explain")
@run_argument
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="PNG file of the plot. Default: explain.png in the folder of the run.",
)
@root_option
@json_option
def explain_choices(run: str, picture: Path | None, root: Path, as_json: bool) -> None:
    """Show what each choice does to the reward, which choices interact, and the policy's view.

    An effect is the mean difference from the average of the decision's choices, all else alike.
    """
    folder = find_run(root, run)
    found = explain_run(read_result(folder), read_space(folder))
    path = picture or folder.path / "explain.png"
    title = f"{run}: effect of each choice on the reward"
    plot_effects(found, title, path)
    if as_json:
        click.echo(json.dumps({"run": run, "plot": str(path), **found.to_json()}))
    else:
        output.print_explanation(found, title)
        click.echo(f"plot: {path}")


@click.command(name="report")
@run_argument
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="HTML file to write. Default: report.html in the folder of the run.",
)
@root_option
@json_option
def report_run(run: str, target: Path | None, root: Path, as_json: bool) -> None:
    """Write a report of a run as one HTML file, to be looked at in a browser, sent and kept.

    It holds the progress (beside the control, if there is one), the top architectures with their
    diagrams, the brief against the long ranking, the Pareto front, what the choices do, the recipe,
    the data's fingerprint, versions, and how to reproduce it.
    """
    from rlnas.search.html_report import write_report

    folder = find_run(root, run)
    path = target or folder.path / "report.html"
    write_report(folder, path)
    click.echo(json.dumps({"run": run, "report": str(path)}) if as_json else f"report: {path}")


@click.command(
    epilog="The form of a space in YAML, with five examples: docs/spaces.md. For example: rlnas "
    "validate space.yaml --input-shape 32,32,3 --classes 10"
)
@click.argument("space", metavar="FILE|module:name")
@click.option(
    "--input-shape",
    metavar="N,N,...",
    help="Shape of an example to try it with, such as 28,28,1. Default: a usual one for its kind "
    "of data.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of classes to try it with; 1 where a number is predicted.",
)
@click.option(
    "--networks",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Networks to draw at random and build in Keras.",
)
@json_option
def validate(
    space: str, input_shape: str | None, classes: int, networks: int, as_json: bool
) -> None:
    """Check a space of your own, in YAML or Python, before any search.

    What is wrong is named with its line and column. What is right is shown: how large the space
    is, its reference child, and networks drawn at random, which Keras has built.
    """
    from rlnas.cli.validating import validate_space

    found = validate_space(space, _shape(input_shape), classes, networks)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        output.print_validation(found)


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        sizes = tuple(int(each) for each in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(
            f"expected sizes such as 28,28,1, got {text!r}", param_hint="--input-shape"
        )
    return sizes


COMMANDS = (
    search,
    resume,
    list_runs,
    show,
    compare_runs,
    show_pareto,
    explain_choices,
    report_run,
    sample,
    validate,
    retrain,
    export,
    benchmark,
    serve,
    worker,
)


def _progress(as_json: bool) -> SearchProgress:
    """Return a live table on a terminal, else lines; with JSON both go to standard error."""
    stream = sys.stderr if as_json else sys.stdout
    if stream.isatty():
        return LiveTable(Console(stderr=as_json))
    return Lines(stream)


def _finish(found: SearchResult, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(output.record(found)))
    else:
        output.print_result(found)
