"""What the training of a child measured."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class History:
    """What training measured after each epoch.

    Attributes:
        loss: Cross-entropy on the training part, mean of the epoch, in nats.
        val_loss: Cross-entropy on the validation part, in nats.
        val_accuracy: Share of the validation part classified correctly.
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]

    @classmethod
    def of_epochs(cls, rows: Iterable[Iterable[float]]) -> "History":
        """Return the history of rows with these three figures, one row for each epoch."""
        columns = list(zip(*([float(figure) for figure in row] for row in rows), strict=True))
        loss, val_loss, val_accuracy = columns or ((), (), ())
        return cls(loss, val_loss, val_accuracy)


def is_behind(accuracies: Sequence[float], floors: Sequence[float]) -> bool:
    """Tell whether a child has not reached what it must to go on.

    Args:
        accuracies: Validation accuracy after each epoch so far, at least one.
        floors: For each epoch, from the first on, the least best accuracy so far.
    """
    epochs = len(accuracies)
    return epochs <= len(floors) and max(accuracies) < floors[epochs - 1]


def goes_on(rows: Sequence[Sequence[float]], floors: Sequence[float]) -> bool:
    """Tell whether a training goes on after an epoch.

    Args:
        rows: Loss, validation loss and validation accuracy of each epoch so far.
        floors: As for `is_behind`.
    """
    return math.isfinite(rows[-1][0]) and not is_behind([row[2] for row in rows], floors)
