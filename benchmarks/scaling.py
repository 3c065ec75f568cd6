"""How busy 64 workers are, what it costs to learn late, and how fast a long journal is.

1. A search with 64 real worker processes whose children only sleep (log-normal times, mean 2 s,
   sigma 1), through the real executor, loop and journal: which share of the workers' time is spent
   in children, from the moment all have begun to the last proposal?
2. Searches on NAS-Bench-201 by rows with 1, 8, 32 and 64 proposals in flight, whose results come in
   an order of chance: the regret behind 20, 50, 100, 192 and 300 trials is what asynchrony costs.
3. A journal of ten thousand trials: opening, listing, and resuming as `rlnas resume` does, with
   TensorBoard's files and the controller's state.

    python benchmarks/scaling.py                         all three, about an hour on 2 cores
    python benchmarks/scaling.py --only journal
    python benchmarks/scaling.py --only asynchrony --plot docs/asynchrony.png
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arguments import on_tables

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WORKERS, TRIALS, MEAN, SIGMA = 64, 1000, 2.0, 1.0
IN_FLIGHT = (1, 8, 32, 64)
SEARCHED, AT = 300, (20, 50, 100, 192, 300)
LONG = 10_000
META = {
    "status": "searching",
    "space": {},
    "space_fingerprint": "",
    "data": {"name": "digits", "test": 0, "fingerprint": ""},
    "own": [],
    "threads": 1,
    "evaluator": "training",
    "baseline": None,
    "versions": {},
    "best_trial": None,
}
"""What a run's journal says of it."""

PARTS = ("workers", "asynchrony", "journal")


class Sleeping:
    """A child that sleeps, and notes when; its time comes from its seed."""

    def __init__(self, notes: Path) -> None:
        """Take the folder of the notes."""
        self._notes = notes

    def evaluate(
        self, architecture: Any, recipe: Any, seed: int, folder: Path | None = None, **_: Any
    ) -> Any:
        """Sleep, and return an accuracy of chance."""
        from rlnas.objectives import Metrics

        rng = np.random.default_rng(seed)
        began = time.time()
        time.sleep(rng.lognormal(np.log(MEAN) - SIGMA**2 / 2, SIGMA))
        with (self._notes / str(os.getpid())).open("a") as file:
            print(began, time.time(), file=file)
        return Metrics((float(rng.random()),))


def searched(
    root: Path, name: str, controller: str, trials: int, executor: Any, *, recorded: bool = False
) -> float:
    """Run, or go on with, a search with a real loop and journal; return the seconds it took.

    Args:
        root: Folder of the runs.
        name: Name of the run.
        controller: Who proposes.
        trials: How many there are at the end.
        executor: Trains the children.
        recorded: Whether TensorBoard's files and ``best/`` are kept up to date too.
    """
    from contextlib import closing

    from rlnas.children.datasets import load_data
    from rlnas.config import DataConfig, make_config
    from rlnas.controllers import make_controller
    from rlnas.search.folder import RunFolder
    from rlnas.search.loop import Observer, SearchLoop
    from rlnas.search.progress import Silence
    from rlnas.search.recorder import Recorder
    from rlnas.search.setup import Setup
    from rlnas.spaces import ImageSpace

    data = load_data(None, DataConfig(), 0)
    config = make_config({"controller": {"name": controller}, "budget": {"trials": trials}})
    setup = Setup(config, data, ImageSpace(data.input_shape, data.classes))
    folder, began = RunFolder(root, name), time.perf_counter()
    with closing(
        folder.open() if (root / name).exists() else folder.create(config, META)
    ) as journal:
        made = make_controller(setup.space, config.controller, 0, trials=trials)
        observer = Observer()
        if recorded:
            observer = Recorder(setup, folder, journal, made)
            observer.rebuild()
        SearchLoop(setup, folder, journal, made, executor, observer, Silence()).run()
        if recorded:
            observer.close()
        return time.perf_counter() - began


def workers() -> dict[str, float]:
    """Let 64 workers sleep, and return the share of their time in which they did."""
    from rlnas.evaluation.process import ProcessExecutor, ProcessSettings

    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.mkdir()
        executor = ProcessExecutor(Sleeping(notes), ProcessSettings(workers=WORKERS))
        seconds = searched(Path(folder), "sleeping", "evolution", TRIALS, executor)
        executor.close()
        spans = np.concatenate([np.loadtxt(file, ndmin=2) for file in notes.iterdir()])
    begins, ends = spans.T
    full = np.sort(begins)[WORKERS - 1]  # all have begun: processes had to be started before
    last = begins.max()  # from here on there is less work than workers
    inside = np.clip(ends, full, last) - np.clip(begins, full, last)
    return {
        "busy": float(inside.sum() / (WORKERS * (last - full))),
        "children": len(spans),
        "until all have begun, s": float(full - begins.min()),
        "whole search, s": seconds,
    }


def asynchronous(table: Any, in_flight: int, seed: int) -> list[float]:
    """Search a table with so many proposals under way.

    Returns:
        Behind each trial, the regret of what the search would pick.
    """
    from rlnas.config import ControllerConfig
    from rlnas.controllers import Trajectory, make_controller, propose

    controller = make_controller(table.space, ControllerConfig(), seed, trials=SEARCHED)
    chance = np.random.default_rng([seed, in_flight])
    under_way: list[Any] = []
    known: set[str] = set()
    best, report = -np.inf, 0.0
    regrets: list[float] = []
    while len(regrets) < SEARCHED:
        while len(under_way) < in_flight and len(known) < SEARCHED:
            tokens, log_probs = propose(controller, table.space)
            key = table.space.key(table.space.architecture(tokens))
            if key in known:
                earned = Trajectory(tokens, log_probs, table.rows[key].reward, True)
                controller.learn([earned])
                continue
            known.add(key)
            under_way.append((tokens, log_probs, table.rows[key]))
        tokens, log_probs, row = under_way.pop(int(chance.integers(len(under_way))))
        if row.reward > best:
            best, report = row.reward, row.report
        controller.learn([Trajectory(tokens, log_probs, row.reward, False)])
        regrets.append(float(table.best_report - report))
    return regrets


def asynchrony(
    folder: Path, seeds: int, processes: int, picture: Path | None
) -> dict[str, dict[str, float]]:
    """Return mean regret and its standard error by proposals in flight and trials."""
    from rlnas.evaluation import FORMATS, read_table, with_columns
    from rlnas.search.benchmark.report import plot

    columns = with_columns(FORMATS["nasbench201"], key="none")
    table = read_table(folder / "nasbench201_cifar10.csv.gz", columns)
    curves = {}
    with ProcessPoolExecutor(processes) as pool:
        for in_flight in IN_FLIGHT:
            search = partial(asynchronous, table, in_flight)
            curves[f"{in_flight} in flight"] = np.array(list(pool.map(search, range(seeds))))
            print(f"{in_flight} in flight: {seeds} searches", file=sys.stderr, flush=True)
    if picture:
        plot(curves, {"table": "NAS-Bench-201 by rows", "seeds": seeds}, picture)
    return {
        f"{name}, {trials} trials": {
            "mean": float(curve[:, trials - 1].mean()),
            "error": float(curve[:, trials - 1].std(ddof=1) / np.sqrt(seeds)),
        }
        for name, curve in curves.items()
        for trials in AT
    }


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that something takes, and what it returns."""
    began = time.perf_counter()
    found = act()
    return time.perf_counter() - began, found


class Instant(Sleeping):
    """A child that takes no time."""

    def evaluate(
        self, architecture: Any, recipe: Any, seed: int, folder: Path | None = None, **_: Any
    ) -> Any:
        """Return an accuracy from the seed."""
        from rlnas.objectives import Metrics

        return Metrics((float(np.random.default_rng(seed).random()),) * 5)


def journal() -> dict[str, float]:
    """Return the seconds of opening, listing and resuming a long run."""
    from rlnas.cli.output import list_row
    from rlnas.evaluation import InlineExecutor
    from rlnas.search.folder import RunFolder

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        executor = InlineExecutor(Instant(root))
        whole = searched(root, "long", "ppo", LONG, executor)
        opening, opened = timed(lambda: RunFolder(root, "long").open())
        reading, trials = timed(opened.trials)
        opened.close()
        listing, _ = timed(lambda: list_row(RunFolder(root, "long")))
        first = searched(root, "long", "ppo", LONG + 1, executor, recorded=True)
        resuming = searched(root, "long", "ppo", LONG + 2, executor, recorded=True)
        return {
            "trials": len(trials),
            "proposing, learning and writing, ms a trial": 1000 * whole / LONG,
            "opening, s": opening,
            "reading, s": reading,
            "listing, s": listing,
            "resuming to one more trial, s": resuming,
            "the same where TensorBoard's files are gone, s": first,
        }


def main() -> None:
    """Print what was asked for."""
    parser = on_tables(__doc__, needed=False)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--plot", type=Path, help="draw the regret with each number in flight")
    chosen = parser.parse_args()
    parts = chosen.only or PARTS
    found: dict[str, Any] = {}
    if "workers" in parts:
        found["workers"] = workers()
    if "asynchrony" in parts and chosen.tables is None:
        parser.error("--only asynchrony needs --tables: the folder of the two tables")
    if "asynchrony" in parts:
        found["asynchrony"] = asynchrony(chosen.tables, chosen.seeds, chosen.workers, chosen.plot)
    if "journal" in parts:
        found["journal"] = journal()
    if chosen.json:
        print(json.dumps(found))
        return
    for part, figures in found.items():
        print(f"\n| {part} | |\n|---|---|")
        for name, figure in figures.items():
            if isinstance(figure, dict):
                told = f"{figure['mean']:.4f} ({figure['error']:.4f})"
            else:
                told = f"{figure:.4g}"
            print(f"| {name} | {told} |")


if __name__ == "__main__":
    main()
