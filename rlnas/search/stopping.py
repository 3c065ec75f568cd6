"""Stopping long work: SIGTERM does what Ctrl-C does, and what was done stays saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rlnas.errors import ControllerError, InterruptedRunError, RlnasError
from rlnas.search.journal import Journal


@contextmanager
def stopping_by_signal() -> Iterator[None]:
    """Let SIGTERM stop what is done here as Ctrl-C does."""

    def stop(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def saved_when_stopped(journal: Journal, line: str) -> Iterator[None]:
    """Go on with a run until it ends or the user stops it; tell how to go on after a stop.

    Args:
        journal: Of the run; it learns that the stop was no death.
        line: The command that goes on.

    Raises:
        InterruptedRunError: The user stopped the run.
        ControllerError: A controller of the user's own failed.
    """
    try:
        with stopping_by_signal():
            yield
    except KeyboardInterrupt:
        _log_stop(journal)
        raise InterruptedRunError(f"stopped, everything is saved; continue with: {line}") from None
    except ControllerError as error:
        _log_stop(journal)
        raise ControllerError(
            f"{error}; what was trained is saved, continue with: {line}"
        ) from error


def _log_stop(journal: Journal) -> None:
    with suppress(RlnasError):  # on a full disk it counts as a death
        journal.log_stop()
