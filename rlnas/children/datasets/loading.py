"""`load_data`: the one door to all data sets."""

import os
from pathlib import Path
from typing import Any

from rlnas.children.data import Data
from rlnas.children.datasets.files import read_folder, read_npz
from rlnas.children.datasets.folders import folder_kind, read_recordings, read_texts
from rlnas.children.datasets.known import read_known
from rlnas.children.datasets.memory import is_stream, read_arrays, read_stream
from rlnas.children.datasets.preparing import prepare
from rlnas.children.datasets.raw import Raw
from rlnas.children.datasets.rows import is_table, read_table
from rlnas.config import DATASETS, DataConfig
from rlnas.errors import DataError, unknown_name


def load_data(source: Any, config: DataConfig, seed: int, kind: str | None = None) -> Data:
    """Return a data set in its parts: training, validation and test.

    Args:
        source: What to read:

            - None: what ``config.dataset`` names;
            - a known name, the path of a ``.npz`` file with ``x_train``, ``y_train`` and
              maybe ``x_test``, ``y_test``, ``class_names``, or the path of a folder with one
              folder of images, ``.txt`` or ``.wav`` files per class, maybe below ``train/`` and
              ``test/``;
            - the path of a CSV or TSV file with a header, maybe with ``.gz`` behind its name:
              texts and labels, or columns of numbers and categories and labels;
            - a tuple of arrays ``(x, y)`` or ``(x, y, x_test, y_test)``: images, texts, or rows
              of numbers;
            - a finite `tf.data.Dataset` of ``(image, label)``, batched or not;
            - a `Data`, which is returned as it is.
        config: The name to read if there is no source, and the shares of the validation
            part and of the test part. A test part that is given is taken as it is.
        seed: Seed of the stratified splits.
        kind: What the examples are, one of `rlnas.config.KINDS`; None to see it from them.

    Raises:
        DataError: The data is missing, unreadable or unfit; one sentence says why.
    """
    if isinstance(source, Data):
        return source
    raw = _read(config.dataset if source is None else source, config, kind)
    try:
        if kind not in (None, raw.kind):
            raise DataError(f"these are examples of the kind {raw.kind}, not {kind} (--space)")
        return prepare(raw, config, seed)
    except DataError as error:
        raise DataError(f"{raw.name}: {error}") from None


def _read(source: Any, config: DataConfig, kind: str | None) -> Raw:
    if isinstance(source, str) and source in DATASETS:
        return read_known(source)
    if isinstance(source, str | Path):
        return _read_path(source, config, kind)
    if is_stream(source):
        return read_stream(source)
    if isinstance(source, tuple | list):
        return read_arrays(source)
    raise DataError(
        "expected the name or path of a data set, arrays (x, y) or (x, y, x_test, y_test), or "
        f"a tf.data.Dataset, got {type(source).__name__}"
    )


def _read_path(source: str | Path, config: DataConfig, kind: str | None) -> Raw:
    if not str(source).strip("\0 "):
        raise DataError("expected the name or path of a data set, got an empty text")
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        readers = {"text": read_texts, "audio": read_recordings}
        return readers.get(kind or folder_kind(path), read_folder)(path)
    if os.path.isfile(path):
        return read_table(path, config, kind) if is_table(path) else read_npz(path)
    if isinstance(source, Path) or os.path.dirname(source) or path.suffix:
        raise DataError(f"the data set {source} does not exist; check the path")
    raise DataError(
        unknown_name("data set", source, DATASETS) + ", or the path of a file or a folder"
    )
