"""What an evaluation gives back, and the number the controller learns from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LARGEST = 1e15
"""Largest reward (chosen): its square, summed over all weights, still fits into float32."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What was measured on one trained child.

    Attributes:
        val_accuracy: Share of the validation part classified correctly, after each epoch.
        val_loss: Cross-entropy on the validation part, after each epoch, in nats.
        loss: Cross-entropy on the training part, mean of each epoch, in nats.
        params: Number of weights, those that are not trained included.
        flops: Floating point operations of one forward pass of one example.
        seconds: Wall-clock time of the training, in seconds.
        peak_memory: Largest memory of the process, or of the GPU, meanwhile, in MB.
        extra: Further figures by name, from a user's own evaluator.
        stopped: Whether the training was ended before the last epoch, for the child was behind.
        latency: Time of a forward pass of one example, in milliseconds; 0 if not measured.
        restarts: How often it began anew with a lower learning rate, each time after one epoch.
    """

    val_accuracy: tuple[float, ...]
    val_loss: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    params: int = 0
    flops: int = 0
    seconds: float = 0.0
    peak_memory: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    latency: float = 0.0
    restarts: int = 0

    @property
    def epochs(self) -> int:
        """Epochs that the child took in all."""
        return len(self.val_accuracy) + self.restarts

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as JSON."""
        return asdict(self)

    def lasting(self) -> dict[str, Any]:
        """Return what the same seed gives again: all but times and memory."""
        record = self.to_json()
        del record["seconds"], record["peak_memory"], record["latency"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Metrics":
        """Return the metrics that `to_json` wrote."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Failure:
    """A child that could not be trained: an observation, never the end of a search.

    Attributes:
        reason: What happened, in one sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Objective:
    """The reward of Zoph & Le 2016: the best validation accuracy of the last epochs, to a power.

    Attributes:
        last_epochs: How many of the last epochs count (they took 5).
        exponent: Power to which the accuracy is raised (they took 3; 1 keeps its unit).
    """

    last_epochs: int = 5
    exponent: float = 1.0

    def reward(self, metrics: Metrics) -> float:
        """Return the reward of a child, from 0 to 1 for an accuracy.

        A user's own figure below 0 keeps its sign, so that the order stays; one that
        would give more than `LARGEST`, on either side of 0, gives that.
        """
        accuracy = self.accuracy(metrics)
        try:
            size = math.pow(abs(accuracy), self.exponent)
        except OverflowError:
            size = LARGEST
        return math.copysign(min(size, LARGEST), accuracy)

    def accuracy(self, metrics: Metrics) -> float:
        """Return the best validation accuracy of the last epochs."""
        last = [
            value for value in metrics.val_accuracy[-self.last_epochs :] if math.isfinite(value)
        ]
        return float(max(last, default=0.0))
