"""The settings of the reinforce controller, each with its source."""

from dataclasses import dataclass, replace

from rlnas.config import ControllerConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """How the policy learns.

    Attributes:
        learning_rate: Of Adam.
        batch_size: Trajectories per update.
        entropy: Weight of the entropy bonus, in units of reward (of the typical advantage
            if that is normalised) per nat.
        baseline_decay: Decay of the moving averages of reward and advantage, per trajectory.
        clip_norm: Largest global norm of the gradient; None for no clipping.
        advantage_limit: Divide the advantage by its typical size, then keep it within
            plus and minus this; None to take it as it is.
        learn_repeats: Whether a trajectory whose key was known before teaches again.
        heating: Factor by which each consecutive repeat raises the sampling temperature.
    """

    learning_rate: float
    batch_size: int
    entropy: float
    baseline_decay: float
    clip_norm: float | None
    advantage_limit: float | None
    learn_repeats: bool
    heating: float


PRESETS = {
    "default": Settings(
        learning_rate=0.02,
        batch_size=5,
        entropy=0.02,
        baseline_decay=0.9,
        clip_norm=5.0,
        advantage_limit=2.0,
        learn_repeats=True,
        heating=1.2,
    ),
    "zoph": Settings(
        learning_rate=0.0006,  # Zoph & Le 2016, section 4.1
        batch_size=8,  # section 4.1: m = 8 children per controller replica and update
        entropy=0.0,  # none is mentioned
        baseline_decay=0.95,  # chosen; "an exponential moving average", rate not published
        clip_norm=None,
        advantage_limit=None,  # section 3.2: reward less baseline
        learn_repeats=True,
        heating=1.1,
    ),
}
"""By name. All share two LSTM layers of 35 units and weights uniform in +-0.08 (section 4.1)."""


def settings(config: ControllerConfig) -> Settings:
    """Return the preset of a config, with what the config sets by itself in its place."""
    changed = {
        name: value
        for name in ("learning_rate", "batch_size", "entropy", "baseline_decay")
        if (value := getattr(config, name)) is not None
    }
    return replace(PRESETS[config.preset], **changed)
