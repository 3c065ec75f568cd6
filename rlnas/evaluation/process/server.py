"""The fork server: has imported what children need, and forks a worker when it is asked to.

It is a process of its own that has never computed anything, because TensorFlow hangs in a fork
of a process in which it has. Nothing of the user's own script is run in it. When the search is
gone, it ends all workers.

Messages to it: the modules to import first; then a `Start` for each worker, with the worker's end
of its channel and the file of its payload. Messages from it: ``("started", number, pid)``,
``("exited", number, status)`` with the status of `os.waitpid`, and ``("failed", sentence)``.
"""

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from rlnas.errors import first_line
from rlnas.evaluation.process import wire
from rlnas.evaluation.process.worker import serve

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True, slots=True)
class Start:
    """The order to start a worker.

    Attributes:
        number: By which the search knows it.
        threads: Threads of a child.
        environment: Variables that are set in it first.
    """

    number: int
    threads: int
    environment: dict[str, str]


def main(descriptor: int) -> None:
    """Serve until the search is gone.

    Args:
        descriptor: The server's end of the socket between both.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the search's to handle
    control = socket.socket(fileno=descriptor)
    try:
        modules, _ = wire.receive(control)
    except EOFError:
        return
    try:
        for module in modules:
            importlib.import_module(module)
    except Exception as error:
        wire.send(control, ("failed", first_line(error)))
        return
    gc.collect()
    gc.freeze()  # what is shared with the workers is not written to by their collectors
    _Server(control).run()


def _end_with(server: int) -> None:
    """Let the system end this process with its server, even where no thread of it can run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:  # it ended before
            os._exit(1)


def _kill_group(pid: int) -> None:
    """End a worker that was not waited for yet, and all that its children started."""
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses for zombies
        os.killpg(pid, signal.SIGKILL)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}  # number by pid

    def run(self) -> None:
        wake, wakened = os.pipe()
        os.set_blocking(wakened, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakened)
        try:
            while True:
                ready, _, _ = select.select([self._control.fileno(), wake], [], [])
                if wake in ready:
                    os.read(wake, 4096)
                    self._reap()
                if self._control.fileno() in ready:
                    order, (channel, payload) = wire.receive(self._control)
                    self._fork(order, channel, payload)
        except (EOFError, OSError):
            pass  # the search is gone
        finally:
            for pid in self._children:
                _kill_group(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _fork(self, order: Start, channel: int, payload: int) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _end_with(server)
                os.setpgid(0, 0)  # what its child starts ends with it
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._control.close()
                os.environ.update(order.environment)
                serve(channel, payload, order.threads)
                status = 0
            finally:
                os._exit(status)
        os.close(channel)
        os.close(payload)
        self._children[pid] = order.number
        wire.send(self._control, ("started", order.number, pid))

    def _reap(self) -> None:
        for pid in list(self._children):
            if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
                # It is only looked at: until it is waited for, no other process gets its number.
                if not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    continue
                _kill_group(pid)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                number = self._children.pop(pid)
                wire.send(self._control, ("exited", number, status))
