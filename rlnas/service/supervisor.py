"""Keeps a runner alive for each search that is wanted, and ends those that are not."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rlnas.config import EXTERNAL
from rlnas.errors import InterruptedRunError, NoValidChildError, RlnasError, UsageError
from rlnas.search.folder import RunFolder
from rlnas.service.job_folder import JobFolder
from rlnas.service.jobs import PAUSE, RUN, Entry, Jobs
from rlnas.service.runner import BROKEN, BUSY

MOST_DEATHS = 5
"""Times in a row a runner may end without a word and without a new trial (chosen)."""

EXTERNAL_AT_ONCE = 10
"""Searches at a time whose children are trained elsewhere (chosen): each takes up to 900 MB."""

_LOOK = 0.2
"""Seconds between two looks at the runners (chosen)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a dead runner is started again: doubled with each death in a row (chosen)."""

_PATIENCE = 60.0
"""Seconds a runner has to save and end before it is killed, which loses nothing (chosen)."""

_FINAL = (UsageError.exit_code, NoValidChildError.exit_code, BROKEN)
"""Exit codes that another try would end with again: wrong usage, no valid child, a mistake."""

_LOG = logging.getLogger("rlnas.service")


@dataclass(slots=True)
class _Runner:
    """A runner that was started here."""

    process: "subprocess.Popen[bytes]"
    trials: int


@dataclass(slots=True)
class _Ending:
    """A runner that was told to end."""

    pid: int
    since: float = field(default_factory=time.monotonic)


class Supervisor:
    """Starts, watches and ends the runners of a root, in a thread of its own.

    Runners outlive it: a new supervisor finds those of an earlier one by their locks.

    Args:
        jobs: The searches.
        at_once: Searches that train here at the same time; others wait their turn.
        external_at_once: The same for those whose children are trained elsewhere.
    """

    def __init__(
        self, jobs: Jobs, at_once: int = 1, external_at_once: int = EXTERNAL_AT_ONCE
    ) -> None:
        """See the class."""
        self._jobs = jobs
        self._at_once = {False: at_once, True: external_at_once}
        self._runners: dict[str, _Runner] = {}
        self._ending: dict[str, _Ending] = {}
        self._not_before: dict[str, float] = {}
        self._known: set[str] = set()  # searches whose runner was seen alive
        self._troubles: dict[str, str] = {}  # by search: what goes wrong with it
        self._wrong: set[str] = set()  # searches with which something went wrong at this look
        self._wake, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def look(self) -> None:
        """Look at once: what is wanted has changed."""
        self._wake.set()

    def close(self) -> None:
        """Stop watching; runners go on."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        for runner in self._runners.values():
            if runner.process.poll() is None:
                runner.process.returncode = 0  # it outlives this process: nothing waits for it

    @property
    def in_trouble(self) -> bool:
        """Whether something keeps it from watching all searches."""
        return bool(self._troubles) or not self._thread.is_alive()

    def is_running(self, name: str) -> bool:
        """Tell whether a search has a runner now."""
        runner = self._runners.get(name)
        if runner is not None and runner.process.poll() is None:
            return True
        return JobFolder(self._jobs.root, name).runner() is not None

    def _watch(self) -> None:
        while not self._closed:
            self._wrong = set()
            with self._noting(""):
                self.step()
            for name in self._troubles.keys() - self._wrong:
                del self._troubles[name]
            self._wake.wait(_LOOK)
            self._wake.clear()

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Let what goes wrong with one search harm no other; tell it once, while it lasts."""
        try:
            yield
        except Exception as error:
            self._wrong.add(name)
            told = f"{name}: {error}" if name else str(error)
            if self._troubles.get(name) != told:
                self._troubles[name] = told
                known = isinstance(error, RlnasError | OSError)  # a full disk, most often
                _LOG.error("%s", told, exc_info=None if known else error)

    def step(self) -> None:
        """Look at all searches once, and do what is to be done."""
        entries = self._jobs.entries()
        for name in self._known - {entry.name for entry in entries}:
            self._known.discard(name)
            self._runners.pop(name, None)
        busy = Counter[bool]()  # by whether their children are trained elsewhere
        waiting: list[Entry] = []
        for entry in entries:
            at_work = True
            with self._noting(entry.name):
                at_work = self._is_at_work(entry)
            if at_work:
                busy[entry.executor == EXTERNAL] += 1
            elif _waits(entry):
                waiting.append(entry)
        for entry in waiting:
            external = entry.executor == EXTERNAL
            if busy[external] >= self._at_once[external]:
                continue
            if time.monotonic() >= self._not_before.get(entry.name, 0.0):
                busy[external] += 1
                with self._noting(entry.name), self._jobs.mutex:
                    newest = self._jobs.find(entry.name)  # it may have ended, or be gone by now
                    if newest is not None and _waits(newest):
                        self._start(newest)

    def _is_at_work(self, entry: Entry) -> bool:
        """Return whether a search has a runner; end one that is not wanted, hear one that ended."""
        name, job = entry.name, JobFolder(self._jobs.root, entry.name)
        runner = self._runners.get(name)
        code = None if runner is None else runner.process.poll()
        pid = job.runner()
        if pid is None and runner is not None and code is None:
            pid = runner.process.pid  # it has not taken its lock yet
        if pid is not None:
            self._known.add(name)
            if runner is not None and code is not None:
                self._runners.pop(name)  # another one had the search before
            if entry.wanted != RUN:
                self._end(name, pid)
            return True
        told = self._ending.pop(name, None) is not None
        if name in self._known or runner is not None:
            self._known.discard(name)
            self._runners.pop(name, None)
            self._ended(entry, job, runner, code, told=told)
        elif not entry.ended and (outcome := job.read_outcome()) and outcome[0] == 0:
            self._jobs.end(name)  # while no server ran
        return False

    def _ended(
        self,
        entry: Entry,
        job: JobFolder,
        runner: _Runner | None,
        code: int | None,
        *,
        told: bool,
    ) -> None:
        """Take note of how a runner ended, which maybe was told to."""
        name, outcome = entry.name, job.read_outcome()
        if (told or entry.wanted != RUN) and (outcome is None or outcome[0] != 0):
            return  # if it is wanted again meanwhile, it is started anew
        if code == BUSY:
            return
        if outcome is not None and outcome[0] == 0:
            self._jobs.end(name)
        elif outcome is not None and outcome[0] in _FINAL:
            self._jobs.fail(name, outcome[1])
        elif outcome is not None and outcome[0] == InterruptedRunError.exit_code:
            self._jobs.want(name, PAUSE)  # somebody stopped it by hand
        else:
            self._died(entry, runner, outcome[1] if outcome else "its process ended without a word")

    def _died(self, entry: Entry, runner: _Runner | None, reason: str) -> None:
        """Let a dead runner be started again, later and later, or give the search up."""
        if runner is not None and trials_of(self._jobs.root, entry.name) > runner.trials:
            self._jobs.got_on(entry.name)
        deaths = self._jobs.died(entry.name)
        _LOG.warning("%s: %s (%d in a row)", entry.name, reason, deaths)
        if deaths >= MOST_DEATHS:
            self._jobs.fail(
                entry.name, f"{reason}, {deaths} times in a row; see its log, then resume it"
            )
            return
        pause = min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE)
        self._not_before[entry.name] = time.monotonic() + pause

    def _start(self, entry: Entry) -> None:
        job = JobFolder(self._jobs.root, entry.name)
        job.path.mkdir(parents=True, exist_ok=True)
        job.forget_outcome()
        root = self._jobs.root.absolute()
        with open(job.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "rlnas.service.runner", str(root), entry.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C for the server is none for the search
                env=runner_environment(),
            )
        self._runners[entry.name] = _Runner(process, trials_of(root, entry.name))
        self._known.add(entry.name)
        _LOG.info("%s: started, process %d", entry.name, process.pid)

    def _end(self, name: str, pid: int) -> None:
        """Ask a runner to save and end; kill it if it does not."""
        ending = self._ending.get(name)
        if ending is None or ending.pid != pid:
            self._ending[name] = _Ending(pid)
            _signal(pid, signal.SIGTERM)
        elif time.monotonic() - ending.since > _PATIENCE:
            _signal(pid, signal.SIGKILL)


def _waits(entry: Entry) -> bool:
    """Return whether a search is to get a runner."""
    return entry.wanted == RUN and not entry.failed and not entry.ended


def runner_environment() -> dict[str, str]:
    """Return the environment of a runner: that of the server without its secrets."""
    secret = ("RLNAS_TOKEN", "RLNAS_READ_TOKEN")
    return {name: value for name, value in os.environ.items() if name not in secret}


def trials_of(root: Path, name: str) -> int:
    """Return how far a run is: its trials that have ended, and its models beside them."""
    folder = RunFolder(root, name)
    if not folder.journal.is_file():
        return 0
    with suppress(RlnasError):
        journal = folder.open()
        try:
            return journal.progress()
        finally:
            journal.close()
    return 0


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
