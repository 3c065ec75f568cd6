"""The book of leases: what trainers elsewhere may take, hold, and have told.

One SQLite file in the run's folder. The search puts jobs in and takes told outcomes out; a
server, or several, leases the jobs and notes what is told. Each call is one commit, so any of
them may be killed at any instant.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from rlnas.database import Database
from rlnas.evaluation.base import Outcome
from rlnas.objectives import Failure, Metrics

MOST_GRANTS = 10
"""Times a job is leased before it fails (chosen): what ends ten trainers is the job's fault."""

QUEUED, LEASED, TOLD, WITHDRAWN = "queued", "leased", "told", "withdrawn"

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, payload TEXT NOT NULL,
    state TEXT NOT NULL, token TEXT, worker TEXT, request TEXT, granted REAL, expires REAL,
    grants INTEGER NOT NULL DEFAULT 0, epochs TEXT, outcome TEXT, place INTEGER, told REAL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, expires);
CREATE INDEX IF NOT EXISTS jobs_by_place ON jobs (place);
CREATE TABLE IF NOT EXISTS grants (token TEXT PRIMARY KEY, name TEXT NOT NULL, worker TEXT);
"""


class Answer(Enum):
    """What becomes of an outcome that is told, or of a heartbeat."""

    TAKEN = "taken"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    LOST = "lost"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that one worker holds.

    Attributes:
        name: Name of the job, for example ``trial-7``.
        token: Proves the right to tell its outcome.
        worker: Who holds it.
        expires: When it ends unless it is kept, seconds since 1970.
        payload: What the search says of the job: tokens, network, recipe, seed.
    """

    name: str
    token: str
    worker: str
    expires: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat.

    Attributes:
        answer: TAKEN while the lease is held, else why it is not.
        expires: When it ends now; None if it is not held.
        reason: Why the training is to stop; None to go on.
    """

    answer: Answer
    expires: float | None = None
    reason: str | None = None


class LeaseBook:
    """Jobs, who holds them, and what was told.

    Times are seconds since 1970, and come from the caller, so that they can be tested.

    Args:
        path: The SQLite file; made if it is not there.

    Raises:
        StorageError: It cannot be used.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self._db = Database(path, _TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(self, name: str, payload: Mapping[str, Any]) -> None:
        """Offer a job; one that is there already stays as it is, its lease and outcome too.

        A withdrawn one is offered anew.
        """
        with self._db.writing() as db:
            db.execute(
                "INSERT INTO jobs (name, payload, state) VALUES (?, ?, ?) ON CONFLICT (name) DO "
                "UPDATE SET state = excluded.state, payload = excluded.payload, grants = 0 "
                "WHERE state = ?",
                (name, json.dumps(payload), QUEUED, WITHDRAWN),
            )

    def withdraw(self, names: Sequence[str]) -> None:
        """Take back jobs that are not told yet; who holds one is told to stop."""
        with self._db.writing() as db:
            db.executemany(
                "UPDATE jobs SET state = ? WHERE name = ? AND state != ?",
                [(WITHDRAWN, name, TOLD) for name in names],
            )

    def told_after(self, place: int) -> list[tuple[int, str, Outcome]]:
        """Return place, name and outcome of what was told behind a place, in order."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT place, name, outcome FROM jobs WHERE place > ? ORDER BY place", (place,)
            ).fetchall()
        return [(row["place"], row["name"], _outcome(row["outcome"])) for row in rows]

    def ask(
        self, count: int, worker: str, seconds: float, now: float, request: str | None = None
    ) -> list[Lease]:
        """Lease up to `count` jobs, those first whose lease has ended.

        Args:
            count: Most jobs.
            worker: Who asks.
            seconds: How long a lease lasts unless it is kept.
            now: The time.
            request: The asker's name for this call: asked again, it gives the same leases while
                they last, so that an answer that was lost on its way costs nothing.
        """
        with self._db.writing() as db:
            held = _held(db, worker, request, now) if request else []
            if held:
                return held[:count]
            self._fail_worn(db, now)
            rows = db.execute(
                "SELECT * FROM jobs WHERE state = ? OR (state = ? AND expires <= ?) "
                "ORDER BY state = ?, number LIMIT ?",
                (QUEUED, LEASED, now, QUEUED, count),
            ).fetchall()
            return [_grant(db, row, worker, now, now + seconds, request) for row in rows]

    def beat(
        self, token: str, seconds: float, now: float, epochs: Sequence[float] | None = None
    ) -> Beat:
        """Keep a lease, and say whether the training is to go on.

        Args:
            token: Of the lease.
            seconds: How long it lasts from now on.
            now: The time.
            epochs: The metric behind each epoch so far; None to say nothing of it.
        """
        with self._db.writing() as db:
            row, answer = _row_of(db, token)
            if row is None or answer is not Answer.TAKEN:
                return Beat(answer, reason=_REASONS[answer])
            payload = json.loads(row["payload"])
            limit = payload.get("time_limit")
            if limit is not None and now - row["granted"] > limit:
                failure = Failure(f"it was stopped after {limit:g} s, the time limit of a child")
                _tell(db, row["name"], failure, now)
                return Beat(Answer.TAKEN, reason=failure.reason)
            stored = row["epochs"] if epochs is None else json.dumps(list(epochs))
            db.execute(
                "UPDATE jobs SET expires = ?, epochs = ? WHERE name = ?",
                (now + seconds, stored, row["name"]),
            )
            behind = _behind(epochs or (), payload.get("floors", ()))
            return Beat(Answer.TAKEN, now + seconds, behind)

    def tell(self, token: str, outcome: Outcome, now: float) -> Answer:
        """Note the outcome of a leased job.

        The holder of the newest lease tells, also when it has ended and nobody has asked since.
        The same outcome may be told again; it changes nothing.

        Args:
            token: Of the lease.
            outcome: Metrics, or why there are none.
            now: The time.
        """
        with self._db.writing() as db:
            row, answer = _row_of(db, token)
            if row is None or answer in (Answer.LOST, Answer.WITHDRAWN):
                return answer
            if row["state"] == TOLD:
                same = row["token"] == token and row["outcome"] == _dumped(outcome)
                return Answer.REPEATED if same else answer
            _tell(db, row["name"], outcome, now)
            return Answer.TAKEN

    def payload(self, token: str) -> Mapping[str, Any] | None:
        """Return what the search says of the job of a lease; None for an unknown one."""
        with self._db.reading() as db:
            row = db.execute(
                "SELECT payload FROM jobs JOIN grants ON grants.name = jobs.name WHERE "
                "grants.token = ?",
                (token,),
            ).fetchone()
        return None if row is None else dict(json.loads(row["payload"]))

    def has_free(self, now: float) -> bool:
        """Tell whether somebody who asks would get a job."""
        with self._db.reading() as db:
            row = db.execute(
                "SELECT 1 FROM jobs WHERE state = ? OR (state = ? AND expires <= ?) LIMIT 1",
                (QUEUED, LEASED, now),
            ).fetchone()
        return row is not None

    def counts(self, now: float) -> dict[str, int]:
        """Return how many jobs are queued, leased, expired and told."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT CASE WHEN state = ? AND expires <= ? THEN 'expired' ELSE state END AS now, "
                "COUNT(*) AS count FROM jobs GROUP BY now",
                (LEASED, now),
            ).fetchall()
        found = {row["now"]: int(row["count"]) for row in rows}
        return {name: found.get(name, 0) for name in (QUEUED, LEASED, "expired", TOLD)}

    def holders(self, now: float) -> list[dict[str, Any]]:
        """Return the leases that are held: job, worker, since when, until when, epochs so far."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT name, worker, granted, expires, epochs FROM jobs WHERE state = ? AND "
                "expires > ? ORDER BY number",
                (LEASED, now),
            ).fetchall()
        return [{**dict(row), "epochs": json.loads(row["epochs"] or "[]")} for row in rows]

    def version(self) -> int:
        """Return a number that changes when another connection has committed."""
        with self._db.reading() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    @staticmethod
    def _fail_worn(db: sqlite3.Connection, now: float) -> None:
        """Let jobs fail whose leases have ended unkept too often."""
        rows = db.execute(
            "SELECT name, grants FROM jobs WHERE state = ? AND expires <= ? AND grants >= ?",
            (LEASED, now, MOST_GRANTS),
        ).fetchall()
        for row in rows:
            reason = f"{row['grants']} workers had it, one after the other, and none told an end"
            _tell(db, row["name"], Failure(reason), now)


_REASONS = {
    Answer.CONTRADICTED: "its outcome was told already",
    Answer.LOST: "the lease has ended, and another worker has the trial now",
    Answer.WITHDRAWN: "the search no longer wants it",
    Answer.UNKNOWN: "there is no such lease",
}


def _held(db: sqlite3.Connection, worker: str, request: str | None, now: float) -> list[Lease]:
    rows = db.execute(
        "SELECT * FROM jobs WHERE state = ? AND worker = ? AND request = ? AND expires > ? "
        "ORDER BY number",
        (LEASED, worker, request, now),
    ).fetchall()
    return [_lease(row, row["token"], worker, row["expires"]) for row in rows]


def _grant(
    db: sqlite3.Connection,
    row: sqlite3.Row,
    worker: str,
    now: float,
    expires: float,
    request: str | None,
) -> Lease:
    token = secrets.token_urlsafe(16)
    db.execute(
        "UPDATE jobs SET state = ?, token = ?, worker = ?, request = ?, granted = ?, expires = ?, "
        "grants = grants + 1, epochs = NULL WHERE name = ?",
        (LEASED, token, worker, request, now, expires, row["name"]),
    )
    db.execute("INSERT INTO grants VALUES (?, ?, ?)", (token, row["name"], worker))
    return _lease(row, token, worker, expires)


def _lease(row: sqlite3.Row, token: str, worker: str, expires: float) -> Lease:
    return Lease(row["name"], token, worker, expires, json.loads(row["payload"]))


def _row_of(db: sqlite3.Connection, token: str) -> tuple[sqlite3.Row | None, Answer]:
    """Return the job of a lease, and TAKEN if the lease still counts, else why it does not."""
    row: sqlite3.Row | None = db.execute(
        "SELECT jobs.* FROM jobs JOIN grants ON grants.name = jobs.name WHERE grants.token = ?",
        (token,),
    ).fetchone()
    if row is None:
        return None, Answer.UNKNOWN
    if row["token"] != token:
        return row, Answer.LOST
    if row["state"] == TOLD:
        return row, Answer.CONTRADICTED
    return row, Answer.TAKEN if row["state"] == LEASED else Answer.WITHDRAWN


def _tell(db: sqlite3.Connection, name: str, outcome: Outcome, now: float) -> None:
    db.execute(
        "UPDATE jobs SET state = ?, outcome = ?, told = ?, "
        "place = (SELECT COALESCE(MAX(place), 0) + 1 FROM jobs) WHERE name = ?",
        (TOLD, _dumped(outcome), now, name),
    )


def _behind(epochs: Sequence[float], floors: Sequence[float]) -> str | None:
    """Return why a child is to stop that is worse than others were; None to go on."""
    if not epochs or len(epochs) > len(floors):
        return None
    best, floor = max(epochs), floors[len(epochs) - 1]
    if best >= floor:
        return None
    return f"after {len(epochs)} epochs it has {best:.4g}, others had {floor:.4g}"


def _dumped(outcome: Outcome) -> str:
    record = (
        {"failure": outcome.reason}
        if isinstance(outcome, Failure)
        else {"metrics": outcome.to_json()}
    )
    return json.dumps(record, sort_keys=True)


def _outcome(text: str) -> Outcome:
    record = json.loads(text)
    return (
        Failure(record["failure"]) if "failure" in record else Metrics.from_json(record["metrics"])
    )
