"""The settings of the reinforce controller, each with its source."""

from dataclasses import dataclass, replace

from rlnas.config import DENSITY_PULL, ControllerConfig


@dataclass(frozen=True, slots=True)
class Shape:
    """The layers of a controller's network.

    Attributes:
        units: Of each LSTM layer and of the embedding. 35: Zoph & Le 2016, section 4.1; that
            the embedding has as many is chosen.
        layers: LSTM layers. 2: Zoph & Le 2016, section 4.1.
        squash: (c, t): a logit z becomes c tanh(z / t); None to take it as it is.
        factorised: Logits for each position by itself, without any LSTM.
    """

    units: int = 35
    layers: int = 2
    squash: tuple[float, float] | None = None
    factorised: bool = False


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
        repeat_advantage: Advantage of a trajectory whose key was known, in typical sizes of
            an advantage; None to let its reward teach again.
        heating: Factor by which each consecutive repeat raises the sampling temperature; 1
            for never.
        shape: The layers of the network.
        density: Share of the skip connections that the policy is pulled to; None for no pull.
        density_pull: Weight of that pull.
    """

    learning_rate: float
    batch_size: int
    entropy: float
    baseline_decay: float
    clip_norm: float | None
    advantage_limit: float | None
    repeat_advantage: float | None
    heating: float
    shape: Shape = Shape()
    density: float | None = None
    density_pull: float = DENSITY_PULL


PRESETS = {
    # Measured by benchmarks/learning.py where it says so, else chosen. None is critical: with
    # half or twice as much it still ends better than random in more than 9 of 10 landscapes.
    "default": Settings(
        learning_rate=0.02,  # measured
        batch_size=3,  # measured; larger ones lose when there are only 40 trials
        entropy=0.02,  # measured
        baseline_decay=0.9,
        clip_norm=5.0,
        advantage_limit=2.0,
        repeat_advantage=-1.0,  # what is known already is of no use to a search
        heating=1.2,
    ),
    "zoph": Settings(
        learning_rate=0.0006,  # Zoph & Le 2016, section 4.1
        batch_size=8,  # section 4.1: each update from m = 8 children
        entropy=0.0,  # none is mentioned
        baseline_decay=0.95,  # chosen; section 3.2 says moving average and gives no rate
        clip_norm=None,  # none is mentioned
        advantage_limit=None,  # section 3.2: reward less baseline
        repeat_advantage=None,  # none is mentioned: a repeat was one more sample
        heating=1.0,  # none is mentioned; once it is sure of itself, the search ends early
    ),
    # Pham et al. 2018, "Efficient Neural Architecture Search via Parameter Sharing". What the
    # paper leaves open is set as in its published code.
    "enas": Settings(
        learning_rate=0.00035,  # section 3.1
        batch_size=1,  # published code: one child per step
        entropy=1e-4,  # section 3.1
        baseline_decay=0.99,  # published code
        clip_norm=None,  # published code
        advantage_limit=None,  # reward less baseline
        repeat_advantage=None,
        heating=1.0,
        shape=Shape(units=64, layers=1, squash=(2.5, 5.0)),  # appendix; tanh constant 2.5
    ),
    # Dong et al. 2021, "NATS-Bench", the REINFORCE of its experiments: no network, but one
    # softmax per position.
    "nats": Settings(
        learning_rate=0.01,  # published code
        batch_size=1,  # published code
        entropy=0.0,  # none
        baseline_decay=0.9,  # published code
        clip_norm=None,
        advantage_limit=None,
        repeat_advantage=None,
        heating=1.0,
        shape=Shape(factorised=True),
    ),
}
"""By name. Weights start uniform in +-0.08 (Zoph & Le 2016, section 4.1)."""


def settings(config: ControllerConfig) -> Settings:
    """Return the preset of a config, with what the config sets by itself in its place."""
    changed = {
        name: value
        for name in ("learning_rate", "batch_size", "entropy", "baseline_decay")
        if (value := getattr(config, name)) is not None
    }
    changed |= {"density": config.skip_density, "density_pull": config.skip_pull}
    return replace(PRESETS[config.preset], **changed)
