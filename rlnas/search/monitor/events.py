"""Event files in TensorBoard's own format, written without loading TensorFlow.

A file is a row of records, each a protobuf `Event` between its length and checksums. A
new file says so to a TensorBoard that is already open: its second event is a session
start at step 0, which makes older files' steps void.
"""

import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from rlnas.errors import StorageError
from rlnas.search.monitor.tags import Tag, find

_DESCRIBE = {
    "scalar": scalar_metadata.create_summary_metadata,
    "image": image_metadata.create_summary_metadata,
    "text": text_metadata.create_summary_metadata,
}


class EventFile:
    """One event file that only grows.

    Args:
        folder: Where it is made, with its parents.
        wall_time: Time of its first event, in seconds since 1970.
        name: Of an earlier file of the folder that is written on; None for a new one.

    Raises:
        StorageError: The disk refuses; so do all methods.
    """

    def __init__(self, folder: Path, wall_time: float, name: str | None = None) -> None:
        """See the class."""
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = folder
            # TensorBoard reads files in the order of their names.
            path = folder / (name or f"events.out.tfevents.{time.time_ns():019d}.rlnas")
            self._file = path.open("ab" if name else "xb")
        self._records = RecordWriter(self._file)
        self._described: set[str] = set()
        if name:
            return
        self._write(event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(wall_time=wall_time, session_log=start))

    @property
    def name(self) -> str:
        """Name of the file."""
        return Path(self._file.name).name

    @property
    def size(self) -> int:
        """Bytes that were handed to the operating system by the last `flush`."""
        return self._file.tell()

    def scalars(self, step: int, wall_time: float, values: Mapping[str, float]) -> None:
        """Write one value of each tag.

        Raises:
            KeyError: A tag is not declared as a scalar.
        """
        written = []
        for name, value in values.items():
            # A tensor: TensorBoard drops the description of a plain `simple_value`.
            tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
            written.append(self._value(find(name, "scalar"), tensor))
        self._summary(step, wall_time, written)

    def image(self, name: str, step: int, wall_time: float, png: bytes) -> None:
        """Write a picture.

        Raises:
            KeyError: The tag is not declared as an image.
        """
        size = struct.unpack(">II", png[16:24])  # width and height stand in a PNG's header
        strings = [str(pixels).encode() for pixels in size]
        self._tensor(find(name, "image"), step, wall_time, [*strings, png])

    def text(self, name: str, step: int, wall_time: float, markdown: str) -> None:
        """Write a text, which TensorBoard reads as Markdown.

        Raises:
            KeyError: The tag is not declared as a text.
        """
        self._tensor(find(name, "text"), step, wall_time, [markdown.encode()])

    def summary(self, step: int, wall_time: float, summary: Any) -> None:
        """Write a TensorBoard `Summary` as it is."""
        self._write(event_pb2.Event(wall_time=wall_time, step=step, summary=summary))

    def flush(self) -> None:
        """Hand what was written to the operating system, where a TensorBoard sees it."""
        with storage_errors(self._folder):
            self._records.flush()

    def close(self) -> None:
        """Flush and close the file."""
        with storage_errors(self._folder):
            self._records.close()

    def _tensor(self, tag: Tag, step: int, wall_time: float, strings: list[bytes]) -> None:
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=strings)
        tensor.tensor_shape.dim.add(size=len(strings))
        self._summary(step, wall_time, [self._value(tag, tensor)])

    def _value(self, tag: Tag, tensor: Any) -> Any:
        return summary_pb2.Summary.Value(tag=tag.name, tensor=tensor, metadata=self._metadata(tag))

    def _summary(self, step: int, wall_time: float, values: list[Any]) -> None:
        self.summary(step, wall_time, summary_pb2.Summary(value=values))

    def _metadata(self, tag: Tag) -> Any:
        """Return what TensorBoard wants to know once per tag and file, later None."""
        if tag.name in self._described:
            return None
        self._described.add(tag.name)
        return _DESCRIBE[tag.kind](tag.display_name, tag.description)

    def _write(self, event: Any) -> None:
        with storage_errors(self._folder):
            self._records.write(event.SerializeToString())


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk says into one sentence.

    Raises:
        StorageError: The disk refused.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write what TensorBoard shows to {folder} ({error.strerror or error}): "
            "free some space or make the folder writable"
        ) from error


def remove_event_files(folder: Path) -> None:
    """Remove the event files of a folder, not those below it.

    Raises:
        StorageError: The disk refuses.
    """
    with storage_errors(folder):
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, if it is there.

    Raises:
        StorageError: The disk refuses.
    """
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
