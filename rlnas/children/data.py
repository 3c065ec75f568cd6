"""The record of a data set, ready for training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in its parts; inputs are raw, as the exported models take them.

    Attributes:
        name: Name of the data set, or the path it came from.
        x_train: Examples to train on, ``(n, height, width, channels)``, without those of
            the validation part.
        y_train: Their classes, int64[n], 0..classes-1.
        x_val: Examples to validate on.
        y_val: Their classes.
        x_test: Examples for the one test at the very end.
        y_test: Their classes.
        class_names: Name of each class.
        scale: Factor that takes raw inputs to about 0..1, the model's `Rescaling`.
        fingerprint: Sixteen hexadecimal digits that differ when any of the above does.
    """

    name: str
    x_train: Array
    y_train: npt.NDArray[np.int64]
    x_val: Array
    y_val: npt.NDArray[np.int64]
    x_test: Array
    y_test: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    scale: float
    fingerprint: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(int(size) for size in self.x_train.shape[1:])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
