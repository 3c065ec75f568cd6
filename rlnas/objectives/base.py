"""What an evaluation gives back: metrics, or a failure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any


@dataclass(frozen=True, slots=True)
class Metrics:
    """What was measured on one trained child.

    Attributes:
        val_accuracy: Share of the validation part classified correctly, after each epoch; where a
            number is predicted R2, the share of its variance that is explained.
        val_loss: Cross-entropy on the validation part, after each epoch, in nats; of a number, the
            mean square of the error, in variances of the training part.
        loss: The same on the training part, mean of each epoch.
        params: Number of weights, those that are not trained included.
        flops: Floating point operations of one forward pass of one example.
        seconds: Wall-clock time of the training, in seconds.
        peak_memory: Largest memory of the process, or of the GPU, meanwhile, in MB.
        extra: Further figures by name: the metric that is rewarded, where it is not the accuracy,
            and those of a user's own evaluator.
        stopped: Whether the training was ended before the last epoch, for the child was behind.
        latency: Time of a forward pass of one example, in milliseconds; 0 if not measured.
        size: Size of the ``.keras`` file, in MB; 0 if not measured.
        restarts: How often it began anew with a lower learning rate, each time after one epoch.
        trainings: Trainings of which all this is the mean: on several folds, or from several seeds.
        spread: Standard deviation of what is rewarded over these; 0 with one.
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
    size: float = 0.0
    restarts: int = 0
    trainings: int = 1
    spread: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of what is rewarded; 0 where there was one training."""
        return float(self.spread / sqrt(self.trainings))

    @property
    def epochs(self) -> int:
        """Epochs that the child took in all."""
        return self.trainings * len(self.val_accuracy) + self.restarts

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
