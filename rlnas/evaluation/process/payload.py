"""An evaluator with its data, handed to all workers at once as one file that they map.

The file has no name: it is gone with the last process that has it open, however that ends.
"""

import mmap
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import cloudpickle

from rlnas.errors import ConfigError, StorageError, first_line

_ALIGNED = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Payload:
    """An evaluator for workers.

    Attributes:
        file: An open file that they can map.
        modules: What their fork server imports before.
    """

    file: IO[bytes]
    modules: tuple[str, ...]

    @classmethod
    def of(cls, evaluator: Any) -> "Payload":
        """Write an evaluator.

        What is defined in the user's script or notebook goes as code, because no worker runs it.

        Raises:
            ConfigError: The evaluator cannot be handed over.
            StorageError: The disk refused.
        """
        module = type(evaluator).__module__
        own = module if module.startswith("rlnas.") else "rlnas.evaluation.process.executor"
        return cls(_written(evaluator), (own,))

    @classmethod
    def from_bytes(cls, content: Any, modules: tuple[str, ...]) -> "Payload":
        """Write what `to_bytes` returned, for example on another machine.

        Raises:
            StorageError: The disk refused.
        """
        file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open
        with _told(file):
            file.write(content)
            file.flush()
        return cls(file, modules)

    def to_bytes(self) -> bytes:
        """Return the whole file."""
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        """Forget it; workers that have it mapped keep it."""
        self.file.close()


def _written(evaluator: Any) -> IO[bytes]:
    """Return an open file with an evaluator; its arrays can be mapped where they lie."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        head = cloudpickle.dumps(evaluator, protocol=5, buffer_callback=buffers.append)
    except Exception as error:  # a user's own objects raise whatever they like
        raise ConfigError(
            f"the evaluator cannot be handed to worker processes: {first_line(error)}; take what "
            "cannot be pickled out of it, or pass --executor inline"
        ) from error
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open
    with _told(file):
        places = _write_buffers(file, buffers)
        start = file.tell()
        pickle.dump((head, places), file)
        file.write(start.to_bytes(8, "little"))
        file.flush()
    return file


@contextmanager
def _told(file: IO[bytes]) -> Iterator[None]:
    """Tell in one sentence why a file cannot be written."""
    try:
        yield
    except OSError as error:
        file.close()
        raise StorageError(
            f"cannot write the data for the workers to {tempfile.gettempdir()}: "
            f"{error.strerror or error}; make room there, or set TMPDIR to another folder"
        ) from error


def read_payload(descriptor: int) -> Any:
    """Return the evaluator from an open file; its arrays are read-only and shared."""
    size = os.fstat(descriptor).st_size
    mapped = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
    start = int.from_bytes(mapped[-8:], "little")
    head, places = pickle.loads(mapped[start:-8])
    return pickle.loads(head, buffers=[mapped[first:last] for first, last in places])


def _write_buffers(file: IO[bytes], buffers: list[pickle.PickleBuffer]) -> list[tuple[int, int]]:
    """Write each buffer to a page of its own; return where they begin and end."""
    places = []
    for buffer in buffers:
        file.seek(-(-file.tell() // _ALIGNED) * _ALIGNED)
        first = file.tell()
        file.write(buffer.raw())
        places.append((first, file.tell()))
    return places
