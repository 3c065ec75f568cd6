"""The record of a data set, ready for training."""

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlnas.errors import DataError

if TYPE_CHECKING:
    from rlnas.children.inputs import Inputs

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


_MOST_EXAMPLES, _MOST_VALUES = 256, 2**21
"""Of a step that only looks: 256 examples, fewer where images are large (chosen)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A number that is to be predicted; children are trained on it normalised.

    Attributes:
        mean: Its mean over the training part.
        scale: Its standard deviation there.
    """

    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in its parts; images are raw, as the exported models take them.

    Attributes:
        name: Name of the data set, or the path it came from.
        x_train: Examples to train on, without those of the validation part: images,
            ``(n, height, width, channels)``, uint8 or float32; or what `inputs` has prepared.
        y_train: Their classes, int64[n], 0..classes-1; or float32[n], what is to be predicted,
            normalised as `target` says.
        x_val: Examples to validate on.
        y_val: Their classes.
        x_test: Examples for the one test at the very end.
        y_test: Their classes.
        class_names: Name of each class.
        scale: Factor that takes raw images to about 0..1, the model's `Rescaling`.
        fingerprint: Sixteen hexadecimal digits that differ when any of the above but the
            name does.
        inputs: Makes prepared examples of raw ones, in the exported model too; None for images.
        raw: Of such data, some raw examples of the validation part, the first of it.
        target: What is predicted where that is a number; None for classes.
        notes: What the user should know of how it was read, a sentence each.
    """

    name: str
    x_train: Array
    y_train: Labels
    x_val: Array
    y_val: Labels
    x_test: Array
    y_test: Labels
    class_names: tuple[str, ...]
    scale: float
    fingerprint: str
    inputs: "Inputs | None" = None
    raw: Any = None
    target: Target | None = None
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Kind of the examples, the name of the space for them."""
        return "image" if self.inputs is None else self.inputs.kind

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, as a space takes it."""
        if self.inputs is not None:
            return self.inputs.shape
        return tuple(int(size) for size in self.x_train.shape[1:])

    @property
    def megabytes(self) -> float:
        """Size of what a training sees: the training part and the validation part."""
        return (self.x_train.nbytes + self.x_val.nbytes) / 1e6

    @property
    def classes(self) -> int:
        """Number of classes; 1 where a number is predicted."""
        return 1 if self.target else len(self.class_names)

    @property
    def spread(self) -> float | None:
        """Variance of what is to be predicted in the validation part; None for classes."""
        return spread_of(self.y_val) if self.target else None

    def sampled(self, n: int | None, seed: int) -> "Data":
        """Return the data with at most n training examples, a stratified part.

        The validation part stays whole unless it is larger than n, and is then reduced
        to n in the same way. The test part is never touched.

        Args:
            n: Number of examples; None, or as many as there are, for all.
            seed: Seed of the choice.

        Raises:
            DataError: n is smaller than the number of classes.
        """
        if n is None or n >= max(len(self.y_train), len(self.y_val)):
            return self
        if n < max(self.classes, 2):
            raise DataError(
                f"a part of {n} examples cannot hold all {self.classes} classes; ask for at "
                f"least {self.classes} (--train-samples, --final-samples)"
                if self.target is None
                else f"a part of {n} examples has no variance; ask for at least 2 "
                "(--train-samples, --final-samples)"
            )
        train, val = _part(self.y_train, n, seed), _part(self.y_val, n, seed)
        return sealed(
            replace(
                self,
                x_train=self.x_train[train],
                y_train=self.y_train[train],
                x_val=self.x_val[val],
                y_val=self.y_val[val],
            )
        )


def joined(data: Data) -> Data:
    """Return the data with the validation part among what is trained on; it stays as it is too."""
    x_train = np.concatenate([data.x_train, data.x_val])
    y_train = np.concatenate([data.y_train, data.y_val])
    return sealed(replace(data, x_train=x_train, y_train=y_train))


def sealed(data: Data) -> Data:
    """Return the data with its fingerprint, a SHA-256 over its bytes, shapes and types."""
    digest = hashlib.sha256(repr((data.class_names, data.scale)).encode())
    if data.inputs is not None:
        digest.update(repr(data.inputs).encode())
    if data.target is not None:
        digest.update(repr(data.target).encode())
    for array in (
        data.x_train,
        data.y_train,
        data.x_val,
        data.y_val,
        data.x_test,
        data.y_test,
    ):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return replace(data, fingerprint=digest.hexdigest()[:16])


def _part(y: Labels, n: int, seed: int) -> Labels:
    """Return the indices of n examples, or of all: classes in proportion, at least one of each."""
    from sklearn.utils import resample

    everything = np.arange(len(y))
    if n >= len(y):
        return everything
    groups = y if y.dtype.kind in "iu" else None
    part: Labels = resample(
        everything, replace=False, n_samples=n, stratify=groups, random_state=seed
    )
    if groups is None:
        return part
    for rare in np.setdiff1d(y, y[part]):  # its share of n was less than one example
        commonest = np.bincount(y[part]).argmax()
        part[np.flatnonzero(y[part] == commonest)[-1]] = np.flatnonzero(y == rare)[0]
    return part


def spread_of(y: Array) -> float:
    """Return the variance of numbers that are to be predicted; never 0.

    Args:
        y: float32[n].
    """
    return max(float(np.var(np.asarray(y, dtype=np.float64))), 1e-12)


def examples_at_once(x: Array) -> int:
    """Return how many examples a model is to look at in one step that trains nothing.

    Args:
        x: All examples, ``(n, height, width, channels)``.
    """
    return min(_MOST_EXAMPLES, max(1, _MOST_VALUES // int(np.prod(x.shape[1:]))))
