"""The controller of Zoph & Le 2016: an RNN policy trained by REINFORCE.

Barret Zoph and Quoc V. Le, "Neural Architecture Search with Reinforcement Learning",
arXiv:1611.01578. Rates and what was changed to learn from few trials: `presets`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.baseline import Baseline
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.policy import Policy
from rlnas.controllers.presets import Settings
from rlnas.controllers.sampling import draw_action
from rlnas.spaces import Space, prefix_of

_HOTTEST = 1000.0
"""Cap of the sampling temperature, hot enough to be uniform (chosen)."""


class ReinforceController:
    """Proposes by an LSTM policy and learns by policy gradient.

    Learning: a trajectory's advantage is its reward less the baseline; when the batch is
    full, one step of Adam follows the policy gradient plus entropy bonus, and the batch
    is emptied. A failed child ranks below all others (see `Baseline`).

    Escape: a policy that has grown sure of itself proposes what is known already. Each
    consecutive repeat handed to `learn` raises the temperature of sampling; the first new
    architecture brings it back to 1. `probabilities`, all log-probabilities and the policy
    gradient are those of the distribution that is really sampled from.

    Args:
        space: The grammar.
        settings: How it learns; see `presets`.
        seed: Seed of initial weights and sampling.
    """

    name = "reinforce"

    def __init__(self, space: Space, settings: Settings, seed: int) -> None:
        """See the class."""
        self._origin = origin(self.name, space)
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._policy = Policy(space, settings, self._rng)
        self._baseline = Baseline(settings.baseline_decay)
        self._temperature = 1.0
        self._batch: list[tuple[tuple[int, ...], float, float]] = []
        """Tokens, advantage, and the temperature that stood when they were handed in."""

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        return draw_action(self.probabilities(observation, mask), self._rng)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the policy, float64[W, A]; arguments as in `Controller.probabilities`."""
        return np.stack(
            [
                self._policy.row(prefix_of(observed), allowed, self._temperature)
                for observed, allowed in zip(observation, mask, strict=True)
            ]
        )

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from finished trajectories.

        Returns:
            ``controller/baseline`` and ``controller/temperature``; if the batch was filled,
            also ``policy_loss``, ``gradient_norm`` (before clipping), ``entropy``
            (nats per decision) and ``advantage`` (mean of the batch, in units of reward).
        """
        figures: dict[str, float] = {}
        sampled_at = self._temperature
        for trajectory in trajectories:
            self._heat(trajectory.repeated)
            if self._take(trajectory, sampled_at) and len(self._batch) >= self._settings.batch_size:
                figures = self._update()
        figures |= {"baseline": self._baseline.value, "temperature": self._temperature}
        return {f"controller/{name}": value for name, value in figures.items()}

    def state(self) -> State:
        """Return the complete state."""
        return {
            "origin": dict(self._origin),
            "generator": self._rng.bit_generator.state,
            "network": self._policy.state(),
            "baseline": self._baseline.state(),
            "temperature": self._temperature,
            "batch": [[list(tokens), *numbers] for tokens, *numbers in self._batch],
        }

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
        check_origin(state, self._origin)
        self._policy.load(state["network"])
        self._rng.bit_generator.state = state["generator"]
        self._baseline.load(state["baseline"])
        self._temperature = float(state["temperature"])
        self._batch = [
            (tuple(tokens), float(advantage), float(temperature))
            for tokens, advantage, temperature in state["batch"]
        ]

    def save_weights(self, path: Path) -> None:
        """Write the policy's weights as a Keras file; its name ends in ``.weights.h5``.

        Raises:
            StorageError: The disk refused.
        """
        self._policy.save_weights(path)

    def _heat(self, repeated: bool) -> None:
        hotter = min(self._temperature * self._settings.heating, _HOTTEST)
        self._temperature = hotter if repeated else 1.0

    def _take(self, trajectory: Trajectory, sampled_at: float) -> bool:
        """Put a trajectory into the batch; return whether there is anything to learn from it."""
        advantage = self._advantage(trajectory)
        if advantage is not None:
            self._batch.append((trajectory.tokens, advantage, sampled_at))
        return advantage is not None

    def _advantage(self, trajectory: Trajectory) -> float | None:
        of_repeat = self._settings.repeat_advantage
        failed = trajectory.reward is None
        if trajectory.repeated and not failed and of_repeat is not None:
            return of_repeat * self._baseline.scale
        return self._baseline.advantage(trajectory.reward)

    def _update(self) -> dict[str, float]:
        advantages = np.array([advantage for _, advantage, _ in self._batch])
        batch = self._policy.batch([tokens for tokens, _, _ in self._batch])
        batch["advantage"] = self._scaled(advantages).astype(np.float32)
        batch["temperature"] = np.array([each[2] for each in self._batch], dtype=np.float32)
        figures = self._policy.update(batch)
        self._batch.clear()
        return {**figures, "advantage": float(advantages.mean())}

    def _scaled(self, advantages: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        limit = self._settings.advantage_limit
        if limit is None or self._baseline.scale == 0.0:
            return advantages
        return np.clip(advantages / self._baseline.scale, -limit, limit)
