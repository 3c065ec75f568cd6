"""The folder of a run: where everything lies, who may write, and which runs there are."""

import fcntl
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from rlnas.config import (
    CONTROL_ENDING,
    SearchConfig,
    default_root,
    dump_config,
    is_file_of_rules,
    is_table_of_networks,
    make_config,
)
from rlnas.errors import RunError, StorageError, unknown_name
from rlnas.evaluation.process import LOG
from rlnas.search.journal import Journal

ARCHITECTURE, MODEL, SCRIPT = "architecture.json", "model.keras", "model.py"
SUMMARY, DIAGRAM, REPORT = "summary.txt", "diagram.svg", "report.json"

EXPORTED = (ARCHITECTURE, MODEL, SCRIPT, SUMMARY, DIAGRAM, REPORT)
"""The files of an export."""

_TABLES = ("space.csv", "space.csv.gz")
"""Names of the table of networks of a run, plain and compressed."""

_STORED = (
    *("config", "status", "space", "space_fingerprint", "data", "own", "threads"),
    *("evaluator", "baseline", "versions", "best_trial"),
)
"""What a journal holds about the run as a whole."""


_RESERVED = "reserved"
"""The one file in a folder whose name waits for its run."""


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
        """The config as YAML, for people to read; the journal's is the one that counts."""
        return self.path / "config.yaml"

    @property
    def space(self) -> Path:
        """The YAML file of the space, where a user wrote it: the run goes on with this one."""
        return self.path / "space.yaml"

    def own_space(self) -> Path | None:
        """Return the file of the space that a user wrote, YAML or CSV; None if there is none."""
        tables = (self.path / name for name in _TABLES)
        return next((path for path in (self.space, *tables) if path.is_file()), None)

    @property
    def journal(self) -> Path:
        """The journal, an SQLite file."""
        return self.path / "journal.sqlite"

    @property
    def leases(self) -> Path:
        """The book of leases of a run whose children are trained elsewhere, an SQLite file."""
        return self.path / "leases.sqlite"

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

    def drop_weights(self, number: int) -> None:
        """Remove a trial's weights, and its folder if its child printed nothing."""
        folder = self.trial(number)
        with suppress(OSError):  # what cannot be removed ends no search
            for path in folder.iterdir():
                if path.name != LOG or not path.stat().st_size:
                    path.unlink()
            folder.rmdir()

    @property
    def control(self) -> "RunFolder":
        """The folder of the control run that was asked for with this run."""
        return RunFolder(self.root, f"{self.name}{CONTROL_ENDING}")

    @property
    def contenders(self) -> Path:
        """The folder of all retrained models."""
        return self.path / "contenders"

    def contender(self, name: str) -> Path:
        """Return the folder of a retrained model's files."""
        return self.contenders / name

    def reserve(self) -> None:
        """Take the name for a run that begins later: nobody else can begin one of it.

        Raises:
            RunError: The name is taken, or the folder cannot be made.
        """
        new = RunFolder(self.root, f".{self.name}.{secrets.token_hex(4)}.new")
        try:
            with _one_sentence(self.path):
                new.path.mkdir(parents=True)
                (new.path / _RESERVED).touch()
                new._take(self)
        finally:
            shutil.rmtree(new.path, ignore_errors=True)

    def release(self) -> None:
        """Let go of a name that was reserved; a run stays as it is."""
        with suppress(OSError):
            if self.is_reserved():
                (self.path / _RESERVED).unlink()
                self.path.rmdir()

    def is_reserved(self) -> bool:
        """Tell whether the name is reserved for a run that has not begun."""
        try:
            return [each.name for each in self.path.iterdir()] == [_RESERVED]
        except OSError:
            return False

    def _take(self, wanted: "RunFolder") -> None:
        """Become the folder of another name, which only an empty one makes way for."""
        try:
            self.path.rename(wanted.path)
        except OSError:
            wanted.check_free()
            raise

    def create(
        self, config: SearchConfig, meta: Mapping[str, Any], *, reserved: bool = False
    ) -> Journal:
        """Make the folder with its config and a journal; it appears whole or not at all.

        Args:
            config: All settings.
            meta: What the journal stores about the run as a whole beside its config.
            reserved: Whether its name was reserved for this run.

        Raises:
            RunError: It exists already, or cannot be written.
        """
        if not (reserved and self.is_reserved()):
            self.check_free()
        # Two that begin a run of one name at once each write their own; one gets the name.
        new = RunFolder(self.root, f".{self.name}.{secrets.token_hex(4)}.new")
        try:
            with _one_sentence(self.path):
                new.path.mkdir(parents=True)
                new.config.write_text(dump_config(config, comments=True), encoding="utf-8")
                new._keep_space(config.space.name or "")
                with closing(Journal(new.journal, create=True)) as journal:
                    journal.set_meta({"config": config.model_dump(mode="json"), **meta})
                if reserved:
                    self.release()
                new._take(self)
        finally:
            shutil.rmtree(new.path, ignore_errors=True)
        return Journal(self.journal)

    def _keep_space(self, name: str) -> None:
        if is_file_of_rules(name):
            shutil.copyfile(name, self.space)
        elif is_table_of_networks(name):
            ending = name.lower().endswith(".gz")
            shutil.copyfile(name, self.path / _TABLES[ending])

    def check_free(self) -> None:
        """Check that no run has this name yet.

        Raises:
            RunError: One has.
        """
        with _one_sentence(self.path):
            taken = self.path.exists()
        if taken and self.is_reserved():
            raise RunError(
                f"the name {self.name} is reserved for a search that waits at rlnas serve; choose "
                "another --name"
            )
        if taken:
            raise RunError(
                f"{self.path} exists already; continue it with: {self.resume_line()} "
                "or choose another --name"
            )

    def open(self) -> Journal:
        """Open the journal of a run that exists.

        Raises:
            RunError: There is no such run, or its journal is damaged.
        """
        with _one_sentence(self.path):
            there = self.path.is_dir()
        if not there:
            known = [folder.name for folder in run_folders(self.root)]
            hint = unknown_name("run", self.name, known) if known else "there are no runs"
            raise RunError(f"{self.path} does not exist: {hint}")
        with _one_sentence(self.path):
            journal = Journal(self.journal)
        try:
            _check_stored(journal, self.journal)
        except BaseException:
            journal.close()
            raise
        return journal

    def read_config(self) -> SearchConfig:
        """Return the config of the run, as its journal has it.

        Raises:
            RunError: There is no such run, or its journal is damaged.
            ConfigError: Another version of rlnas wrote it.
        """
        with closing(self.open()) as journal:
            return make_config(journal.meta()["config"])

    def write_config(self, config: SearchConfig) -> None:
        """Put the page of settings right, if it is not as this config says.

        Raises:
            StorageError: The disk refused; the old page stays as it was.
        """
        text = dump_config(config, comments=True).encode()
        new = self.config.with_suffix(".yaml.new")
        try:
            if not self.config.is_file() or self.config.read_bytes() != text:
                new.write_bytes(text)
                new.replace(self.config)
        except OSError as error:
            raise StorageError(
                f"cannot write {self.config}: {error.strerror or error}; make room or mend its "
                "permissions"
            ) from error

    def resume_line(self, *, python: bool = False) -> str:
        """Return the command that continues the run.

        Args:
            python: The run needs objects that only the user's own Python has.
        """
        if python:
            return f"rlnas.Search(...).resume({self.name!r})"
        words = ["rlnas", "resume", self.name]
        if self.root != default_root():
            words += ["--root", str(self.root)]
        return shlex.join(words)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; the system takes it back when the process dies.

        Raises:
            RunError: Another process holds it, or the folder cannot be written.
        """
        if self.best.is_file():
            raise RunError(f"{self.best} is a file, expected a folder; move it away")
        with _one_sentence(self.path):
            lock = open(self.path / "lock", "w")  # noqa: SIM115
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"{self.path} is being written by another process; wait for it or stop it"
                ) from error
            yield

    def is_held(self) -> bool:
        """Tell whether a process holds the right to write now."""
        try:
            with open(self.path / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # nobody has written yet, or nobody can tell
        return False


def run_folders(root: Path) -> list[RunFolder]:
    """Return all runs below a root, by name.

    A name that begins with a dot is a run that has not begun, or never will.

    Raises:
        RunError: The root cannot be read.
    """
    with _one_sentence(root):
        names = _names(root)
    held = [name for name in sorted(names) if not name.startswith(".")]
    return [RunFolder(root, name) for name in held if _holds_journal(root / name)]


def find_run(root: Path, run: str) -> RunFolder:
    """Return the folder of a run.

    Args:
        root: Folder of all runs.
        run: A name below the root, or the path of a folder.

    Raises:
        RunError: Nothing is named.
    """
    if not run:
        raise RunError(f"expected the name or the folder of a run in {root}, got an empty one")
    path = Path(run).expanduser()
    return RunFolder(root, run) if path.name == run else RunFolder(path.parent, path.name)


def create_next(
    root: Path, stem: str, config: SearchConfig, meta: Mapping[str, Any]
) -> tuple[RunFolder, Journal]:
    """Make a run called ``stem-1``, or with the first number that is free.

    Args:
        root: The folder of all runs.
        stem: What its name begins with.
        config: All settings.
        meta: What the journal stores about the run as a whole beside its config.

    Raises:
        RunError: It cannot be written.
    """
    while True:
        folder = RunFolder(root, free_name(root, stem))
        try:
            return folder, folder.create(config, meta)
        except RunError:
            if not folder.path.exists():
                raise  # else another process took the name meanwhile


def free_name(root: Path, stem: str) -> str:
    """Return ``stem-1``, or with the first number that no folder has yet.

    Raises:
        RunError: The root cannot be read.
    """
    with _one_sentence(root):
        taken = _names(root)
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _check_stored(journal: Journal, path: Path) -> None:
    meta = journal.meta()
    missing = [f"it has no {name}" for name in _STORED if name not in meta]
    if not missing:
        make_config(meta["config"])
        missing = [] if journal.is_whole() else ["the result of the ended run is not there"]
    if missing:
        raise RunError(
            f"the journal {path} is damaged: {missing[0]}; restore it from a backup or start a new "
            "run"
        )


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} if root.is_dir() else set()


def _holds_journal(path: Path) -> bool:
    try:
        return (path / "journal.sqlite").is_file()
    except OSError:
        return False  # somebody else's folder


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot use the run folder {path}: {error.strerror or error}; "
            "make room, mend its permissions or choose another --root"
        ) from error
