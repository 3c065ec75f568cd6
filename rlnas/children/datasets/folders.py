"""Folders with one folder per class: which kind of files they hold, texts and recordings."""

import wave
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rlnas.children.data import Array
from rlnas.children.datasets.files import SUFFIXES, class_files, folder_names, parts
from rlnas.children.datasets.raw import Raw, reason
from rlnas.errors import DataError

_KINDS = {"image": SUFFIXES, "text": (".txt",), "audio": (".wav",)}
"""Ends of the files' names by kind."""

_PEAKS = {1: 128.0, 2: 2.0**15, 4: 2.0**31}
"""Largest value of a sample by its bytes."""


def folder_kind(path: Path) -> str:
    """Return the kind of most files in a folder of classes; ``image`` if it holds none known."""
    train, _ = parts(path)
    found = Counter(
        kind
        for folder in sorted(train.iterdir())
        if folder.is_dir()
        for file in folder.iterdir()
        for kind, suffixes in _KINDS.items()
        if file.suffix.lower() in suffixes
    )
    return found.most_common(1)[0][0] if found else "image"


def read_texts(path: Path) -> Raw:
    """Return the ``.txt`` files of a folder with one folder per class.

    Raises:
        DataError: There are none, or one is empty or not in UTF-8.
    """
    train, test = _files(path, "text")
    x = np.array([_text(file) for file in train], dtype=object)
    if not test:
        return Raw(str(path), x, folder_names(train), kind="text")
    x_test = np.array([_text(file) for file in test], dtype=object)
    return Raw(str(path), x, folder_names(train), x_test, folder_names(test), kind="text")


def read_recordings(path: Path) -> Raw:
    """Return the ``.wav`` files of a folder with one folder per class, as lists of samples.

    Raises:
        DataError: There are none, one is empty or damaged, or their sample rates differ.
    """
    train, test = _files(path, "audio")
    read = {file: _samples(file) for file in (*train, *test)}
    rates = {file: rate for file, (_, rate) in read.items()}
    first = next(iter(rates))
    for file, rate in rates.items():
        if rate != rates[first]:
            raise DataError(
                f"recordings must have one sample rate: {first} has {rates[first]} and {file} "
                f"{rate} a second; resample them"
            )
    return Raw(
        str(path),
        _ragged(read[file][0] for file in train),
        folder_names(train),
        _ragged(read[file][0] for file in test) if test else None,
        folder_names(test) if test else None,
        kind="audio",
        rate=rates[first],
    )


def _files(path: Path, kind: str) -> tuple[Sequence[Path], Sequence[Path]]:
    train, test = parts(path)
    suffixes = _KINDS[kind]
    return class_files(train, suffixes), class_files(test, suffixes) if test else []


def _ragged(arrays: Iterable[Array]) -> Array:
    listed = list(arrays)
    together = np.empty(len(listed), dtype=object)
    together[:] = listed
    return together


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the text {file}: {reason(error)}; save it as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"the text {file} is empty; remove it")
    if "\0" in text:
        raise DataError(f"the text {file} holds a zero byte, which models cannot keep; take it out")
    return text


def _samples(file: Path) -> tuple[Array, int]:
    """Return a recording as float32[samples] from -1 to 1, its channels averaged, and its rate."""
    if file.is_file() and not file.stat().st_size:
        raise DataError(f"the recording {file} is empty; remove it")
    try:
        with wave.open(str(file), "rb") as recording:
            width, channels = recording.getsampwidth(), recording.getnchannels()
            frames, rate = recording.getnframes(), recording.getframerate()
            content = recording.readframes(frames)
    except (OSError, EOFError, RuntimeError, wave.Error) as error:  # of a damaged header
        raise DataError(
            f"cannot read the recording {file}: {reason(error)}; expected a .wav file with PCM "
            "samples"
        ) from error
    if not content:
        raise DataError(f"the recording {file} is empty; remove it")
    if len(content) != frames * channels * width:
        raise DataError(
            f"the recording {file} is cut off: its header says {frames * channels * width} bytes "
            f"of samples, got {len(content)}; save it again or remove it"
        )
    return _decoded(content, width).reshape(-1, channels).mean(axis=1), rate


def _decoded(content: bytes, width: int) -> Array:
    if width == 1:  # without a sign, silence is 128
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(_PEAKS[1])
    if width == 3:  # NumPy has no whole numbers of three bytes
        padded = np.zeros((len(content) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        content, width = padded.tobytes(), 4
    return np.frombuffer(content, f"<i{width}").astype(np.float32) / np.float32(_PEAKS[width])
