"""Many searches on a table, in several processes, each kept as it ends."""

import hashlib
import json
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from rlnas.controllers import make_controller
from rlnas.errors import InterruptedRunError, RunError, StorageError, first_line
from rlnas.evaluation import Table, TableFormat, read_table
from rlnas.search.benchmark.contestant import Contestant
from rlnas.search.benchmark.play import Played, play
from rlnas.search.benchmark.report import markdown, plot
from rlnas.search.benchmark.standings import BUDGETS, Floats, standings
from rlnas.search.stopping import stopping_by_signal

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",  # the networks are far too small for one
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Of a worker: one thread each, so that workers do not fight and seeds give the same bits."""

BELIEVED = ", picked by posterior mean"
"""Behind a controller's name: the row of what its surrogate believes to be the best."""


@dataclass(frozen=True, slots=True)
class Task:
    """One search that is to be done.

    Attributes:
        contestant: Who searches.
        seed: With which seed.
        trials: How many networks it may try.
        budgets: Trials at which regret is told.
    """

    contestant: Contestant
    seed: int
    trials: int
    budgets: tuple[int, ...]

    @property
    def name(self) -> tuple[str, int, int]:
        """What tells it from others."""
        return self.contestant.words, self.seed, self.trials


class Benchmark:
    """Paired searches of several controllers on one table.

    Args:
        table: The CSV file.
        columns: Which of its columns mean what.
        contestants: Who takes part.
        trials: Different networks each search may try.
        seeds: How many searches each does, with seeds from 0.
        folder: Where results are kept; what is there already is not done again.

    Attributes:
        table: What was read.
        trials: Networks that each search tries: not more than the table has.
        damaged: Lines of earlier results that say what cannot be; they are done anew.
        outdated: Earlier searches of a controller with the same name but other settings or code;
            they are done anew.

    Raises:
        DataError: The table is missing or damaged.
        RunError: The folder holds results of another table or of other columns.
    """

    def __init__(
        self,
        table: Path,
        columns: TableFormat,
        contestants: Sequence[Contestant],
        *,
        trials: int,
        seeds: int,
        folder: Path,
    ) -> None:
        """See the class."""
        self._path, self._columns = table, columns
        self.table = read_table(table, columns)
        self._contestants, self._seeds = list(contestants), seeds
        self.trials = min(trials, self.table.space.size)
        self._folder = folder
        self._marks = {each.words: each.fingerprint for each in self._contestants}
        self._done = self._opened()

    @property
    def budgets(self) -> tuple[int, ...]:
        """Trials at which regret is told."""
        return (*(budget for budget in BUDGETS if budget < self.trials), self.trials)

    def tasks(self) -> list[Task]:
        """Return what is still to be done, the smallest seeds first."""
        return [task for task in self._asked() if task.name not in self._done]

    def _asked(self) -> list[Task]:
        return [
            Task(contestant, seed, trials, self.budgets)
            for seed in range(self._seeds)
            for contestant in self._contestants
            for trials in (self.budgets if contestant.per_budget else (self.trials,))
        ]

    def run(self, workers: int, ended: Callable[[int, int], None]) -> dict[str, Any]:
        """Do what is still to be done, and write all figures.

        Args:
            workers: Processes.
            ended: Called with how many searches have ended and how many there are.

        Returns:
            As `figures`.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; what has ended is kept.
            RunError: A process died.
            StorageError: The disk refused.
        """
        tasks, count = self.tasks(), len(self._asked())
        kept = count - len(tasks)
        ended(kept, count)
        try:
            with stopping_by_signal():
                self._search_all(tasks, workers, lambda done: ended(kept + done, count))
                found = self.figures()
                self._write(found)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"stopped; {count - len(self.tasks())} of {count} searches are kept in "
                f"{self._folder}, the same command goes on there"
            ) from None
        return found

    def _search_all(
        self, tasks: Sequence[Task], workers: int, ended: Callable[[int], None]
    ) -> None:
        if not tasks:
            return
        with _workers(workers, self._path, self._columns) as pool:
            running = {pool.submit(_search, task): task for task in tasks}
            for done, future in enumerate(as_completed(running), start=1):
                self._keep(running[future], future)
                ended(done)

    def figures(self) -> dict[str, Any]:
        """Return the figures of all searches.

        Returns:
            ``table``, ``trials``, ``seeds``, ``optimum`` (the best report), and as
            ``controllers`` what `standings` returns.
        """
        regrets: dict[str, Floats] = {}
        optimum_at, tried, cost = {}, {}, {}
        for contestant in self._contestants:
            for words, believed in ((contestant.words, False), (contestant.words + BELIEVED, True)):
                rows = [self._reports(contestant, seed, believed) for seed in range(self._seeds)]
                if None in rows:
                    continue
                played = [self._last(contestant, seed) for seed in range(self._seeds)]
                regrets[words] = self.table.best_report - np.array(rows, dtype=np.float64)
                optimum_at[words] = [each.optimum_at or np.inf for each in played]
                tried[words] = [each.trials for each in played]
                cost[words] = 1e3 * float(
                    np.mean([each.seconds / max(each.trials, 1) for each in played])
                )
        return {
            "table": self._path.name,
            "trials": self.trials,
            "seeds": self._seeds,
            "optimum": self.table.best_report,
            "controllers": standings(
                regrets,
                self.table.best_report,
                optimum_at,
                tried,
                cost,
                self.budgets,
                [contestant.words for contestant in self._contestants],
            ),
        }

    def curves(self) -> dict[str, Floats]:
        """Return regret of each search after each trial, float64[seeds, trials], by controller.

        It is NaN between the budgets of a controller that is run once for each.
        """
        curves = {}
        for contestant in self._contestants:
            rows = np.full((self._seeds, self.trials), np.nan)
            for seed in range(self._seeds):
                if contestant.per_budget:
                    for budget in self.budgets:
                        rows[seed, budget - 1] = self._played(contestant, seed, budget).report(
                            budget
                        )
                else:
                    for place, report in self._last(contestant, seed).picks:
                        rows[seed, place - 1 :] = report
            curves[contestant.words] = self.table.best_report - rows
        return curves

    def _reports(self, contestant: Contestant, seed: int, believed: bool) -> list[float] | None:
        """Return the report at each budget; None if there is no posterior to pick by."""
        reports = []
        for budget in self.budgets:
            trials = budget if contestant.per_budget else self.trials
            played = self._played(contestant, seed, trials)
            if believed and not played.believed:
                return None
            picked = played.report(budget)
            reports.append(played.believed.get(budget, picked) if believed else picked)
        return reports

    def _last(self, contestant: Contestant, seed: int) -> Played:
        return self._played(contestant, seed, self.trials)

    def _played(self, contestant: Contestant, seed: int, trials: int) -> Played:
        return self._done[(contestant.words, seed, trials)]

    def _opened(self) -> dict[tuple[str, int, int], Played]:
        """Return what the folder holds already."""
        mark = {
            "table": hashlib.sha256(self._path.read_bytes()).hexdigest(),
            "columns": {**asdict(self._columns), "report": list(self._columns.report)},
        }
        marked, results = self._folder / "benchmark.json", self._folder / "results.jsonl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not marked.exists():  # whole at once: the disk may be full
                new = marked.with_name(f"{marked.name}.new")
                new.write_text(json.dumps(mark, indent=1), encoding="utf-8")
                new.replace(marked)
            elif _read_mark(marked) != mark:
                raise RunError(
                    f"{self._folder} holds a benchmark of another table or of other columns; "
                    "pass another folder with --to"
                )
            text = results.read_text("utf-8", errors="replace") if results.exists() else ""
            if text and not text.endswith("\n"):  # stopped in the middle of a line
                self._append("\n")
        except OSError as error:
            raise StorageError(
                f"{self._folder} cannot be used: {error.strerror or error}; "
                "pass another folder with --to"
            ) from error
        kept: dict[tuple[str, int, int], Played] = {}
        others = set()
        lines = [line for line in text.splitlines() if line.strip()]
        read = list(_results(lines, self.table.best_report))
        self.damaged = len(lines) - len(read)
        for name, made_by, played in read:
            if made_by == self._marks.get(name[0], made_by):
                kept[name] = played
            else:
                others.add(name)
        self.outdated = len(others - kept.keys())
        return kept

    def _keep(self, task: Task, future: "Future[Played]") -> None:
        try:
            played = future.result()
        except BrokenProcessPool as error:
            raise RunError(
                f"a process of the benchmark died, probably for lack of memory; {len(self._done)} "
                f"searches are kept in {self._folder}: give the same command again, with fewer "
                "--workers"
            ) from error
        self._done[task.name] = played
        words, seed, trials = task.name
        line = {"controller": words, "of": self._marks[words], "seed": seed, "trials": trials}
        line["played"] = asdict(played)
        self._written(lambda: self._append(json.dumps(line) + "\n"))

    def _append(self, line: str) -> None:
        with (self._folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def _write(self, found: dict[str, Any]) -> None:
        self._written(
            lambda: (self._folder / "standings.json").write_text(
                json.dumps(found, indent=1) + "\n", encoding="utf-8"
            )
        )
        self._written(
            lambda: (self._folder / "standings.md").write_text(markdown(found), encoding="utf-8")
        )
        self._written(lambda: plot(self.curves(), found, self._folder / "regret.png"))

    def _written(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            raise StorageError(
                f"{self._folder} takes no more results: {error.strerror or error}; make room and "
                "give the same command again"
            ) from error


def _read_mark(path: Path) -> dict[str, Any]:
    """Return what the file says of which the results are.

    Raises:
        RunError: It is damaged.
    """
    try:
        mark = json.loads(path.read_text("utf-8"))
        if not isinstance(mark, dict):
            raise ValueError(f"got a {type(mark).__name__} instead of an object")
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged: expected JSON, {first_line(error)}; pass another folder with "
            "--to, or delete this file if the results beside it are of this table and its columns"
        ) from error
    return mark


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the results."""

    controller: str
    seed: int
    trials: int
    played: Played
    of: str | None = None


_LINE = TypeAdapter(_Line)


def _results(
    lines: Sequence[str], best_report: float
) -> Iterator[tuple[tuple[str, int, int], str | None, Played]]:
    """Read names, marks and results; what is damaged, or not written to its end, is left out."""
    for line in lines:
        try:
            read = _LINE.validate_json(line)
        except ValidationError:
            continue
        if _possible(read.played, best_report):
            yield (read.controller, read.seed, read.trials), read.of, read.played


def _possible(played: Played, best_report: float) -> bool:
    """Return whether a search can have gone so."""
    places = [0, *(place for place, _ in played.picks), played.trials + 1]
    reports = [*(report for _, report in played.picks), *played.believed.values()]
    return (
        places[1] == 1  # the first network is the best so far
        and all(before < after for before, after in pairwise(places))
        and all(report <= best_report for report in reports)  # which no NaN is
        and all(-math.inf < number < math.inf for number in (*reports, played.seconds))
        and 1 <= (played.optimum_at or 1) <= played.trials
    )


@contextmanager
def _workers(count: int, path: Path, columns: TableFormat) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes that have read the table."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(path, columns),
    )
    try:
        yield pool
    except BaseException:
        # What they are at is lost anyway, and a second signal may come while one waits for them.
        for process in set(multiprocessing.active_children()) - set(others):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_table: Table | None = None
"""Of a worker process: what it has read."""


def _start(path: Path, columns: TableFormat) -> None:
    global _table
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _table = read_table(path, columns)


def _end_with_parent() -> None:
    """End this process when the benchmark is killed, which cannot tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _search(task: Task) -> Played:
    if _table is None:
        raise RuntimeError("_search() before _start()")
    contestant = task.contestant
    if contestant.needs_keras:
        from rlnas.children.runtime import prepare

        prepare(1)
    controller = make_controller(_table.space, contestant.config, task.seed, trials=task.trials)
    return play(_table, controller, task.trials, task.budgets)
