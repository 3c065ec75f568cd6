"""The folders of deleted searches: moved there and back whole, or not at all."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlnas.errors import StorageError
from rlnas.search.folder import RunFolder
from rlnas.service.job_folder import JobFolder

_MARK, _CONTROL = "moving", "control"
"""Of a folder in the trash: the file that says that it is being moved, and the control's run."""

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
    def moving(self, number: str, name: str, *, control: bool) -> Iterator[None]:
        """Let the database be changed and the folders be moved, both or neither.

        Where the database or the disk refuses, or the process is killed meanwhile, the folders
        are, now or when the next server starts, where they were.

        Args:
            number: Id in the trash.
            name: Name of the search.
            control: Whether the run of its control goes with it.

        Raises:
            StorageError: The disk refused.
        """
        place = self._place(number)
        with _disk(place):
            place.mkdir(parents=True, exist_ok=True)
            try:
                (place / _MARK).write_text(json.dumps([name, control]))
            except OSError:
                (place / _MARK).unlink(missing_ok=True)
                if not any(place.iterdir()):
                    place.rmdir()
                raise
        try:
            yield
        finally:
            self.settle(number)

    def move(self, number: str, name: str, *, control: bool, deleted: bool) -> None:
        """Move the folders of a search into the trash, or out of it.

        Raises:
            StorageError: The disk refused; some may have been moved.
        """
        run, place = RunFolder(self._root, name), self._place(number)
        parts = {"job": JobFolder(self._root, name).path, "run": run.path}
        if control:
            parts[_CONTROL] = run.control.path
        with _disk(place):
            for part, live in parts.items():
                if deleted and live.exists() and not (place / part).exists():
                    live.rename(place / part)
                elif not deleted and (place / part).exists():
                    (place / part).rename(live)

    def settle(self, number: str) -> None:
        """Put the folders of a search that was being moved where the database has it.

        Raises:
            StorageError: The disk refused.
        """
        place, deleted = self._place(number), self._holds(number)
        with _disk(place):
            with suppress(ValueError):  # cut off: nothing was moved yet
                name, control = json.loads((place / _MARK).read_text())
                self.move(number, name, control=control, deleted=deleted)
            (place / _MARK).unlink()
        if not deleted:
            self.remove(number)

    def remove(self, number: str) -> None:
        """Remove a folder for ever; what the disk refuses stays until the next server starts."""
        shutil.rmtree(self._place(number), ignore_errors=True)

    def recover(self) -> None:
        """Finish or take back the moves and removals that a kill has cut off.

        For the one server of a root, when it starts. What the disk refuses is logged.
        """
        for place in (self._root / ".trash").glob("*"):
            try:
                if (place / _MARK).is_file():
                    self.settle(place.name)
                elif not self._holds(place.name):
                    self.remove(place.name)
            except StorageError as error:
                _LOG.error("%s", error)

    def _place(self, number: str) -> Path:
        return self._root / ".trash" / number


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot move a search to or from {place}: {error.strerror or error}; make room or "
            "mend its permissions"
        ) from error
