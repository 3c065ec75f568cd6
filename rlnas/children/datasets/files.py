"""Data sets on the disk: a ``.npz`` file, or a folder with one folder of images per class."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rlnas.children.data import Array
from rlnas.children.datasets.raw import Raw, reason
from rlnas.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""The image files that are read; other files in a class's folder are passed over."""

_CALLED = {".txt": "texts", ".wav": "recordings"}
"""What files are called, by the end of their names; all others are images."""

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_GREY = ("1", "L", "LA", "La")  # modes of Pillow
_DEEP = ("I", "F")  # what its modes of more than 8 bits begin with


def read_npz(path: Path) -> Raw:
    """Return the arrays of a ``.npz`` file.

    Raises:
        DataError: It cannot be read, or an array is missing.
    """
    try:
        held, arrays = _npz_arrays(path)
        names = arrays.get("class_names")
        class_names = None if names is None else tuple(names.astype(str).ravel().tolist())
    except Exception as error:  # NumPy and zipfile raise many kinds for damaged bytes
        raise DataError(
            f"{path} is not a .npz file that can be read: {reason(error)}; "
            "write it with numpy.savez and without object arrays"
        ) from error
    needed = _ARRAYS if "x_test" in held or "y_test" in held else _ARRAYS[:2]
    missing = [name for name in needed if name not in held]
    if missing:
        raise DataError(
            f"{path} lacks {' and '.join(missing)}: it holds {', '.join(held) or 'nothing'}; "
            "expected x_train, y_train and maybe x_test, y_test"
        )
    return Raw(
        str(path),
        arrays["x_train"],
        arrays["y_train"],
        arrays.get("x_test"),
        arrays.get("y_test"),
        class_names=class_names,
    )


def read_folder(path: Path) -> Raw:
    """Return the images of a folder, grey if all of them are, otherwise as RGB.

    Below it lies one folder per class, or ``train/`` and ``test/`` with such folders.
    Classes are named by their folders; transparency is dropped; of an animation the
    first image is taken. Names are sorted, so that the order is always the same.

    Raises:
        DataError: There are no classes or no images, one cannot be read, or sizes differ.
    """
    train, test = parts(path)
    files = class_files(train)
    test_files = class_files(test) if test else []
    images = _read_images([*files, *test_files])
    x_train, y_train = images[: len(files)], folder_names(files)
    if not test_files:
        return Raw(str(path), x_train, y_train)
    return Raw(str(path), x_train, y_train, images[len(files) :], folder_names(test_files))


def _npz_arrays(path: Path) -> tuple[list[str], dict[str, Array]]:
    """Return the names of all arrays of the file, and those arrays that are used."""
    if not zipfile.is_zipfile(path):  # else NumPy takes it for a pickle and says so
        raise ValueError("it is not a zip archive of arrays")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        held = list(archive.files)
        return held, {name: archive[name] for name in (*_ARRAYS, "class_names") if name in held}


def parts(path: Path) -> tuple[Path, Path | None]:
    """Return where the classes of the training part lie, and those of the test part.

    Raises:
        DataError: There is more beside them.
    """
    train, test = path / "train", path / "test"
    if not (train.is_dir() and _folders(train)):  # "train" may be the name of a class
        return path, None
    others = [folder.name for folder in _folders(path) if folder not in (train, test)]
    if others:
        raise DataError(
            f"{path} holds {', '.join(others)} beside train; expected train and test only, "
            "for the validation part is split off train"
        )
    return train, test if test.is_dir() else None


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise DataError(
            f"cannot read the folder {path}: {error.strerror}; check its permissions"
        ) from error


def _folders(path: Path) -> list[Path]:
    hidden = (".", "__")  # such as .git and __MACOSX
    return [
        entry for entry in _entries(path) if entry.is_dir() and not entry.name.startswith(hidden)
    ]


def class_files(path: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Return the files of all classes, by the ends of their names.

    Raises:
        DataError: There are no classes, or one has no such files.
    """
    what = _CALLED.get(suffixes[0], "images")
    folders = _folders(path)
    if not folders:
        raise DataError(f"{path} holds no folders; expected one folder of {what} per class")
    return [file for folder in folders for file in _files(folder, suffixes, what)]


def _files(folder: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    files = [file for file in _entries(folder) if file.suffix.lower() in suffixes]
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in suffixes)
        raise DataError(f"{folder} holds no {what} ({kinds}); expected those of one class")
    return files


def folder_names(files: Iterable[Path]) -> Array:
    """Return the name of the folder of each file, which is its class."""
    return np.array([file.parent.name for file in files])


def _read_images(files: Sequence[Path]) -> Array:
    """Return images of one size, uint8 (n, height, width, 1 or 3)."""
    images = [_read_image(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"images must have one size: {files[0]} is {_size(images[0])} and {file} is "
                f"{_size(image)}; resize them"
            )
    channels = max(image.shape[2] for image in images)
    stacked = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for place, image in zip(stacked, images, strict=True):
        place[...] = image  # a grey image fills all channels alike
    return stacked


def _read_image(file: Path) -> Array:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(_DEEP):
                raise ValueError("it has more than 8 bits per channel, convert it to 8")
            pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    except Exception as error:  # Pillow raises many kinds for damaged bytes
        raise DataError(
            f"cannot read the image {file}: {reason(error)}; mend or remove it"
        ) from error
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def _size(image: Array) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
