"""Ask and tell: where trainers elsewhere get trials and bring what came out."""

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool

from rlnas.errors import StorageError
from rlnas.evaluation.leases import Answer, Beat, Lease, LeaseBook
from rlnas.objectives import ACCURACY, Failure, Metrics
from rlnas.service.catalogue import Catalogue
from rlnas.service.models import Ask, Asked, Beaten, LeasedTrial, Leases, Tell, Told
from rlnas.service.models import Beat as BeatBody
from rlnas.service.problems import Problem, field_problem, not_found

ENDED = ("done", "failed", "stopped", "damaged")
"""States in which no trial comes any more, unless somebody resumes the search."""

_LOOK = 0.03
"""Seconds between two looks for a free trial while a worker waits (chosen)."""

_REFUSALS = {
    Answer.CONTRADICTED: (409, "contradicts", "another outcome of this trial was told before"),
    Answer.LOST: (
        409,
        "lease-lost",
        "the lease has ended unkept, and another worker has the trial now; ask for another one",
    ),
    Answer.WITHDRAWN: (409, "withdrawn", "the search no longer wants this trial"),
}


class Desk:
    """Leases trials of external searches, and takes what is told.

    Args:
        catalogue: Knows the searches.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """See the class."""
        self._catalogue = catalogue
        self._books: dict[str, tuple[int, LeaseBook]] = {}
        self._lock = threading.Lock()
        self.asked = self.told = 0

    def close(self) -> None:
        """Close all books."""
        with self._lock:
            for _, book in self._books.values():
                book.close()
            self._books.clear()

    def forget(self, name: str) -> None:
        """Close the book of a search that is gone."""
        with self._lock:
            known = self._books.pop(name, None)
            if known is not None:
                known[1].close()

    async def ask(self, name: str, body: Ask) -> Asked:
        """Lease trials; wait for one as long as the worker wants to."""
        until = time.monotonic() + body.wait
        while True:
            state, leases = await run_in_threadpool(self._ask, name, body)
            if leases or state in ENDED or time.monotonic() >= until:
                break
            while time.monotonic() < until:
                await asyncio.sleep(_LOOK)
                if await run_in_threadpool(self._may_have, name):
                    break
        self.asked += len(leases)
        trials = [_leased(lease) for lease in leases]
        return Asked(trials=trials, state=state, ended=state in ENDED)

    def beat(self, name: str, trial: str, body: BeatBody) -> Beaten:
        """Keep a lease, and say whether to go on."""
        book = self._book(name)
        self._payload(book, trial, body.lease)
        found: Beat = book.beat(body.lease, body.seconds, time.time(), body.val_accuracy)
        reason = found.reason
        if reason is None and (state := self._catalogue.state(name)) in ("stopping", "stopped"):
            reason = f"the search is {state}"
        return Beaten(go_on=reason is None, reason=reason, expires=found.expires)

    def tell(self, name: str, trial: str, body: Tell) -> Told:
        """Take the outcome of a trial.

        Raises:
            Problem: It is not the worker's to tell, or not what the search rewards.
        """
        if (body.metrics is None) == (body.failure is None):
            raise field_problem("body", "expected either metrics or failure")
        book = self._book(name)
        payload = self._payload(book, trial, body.lease)
        outcome = Failure(str(body.failure)) if body.metrics is None else _metrics(body, payload)
        answer = book.tell(body.lease, outcome, time.time())
        if answer in _REFUSALS:
            status, kind, detail = _REFUSALS[answer]
            raise Problem(status, kind, detail)
        self.told += answer is Answer.TAKEN
        return Told(trial=trial, repeated=answer is Answer.REPEATED)

    def leases(self, name: str) -> Leases:
        """Return how the trials of a search stand."""
        book, now = self._book(name), time.time()
        return Leases(**book.counts(now), workers=book.holders(now))

    def _may_have(self, name: str) -> bool:
        """Return whether asking the book of a search again may give a trial, or tell its end."""
        if self._catalogue.state(name) != "searching":
            return True
        book = self._books.get(name)
        with suppress(StorageError):  # it was closed meanwhile, for the search is gone
            return book is None or book[1].has_free(time.time())
        return True

    def _ask(self, name: str, body: Ask) -> tuple[str, list[Lease]]:
        state = self._catalogue.state(name)
        if not self._catalogue.is_external(name):
            raise Problem(
                409,
                "trains-here",
                f"{name} is trained by the server; only a search with the executor external gives "
                "trials to workers",
            )
        if state not in ("searching", "queued"):  # queued: its runner is started anew
            return state, []
        if not self._catalogue.has_leases(name):
            return state, []
        book = self._book(name)
        leases = book.ask(body.count, body.worker, body.seconds, time.time(), body.request)
        return state, leases

    @staticmethod
    def _payload(book: LeaseBook, trial: str, lease: str) -> Any:
        payload = book.payload(lease)
        if payload is None or trial != f"trial-{payload['trial']}":
            raise Problem(
                404, "no-lease", f"this is no lease of {trial}; ask for a trial and use its lease"
            )
        return payload

    def _book(self, name: str) -> LeaseBook:
        path = self._catalogue.folder(name).leases
        try:
            file = path.stat().st_ino
        except OSError:
            raise not_found("trial for workers in the search", name) from None
        with self._lock:
            known = self._books.get(name)
            if known is not None and known[0] == file:
                return known[1]
            if known is not None:  # deleted, and another search has its name
                known[1].close()
            book = LeaseBook(path)
            self._books[name] = (file, book)
            return book


def _leased(lease: Lease) -> LeasedTrial:
    payload = dict(lease.payload)
    network = payload["architecture"]
    return LeasedTrial(
        trial=lease.name,
        lease=lease.token,
        expires=lease.expires,
        tokens=payload["tokens"],
        description=payload["description"],
        architecture=network,
        recipe=payload["recipe"],
        epochs=payload["epochs"],
        floors=payload["floors"],
        seed=payload["seed"],
        metric=payload["metric"],
        cost=payload["cost"],
        params=payload["params"],
        flops=payload["flops"],
    )


def _metrics(body: Tell, payload: Any) -> Metrics:
    """Return what a worker measured, with what the search knows by itself.

    Raises:
        Problem: What is rewarded is not among it.
    """
    told = body.metrics.model_dump() if body.metrics is not None else {}
    for name in ("params", "flops"):  # of a network that is decoded here both are known
        told[name] = payload[name] or told[name]
    metric, cost = payload["metric"], payload["cost"]
    if metric != ACCURACY and metric not in told["extra"]:
        raise field_problem(
            f"body.metrics.extra.{metric}", f"expected the {metric}, which this search rewards"
        )
    if cost is not None and told[cost] <= 0:
        raise field_problem(
            f"body.metrics.{cost}", f"expected the {cost}, which this search weighs"
        )
    return Metrics(**told)
