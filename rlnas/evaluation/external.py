"""`ExternalExecutor`: children are trained elsewhere, by whoever asks for them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rlnas.config import OFFERED
from rlnas.evaluation.base import Job, Result
from rlnas.evaluation.leases import LeaseBook

_LOOK = 0.005
"""Seconds between two looks at the book (chosen): one costs 20 microseconds."""


class ExternalExecutor:
    """Offers each job in the book of leases and waits for its outcome to be told.

    Nothing here ends a lease: a search that is stopped and resumed finds its jobs as they are,
    those that were told meanwhile too.

    Args:
        book: The book of the run.
        describe: Returns as JSON what a trainer is told of a job.
        workers: Jobs that are offered at a time.
    """

    def __init__(
        self, book: LeaseBook, describe: Callable[[Job], Mapping[str, Any]], workers: int = OFFERED
    ) -> None:
        """See the class."""
        self._book, self._describe, self._workers = book, describe, workers
        self._waiting: dict[str, Job] = {}
        self._place = 0  # up to here what was told has been taken out
        self._early: dict[str, Any] = {}  # told in an earlier sitting, not asked for yet
        self._version: int | None = None

    @property
    def workers(self) -> int:
        """How many jobs are offered at a time."""
        return self._workers

    def submit(self, job: Job) -> None:
        """Offer a job."""
        name = f"trial-{job.id}"
        self._book.put(name, self._describe(job))
        self._waiting[name] = job

    def completed(self) -> list[Result]:
        """Return what was told since the last call; wait for one while a job is offered."""
        while self._waiting:
            if results := self._told():
                return results
            time.sleep(_LOOK)
        return []

    def cancel(self) -> None:
        """Take back all jobs."""
        if self._waiting:
            self._book.withdraw(list(self._waiting))
        self._waiting.clear()

    def close(self) -> None:
        """Leave the book to those who still train."""
        self._waiting.clear()

    def _told(self) -> list[Result]:
        version = self._book.version()
        if version != self._version:
            self._version = version
            for place, name, outcome in self._book.told_after(self._place):
                self._place = place
                self._early[name] = outcome
        ready = [name for name in self._waiting if name in self._early]
        return [Result(self._waiting.pop(name), self._early.pop(name)) for name in ready]
