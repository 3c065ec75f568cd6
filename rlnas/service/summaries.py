"""Summaries of runs that are at rest, kept over restarts: to read many journals takes seconds."""

import json
from pathlib import Path

from rlnas._version import __version__
from rlnas.database import Database
from rlnas.errors import StorageError
from rlnas.search.summary import Summary

Signature = tuple[tuple[int, int], ...]
"""What changes when anything of a run has changed: times and sizes of its files."""

_TABLES = """
CREATE TABLE IF NOT EXISTS summaries (
    name TEXT PRIMARY KEY, signature TEXT NOT NULL, summary TEXT NOT NULL);
"""


class Summaries:
    """Summaries by the names of their runs; each counts as long as its run stays as it is.

    Args:
        path: The SQLite file; made if it is not there, and anew if it is damaged.

    Raises:
        StorageError: It cannot be used.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        try:
            self._open(path)
        except StorageError:
            for ending in ("", "-wal", "-shm"):
                path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
            self._open(path)
        self._read: dict[str, tuple[Signature, Summary]] = {}

    def _open(self, path: Path) -> None:
        self._db = Database(path, _TABLES)
        try:
            with self._db.reading() as db:
                rows = db.execute("SELECT name, signature, summary FROM summaries").fetchall()
        except StorageError:
            self._db.close()
            raise
        self._known = {row["name"]: (row["signature"], row["summary"]) for row in rows}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, name: str, signature: Signature) -> Summary | None:
        """Return the summary of a run that is still what it was; None where it is not known."""
        found = self._read.get(name)
        if found is not None:
            return found[1] if found[0] == signature else None
        mark, text = self._known.get(name, ("", ""))
        if mark != _marked(signature):
            return None
        try:
            record = json.loads(text)
            summary = Summary(**{**record, "spark": tuple(record["spark"])})
        except (ValueError, TypeError, KeyError):  # damaged
            return None
        self._read[name] = (signature, summary)
        return summary

    def put(self, name: str, signature: Signature, summary: Summary) -> None:
        """Keep a summary: on disk too, where its run has ended.

        Raises:
            StorageError: The disk refused.
        """
        self._read[name] = (signature, summary)
        if summary.status != "done":
            return
        record = summary.to_json()
        del record["seconds_left"]
        with self._db.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO summaries VALUES (?, ?, ?)",
                (name, _marked(signature), json.dumps(record)),
            )

    def forget(self, name: str) -> None:
        """Forget the summary of a run in this process; what is on disk no longer fits it."""
        self._read.pop(name, None)


def _marked(signature: Signature) -> str:
    """Return a signature as text, with the version that knows what a summary holds."""
    return json.dumps([__version__, *signature])
