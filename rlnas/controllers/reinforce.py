"""The controller of Zoph & Le 2016: an RNN policy trained by REINFORCE.

Barret Zoph and Quoc V. Le, "Neural Architecture Search with Reinforcement Learning",
arXiv:1611.01578. Rates and what was changed to learn from few trials: `presets`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.baseline import Baseline
from rlnas.controllers.network import Batch, PolicyNetwork
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.presets import Settings
from rlnas.controllers.reading import Floats, Memory, no_memory, read
from rlnas.controllers.sampling import draw_action, masked_softmax
from rlnas.controllers.vocabulary import Vocabulary
from rlnas.spaces import Space, prefix_of

_HOTTEST = 1000.0
"""Cap of the sampling temperature, hot enough to be uniform (chosen)."""

_CACHE_SIZE = 4096
"""Prefixes whose logits are kept, about 2 kB each (chosen)."""


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
        self._vocabulary = Vocabulary(space)
        self._max_tokens = space.max_tokens
        self._rng = np.random.default_rng(seed)
        self._network = PolicyNetwork(self._vocabulary.size, settings, self._rng)
        self._baseline = Baseline(settings.baseline_decay)
        self._temperature = 1.0
        self._batch: list[tuple[tuple[int, ...], float, float]] = []
        """Tokens, advantage, and the temperature that stood when they were handed in."""
        self._keep_weights()

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        return draw_action(self.probabilities(observation, mask), self._rng)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the policy, float64[W, A]; arguments as in `Controller.probabilities`."""
        return np.stack(
            [
                self._row(prefix_of(observed), allowed)
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
            "network": self._network.state(),
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
        self._network.load(state["network"])
        self._rng.bit_generator.state = state["generator"]
        self._baseline.load(state["baseline"])
        self._temperature = float(state["temperature"])
        self._batch = [
            (tuple(tokens), float(advantage), float(temperature))
            for tokens, advantage, temperature in state["batch"]
        ]
        self._keep_weights()

    def save_weights(self, path: Path) -> None:
        """Write the policy's weights as a Keras file; its name ends in ``.weights.h5``.

        Raises:
            StorageError: The disk refused.
        """
        self._network.save_weights(path)

    def _keep_weights(self) -> None:
        """Act by the network's present weights, and forget what was read by others."""
        self._weights = self._network.weights()
        self._read: dict[tuple[int, ...], tuple[Floats, Memory]] = {}  # logits, memory

    def _row(self, prefix: tuple[int, ...], mask: Array) -> Floats:
        entries = self._vocabulary.entries(prefix)
        logits = np.zeros(len(mask))
        if mask.any():
            logits[: entries.stop - entries.start] = self._logits(prefix)[entries]
        return masked_softmax(logits / self._temperature, mask)

    def _logits(self, prefix: tuple[int, ...]) -> Floats:
        """Return float64[V], what comes behind a prefix; parts of it read before are kept."""
        if prefix not in self._read:
            for length in range(len(prefix) + 1):
                if prefix[:length] not in self._read:
                    self._read_last(prefix[:length])
        return self._read[prefix][0]

    def _read_last(self, prefix: tuple[int, ...]) -> None:
        """Read the last token of a prefix whose other tokens were read before."""
        if prefix:
            entry = self._vocabulary.entry(prefix, len(prefix) - 1)
            memory = self._read[prefix[:-1]][1]
        else:
            entry, memory = Vocabulary.START, no_memory(self._weights)
        if len(self._read) >= _CACHE_SIZE:
            self._read.clear()
        self._read[prefix] = read(self._weights, entry, memory)

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
        figures = self._network.update(self._arrays(self._scaled(advantages)))
        self._batch.clear()
        self._keep_weights()
        return {**figures, "advantage": float(advantages.mean())}

    def _scaled(self, advantages: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        limit = self._settings.advantage_limit
        if limit is None or self._baseline.scale == 0.0:
            return advantages
        return np.clip(advantages / self._baseline.scale, -limit, limit)

    def _arrays(self, advantages: npt.NDArray[np.float64]) -> Batch:
        steps = (len(self._batch), self._max_tokens)
        batch: dict[str, npt.NDArray[Any]] = {
            "entry": np.zeros(steps, dtype=np.int32),
            "action": np.zeros(steps, dtype=np.int32),
            "mask": np.zeros((*steps, self._vocabulary.size), dtype=np.int8),
            "weight": np.zeros(steps, dtype=np.float32),
            "advantage": advantages.astype(np.float32),
            "temperature": np.array([each[2] for each in self._batch], dtype=np.float32),
        }
        for row, (tokens, _, _) in enumerate(self._batch):
            for t in range(len(tokens)):
                batch["action"][row, t] = self._vocabulary.entry(tokens, t)
                batch["mask"][row, t] = self._vocabulary.mask(tokens[:t])
            batch["entry"][row, 1 : len(tokens)] = batch["action"][row, : len(tokens) - 1]
            batch["weight"][row, : len(tokens)] = 1.0
        return batch
