"""`ProcessExecutor`: children in warm worker processes, each of which may die at any time."""

import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TypeGuard

from rlnas.errors import ConfigError, RlnasError
from rlnas.evaluation.base import Evaluator, Job, Outcome, Result
from rlnas.evaluation.process.forking import Worker, fork_server
from rlnas.evaluation.process.payload import Payload
from rlnas.evaluation.process.usage import own_megabytes
from rlnas.objectives import Failure

CHILDREN_PER_WORKER = 30
"""Children after which a worker is replaced (chosen): TensorFlow keeps some MB of each, and a new
worker costs half a second."""

_GROWN = 500.0
"""MB by which a worker may grow before it is replaced earlier (chosen)."""

_SHARE_LEFT = 0.25
"""Share of a child's memory limit that earlier children may leave in its worker (chosen)."""

_MOST_DEATHS = 2
"""Times a child may end its worker before it fails: the first may be an accident (chosen)."""

_MOST_REFUSALS = 3
"""Times a child may meet a full disk before the search is told (chosen): there may be room again
when it has been trained anew, and a search that stops in the night is worth more than that."""

_LOOK = 0.2
"""Seconds between two looks at the limits (chosen)."""

_TO_BEGIN = 300.0
"""Seconds within which a worker must take up a child (chosen: imports from a slow disk)."""

_OF_A_CHILD = "limit of a child"
"""What a failure ends with whose child took too long or too much."""

_MOST_LOSSES = 3
"""Times in a row the fork server may end, or a worker before its first child (chosen)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """How children are spread over processes.

    Attributes:
        workers: Processes that train at the same time.
        threads: Threads of each.
        children: Children after which a worker is replaced; 1 gives each child its own.
        time_limit: Most seconds of a child, or None.
        memory_limit: Most memory of a child in MB, or None: by how much its worker's own memory
            may grow.
        environments: Variables of each worker, by its place; empty for none.
    """

    workers: int = 1
    threads: int = 1
    children: int = CHILDREN_PER_WORKER
    time_limit: float | None = None
    memory_limit: float | None = None
    environments: tuple[Mapping[str, str], ...] = ()


@dataclass(slots=True)
class _Task:
    job: Job
    deaths: int = 0
    refusals: int = 0


class ProcessExecutor:
    """Trains children in worker processes, several at a time.

    A worker that dies, hangs or takes too much memory costs its child alone, which is tried
    once more in a new process or fails with the reason. Workers are forked from a server that
    has imported Keras and never used it.

    Args:
        evaluator: Trains the children; it is handed to the workers once, with its data. Or what
            `Payload.of` made of one.
        settings: Number of workers, limits.

    Raises:
        ConfigError: The evaluator cannot be handed over.
        StorageError: The disk refused to take the data for the workers.
    """

    def __init__(self, evaluator: Evaluator | Payload, settings: ProcessSettings) -> None:
        """See the class."""
        self._settings = settings
        self._payload = evaluator if isinstance(evaluator, Payload) else Payload.of(evaluator)
        self._server = fork_server(self._payload.modules)
        self._workers: list[Worker] = []
        self._waiting: deque[_Task] = deque()
        self._under_way: dict[int, _Task] = {}  # by the worker's number
        self._results: list[Result] = []
        self._losses = 0

    @property
    def workers(self) -> int:
        """How many children are trained at a time."""
        return self._settings.workers

    def submit(self, job: Job) -> None:
        """Start a child, or put it at the end of the queue."""
        self._waiting.append(_Task(job))
        self._dispatch()

    def completed(self) -> list[Result]:
        """Return what has ended; wait for one child, unless none is under way.

        Raises:
            RlnasError: The workers cannot be started, or a child met a full disk each time.
        """
        while not self._results and (self._waiting or self._under_way):
            self._step()
        return self._taken()

    def poll(self) -> list[Result]:
        """Return what has ended; wait for a moment at most.

        Raises:
            RlnasError: As for `completed`.
        """
        self._step()
        return self._taken()

    def drop(self, number: int) -> None:
        """Forget one job; a child under way is ended."""
        self._waiting = deque(task for task in self._waiting if task.job.id != number)
        for worker in [each for each in self._workers if each.job is not None]:
            if worker.job is not None and worker.job.id == number:
                self._under_way.pop(worker.number, None)
                self._remove(worker)

    def _step(self) -> None:
        self._dispatch()
        self._listen()
        self._enforce()

    def _taken(self) -> list[Result]:
        results, self._results = self._results, []
        return results

    def cancel(self) -> None:
        """Drop the queue, and end the children under way."""
        self._waiting.clear()
        self._under_way.clear()
        self._results.clear()
        for worker in [each for each in self._workers if each.job is not None]:
            self._remove(worker)

    def close(self) -> None:
        """End all processes."""
        self.cancel()
        for worker in list(self._workers):
            self._remove(worker)
        self._payload.close()

    def _dispatch(self) -> None:
        """Give what waits to free workers, and start those that are missing."""
        while self._waiting:
            worker = next((each for each in self._workers if each.job is None), None)
            if worker is None:
                if len(self._workers) == self._settings.workers:
                    return
                worker = self._new_worker()
            task = self._waiting.popleft()
            self._under_way[worker.number] = task
            worker.job, worker.begun, worker.since = task.job, False, time.monotonic()
            try:
                worker.channel.send(task.job)
            except OSError:
                self._died(worker)

    def _new_worker(self) -> Worker:
        settings = self._settings
        place = min(set(range(settings.workers)) - {each.place for each in self._workers})
        environment = settings.environments[place] if settings.environments else {}
        payload = self._payload.file.fileno()
        worker = self._server.start(place, payload, settings.threads, environment)
        self._workers.append(worker)
        return worker

    def _listen(self) -> None:
        """Take what server and workers tell, and wait a moment for it."""
        channels = {worker.channel: worker for worker in self._workers}
        told_by = [self._server.control] if self._server.alive else []
        ready = wait([*channels, *told_by], timeout=_LOOK)
        try:
            self._server.listen()
        except EOFError:
            self._server_died()
        for channel in ready:
            if (worker := channels.get(channel)) in self._workers:  # type: ignore[call-overload]
                self._hear(worker)

    def _hear(self, worker: Worker) -> None:
        try:
            kind, *told = worker.channel.recv()
        except (EOFError, OSError):
            self._died(worker)
            return
        if kind == "begun":
            worker.begun, worker.since = True, time.monotonic()
            if worker.at_start is None and worker.pid is not None:
                worker.at_start = own_megabytes(worker.pid)
        elif kind == "broken":
            raise ConfigError(
                f"a worker cannot start: {told[0]}; mend it, or try --executor inline"
            )
        else:
            task = self._under_way.pop(worker.number)
            worker.job, self._losses = None, 0
            worker.children += 1
            if worker.children >= self._settings.children or self._has_grown(worker):
                self._remove(worker)
            if kind == "done":
                self._results.append(Result(task.job, told[0]))
            elif task.refusals < _MOST_REFUSALS:
                task.refusals += 1
                self._waiting.append(task)
            else:
                raise told[0]

    def _has_grown(self, worker: Worker) -> bool:
        limit = self._settings.memory_limit
        return worker.grown() > min(_GROWN, _GROWN if limit is None else limit * _SHARE_LEFT)

    def _enforce(self) -> None:
        """Kill the workers whose children are beyond a limit."""
        now, settings = time.monotonic(), self._settings
        for worker in self._workers:
            if worker.job is None or worker.verdict is not None:
                continue
            seconds = now - worker.since
            if not worker.begun:
                if seconds > _TO_BEGIN:
                    worker.kill()
            elif settings.time_limit is not None and seconds > settings.time_limit:
                worker.verdict = Failure(
                    f"it was stopped after {settings.time_limit:g} s, the time {_OF_A_CHILD}"
                )
                worker.kill()
            elif settings.memory_limit is not None and worker.grown() > settings.memory_limit:
                worker.verdict = Failure(
                    f"it took more than {settings.memory_limit:g} MB, the memory {_OF_A_CHILD}"
                )
                worker.kill()

    def _died(self, worker: Worker) -> None:
        """Try the child of a dead worker again, or let it fail."""
        status = self._server.status(worker)
        if not self._server.alive:
            self._server_died()
            return
        task = self._under_way.pop(worker.number, None)
        self._remove(worker)
        if task is None:
            return
        if worker.verdict is not None:
            self._results.append(Result(task.job, worker.verdict))
            return
        if not worker.begun:
            self._lost(f"a worker {_cause(status)} before it could begin")
            self._waiting.appendleft(task)
            return
        task.deaths += 1
        if task.deaths < _MOST_DEATHS:
            self._waiting.appendleft(task)
            return
        outcome: Outcome = Failure(f"its process {_cause(status)}, {task.deaths} times")
        self._results.append(Result(task.job, outcome))

    def _server_died(self) -> None:
        """Forget a dead server and its workers, who end with it; start their children anew."""
        self._server.close()
        for worker in list(self._workers):
            task = self._under_way.pop(worker.number, None)
            self._remove(worker)
            if task is not None:
                self._waiting.appendleft(task)
        self._server = fork_server(self._payload.modules)
        self._lost("the process that starts workers ended")

    def _lost(self, what: str) -> None:
        self._losses += 1
        if self._losses > _MOST_LOSSES:
            raise RlnasError(
                f"{what}, {self._losses} times in a row; see what it printed, and whether memory "
                "or processes ran out; the run is saved"
            )

    def _remove(self, worker: Worker) -> None:
        worker.close()
        self._server.forget(worker)
        self._workers.remove(worker)


def is_limit(outcome: Outcome) -> TypeGuard[Failure]:
    """Tell whether a child failed because it took too long or too much memory."""
    return isinstance(outcome, Failure) and outcome.reason.endswith(_OF_A_CHILD)


def _cause(status: int | None) -> str:
    """Return how a process ended, from the status of `os.waitpid`."""
    if status is None:
        return "ended"
    if (number := status & 0x7F) != 0:
        try:
            return f"was ended by {signal.Signals(number).name}"
        except ValueError:
            return f"was ended by signal {number}"
    return f"ended with exit code {status >> 8}"
