"""The commands of the service: the server, and a worker for it."""

import os
from pathlib import Path
from typing import Any

import click

from rlnas.cli.options import ConfigCommand, config_options, given_flags, root_option
from rlnas.config import make_config, with_flags
from rlnas.errors import UsageError


@click.command(
    epilog="For example: rlnas serve --root checkpoints --port 8420, then open the address it "
    "prints. The tokens stand in the variables RLNAS_TOKEN and RLNAS_READ_TOKEN."
)
@root_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. Any but this machine's own demands a token; one is made and "
    "printed if RLNAS_TOKEN gives none.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8420,
    show_default=True,
    help="Port to listen at; 0 for one that is free.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Folder of the data sets, spaces and models that clients may name, by paths below it. "
    "Default: they may only name what is built in.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Searches that train here at the same time; the others wait their turn.",
)
@click.option(
    "--external-at-once",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Searches at the same time whose children are trained elsewhere (executor external).",
)
@click.option(
    "--allow-python",
    is_flag=True,
    help="Let clients name Python objects (module:name): whoever may start searches then runs "
    "code here.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A further name under which the server is reached, such as that of a reverse proxy. May "
    "be given several times.",
)
def serve(
    root: Path,
    host: str,
    port: int,
    data: Path | None,
    at_once: int,
    external_at_once: int,
    allow_python: bool,
    allow_hosts: tuple[str, ...],
) -> None:
    """Serve searches over HTTP: a page to start and watch them, an API, and ask and tell.

    Each search runs in a process of its own and needs no server: end this one, start it again,
    and it finds them all. A search that died with the machine goes on when the server starts.
    """
    from rlnas.service.parts import Settings
    from rlnas.service.server import access_from
    from rlnas.service.server import serve as run

    settings = Settings(
        root=root,
        data=data,
        python=allow_python,
        at_once=at_once,
        external_at_once=external_at_once,
        access=access_from(dict(os.environ)),
    )
    run(settings, host, port, tell=click.echo, allow_hosts=allow_hosts)
    click.echo("the server has ended; searches that run go on, and it finds them when it starts")


_DATA = [
    f"data.{name}"
    for name in (
        *("dataset", "test_data", "text_column", "label_column", "split_column", "task"),
        *("validation", "test", "train_samples"),
    )
]
_HERE = ["threads", "engine.workers", "engine.child_time_limit", "engine.child_memory"]


@click.command(
    cls=ConfigCommand,
    epilog="For example: rlnas worker --server http://127.0.0.1:8420 --search digits-ppo-1 "
    "--dataset digits",
)
@click.option(
    "--server",
    required=True,
    metavar="URL",
    help="Address of the server; its token stands in the variable RLNAS_TOKEN.",
)
@click.option(
    "--search",
    required=True,
    metavar="NAME",
    help="Name of a search that was begun with the executor external.",
)
@click.option(
    "--most",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Trials after which the worker ends. Default: it ends with the search.",
)
@config_options(["seed", *_DATA, *_HERE])
def worker(server: str, search: str, most: int | None, **values: Any) -> None:
    """Train trials for a server: ask, train on the data of this machine, tell what came out.

    Start as many as you like, where you like; when one dies, another one gets its trials.
    """
    if not search.strip():
        raise UsageError("--search: expected the name of a search, got an empty one")
    config = make_config(with_flags({}, given_flags(values)))
    from rlnas.children.datasets import load_data
    from rlnas.children.machine import available_cores
    from rlnas.evaluation.process import ProcessSettings
    from rlnas.evaluation.training import TrainingSettings
    from rlnas.worker import Worker, connect

    client, found = connect(server, os.environ.get("RLNAS_TOKEN"), search)
    data = load_data(None, config.data, config.seed)
    data = data.sampled(config.data.train_samples, config.seed)
    workers = config.engine.workers or 1
    settings = ProcessSettings(
        workers=workers,
        threads=config.threads or max(1, available_cores() // workers),
        time_limit=config.engine.child_time_limit,
        memory_limit=config.engine.child_memory,
    )
    shown = found.show()
    training = TrainingSettings(
        metric=shown["metric"], latency=shown["cost"] == "latency", size=shown["cost"] == "size"
    )
    with client:
        trained = Worker(found, data, settings, training, click.echo).run(most)
    click.echo(f"trained {trained} trials")
