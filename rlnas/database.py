"""SQLite files that several processes of one machine use at the same time."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlnas.errors import StorageError

_PATIENCE = 30.0
"""Seconds to wait for another process's commit (chosen): each takes milliseconds."""


class Database:
    """One SQLite file in WAL mode: readers never wait, writers take turns.

    What was committed is there when the process is killed; where the power fails, the newest
    commits may be lost. Threads of one process may share an object; they take turns.

    Args:
        path: The file; it and its tables are made if they are not there.
        tables: SQL that makes the tables, each ``IF NOT EXISTS``.

    Raises:
        StorageError: It cannot be made, read or written.
    """

    def __init__(self, path: Path, tables: str) -> None:
        """See the class."""
        self.path = path
        self._lock = threading.RLock()
        with self._sentence():
            self._db = sqlite3.connect(
                path, isolation_level=None, timeout=_PATIENCE, check_same_thread=False
            )
            try:
                self._db.row_factory = sqlite3.Row
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.executescript(tables)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one or more single reads.

        Raises:
            StorageError: The file cannot be read.
        """
        with self._lock, self._sentence():
            yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reads and writes that are committed together, or not at all.

        Raises:
            StorageError: The disk refused.
        """
        with self._lock, self._sentence(), transaction(self._db):
            yield self._db

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"{self.path} cannot be used: {error}; free the disk, mend its permissions, or "
                "restore it from a backup"
            ) from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit together what is written within, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back by itself
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
