"""A worker: a process that evaluates one child after the other.

Messages to it: `Job`s. Messages from it: ``("begun",)`` when a job is taken up, and
``("done", outcome)`` or ``("failed", error)`` when it has ended; ``("broken", sentence)`` where
no job can be taken up at all.
"""

import faulthandler
import os
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from rlnas.errors import RlnasError, first_line
from rlnas.evaluation.base import Job, evaluated
from rlnas.evaluation.process.payload import read_payload

LOG = "log.txt"
"""Name of the file in a trial's folder that has what its child printed."""


def serve(channel: int, payload: int, threads: int) -> None:
    """Evaluate what comes until the search closes the channel.

    Args:
        channel: Descriptor of the worker's end of its channel.
        payload: Descriptor of the file with the evaluator.
        threads: Threads of a child.
    """
    connection = Connection(channel)
    threading.Thread(target=_end_with_the_search, args=(channel,), daemon=True).start()
    print_to(None)
    faulthandler.enable(2)  # the file behind it changes with the child
    try:
        evaluator = read_payload(payload)
        if start := getattr(evaluator, "start", None):  # those that compute with threads have it
            start(threads)
    except Exception as error:  # a module of the user's own raises whatever it likes
        connection.recv()  # the first job comes; without it nobody listens
        connection.send(("broken", f"{type(error).__name__}: {first_line(error)}"))
        return
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(("begun",))
        print_to(job.folder)
        try:
            answer: tuple[str, object] = ("done", evaluated(evaluator, job))
        except RlnasError as error:  # a full disk, for example
            answer = ("failed", error)
        print_to(None)
        connection.send(answer)


def _end_with_the_search(channel: int) -> None:
    """End this process when the other end of its channel is closed, whatever it does."""
    poll = select.poll()
    poll.register(channel, getattr(select, "POLLRDHUP", 0))  # POLLHUP comes unasked
    poll.poll()
    os.killpg(0, signal.SIGKILL)  # its group is its own: what its child started ends too


def print_to(folder: Path | None) -> None:
    """Send what is printed, by Python or by a library, to the log in a folder, or nowhere."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        name = os.devnull if folder is None else folder / LOG
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:  # a full disk: the child is worth more than what it prints
        target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
