"""The command that compares controllers on tables."""

import json
from pathlib import Path

import click

from rlnas.cli import output
from rlnas.cli.options import json_option
from rlnas.evaluation import FORMATS, TableFormat, with_columns


@click.command(
    epilog="For example: rlnas benchmark --table nasbench201_cifar10.csv.gz --format nasbench201 "
    "--controllers ppo,evolution+population=50,random --seeds 20. Settings of a controller stand "
    "behind plus signs, by their names in the config. The same command goes on where it was "
    "stopped."
)
@click.option(
    "--table",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV file of trained networks, plain or .gz, with a line of column names.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(sorted(FORMATS)),
    help="Columns of a published table; where a flag below names another column, the flag holds.",
)
@click.option("--tokens", metavar="COLUMN", help="Column of the token strings. [default: arch]")
@click.option("--reward", metavar="COLUMN", help="Column that the search sees. [default: reward]")
@click.option(
    "--report",
    metavar="COLUMN[,COLUMN]",
    help="Columns whose mean is told of what the search picks. Default: the reward.",
)
@click.option(
    "--key",
    metavar="COLUMN",
    help="Column that is equal for equal networks, or none to count rows. [default: canonical]",
)
@click.option(
    "--controllers",
    default="ppo,evolution,random",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Who takes part; the names of rlnas search --controller.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Different networks each search may try.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Searches of each controller.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Searches at a time, each in a process of one thread.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where results go. Default: benchmark-TABLE in the current folder.",
)
@json_option
def benchmark(
    table: Path,
    layout: str | None,
    tokens: str | None,
    reward: str | None,
    report: str | None,
    key: str | None,
    controllers: str,
    trials: int,
    seeds: int,
    workers: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Compare controllers on a table of trained networks, where a search takes seconds."""
    from rlnas.search.benchmark import Benchmark, read_contestants

    columns = with_columns(
        FORMATS[layout] if layout else TableFormat(),
        tokens=tokens,
        reward=reward,
        report=None if report is None else tuple(name.strip() for name in report.split(",")),
        key=key,
    )
    place = folder or Path(f"benchmark-{table.name.split('.')[0]}")
    comparison = Benchmark(
        table, columns, read_contestants(controllers), trials=trials, seeds=seeds, folder=place
    )
    if comparison.trials < trials:
        click.echo(
            f"the table has {comparison.trials} networks: each search ends there, not at {trials}",
            err=True,
        )
    if comparison.damaged:
        click.echo(
            f"{comparison.damaged} lines of {place / 'results.jsonl'} are damaged; their searches "
            "are done anew",
            err=True,
        )
    if comparison.outdated:
        click.echo(
            f"{comparison.outdated} earlier searches in {place} were done with other settings or "
            "code of their controller; they are done anew",
            err=True,
        )
    with output.counted("searches") as ended:
        found = comparison.run(workers, ended)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo((place / "standings.md").read_text("utf-8"), nl=False)
    click.echo(f"\nfigures and plot: {place}")
