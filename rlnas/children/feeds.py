"""Where the steps of a graph take their examples from: the device, or a stream from the host."""

from typing import Any, Protocol

import numpy as np

from rlnas.children.data import Array, Data, Labels, examples_at_once

_AHEAD = 4
"""Batches that are read before they are asked for (chosen)."""


class Feed(Protocol):
    """Gives the batches of an epoch, and the pieces of the validation part.

    A source is what a compiled function gets as its argument; `batch` and `piece` are called while
    such a function is traced.
    """

    def training(self, order: Any) -> Any:
        """Return a source of training batches in this order of the examples, int32[count]."""

    def batch(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Return examples and classes of a batch; they are asked for from the first to the last."""

    def validation(self) -> Any:
        """Return a source of the pieces of the validation part."""

    def piece(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Return examples and classes of a piece, `examples_at_once` or what is left."""


class ResidentFeed:
    """Examples that lie on the device.

    Args:
        tensors: Training examples, their classes, validation examples, their classes.
        batch_size: Examples of a batch.
    """

    def __init__(self, tensors: tuple[Any, ...], batch_size: int) -> None:
        """See the class."""
        self._tensors, self._size = tensors, batch_size
        self._at_once = examples_at_once(tensors[2])

    def training(self, order: Any) -> Any:
        """Return the training part and the order."""
        x, y, _, _ = self._tensors
        return x, y, order

    def batch(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Gather the examples of a batch."""
        import tensorflow as tf

        x, y, order = source
        start = number * self._size
        chosen = order[start : start + self._size]
        return tf.gather(x, chosen), tf.gather(y, chosen)

    def validation(self) -> Any:
        """Return the validation part."""
        return self._tensors[2:]

    def piece(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Cut a piece out."""
        x, y = source
        start = number * self._at_once
        return x[start : start + self._at_once], y[start : start + self._at_once]


class StreamFeed:
    """Examples that come from the host by `tf.data`, read ahead while the device computes.

    Args:
        data: The data set; arrays may be mapped from a file.
        batch_size: Examples of a batch.
    """

    def __init__(self, data: Data, batch_size: int) -> None:
        """See the class."""
        self._data, self._size = data, batch_size

    def training(self, order: Any) -> Any:
        """Start a stream of batches."""
        data = self._data
        return _stream(data.x_train, data.y_train, np.asarray(order), self._size)

    def batch(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Take the next of the stream."""
        x, y = source.get_next()
        return x, y

    def validation(self) -> Any:
        """Start a stream of pieces."""
        x, y = self._data.x_val, self._data.y_val
        return _stream(x, y, np.arange(len(y), dtype=np.int32), examples_at_once(x))

    def piece(self, source: Any, number: Any) -> tuple[Any, Any]:
        """Take the next of the stream."""
        return self.batch(source, number)


def _stream(x: Array, y: Labels, order: Array, size: int) -> Any:
    """Return an iterator over batches of examples and classes in an order."""
    import tensorflow as tf

    def read(rows: Array) -> tuple[Array, Labels]:
        return x[rows], y[rows]

    def batch(rows: Any) -> tuple[Any, Any]:
        examples, classes = tf.numpy_function(read, [rows], [x.dtype, y.dtype], stateful=False)
        return tf.ensure_shape(examples, (None, *x.shape[1:])), tf.ensure_shape(classes, (None,))

    return iter(tf.data.Dataset.from_tensor_slices(order).batch(size).map(batch).prefetch(_AHEAD))
