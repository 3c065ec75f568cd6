"""What the monitor is told: one record per trial, and one per network that was retrained."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlnas.objectives import Metrics
from rlnas.spaces import Architecture

PolicyTable = Mapping[str, list[float]]
"""Probability of each choice, by the name of its decision."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished trial, and how the search stood when it finished.

    Attributes:
        number: Number of the trial, from 1.
        step: Place of its result among all results, from 1: the step of all its tags.
        tokens: The sequence that the controller wrote.
        architecture: What it means.
        reward: The reward; None for a failed child.
        best_reward: Best reward so far, this trial's included; None while there is none.
        is_best: Whether this trial has that reward as the first.
        state: What became of the child, "done" or "failed".
        metrics: What was measured; None for a failed child.
        learned: What the controller's `learn` returned, by declared tag.
        proposals: All proposals so far, repeated ones included.
        repeats: Those of them whose architecture was already known.
        failures: Trials so far whose child failed.
        policy: The policy to draw as a heat-map, as `policy_table` gives it; None for no picture.
        wall_time: When the trial finished, in seconds since 1970.
    """

    number: int
    step: int
    tokens: tuple[int, ...]
    architecture: Architecture
    reward: float | None
    best_reward: float | None
    is_best: bool
    state: str
    metrics: Metrics | None
    learned: Mapping[str, float] = field(default_factory=dict)
    proposals: int = 0
    repeats: int = 0
    failures: int = 0
    policy: PolicyTable | None = None
    wall_time: float = 0.0

    def scalars(self) -> dict[str, float]:
        """Return all figures of the trial by tag; what is not known is left out."""
        values: dict[str, float | None] = {
            "search/reward": self.reward,
            "search/best_reward": self.best_reward,
            "search/repeat_rate": self.repeats / max(self.proposals, 1),
            "search/invalid_rate": self.failures / max(self.proposals - self.repeats, 1),
        }
        if self.metrics is not None:
            values["child/val_accuracy"] = _last(self.metrics.val_accuracy)
            values["child/spread"] = self.metrics.spread if self.metrics.trainings > 1 else None
            values["child/epochs"] = self.metrics.epochs
            values["child/seconds"] = self.metrics.seconds
            values["child/peak_memory"] = self.metrics.peak_memory
            values["child/latency"] = self.metrics.latency or None
            values["child/params"] = self.metrics.params
            values["child/flops"] = self.metrics.flops
        known = {name: float(value) for name, value in values.items() if value is not None}
        return known | {name: float(value) for name, value in self.learned.items()}


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """One network after the longer training at the end.

    Attributes:
        name: What to call it, for example ``"trial 12"`` or ``"reference child"``.
        rank: Its rank by brief reward, from 1; 0 for the reference child; None for a
            network of the user's own, which stands in the table alone.
        layers: Its layers in one line of text.
        params: Its weights.
        reward: Reward after brief training; None where there was none.
        val_accuracy: Validation accuracy after the longer training; None if that failed.
        test_accuracy: Test accuracy; None where it was not tested.
        chosen: Whether it is the result of the run.
    """

    name: str
    rank: int | None
    layers: str
    params: int
    reward: float | None
    val_accuracy: float | None
    test_accuracy: float | None = None
    chosen: bool = False

    def scalars(self) -> dict[str, float]:
        """Return its figures by tag; what is not known is left out."""
        values = {
            "final/val_accuracy": self.val_accuracy,
            "final/test_accuracy": self.test_accuracy,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


def _last(values: tuple[float, ...]) -> float | None:
    return values[-1] if values else None
