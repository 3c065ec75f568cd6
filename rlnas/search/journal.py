"""The journal of a run: one SQLite file that every result is committed to.

A proposal is committed as ``running`` together with the controller's state before
its child starts; its result, what was learned from it and the new state are
committed together. So the file is true at every instant, whenever the process dies.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rlnas.config import EXTERNAL
from rlnas.database import transaction
from rlnas.errors import RunError, StorageError
from rlnas.evaluation import Outcome
from rlnas.objectives import Failure, Metrics
from rlnas.search.state import pack, unpack

FORMAT = 2
"""Version of the tables; a journal of another version is refused."""

RUNNING, DONE, FAILED = "running", "done", "failed"
BRIEF, LONG, REFIT = "brief", "long", "refit"

_SHOWN = 50

_COLUMNS = (
    "id, key, tokens, log_probs, seed, state, reward, metrics, reason, learned, policy, proposals, "
    "started, ended, step"
)
MOST_DEATHS = 5
"""Times a child may end its process, as a crash or the system does, before it fails (chosen)."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tokens TEXT NOT NULL,
    log_probs TEXT NOT NULL, seed INTEGER NOT NULL, state TEXT NOT NULL, reward REAL,
    metrics TEXT, reason TEXT, learned TEXT, policy TEXT, proposals INTEGER,
    started REAL NOT NULL, ended REAL, step INTEGER);
CREATE TABLE contenders (
    name TEXT NOT NULL, phase TEXT NOT NULL, rank INTEGER NOT NULL, trial INTEGER,
    key TEXT NOT NULL, seed INTEGER NOT NULL, state TEXT NOT NULL, metrics TEXT, reason TEXT,
    test_accuracy REAL, ended REAL, PRIMARY KEY (name, phase));
CREATE TABLE starts (child TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), blob BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as it stands in the journal.

    Attributes:
        id: Its number, from 1.
        key: Canonical key of the architecture.
        tokens: The sequence as it was proposed.
        log_probs: Log-probability each token had when it was chosen.
        seed: Seed of the child.
        state: ``running``, ``done`` or ``failed``.
        reward: What the controller learned from; None until done, or if failed.
        metrics: What was measured; None until done, or if failed.
        reason: Why it failed, else None.
        learned: Figures of the controller's update, by tag.
        policy: Mean probability of each choice, by decision, if it was taken here.
        proposals: Number of proposals so far, repeated ones included.
        started: When it was proposed, seconds since 1970.
        ended: When its result came, seconds since 1970; None while it is running.
        step: Place of its result among all results, from 1; None while it is running.
    """

    id: int
    key: str
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    seed: int
    state: str = RUNNING
    reward: float | None = None
    metrics: Metrics | None = None
    reason: str | None = None
    learned: dict[str, float] = field(default_factory=dict)
    policy: dict[str, list[float]] | None = None
    proposals: int = 0
    started: float = 0.0
    ended: float | None = None
    step: int | None = None

    @property
    def outcome(self) -> Outcome | None:
        """Metrics or failure; None while the trial is running."""
        if self.state == FAILED:
            return Failure(self.reason or "unknown")
        return self.metrics


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that was trained beside the trials, to be compared.

    Attributes:
        name: ``trial-7``, ``reference`` or ``baseline``.
        phase: ``brief`` (as in the search) or ``long`` (the retraining at the end).
        rank: 1 for the trial with the best reward, and so on; 0 for the others.
        trial: Number of the trial, or None.
        key: Canonical key, or a fingerprint of the user's own model.
        seed: Seed of the training.
        state: ``done`` or ``failed``.
        metrics: What the training measured; None if it failed.
        reason: Why it failed, else None.
        test_accuracy: Share of the test part classified correctly, once it was measured.
    """

    name: str
    phase: str
    rank: int
    trial: int | None
    key: str
    seed: int
    state: str
    metrics: Metrics | None = None
    reason: str | None = None
    test_accuracy: float | None = None

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy after the last epoch; None if it failed."""
        return self.metrics.val_accuracy[-1] if self.metrics else None

    def test_metric(self, metric: str) -> float | None:
        """Return the metric that is rewarded, of the test part; None where that is the accuracy."""
        return self.metrics.extra.get(f"test_{metric}") if self.metrics else None


class Journal:
    """Reads and writes the journal of one run; one process writes, any number read.

    Where the user may not write, it is only read, and nothing is left beside it.

    Args:
        path: The SQLite file.
        create: Make a new one.

    Raises:
        RunError: It is missing, damaged or of another version.
        StorageError: It cannot be written.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """See the class."""
        self._path = path
        if not create and not path.is_file():
            raise RunError(f"{path} is missing; this is not the folder of a run")
        with self._sentences():
            self._db = sqlite3.connect(_uri(path), uri=True, isolation_level=None, timeout=30)
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self, create: bool) -> None:
        with self._sentences():
            # What a killed process committed is there. Where the power fails the last commits may
            # be lost, and the run goes on from before them; to wait for the disk costs more.
            self._db.execute("PRAGMA synchronous=NORMAL")
            if create:
                self._db.execute("PRAGMA journal_mode=WAL")  # the file keeps it
                self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
                self.set_meta({"format": FORMAT})
        found = self.rows("SELECT value FROM meta WHERE name = 'format'")
        version = json.loads(found[0][0]) if found else None
        if version != FORMAT:
            raise RunError(
                f"{self._path} is of format {version}, this rlnas writes format {FORMAT}; "
                "start a new run or use the version of rlnas that wrote it"
            )

    def meta(self) -> dict[str, Any]:
        """Return what is stored about the run as a whole."""
        with self._sentences():
            rows = self._db.execute("SELECT name, value FROM meta").fetchall()
        try:
            return {name: json.loads(value) for name, value in rows}
        except ValueError as error:
            raise RunError(
                f"the journal {self._path} is damaged: {error}; restore it from a backup or start "
                "a new run"
            ) from error

    def set_meta(self, values: Mapping[str, Any]) -> None:
        """Store values about the run as a whole."""
        with self._commit() as db:
            _store_meta(db, values)

    def state(self) -> dict[str, Any] | None:
        """Return the current state of the search, or None before the first commit."""
        with self._sentences():
            row = self._db.execute("SELECT blob FROM state").fetchone()
            return None if row is None else unpack(row[0])

    def is_whole(self) -> bool:
        """Return whether an ended run has what its result is made of: trial and contender."""
        meta = self.meta()
        if meta["status"] != "done" or meta["evaluator"] == EXTERNAL:
            return True
        best = meta["best_trial"]
        with self._sentences():
            found = self._db.execute(
                "SELECT trials.id FROM trials JOIN contenders ON contenders.trial = trials.id "
                "WHERE trials.id = ? AND trials.ended IS NOT NULL AND contenders.phase = ?",
                (best, LONG),
            ).fetchone()
        return found is not None

    def propose(self, trial: Trial, state: dict[str, Any]) -> None:
        """Commit a proposal and the state behind it, before its child starts."""
        with self._commit() as db:
            db.execute(
                "INSERT INTO trials (id, key, tokens, log_probs, seed, state, proposals, started) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    trial.id,
                    trial.key,
                    json.dumps(trial.tokens),
                    json.dumps(trial.log_probs),
                    trial.seed,
                    RUNNING,
                    trial.proposals,
                    trial.started,
                ),
            )
            _store_state(db, state)

    def finish(self, trial: Trial, state: dict[str, Any]) -> None:
        """Commit a result, what was learned from it and the new state, all at once."""
        with self._commit() as db:
            db.execute(
                "UPDATE trials SET state=?, reward=?, metrics=?, reason=?, learned=?, policy=?, "
                "proposals=?, ended=?, step=? WHERE id=?",
                (
                    trial.state,
                    trial.reward,
                    _dumped(trial.metrics.to_json() if trial.metrics else None),
                    trial.reason,
                    json.dumps(trial.learned),
                    _dumped(trial.policy),
                    trial.proposals,
                    trial.ended,
                    trial.step,
                    trial.id,
                ),
            )
            _store_state(db, state)

    def trials(self) -> list[Trial]:
        """Return all trials in the order of their results, then those that are running."""
        return self.trials_where("ORDER BY step IS NULL, step, id")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query of the tables finds, for those who show a part of a run."""
        with self._sentences():
            return self._db.execute(query, values).fetchall()

    def measured(self, after: int = 0) -> tuple[list[tuple[int, str, Metrics]], int]:
        """Return number, key and metrics of trials that have ended well, and nothing else of them.

        Args:
            after: Step behind which to read.

        Returns:
            The trials in the order of their results, and the last step of them.
        """
        query = (
            "SELECT id, key, step, metrics FROM trials WHERE metrics IS NOT NULL AND step > ? "
            "ORDER BY step"
        )
        with self._sentences():
            rows = self._db.execute(query, [after]).fetchall()
            records = json.loads(f"[{','.join(row[3] for row in rows)}]")
            if len(records) != len(rows):
                raise ValueError("expected the metrics of one trial in each row")
            found = [
                (number, key, _metrics_of(record))
                for (number, key, _, _), record in zip(rows, records, strict=True)
            ]
        return found, rows[-1][2] if rows else after

    def trials_where(self, behind: str, values: Sequence[Any] = ()) -> list[Trial]:
        """Return some trials.

        Args:
            behind: SQL that stands behind ``FROM trials``; never what a user wrote.
            values: What stands for its question marks.
        """
        with self._sentences():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM trials {behind}", values)
            return [_trial(row) for row in rows.fetchall()]

    def progress(self) -> int:
        """Return how many trials have ended, and models beside them."""
        query = "SELECT (SELECT COUNT(ended) FROM trials) + (SELECT COUNT(*) FROM contenders)"
        return int(self.rows(query)[0][0])

    def log_start(self, child: str) -> None:
        """Commit that the training of a child starts now."""
        with self._commit() as db:
            db.execute("INSERT INTO starts VALUES (?, ?)", (child, time.time()))

    def starts(self) -> list[str]:
        """Return the names of all children whose training was started, in order."""
        with self._sentences():
            return [row[0] for row in self._db.execute("SELECT child FROM starts ORDER BY rowid")]

    def log_stop(self) -> None:
        """Commit that the user stopped the run, so that what was under way did not die."""
        with self._commit() as db:
            rows = db.execute("SELECT id FROM trials WHERE state = ?", (RUNNING,)).fetchall()
            stopped = {f"trial-{number}" for (number,) in rows} | set(self.starts()[-1:])
            _store_meta(db, {"stops": [*self.meta().get("stops", []), *sorted(stopped)]})

    def given_up(self, child: str) -> Failure | None:
        """Return the failure of a child without a result that has ended its process too often."""
        stops: list[str] = self.meta().get("stops", [])
        deaths = self.starts().count(child) - stops.count(child)
        if deaths < MOST_DEATHS:
            return None
        return Failure(f"its process died {deaths} times while it trained")

    def store(self, contender: Contender) -> None:
        """Commit a contender, over an older one of its name and phase."""
        with self._commit() as db:
            db.execute(
                "INSERT OR REPLACE INTO contenders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    contender.name,
                    contender.phase,
                    contender.rank,
                    contender.trial,
                    contender.key,
                    contender.seed,
                    contender.state,
                    _dumped(contender.metrics.to_json() if contender.metrics else None),
                    contender.reason,
                    contender.test_accuracy,
                    time.time(),
                ),
            )

    def contenders(self, phase: str) -> list[Contender]:
        """Return the contenders of a phase: trials by rank, then reference and baseline."""
        with self._sentences():
            rows = self._db.execute(
                "SELECT name, phase, rank, trial, key, seed, state, metrics, reason, test_accuracy "
                "FROM contenders WHERE phase = ? ORDER BY rank = 0, rank, name DESC",
                (phase,),
            ).fetchall()
            return [_contender(row) for row in rows]

    def drop_contenders(self, phases: Sequence[str], values: Mapping[str, Any]) -> None:
        """Forget the contenders of phases and their starts, so that they can be done anew.

        Args:
            phases: Some of ``brief``, ``long`` and ``refit``.
            values: What is stored about the run as a whole in the same commit.
        """
        with self._commit() as db:
            stops = self.meta().get("stops", [])
            for phase in phases:
                db.execute("DELETE FROM contenders WHERE phase = ?", (phase,))
                db.execute("DELETE FROM starts WHERE child LIKE ?", (f"%/{phase}",))
                stops = [child for child in stops if f"/{phase}" not in child]
            _store_meta(db, {"stops": stops, **values})

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read everything within as it is at one moment, whatever is committed meanwhile."""
        with self._sentences():
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            with self._sentences():
                self._db.execute("ROLLBACK")

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        with self._sentences(), transaction(self._db):
            yield self._db

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, AttributeError) as error:
            # SQLite tells a missing table as it tells a full disk, but for its code
            code = getattr(error, "sqlite_errorcode", None)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                raise StorageError(
                    f"the journal {self._path} cannot be used: {error}; "
                    "free the disk or mend its permissions, then resume the run"
                ) from error
            raise RunError(
                f"the journal {self._path} is damaged: {error}; "
                "restore it from a backup or start a new run"
            ) from error


def _uri(path: Path) -> str:
    """Return the journal's address for SQLite, read-only where the user may not write.

    SQLite wants to make files beside a journal to read it. Where it cannot, and no
    commit waits in such a file, the journal is read as a file that does not change.
    """
    address = f"file:{quote(str(path.absolute()))}"
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return address
    waiting = path.with_name(f"{path.name}-wal")
    changes = waiting.is_file() and waiting.stat().st_size
    return f"{address}?mode=ro" if changes else f"{address}?immutable=1"


def _store_meta(db: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    rows = [(name, json.dumps(value)) for name, value in values.items()]
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def _store_state(db: sqlite3.Connection, state: dict[str, Any]) -> None:
    db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (pack(state),))


def _dumped(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _metrics(text: str | None) -> Metrics | None:
    if text is None:
        return None
    return _metrics_of(json.loads(text))


def _metrics_of(record: Any) -> Metrics:
    if not isinstance(record, dict):
        raise ValueError(f"expected metrics, got {str(record)[:_SHOWN]}")
    return Metrics.from_json(record)


def _trial(row: tuple[Any, ...]) -> Trial:
    number, key, tokens, log_probs, seed, state, reward, metrics, reason, learned, policy = row[:11]
    return Trial(
        id=number,
        key=key,
        tokens=tuple(json.loads(tokens)),
        log_probs=tuple(json.loads(log_probs)),
        seed=seed,
        state=state,
        reward=reward,
        metrics=_metrics(metrics),
        reason=reason,
        learned=json.loads(learned) if learned else {},
        policy=json.loads(policy) if policy else None,
        proposals=row[11],
        started=row[12],
        ended=row[13],
        step=row[14],
    )


def _contender(row: tuple[Any, ...]) -> Contender:
    name, phase, rank, trial, key, seed, state, metrics, reason, test_accuracy = row
    return Contender(
        name=name,
        phase=phase,
        rank=rank,
        trial=trial,
        key=key,
        seed=seed,
        state=state,
        metrics=_metrics(metrics),
        reason=reason,
        test_accuracy=test_accuracy,
    )
