"""What examples and labels must be, whatever their source."""

from typing import Any

import numpy as np

from rlnas.children.data import Array, Labels
from rlnas.children.datasets.raw import reason
from rlnas.errors import DataError

LARGEST = 1e18
"""Largest size of a number in a table: the variance of a column must fit into float32."""

_HIGHEST = 2**53  # up to here float64 holds each whole number
_NUMBERS = "buif"  # kinds of NumPy's types: truth, whole, unsigned and real numbers


def as_images(x: Any, what: str) -> Array:
    """Return examples as ``(n, height, width, channels)``, uint8 as it is, the rest float32.

    Args:
        x: Images, with or without an axis of channels.
        what: Name of the array, for the sentence.

    Raises:
        DataError: These are not images, there are none, or some values are not finite.
    """
    images = _as_array(x, what)
    if images.dtype.kind not in _NUMBERS:
        raise DataError(f"{what} must be one array of numbers, got an array of {images.dtype}")
    if images.size == 0:
        raise DataError(f"{what} is empty, its shape is {images.shape}; expected examples")
    if images.ndim not in (3, 4):
        raise DataError(
            f"{what} must hold images, shape (n, height, width) or (n, height, width, channels), "
            f"got {images.shape}; reshape it"
        )
    if images.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            images = images.astype(np.float32)
        _check_finite(images, what)
    return images if images.ndim == 4 else images[..., np.newaxis]


def as_labels(y: Any, what: str, count: int) -> Array:
    """Return labels, one per example, as int64 or as texts.

    Args:
        y: Whole numbers or texts, shape ``(n,)`` or ``(n, 1)``.
        what: Name of the array, for the sentence.
        count: Number of examples.

    Raises:
        DataError: There are fewer or more than examples, or they are not such labels.
    """
    y = _as_array(y, what)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{what} must hold one label per example, got shape {y.shape}; "
            "for one-hot labels pass their argmax(axis=1)"
        )
    if len(y) != count:
        raise DataError(f"{what} has {len(y)} labels for {count} examples; expected one for each")
    return _as_texts(y) if _are_texts(y) else _as_whole_numbers(y, what)


def as_numbers(y: Any, what: str, count: int) -> Array:
    """Return numbers that are to be predicted, one per example, as float32.

    Args:
        y: Finite numbers, shape ``(n,)`` or ``(n, 1)``.
        what: Name of the array, for the sentence.
        count: Number of examples.

    Raises:
        DataError: They are no such numbers, or fewer or more than examples.
    """
    y = _as_array(y, what)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in _NUMBERS:
        raise DataError(
            f"{what} must hold one number per example to be predicted, got an array of {y.dtype} "
            f"of shape {y.shape}; leave --task regression out for classes"
        )
    if len(y) != count:
        raise DataError(f"{what} has {len(y)} labels for {count} examples; expected one for each")
    with np.errstate(over="ignore"):
        numbers: Array = y.astype(np.float32)
    _check_finite(numbers[:, np.newaxis], what)
    check_sizes(numbers[:, np.newaxis], what)
    return numbers


def encode(y_train: Array, y_test: Array | None) -> tuple[Array, Labels, Labels | None]:
    """Return the sorted labels that occur, and both parts as places among them.

    Raises:
        DataError: There is only one class, or the test part has another.
    """
    found, train = np.unique(y_train, return_inverse=True)
    if len(found) < 2:
        raise DataError(f"all labels are {found[0]}; expected at least two classes")
    if y_test is None:
        return found, train.astype(np.int64), None
    if y_test.dtype.kind != y_train.dtype.kind:
        raise DataError("labels must be numbers in both y_train and y_test, or texts in both")
    unseen = np.setdiff1d(y_test, found)
    if len(unseen):
        names = ", ".join(str(label) for label in unseen[:5])
        raise DataError(f"test labels {names} do not occur in the training data; add examples")
    return found, train.astype(np.int64), np.searchsorted(found, y_test).astype(np.int64)


def _as_array(values: Any, what: str) -> Array:
    try:
        array: Array = np.asarray(values)
    except Exception as error:  # lists of unequal arrays, tensors on a GPU and more
        raise DataError(
            f"{what} cannot be made one array ({reason(error)}); its examples must have one shape"
        ) from error
    return array


def check_sizes(numbers: Array, what: str) -> None:
    """Refuse numbers of a table that are too large to be normalised.

    Raises:
        DataError: One is beyond `LARGEST`.
    """
    large = (np.abs(numbers) > LARGEST).any(axis=1)
    if large.any():
        raise DataError(
            f"{what} holds numbers beyond {LARGEST:g}, first in example {int(np.argmax(large))}; "
            "scale them down"
        )


def _check_finite(x: Array, what: str) -> None:
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        raise DataError(
            f"{what} holds NaN or infinite values, first in example {int(np.argmin(finite))} "
            f"of 0..{len(x) - 1}; mend or remove them"
        )


def _are_texts(y: Array) -> bool:
    if y.dtype.kind == "O":
        return all(isinstance(label, str | bytes) for label in y)
    return y.dtype.kind in "SUT"


def _as_texts(y: Array) -> Array:
    texts = [
        label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in y
    ]
    return np.array(texts)


def _as_whole_numbers(y: Array, what: str) -> Labels:
    if y.dtype.kind not in _NUMBERS:
        raise DataError(f"{what} must hold whole numbers or texts, got an array of {y.dtype}")
    wrong = ~(np.isfinite(y) & (y == np.floor(y)))
    if wrong.any():
        raise DataError(f"{what} must hold whole numbers or texts, got {y[wrong][0]}")
    if y.min() < 0:
        raise DataError(f"{what} must not hold negative labels, got {y.min()}")
    if y.max() > _HIGHEST:
        raise DataError(f"{what} must not hold labels above {_HIGHEST}, got {y.max()}")
    return y.astype(np.int64)
