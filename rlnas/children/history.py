"""What the training of a child measured."""

from collections.abc import Iterable
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
