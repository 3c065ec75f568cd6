"""What the service knows of its searches beside their runs: what is wanted, and how they ended.

All lies below ``<root>/.service/``: one SQLite file, and one folder per search with what its
runner writes. A run that was begun by the command line has no entry here until it is resumed.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnas.database import Database
from rlnas.errors import RlnasError, RunError, StorageError, unknown_name
from rlnas.search.folder import RunFolder, free_name
from rlnas.service.job_folder import JobFolder, service_folder
from rlnas.service.trash import TrashFolder

RUN, PAUSE, STOP = "run", "pause", "stop"
"""What may be wanted of a search."""

MOST_WANTED = 500
"""Searches that run or wait at a time (chosen); a further one is refused."""

_SECTIONS = ("budget", "controller", "data", "engine", "objective", "space")

_TABLES = """
CREATE TABLE IF NOT EXISTS searches (
    name TEXT PRIMARY KEY, created REAL NOT NULL, wanted TEXT NOT NULL, config TEXT NOT NULL,
    executor TEXT NOT NULL, key TEXT UNIQUE, body TEXT, deaths INTEGER NOT NULL DEFAULT 0,
    failed TEXT, ended INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS trash (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, deleted REAL NOT NULL, entry TEXT);
"""


class TakenError(RunError):
    """There is a search of this name."""


class KeyTakenError(TakenError):
    """Another search was made with this idempotency key."""


class CrowdedError(RunError):
    """So many searches wait already that no further one is taken."""


class BusyError(RunError):
    """A process writes to the run, so it cannot be moved."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A search of the service.

    Attributes:
        name: Its name, and that of its run.
        created: When it was asked for, seconds since 1970.
        wanted: ``run``, ``pause`` or ``stop``.
        config: All settings, as JSON.
        executor: Who trains its children.
        deaths: Times its runner ended without a word, since it last got anywhere.
        failed: Why it cannot go on; None where it can.
        ended: Whether its runner has come to the end.
    """

    name: str
    created: float
    wanted: str
    config: Mapping[str, Any]
    executor: str
    deaths: int = 0
    failed: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Trashed:
    """A search that was deleted and can be restored.

    Attributes:
        id: By which it is restored.
        name: The name it had.
        deleted: When, seconds since 1970.
    """

    id: str
    name: str
    deleted: float


class Jobs:
    """The searches of one root.

    Args:
        root: Folder of all runs.

    Attributes:
        mutex: Held while a runner is started or a search is moved, so that neither happens to
            the other's search.
        folders: The folders in the trash.

    Raises:
        StorageError: The folder cannot be used.
    """

    def __init__(self, root: Path) -> None:
        """See the class."""
        self.root = root
        folder = service_folder(root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot use {folder}: {error.strerror}; mend its permissions or choose another "
                "--root"
            ) from error
        self._db = Database(folder / "service.sqlite", _TABLES)
        self.mutex = threading.RLock()
        self.folders = TrashFolder(root, self._is_trashed)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(
        self,
        name: str | None,
        stem: str,
        config: Mapping[str, Any],
        executor: str,
        *,
        key: str | None = None,
    ) -> tuple[Entry, bool]:
        """Take a new search.

        Args:
            name: Its name; None for ``stem-1`` or the next that is free.
            stem: What a name that is made begins with.
            config: All settings.
            executor: Who trains its children.
            key: The client's name for this request; the same request again gives the search that
                the first has made.

        Returns:
            The search, and whether it is new.

        Raises:
            TakenError: The name is taken.
            KeyTakenError: The key belongs to another request.
            CrowdedError: Too many run or wait already.
        """
        body = json.dumps([name, config], sort_keys=True)
        with ExitStack() as undoing:
            with self._db.writing() as db:
                if key is not None:
                    row = db.execute("SELECT * FROM searches WHERE key = ?", (key,)).fetchone()
                    if row is not None and row["body"] != body:
                        raise KeyTakenError(
                            f"the idempotency key was used for another search, {row['name']}; "
                            "take a new key"
                        )
                    if row is not None:
                        return _entry(row), False
                _check_room(db)
                taken = name if name is not None else self._next_name(db, stem)
                if self._is_taken(db, taken):
                    raise TakenError(f"there is a search called {taken}; choose another name")
                self._check_control(db, taken, control=bool(config.get("control")))
                config = {**config, "name": taken}
                folder = RunFolder(self.root, taken)
                if not folder.is_reserved():
                    folder.reserve()
                undoing.callback(folder.release)
                db.execute(
                    "INSERT INTO searches (name, created, wanted, config, executor, key, body) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (taken, time.time(), RUN, json.dumps(config), executor, key, body),
                )
            undoing.pop_all()
        return self.entry(taken), True

    def entry(self, name: str) -> Entry:
        """Return one search.

        Raises:
            RunError: There is none of this name.
        """
        found = self.find(name)
        if found is None:
            raise RunError(unknown_name("search", name, self.names()))
        return found

    def find(self, name: str) -> Entry | None:
        """Return one search, or None."""
        with self._db.reading() as db:
            row = db.execute("SELECT * FROM searches WHERE name = ?", (name,)).fetchone()
        return None if row is None else _entry(row)

    def entries(self) -> list[Entry]:
        """Return all searches, oldest first."""
        with self._db.reading() as db:
            rows = db.execute("SELECT * FROM searches ORDER BY created, name").fetchall()
        return [_entry(row) for row in rows]

    def names(self) -> list[str]:
        """Return the names of all searches."""
        return [entry.name for entry in self.entries()]

    def want(self, name: str, wanted: str) -> Entry:
        """Say what is wanted of a search; a failed one may try again."""
        if wanted == RUN:
            JobFolder(self.root, name).forget_outcome()
        with self._db.writing() as db:
            again = "failed = NULL, deaths = 0, ended = 0, " if wanted == RUN else ""
            db.execute(
                f"UPDATE searches SET {again}wanted = ? WHERE name = ?",
                (wanted, name),
            )
        return self.entry(name)

    def adopt(self, name: str, config: Mapping[str, Any], executor: str) -> Entry:
        """Take a run that was begun by the command line."""
        with self._db.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO searches (name, created, wanted, config, executor) "
                "VALUES (?, ?, ?, ?, ?)",
                (name, time.time(), RUN, json.dumps(config), executor),
            )
        return self.want(name, RUN)

    def configure(self, name: str, config: Mapping[str, Any]) -> None:
        """Change the settings of a search; its runner takes them when it begins anew."""
        with self._db.writing() as db:
            db.execute("UPDATE searches SET config = ? WHERE name = ?", (json.dumps(config), name))

    def died(self, name: str) -> int:
        """Count a death of a runner; return how many there were in a row."""
        with self._db.writing() as db:
            db.execute("UPDATE searches SET deaths = deaths + 1 WHERE name = ?", (name,))
        return self.entry(name).deaths

    def got_on(self, name: str) -> None:
        """Forget the deaths of a runner, for the search got further."""
        with self._db.writing() as db:
            db.execute("UPDATE searches SET deaths = 0 WHERE name = ?", (name,))

    def fail(self, name: str, reason: str) -> None:
        """Say why a search cannot go on."""
        with self._db.writing() as db:
            db.execute("UPDATE searches SET failed = ? WHERE name = ?", (reason, name))

    def end(self, name: str) -> None:
        """Say that a search has come to its end."""
        with self._db.writing() as db:
            db.execute("UPDATE searches SET ended = 1 WHERE name = ?", (name,))

    def delete(self, name: str) -> Trashed:
        """Move a search to the trash, and its control with it.

        Raises:
            BusyError: A process writes to it.
            RunError: There is none of this name.
            StorageError: The disk refused; the search is where it was.
        """
        folder, job = RunFolder(self.root, name), JobFolder(self.root, name)
        entry = self.find(name)
        control = _has_control(folder, entry)
        held = folder.is_held() or (control and folder.control.is_held())
        if held or job.runner() is not None:
            raise BusyError(f"{name} is running; stop it first")
        if entry is None and not folder.path.is_dir():
            raise RunError(unknown_name("search", name, self.names()))
        trashed = Trashed(secrets.token_hex(8), name, time.time())
        with (
            self.folders.moving(trashed.id, name, control=control, deleted=True),
            self._db.writing() as db,
        ):
            row = db.execute("SELECT * FROM searches WHERE name = ?", (name,)).fetchone()
            stored = None if row is None else json.dumps(dict(row))
            self.folders.keep(
                trashed.id, {"name": name, "deleted": trashed.deleted, "entry": stored}
            )
            db.execute(
                "INSERT INTO trash VALUES (?, ?, ?, ?)", (trashed.id, name, trashed.deleted, stored)
            )
            db.execute("DELETE FROM searches WHERE name = ?", (name,))
            self.folders.move(trashed.id, deleted=True)
        return trashed

    def trash(self) -> list[Trashed]:
        """Return what was deleted, newest first."""
        with self._db.reading() as db:
            rows = db.execute("SELECT * FROM trash ORDER BY deleted DESC, id").fetchall()
        return [Trashed(row["id"], row["name"], row["deleted"]) for row in rows]

    def restore(self, number: str) -> str:
        """Take a search back from the trash, stopped; return its name.

        Raises:
            TakenError: There is another search of its name now.
            RunError: There is no such thing in the trash.
            StorageError: The disk refused; the search is still in the trash.
        """
        with self._db.reading() as db:
            name = str(_trashed(db, number)["name"])
        control = self.folders.has_control(number)
        with (
            self.folders.moving(number, name, control=control, deleted=False),
            self._db.writing() as db,
        ):
            row = _trashed(db, number)
            if self._is_taken(db, name):
                raise TakenError(f"there is a search called {name} now; delete that one first")
            self._check_control(db, name, control=control)
            if row["entry"] is not None:
                stored = {**json.loads(row["entry"]), "wanted": STOP}
                used = db.execute("SELECT 1 FROM searches WHERE key = ?", (stored["key"],))
                if used.fetchone() is not None:  # by a search that was made meanwhile
                    stored["key"] = None
                marks = ", ".join("?" * len(stored))
                db.execute(
                    f"INSERT INTO searches ({', '.join(stored)}) VALUES ({marks})",
                    tuple(stored.values()),
                )
            db.execute("DELETE FROM trash WHERE id = ?", (number,))
            self.folders.move(number, deleted=False)
        self._reserve(name)
        return name

    def purge(self, number: str) -> None:
        """Remove something from the trash for ever.

        Raises:
            RunError: There is no such thing in the trash.
        """
        with self._db.reading() as db:
            _trashed(db, number)
        with self.folders.purging(number), self._db.writing() as db:
            _trashed(db, number)
            db.execute("DELETE FROM trash WHERE id = ?", (number,))

    def recover(self) -> None:
        """Finish or take back what a kill has cut off; find the trash of a database that was lost.

        For the one server of a root, when it starts.
        """
        for number, record in self.folders.recover():
            with self._db.writing() as db:
                db.execute(
                    "INSERT OR IGNORE INTO trash VALUES (?, ?, ?, ?)",
                    (number, record["name"], record["deleted"], record["entry"]),
                )
        names = self.names()
        for name in names:
            self._reserve(name)
        for path in self.root.iterdir():
            if path.name not in names:
                RunFolder(self.root, path.name).release()

    def _reserve(self, name: str) -> None:
        """Reserve the name of a search that has not begun, if nothing has."""
        folder = RunFolder(self.root, name)
        with suppress(RunError):
            if not folder.path.exists():
                folder.reserve()

    def _is_trashed(self, number: str) -> bool:
        with self._db.reading() as db:
            row = db.execute("SELECT 1 FROM trash WHERE id = ?", (number,)).fetchone()
        return row is not None

    def _is_taken(self, db: sqlite3.Connection, name: str) -> bool:
        known = db.execute("SELECT 1 FROM searches WHERE name = ?", (name,)).fetchone()
        folder = RunFolder(self.root, name)
        return known is not None or (folder.path.exists() and not folder.is_reserved())

    def _check_control(self, db: sqlite3.Connection, name: str, *, control: bool) -> None:
        """Check that the run of a control is not taken for another search.

        Raises:
            TakenError: It would be.
        """
        beside = RunFolder(self.root, name).control.name
        if control and self._is_taken(db, beside):
            raise TakenError(
                f"there is a search called {beside}, as the control would be; choose another name"
            )
        ending = beside.removeprefix(name)
        row = db.execute(
            "SELECT * FROM searches WHERE name = ?", (name.removesuffix(ending),)
        ).fetchone()
        if name.endswith(ending) and row is not None and _entry(row).config.get("control"):
            raise TakenError(
                f"{name} is the name of the control of {row['name']}; choose another name"
            )

    def _next_name(self, db: sqlite3.Connection, stem: str) -> str:
        name = free_name(self.root, stem)
        number = int(name.rpartition("-")[2])
        while self._is_taken(db, f"{stem}-{number}"):
            number += 1
        return f"{stem}-{number}"


def _trashed(db: sqlite3.Connection, number: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM trash WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise RunError(f"there is nothing with the id {number!r} in the trash; see GET /v1/trash")
    return row


def _check_room(db: sqlite3.Connection) -> None:
    wanted = db.execute(
        "SELECT COUNT(*) FROM searches WHERE wanted = ? AND failed IS NULL AND NOT ended", (RUN,)
    ).fetchone()[0]
    if wanted >= MOST_WANTED:
        raise CrowdedError(
            f"{wanted} searches run or wait already, expected fewer than {MOST_WANTED}; stop some, "
            "or wait until they have ended"
        )


def _has_control(folder: RunFolder, entry: Entry | None) -> bool:
    """Return whether a search has asked for a control run, and that has begun."""
    if not folder.control.path.is_dir():
        return False
    if entry is not None:
        return bool(entry.config.get("control"))
    with suppress(RlnasError):  # a damaged run
        return folder.read_config().control is not None
    return False


def _entry(row: sqlite3.Row) -> Entry:
    failed = row["failed"]
    try:
        config = json.loads(row["config"])
        if not isinstance(config, dict) or any(
            not isinstance(config.get(section, {}), dict) for section in _SECTIONS
        ):
            raise ValueError("expected the settings of a search")
    except ValueError as error:
        config = {}
        failed = f"its entry in service.sqlite is damaged: {error}; it can only be deleted"
    return Entry(
        name=row["name"],
        created=row["created"],
        wanted=row["wanted"],
        config=config,
        executor=row["executor"],
        deaths=row["deaths"],
        failed=failed,
        ended=bool(row["ended"]),
    )
