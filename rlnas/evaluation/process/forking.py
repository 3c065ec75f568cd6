"""The search's end of its fork server, and of each worker."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from rlnas.errors import ConfigError
from rlnas.evaluation.base import Job
from rlnas.evaluation.process import wire
from rlnas.evaluation.process.server import Start
from rlnas.evaluation.process.usage import own_megabytes
from rlnas.objectives import Failure

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that keep libraries from starting threads of their own beside TensorFlow's."""

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from rlnas.evaluation.process.server import main
main(int(sys.argv[1]))
"""
"""Runs the fork server with the modules of the search, but nothing of the user's own script."""

_LOOK = 0.1
_PATIENCE = 1.0
"""Seconds between two looks for how a worker has ended, and until it is given up."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker as the search sees it.

    Attributes:
        place: 0..workers-1; no two live workers have the same.
        number: How many were started before it, plus 1.
        channel: Jobs go there, answers come from there.
        pid: Its process, once the server has told.
        job: What it works on.
        since: When that was sent or, once it has begun, taken up; seconds of `time.monotonic`.
        begun: Whether it has been taken up.
        children: How many it has ended.
        at_start: Its own memory when it took up its first child, in MB.
        verdict: What becomes of the child for which it was killed.
    """

    place: int
    number: int
    channel: Connection
    pid: int | None = None
    job: Job | None = None
    since: float = 0.0
    begun: bool = False
    children: int = 0
    at_start: float | None = None
    verdict: Failure | None = None
    _handle: int | None = None

    def started(self, pid: int) -> None:
        """Take the number of its process."""
        self.pid = pid
        if hasattr(os, "pidfd_open"):  # a handle which no later process can get
            with suppress(OSError):
                self._handle = os.pidfd_open(pid)

    def grown(self) -> float:
        """Return by how many MB its own memory has grown; 0 where nobody can tell."""
        now = None if self.pid is None else own_megabytes(self.pid)
        return 0.0 if now is None or self.at_start is None else now - self.at_start

    def kill(self) -> None:
        """End its process at once."""
        with suppress(OSError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End its process, and forget it."""
        self.kill()
        self.channel.close()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class ForkServer:
    """Starts the fork server, and workers from it; for any number of executors and threads.

    Args:
        modules: What it imports before the first fork.
    """

    def __init__(self, modules: tuple[str, ...]) -> None:
        """See the class."""
        self._lock = threading.RLock()
        self._control, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(other.fileno()), json.dumps(sys.path)],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**dict.fromkeys(_ONE_THREAD, "1"), **os.environ},
            )
        self._workers: dict[int, Worker] = {}  # those that are alive, by number
        self._exits: dict[int, int] = {}  # status by number
        self._started = 0
        self._lost = False  # whether its end of the socket is closed
        self._owner = os.getpid()
        self._send(modules)

    @property
    def control(self) -> socket.socket:
        """What can be read from when the server has something to tell."""
        return self._control

    @property
    def alive(self) -> bool:
        """Whether it can be asked for workers by this process."""
        return self._owner == os.getpid() and not self._lost and self._process.poll() is None

    def start(
        self, place: int, payload: int, threads: int, environment: Mapping[str, str]
    ) -> Worker:
        """Order a worker; what is sent to it waits until it lives.

        Args:
            place: The worker's place.
            payload: Descriptor of the file with the evaluator.
            threads: Threads of a child.
            environment: Variables that are set in it first.
        """
        own, other = socket.socketpair()
        with other, self._lock:
            self._started += 1
            worker = Worker(place, self._started, Connection(own.detach()))
            self._workers[worker.number] = worker
            order = Start(worker.number, threads, dict(environment))
            self._send(order, other.fileno(), payload)
        return worker

    def listen(self) -> None:
        """Take what the server tells of the workers, without waiting.

        Raises:
            EOFError: The server is dead.
            ConfigError: It cannot import what the children need.
        """
        with self._lock:
            while self._control.fileno() >= 0 and wait([self._control], timeout=0):
                try:
                    (kind, *told), _ = wire.receive(self._control)
                except (EOFError, OSError) as error:
                    self._lost = True
                    raise EOFError from error
                if kind == "failed":
                    raise ConfigError(f"workers cannot start: {told[0]}; mend it, then try again")
                number, figure = told
                if (worker := self._workers.get(number)) is None:
                    continue  # it was closed, which ended it
                if kind == "started":
                    worker.started(figure)
                else:
                    self._exits[number] = figure

    def status(self, worker: Worker) -> int | None:
        """Return how a worker has ended, as `os.waitpid` tells it; None where nobody knows."""
        until = time.monotonic() + _PATIENCE
        while worker.number not in self._exits and time.monotonic() < until:
            wait([self._control], timeout=_LOOK)
            try:
                self.listen()
            except EOFError:
                return None
        return self._exits.get(worker.number)

    def forget(self, worker: Worker) -> None:
        """Keep nothing more of a worker that was closed."""
        with self._lock:
            self._workers.pop(worker.number, None)
            self._exits.pop(worker.number, None)

    def close(self) -> None:
        """End the server, which ends its workers, and wait for it."""
        with self._lock:
            self._control.close()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _send(self, message: object, *files: int) -> None:
        with suppress(OSError):  # it is dead, which whoever listens is told
            wire.send(self._control, message, files)


_servers: dict[tuple[str, ...], ForkServer] = {}
_lock = threading.Lock()


def fork_server(modules: tuple[str, ...]) -> ForkServer:
    """Return the fork server of this process; it starts with the first call and ends with us.

    Args:
        modules: What it has imported.
    """
    with _lock:
        server = _servers.get(modules)
        if server is None or not server.alive:
            server = _servers[modules] = ForkServer(modules)
        return server
