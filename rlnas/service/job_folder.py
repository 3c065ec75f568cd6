"""Where the service keeps what it needs: beside the runs, one folder for each search."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlnas.errors import StorageError


def service_folder(root: Path) -> Path:
    """Return the folder in which the service of a root keeps what it needs."""
    return root / ".service"


class JobFolder:
    """What the runner of one search writes beside the run, ``<root>/.service/jobs/<name>/``."""

    def __init__(self, root: Path, name: str) -> None:
        """Take the folder as it is or will be."""
        self.path = service_folder(root) / "jobs" / name

    @property
    def log(self) -> Path:
        """What the runner printed."""
        return self.path / "log"

    @property
    def lock(self) -> Path:
        """Held by the runner while it lives; its process number stands in it."""
        return self.path / "lock"

    @property
    def outcome(self) -> Path:
        """How the runner ended, as JSON: ``code`` and ``message``."""
        return self.path / "outcome.json"

    @contextmanager
    def running(self) -> Iterator[bool]:
        """Hold the lock of the runner; give False where another has it, or the search is gone."""
        if not self.path.is_dir():
            yield False
            return
        with open(self.lock, "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self.outcome.unlink(missing_ok=True)
            yield True

    def runner(self) -> int | None:
        """Return the process number of the runner that lives, or None."""
        try:
            with open(self.lock) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = lock.read()
                    return int(text) if text.isdecimal() else None
        except OSError:
            return None
        return None

    def forget_outcome(self) -> None:
        """Forget how the last runner ended, which is not how the next one does.

        Raises:
            StorageError: The disk refused.
        """
        try:
            self.outcome.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot remove {self.outcome}: {error.strerror}; mend its permissions"
            ) from error

    def write_outcome(self, code: int, message: str) -> None:
        """Say how the runner ended."""
        new = self.outcome.with_suffix(".new")
        new.write_text(json.dumps({"code": code, "message": message}), encoding="utf-8")
        new.replace(self.outcome)

    def read_outcome(self) -> tuple[int, str] | None:
        """Return code and message of a runner that ended; None where it said nothing."""
        try:
            record = json.loads(self.outcome.read_text(encoding="utf-8"))
            return int(record["code"]), str(record["message"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
