"""The folder of a run: where everything lies, who may write, and which runs there are."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlnas.config import SearchConfig, dump_config, make_config, read_config
from rlnas.errors import RunError, unknown_name
from rlnas.search.journal import Journal


class RunFolder:
    """Paths of one run, ``<root>/<name>/``.

    Attributes:
        root: The folder of all runs.
        name: Name of the run.
        path: The folder of this run.
    """

    def __init__(self, root: Path, name: str) -> None:
        """Take the folder as it is or will be; nothing is read or written."""
        self.root = root
        self.name = name
        self.path = root / name

    @property
    def config(self) -> Path:
        """The config, as YAML."""
        return self.path / "config.yaml"

    @property
    def journal(self) -> Path:
        """The journal, an SQLite file."""
        return self.path / "journal.sqlite"

    @property
    def tensorboard(self) -> Path:
        """The event files; derived from the journal."""
        return self.path / "tb"

    @property
    def best(self) -> Path:
        """The best architecture so far, exported."""
        return self.path / "best"

    @property
    def controller_weights(self) -> Path:
        """The weights of the policy."""
        return self.path / "controller.weights.h5"

    def trial(self, number: int) -> Path:
        """Return the folder of a trial's files."""
        return self.path / "trials" / str(number)

    @property
    def contenders(self) -> Path:
        """The folder of all retrained models."""
        return self.path / "contenders"

    def contender(self, name: str) -> Path:
        """Return the folder of a retrained model's files."""
        return self.contenders / name

    def create(self, config: SearchConfig, meta: Mapping[str, Any]) -> Journal:
        """Make the folder with its config and a journal; it appears whole or not at all.

        Args:
            config: All settings.
            meta: What the journal stores about the run as a whole.

        Raises:
            RunError: It exists already, or cannot be written.
        """
        self.check_free()
        new = self.root / f".{self.name}.new"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(new, ignore_errors=True)  # left by a run that died while it began
            new.mkdir()
            (new / self.config.name).write_text(
                dump_config(config, comments=True), encoding="utf-8"
            )
            journal = Journal(new / self.journal.name, create=True)
            journal.set_meta(meta)
            journal.close()
            new.rename(self.path)
        except OSError as error:
            raise RunError(
                f"cannot write the run folder {self.path}: {error.strerror or error}; "
                "choose another --root or mend its permissions"
            ) from error
        return Journal(self.journal)

    def check_free(self) -> None:
        """Check that no run has this name yet.

        Raises:
            RunError: One has.
        """
        if self.path.exists():
            raise RunError(
                f"{self.path} exists already; continue it with: {self.resume_line()} "
                "or choose another --name"
            )

    def open(self) -> Journal:
        """Open the journal of a run that exists.

        Raises:
            RunError: There is no such run, or its journal is damaged.
        """
        if not self.path.is_dir():
            known = [folder.name for folder in run_folders(self.root)]
            hint = unknown_name("run", self.name, known) if known else "there are no runs"
            raise RunError(f"{self.path} does not exist: {hint}")
        return Journal(self.journal)

    def read_config(self) -> SearchConfig:
        """Return the config the run was started with.

        Raises:
            ConfigError: It is missing or damaged.
        """
        return make_config(read_config(self.config))

    def resume_line(self, *, python: bool = False) -> str:
        """Return the command that continues the run.

        Args:
            python: The run needs objects that only the user's own Python has.
        """
        if python:
            return f"rlnas.Search(...).resume({self.name!r})"
        default = Path(os.environ.get("RLNAS_ROOT") or "checkpoints")
        root = "" if self.root == default else f" --root {self.root}"
        return f"rlnas resume {self.name}{root}"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; the system takes it back when the process dies.

        Raises:
            RunError: Another process holds it.
        """
        with open(self.path / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"{self.path} is being written by another process; wait for it or stop it"
                ) from error
            yield


def run_folders(root: Path) -> list[RunFolder]:
    """Return all runs below a root, by name."""
    if not root.is_dir():
        return []
    found = [path for path in root.iterdir() if (path / "journal.sqlite").is_file()]
    return [RunFolder(root, path.name) for path in sorted(found)]


def free_name(root: Path, stem: str) -> str:
    """Return ``stem-1``, or with the first number that no folder has yet."""
    taken = {path.name for path in root.iterdir()} if root.is_dir() else set()
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
