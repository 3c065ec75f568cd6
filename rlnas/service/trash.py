"""The folders of deleted searches: moved there and back whole, or not at all."""

import json
import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlnas.errors import StorageError
from rlnas.search.folder import RunFolder
from rlnas.service.job_folder import JobFolder
from rlnas.service.models import NAME

_JOB, _RUN, _CONTROL = "job", "run", "control"
"""Of a folder in the trash: what the runner wrote, the run, and the control's run."""

_MARK, _PURGED, _RECORD = "moving", "purged", "search.json"
"""Of a folder in the trash: the files that say that it is being moved, that it is being removed for
ever, and what the database had about it."""

_ID = "[0-9a-f]{16}"
"""Form of an id in the trash."""

_LOG = logging.getLogger("rlnas.service")


class TrashFolder:
    """The folders in the trash of one root.

    Args:
        root: Folder of all runs.
        holds: Tells whether the database has something of an id in the trash. It alone decides
            where the folders of a search belong.
    """

    def __init__(self, root: Path, holds: Callable[[str], bool]) -> None:
        """See the class."""
        self._root, self._holds = root, holds

    def has_control(self, number: str) -> bool:
        """Tell whether the run of a control lies beside a search."""
        return (self._place(number) / _CONTROL).exists()

    @contextmanager
    def moving(self, number: str, name: str, *, control: bool, deleted: bool) -> Iterator[None]:
        """Let the database be changed and the folders be moved, both or neither.

        Where the database or the disk refuses, or the process is killed meanwhile, the folders
        are, now or when the next server starts, where they were. What is not there when the move
        begins is never moved: it may come to belong to another search of the name.

        Args:
            number: Id in the trash.
            name: Name of the search.
            control: Whether the run of its control goes with it.
            deleted: Whether they are moved into the trash, or out of it.

        Raises:
            StorageError: The disk refused.
        """
        place = self._place(number)
        with _disk(place):
            place.mkdir(parents=True, exist_ok=True)
            live = self._live(name)
            parts = [
                part
                for part in live
                if (control or part != _CONTROL)
                and (live[part] if deleted else place / part).exists()
            ]
            try:
                (place / _MARK).write_text(json.dumps([name, parts]))
            except OSError:
                (place / _MARK).unlink(missing_ok=True)
                if not any(place.iterdir()):
                    place.rmdir()
                raise
        try:
            yield
        finally:
            self.settle(number)

    def move(self, number: str, *, deleted: bool) -> None:
        """Move the folders of a search that is `moving` into the trash, or out of it.

        Raises:
            StorageError: The disk refused; some may have been moved.
        """
        place = self._place(number)
        with _disk(place):
            name, parts = json.loads((place / _MARK).read_text())
            live = self._live(name)
            for part in parts:
                if deleted and live[part].exists() and not (place / part).exists():
                    live[part].rename(place / part)
                elif not deleted and (place / part).exists():
                    (place / part).rename(live[part])

    def keep(self, number: str, record: Mapping[str, Any]) -> None:
        """Write what the database has about a deleted search beside it, in case it is lost.

        Raises:
            StorageError: The disk refused.
        """
        with _disk(self._place(number)):
            (self._place(number) / _RECORD).write_text(json.dumps(record))

    def settle(self, number: str) -> None:
        """Put the folders of a search that was being moved where the database has it.

        Raises:
            StorageError: The disk refused.
        """
        place, deleted = self._place(number), self._holds(number)
        with _disk(place):
            with suppress(ValueError):  # cut off: nothing was moved yet
                self.move(number, deleted=deleted)
            if not deleted:  # before the mark: a record without one tells of a lost database
                (place / _RECORD).unlink(missing_ok=True)
            (place / _MARK).unlink()
        if not deleted:
            self.remove(number)

    @contextmanager
    def purging(self, number: str) -> Iterator[None]:
        """Let something be taken out of the database; then remove its folder for ever.

        What the disk refuses stays until the next server starts.
        """
        place = self._place(number)
        with suppress(OSError):
            (place / _PURGED).touch()
        try:
            yield
        finally:
            if self._holds(number):
                (place / _PURGED).unlink(missing_ok=True)
            else:
                self.remove(number)

    def remove(self, number: str) -> None:
        """Remove a folder for ever; what the disk refuses stays until the next server starts."""
        place = self._place(number)
        with suppress(OSError):
            for each in place.iterdir():  # the mark goes last: until then it says what this is
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each, ignore_errors=True)
                elif each.name != _PURGED:
                    each.unlink()
        shutil.rmtree(place, ignore_errors=True)

    def recover(self) -> list[tuple[str, dict[str, Any]]]:
        """Finish or take back the moves and removals that a kill has cut off.

        For the one server of a root, when it starts. What the disk refuses is logged.

        Returns:
            Id and record of those that lie here and are not in the database, which was lost.
        """
        lost = []
        for place in (self._root / ".trash").glob("*"):
            if not re.fullmatch(_ID, place.name):
                continue  # somebody else's
            try:
                if (place / _MARK).is_file():
                    self.settle(place.name)
                elif self._holds(place.name):
                    (place / _PURGED).unlink(missing_ok=True)
                elif (place / _PURGED).is_file():
                    self.remove(place.name)
                elif (record := _record(place)) is not None:
                    lost.append((place.name, record))
                else:
                    with suppress(OSError):  # what a kill left of a removal
                        place.rmdir()
            except StorageError as error:
                _LOG.error("%s", error)
        return lost

    def _live(self, name: str) -> dict[str, Path]:
        """Return where the folders of a search are while it is not deleted."""
        run = RunFolder(self._root, name)
        return {
            _JOB: JobFolder(self._root, name).path,
            _RUN: run.path,
            _CONTROL: run.control.path,
        }

    def _place(self, number: str) -> Path:
        return self._root / ".trash" / number


def _record(place: Path) -> dict[str, Any] | None:
    """Return what the database had about a deleted search; None where nothing good tells it."""
    try:
        record = json.loads((place / _RECORD).read_text())
        name, deleted, entry = record["name"], record["deleted"], record["entry"]
        plain = re.fullmatch(NAME, name) is not None and math.isfinite(deleted)
        if not plain or not (entry is None or isinstance(json.loads(entry), dict)):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"name": name, "deleted": float(deleted), "entry": entry}


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot move a search to or from {place}: {error.strerror or error}; make room or "
            "mend its permissions"
        ) from error
