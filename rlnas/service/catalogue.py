"""What the service shows of its searches, read from their runs."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from rlnas.config import EXTERNAL, BudgetConfig
from rlnas.config.fields import is_file_of_rules, is_table_of_networks
from rlnas.errors import RlnasError, StorageError
from rlnas.evaluation.process import LOG
from rlnas.search.diagram import draw_svg
from rlnas.search.folder import EXPORTED, RunFolder, run_folders
from rlnas.search.html_report import report_html
from rlnas.search.journal import Journal
from rlnas.search.journal import Trial as Stored
from rlnas.search.result import read_best
from rlnas.search.summary import (
    Summary,
    TrialQuery,
    find_trial,
    layers_of,
    newest_policy,
    reward_curve,
    space_of,
    status_of,
    summarize,
    trials_after,
    trials_page,
)
from rlnas.service.fronts import Fronts
from rlnas.service.job_folder import JobFolder, service_folder
from rlnas.service.jobs import PAUSE, STOP, Entry, Jobs
from rlnas.service.models import (
    NAME,
    Best,
    CurvePage,
    ParetoPage,
    Point,
    Policy,
    Search,
    Trial,
)
from rlnas.service.problems import Problem, not_found
from rlnas.service.summaries import Signature, Summaries
from rlnas.service.supervisor import Supervisor
from rlnas.spaces import Space

REPORT = "report.html"

_POINTS = 1000
"""Points of the curve of rewards (chosen): more than a screen is wide are not seen."""

_LONGEST_LOG = 64_000
"""Bytes of a log that are shown, its last ones (chosen)."""

_MOST_SPACES = 50
"""Spaces that are kept ready (chosen): to make one of a large table takes a while."""

_TRIES, _SWAPPED = 3, 0.02
"""Times a file is looked for, and seconds between them: an export swaps its folder (chosen)."""

_FRESH = 0.2
"""Seconds for which the state of a search is taken as it was (chosen)."""


class Catalogue:
    """All searches of a root, those of the service and those of the command line.

    Args:
        jobs: The searches of the service.
        supervisor: Knows which of them run.
    """

    def __init__(self, jobs: Jobs, supervisor: Supervisor) -> None:
        """See the class."""
        self._jobs, self._supervisor = jobs, supervisor
        self._known = Summaries(service_folder(jobs.root) / "summaries.sqlite")
        self._states: dict[str, tuple[float, str]] = {}
        self._spaces: dict[str, Space | None] = {}  # by their fingerprints
        self._fronts = Fronts(jobs.root, self.journal)

    def close(self) -> None:
        """Close its file."""
        self._known.close()

    def searches(self) -> list[Search]:
        """Return all searches, the newest first."""
        entries = {entry.name: entry for entry in self._jobs.entries()}
        runs = (folder.name for folder in run_folders(self._jobs.root))
        names = {name for name in runs if re.fullmatch(NAME, name)} | set(entries)
        found = [self._search(name, entries.get(name)) for name in names]
        return sorted(found, key=lambda each: (-(each.created or each.started or 0.0), each.name))

    def search(self, name: str) -> Search:
        """Return one search.

        Raises:
            Problem: There is none of this name.
        """
        entry = self._jobs.find(name)
        if entry is None and not RunFolder(self._jobs.root, name).journal.is_file():
            raise not_found("search", name)
        return self._search(name, entry)

    def state(self, name: str) -> str:
        """Return the state of a search, of now or a moment ago.

        Raises:
            Problem: There is none of this name.
        """
        known = self._states.get(name)
        if known is not None and time.monotonic() - known[0] < _FRESH:
            return known[1]
        entry, folder = self._jobs.find(name), RunFolder(self._jobs.root, name)
        begun = folder.journal.is_file()
        if entry is None and not begun:
            raise not_found("search", name)
        state = self._state(name, entry, status_of(folder) if begun else None)
        self._states[name] = (time.monotonic(), state)
        return state

    def forget(self, name: str) -> None:
        """Forget what was known of a search that is gone, or of which something else is wanted."""
        self._fronts.forget(name)
        self._known.forget(name)
        self._states.pop(name, None)

    def is_external(self, name: str) -> bool:
        """Tell whether the children of a search are trained elsewhere."""
        entry = self._jobs.find(name)
        if entry is not None:
            return entry.executor == EXTERNAL
        return RunFolder(self._jobs.root, name).leases.is_file()

    def has_leases(self, name: str) -> bool:
        """Tell whether a search has trials for workers."""
        return RunFolder(self._jobs.root, name).leases.is_file()

    def signature(self, name: str) -> Signature:
        """Return what changes when anything of a run has changed."""
        folder, job = RunFolder(self._jobs.root, name), JobFolder(self._jobs.root, name)
        journal = folder.journal
        paths = (journal, journal.with_name(f"{journal.name}-wal"), job.outcome)
        return tuple(_stat(path) for path in paths)

    @contextmanager
    def journal(self, name: str) -> Iterator[Journal]:
        """Give the journal of a run, as it is at one moment.

        Raises:
            Problem: There is no such search, or it has not begun.
        """
        folder = self.folder(name)
        with closing(Journal(folder.journal)) as journal, journal.reading():
            yield journal

    def folder(self, name: str) -> RunFolder:
        """Return the folder of a run that has begun.

        Raises:
            Problem: There is no such search, or it has not begun.
        """
        folder = RunFolder(self._jobs.root, name)
        if not folder.journal.is_file():
            if self._jobs.find(name) is None:
                raise not_found("search", name)
            raise Problem(409, "not-begun", f"{name} has not begun yet; try again in a moment")
        return folder

    def trials(self, name: str, query: TrialQuery) -> tuple[list[Trial], int]:
        """Return some trials of a search, and how many there are."""
        if self._jobs.find(name) is not None and not self._has_begun(name):
            return [], 0
        with self.journal(name) as journal:
            found, total = trials_page(journal, query)
            return _shown(found, self._space(journal)), total

    def trials_after(self, name: str, step: int, limit: int) -> list[Trial]:
        """Return trials that have ended behind a step."""
        if not self._has_begun(name):
            return []
        with self.journal(name) as journal:
            return _shown(trials_after(journal, step, limit), self._space(journal))

    def trial(self, name: str, number: int) -> Trial:
        """Return one trial.

        Raises:
            Problem: There is none of this number.
        """
        with self.journal(name) as journal:
            return _shown([self._trial(journal, number)], self._space(journal))[0]

    def diagram(self, name: str, number: int) -> str:
        """Return the diagram of a trial, an SVG.

        Raises:
            Problem: There is no such trial, or its space is only in the user's own Python.
        """
        with self.journal(name) as journal:
            trial, space = self._trial(journal, number), self._space(journal)
        if space is None:
            raise Problem(409, "own-space", "the space of this run is Python of the user's own")
        return draw_svg(space.architecture(trial.tokens), f"{name}, trial {number}")

    def trial_log(self, name: str, number: int) -> str:
        """Return what the child of a trial printed; empty if nothing."""
        with self.journal(name) as journal:
            self._trial(journal, number)
        return _tail(RunFolder(self._jobs.root, name).trial(number) / LOG)

    def log(self, name: str) -> str:
        """Return the end of what the runner of a search printed."""
        self.search(name)
        return _tail(JobFolder(self._jobs.root, name).log)

    def curve(self, name: str) -> CurvePage:
        """Return the rewards of a search, and of its control."""
        if not self._has_begun(name):
            self.search(name)
            return CurvePage(points=[], control=[])
        control = self.folder(name).control
        with self.journal(name) as journal:
            points = _points(journal)
        beside: list[Point] = []
        if control.journal.is_file():
            with self.journal(control.name) as journal:
                beside = _points(journal)
        return CurvePage(points=points, control=beside)

    def policy(self, name: str) -> Policy:
        """Return what the policy has become sure of."""
        with self.journal(name) as journal:
            found, space = newest_policy(journal), self._space(journal)
        if found is None or space is None:
            return Policy(step=None, decisions={}, choices={})
        step, decisions = found
        choices = {
            decision.name: [str(choice) for choice in decision.choices]
            for decision in space.decisions
            if decision.name in decisions
        }
        return Policy(step=step, decisions=dict(decisions), choices=choices)

    def best(self, name: str) -> Best:
        """Return the best architecture of a search.

        Raises:
            Problem: No trial has ended well yet.
        """
        with self.journal(name) as journal:
            best = read_best(self.folder(name), journal, self._space(journal))
        if best is None:
            raise Problem(409, "no-best", f"{name} has no best yet; wait for its first trial")
        return Best(
            trial=best.trial,
            tokens=list(best.tokens),
            layers=best.layers,
            val_accuracy=best.val_accuracy,
            test_accuracy=best.test_accuracy,
            params=best.params,
            files=self.files(name),
        )

    def pareto(self, name: str, cost: str, others: int) -> ParetoPage:
        """Return the trials that no other one beats in the metric and a cost, and some others."""
        return self._fronts.page(name, self.signature(name), cost, others)

    def files(self, name: str) -> list[str]:
        """Return the names of what can be downloaded."""
        best = RunFolder(self._jobs.root, name).best
        return [*(file for file in EXPORTED if (best / file).is_file()), REPORT]

    def file(self, name: str, file: str) -> bytes:
        """Return a file for download.

        Raises:
            Problem: There is no such file, or not yet.
        """
        folder = self.folder(name)
        if file not in EXPORTED:
            raise not_found("file", file)
        for _ in range(_TRIES):
            with suppress(OSError):
                return (folder.best / file).read_bytes()
            time.sleep(_SWAPPED)
        raise Problem(409, "no-best", f"{name} has no {file} yet; wait for its best trial")

    def report(self, name: str) -> str:
        """Return the report of a search as it stands, as HTML; not for two threads at a time.

        Raises:
            Problem: There is no such search, or it has not begun.
        """
        return report_html(self.folder(name))

    def _has_begun(self, name: str) -> bool:
        return RunFolder(self._jobs.root, name).journal.is_file()

    def _space(self, journal: Journal) -> Space | None:
        """Return the space of a run; None for one of the user's own Python."""
        rows = journal.rows("SELECT value FROM meta WHERE name = 'space_fingerprint'")
        mark = str(rows[0][0]) if rows else ""
        if mark not in self._spaces:
            if len(self._spaces) >= _MOST_SPACES:
                self._spaces.clear()
            self._spaces[mark] = space_of(journal)
        return self._spaces[mark]

    @staticmethod
    def _trial(journal: Journal, number: int) -> Stored:
        found = find_trial(journal, number)
        if found is None:
            raise not_found("trial", str(number))
        return found

    def _search(self, name: str, entry: Entry | None) -> Search:
        try:
            summary = self._summary(name)
        except RlnasError as error:
            return _damaged(name, entry, str(error))
        state = self._state(name, entry, None if summary is None else summary.status)
        shared: dict[str, Any] = {
            "name": name,
            "state": state,
            "message": entry.failed if entry else None,
            "created": entry.created if entry else None,
        }
        if summary is None:
            return Search(**shared, **_not_begun(entry.config if entry else {}))
        record = summary.to_json()
        del record["name"], record["status"]
        if record["dataset"] == EXTERNAL:  # only its trainers know
            record["dataset"] = None
        if state != "searching":
            record["seconds_left"] = None
        return Search(**shared, **record)

    def _summary(self, name: str) -> Summary | None:
        folder, signature = RunFolder(self._jobs.root, name), self.signature(name)
        if not folder.journal.is_file():
            return None
        known = self._known.get(name, signature)
        if known is None:
            known = summarize(folder)
            with suppress(StorageError):  # it is read again then
                self._known.put(name, signature, known)
        return known

    def _state(self, name: str, entry: Entry | None, status: str | None) -> str:
        """Return the state of a search: see `Search.state`."""
        if entry is None:
            if status == "done":
                return "done"
            held = RunFolder(self._jobs.root, name).is_held()
            return str(status) if held else "interrupted"
        alive = self._supervisor.is_running(name)
        if not alive and entry.failed:
            return "failed"
        if not alive and status == "done" and self._has_come_to_its_end(entry):
            return "done"
        match entry.wanted:
            case wanted if wanted == PAUSE:
                return "pausing" if alive else "paused"
            case wanted if wanted == STOP:
                return "stopping" if alive else "stopped"
        if not alive:
            return "queued"
        return {None: "starting", "done": "finishing"}.get(status, str(status))

    def _has_come_to_its_end(self, entry: Entry) -> bool:
        """Return whether the runner of a search has said so, also while no server ran."""
        outcome = JobFolder(self._jobs.root, entry.name).read_outcome()
        return entry.ended or (outcome is not None and outcome[0] == 0)


def _damaged(name: str, entry: Entry | None, sentence: str) -> Search:
    """Return a search of whose run nothing can be read."""
    config = entry.config if entry is not None else {"data": {"dataset": None}}
    created = entry.created if entry is not None else None
    return Search(
        name=name, state="damaged", message=sentence, created=created, **_not_begun(config)
    )


def _not_begun(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a search whose run is not there yet."""
    space, budget = config.get("space", {}), config.get("budget", {})
    executor = config.get("engine", {}).get("executor") or "process"
    dataset = config.get("data", {}).get("dataset", "digits")
    own = space.get("name") or ""
    return {
        "executor": executor,
        "controller": config.get("controller", {}).get("name", "ppo"),
        "dataset": (own if _is_file(own) else None) if executor == EXTERNAL else dataset,
        "metric": config.get("objective", {}).get("metric", "accuracy"),
        "cost": config.get("objective", {}).get("cost"),
        "seed": config.get("seed", 0),
        "python": False,
        "trials": 0,
        "running": 0,
        "failed": 0,
        "budget": BudgetConfig(**budget).most_trials,
        "time_limit": budget.get("time_limit"),
        "seconds": 0.0,
        "seconds_left": None,
        "started": None,
        "changed": None,
        "best_trial": None,
        "best_reward": None,
        "best_layers": None,
        "reference": None,
        "test_accuracy": None,
        "spark": [],
    }


def _is_file(name: str) -> bool:
    return is_file_of_rules(name) or is_table_of_networks(name)


def _shown(trials: list[Stored], space: Space | None) -> list[Trial]:
    return [
        Trial(
            trial=trial.id,
            state=trial.state,
            step=trial.step,
            tokens=list(trial.tokens),
            layers=layers_of(trial, space),
            seed=trial.seed,
            reward=trial.reward,
            reason=trial.reason,
            metrics=trial.metrics.to_json() if trial.metrics else None,
            started=trial.started,
            ended=trial.ended,
        )
        for trial in trials
    ]


def _points(journal: Journal) -> list[Point]:
    return [
        Point(step=step, reward=reward, best=best)
        for step, reward, best in reward_curve(journal, _POINTS)
    ]


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _LONGEST_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
