"""Data sets that are in memory already: arrays and `tf.data.Dataset`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlnas.children.data import Array
from rlnas.children.datasets.checks import check_sizes
from rlnas.children.datasets.raw import Raw, reason
from rlnas.errors import DataError

_INFINITE = -1  # what tf.data calls INFINITE_CARDINALITY


def read_arrays(source: Sequence[Any]) -> Raw:
    """Return arrays ``(x, y)`` or ``(x, y, x_test, y_test)`` as they are.

    Keras's own nesting, ``((x, y), (x_test, y_test))``, is understood too. A list of texts is a
    data set of texts, numbers of shape ``(n, columns)`` are a table.

    Raises:
        DataError: There are not two or four arrays, or a table holds infinite numbers.
    """
    if len(source) == 2 and all(isinstance(part, tuple) and len(part) == 2 for part in source):
        source = [*source[0], *source[1]]
    if len(source) not in (2, 4):
        raise DataError(
            f"expected arrays (x, y) or (x, y, x_test, y_test), got {len(source)} of them"
        )
    x, y, x_test, y_test = (*source, None, None)[:4]
    kind = _kind(x)
    if kind != "image":
        convert = _texts if kind == "text" else _table
        x = convert(x, "x_train")
        x_test = None if x_test is None else convert(x_test, "x_test")
    return Raw("arrays", x, y, x_test, y_test, kind=kind)


def _kind(x: Any) -> str:
    """Return what examples are, by their type and shape."""
    if isinstance(x, str | bytes):
        return "image"  # no examples at all; what checks images says so
    try:
        array = np.asarray(x)
    except Exception:
        return "image"
    if array.ndim == 1 and array.size and all(isinstance(each, str) for each in array):
        return "text"
    return "tabular" if array.ndim == 2 and array.dtype.kind in "buif" else "image"


def _texts(x: Any, what: str) -> Array:
    texts = np.array([str(each) for each in np.asarray(x)], dtype=object)
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty:
        raise DataError(f"{what} holds an empty text, example {empty[0]}; remove it")
    return texts


def _table(x: Any, what: str) -> dict[str, Array]:
    numbers = np.asarray(x).astype(np.float32)
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers).any(axis=1)))
        raise DataError(f"{what} holds infinite numbers, first in example {row}; mend or remove it")
    check_sizes(numbers, what)
    return {f"x{place}": numbers[:, place : place + 1] for place in range(numbers.shape[1])}


def is_stream(source: Any) -> bool:
    """Return whether this is a `tf.data.Dataset`, without importing TensorFlow."""
    return all(
        hasattr(source, name) for name in ("as_numpy_iterator", "cardinality", "element_spec")
    )


def read_stream(source: Any) -> Raw:
    """Return a `tf.data.Dataset` of ``(image, label)``, batched or not, read into arrays.

    Raises:
        DataError: It never ends, it fails, or its elements are not such pairs.
    """
    if int(source.cardinality()) == _INFINITE:
        raise DataError("the tf.data.Dataset never ends; leave out repeat() or add take(n)")
    images: list[Array] = []
    labels: list[Array] = []
    for element in _elements(source):
        image, label = _batch(element)
        if images and image.shape[1:] != images[0].shape[1:]:
            raise DataError(
                "images of a tf.data.Dataset must have one size, got "
                f"{images[0].shape[1:]} and {image.shape[1:]}; resize them"
            )
        images.append(image)
        labels.append(label)
    if not images:
        raise DataError("the tf.data.Dataset is empty; expected (image, label) elements")
    if images[0].ndim == 3 and all(_is_one_hot(label) for label in labels):
        raise DataError(
            "the labels of the tf.data.Dataset look one-hot; give whole numbers, for example by "
            "map(lambda image, label: (image, tf.argmax(label)))"
        )
    return Raw("dataset", np.concatenate(images), np.concatenate(labels))


def _is_one_hot(label: Array) -> bool:
    """Tell whether these labels of a seeming batch of grey images rather are one one-hot label."""
    return (
        label.ndim == 1
        and len(label) > 1
        and sorted(label.tolist()) == [0] * (len(label) - 1) + [1]
    )


def _elements(source: Any) -> Any:
    try:
        yield from source.as_numpy_iterator()
    except Exception as error:  # whatever the user's own functions in the pipeline raise
        raise DataError(
            f"reading the tf.data.Dataset failed: {type(error).__name__}: {reason(error)}"
        ) from error


def _batch(element: Any) -> tuple[Array, Array]:
    if not isinstance(element, tuple) or len(element) != 2:
        got = f"{len(element)} parts" if isinstance(element, tuple) else type(element).__name__
        raise DataError(f"a tf.data.Dataset must give (image, label) pairs, got {got}")
    image, label = np.asarray(element[0]), np.asarray(element[1])
    if label.ndim == 0:
        return image[np.newaxis], label[np.newaxis]
    if image.ndim == 0 or len(image) != len(label):
        raise DataError(
            "a tf.data.Dataset must give an image with one label, or a batch of each, got "
            f"shapes {image.shape} and {label.shape}"
        )
    return image, label
