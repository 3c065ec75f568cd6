"""What a reward is compared with: the moving average of the rewards before it."""

import math

from rlnas.controllers.base import State


class Baseline:
    """An exponential moving average of rewards, and the typical distance from it.

    The average begins at the first reward, whose advantage is therefore 0. Each later
    reward is compared with the average of those *before* it (Zoph & Le 2016, section
    3.2) and then joins it. A failed child, which has no reward, counts as one typical
    distance below the lowest reward so far, and joins nothing: failures must
    not become the normal case.

    Args:
        decay: Share of the old average that a new reward leaves, 0 <= decay < 1.
    """

    def __init__(self, decay: float) -> None:
        """See the class."""
        self._decay = decay
        self._mean = 0.0
        self._lowest = 0.0
        self._square = 0.0  # moving average of squared advantages
        self._rewards = 0

    @property
    def value(self) -> float:
        """The moving average; 0 before the first reward."""
        return self._mean

    @property
    def scale(self) -> float:
        """Root mean square of the recent advantages; 0 while all were 0."""
        # The average of squares began at 0; what is left of that is divided out (Adam does
        # likewise). The first advantage is 0 by definition and is not one of them.
        weight = 1.0 - self._decay ** max(self._rewards - 1, 0)
        return math.sqrt(self._square / weight) if weight else 0.0

    def advantage(self, reward: float | None) -> float | None:
        """Return reward less baseline, and let the reward join the averages.

        Args:
            reward: None for a failed child.

        Returns:
            None for a failure before the first reward: there is nothing it ranks below.
        """
        if reward is None:
            return self._lowest - self.scale - self._mean if self._rewards else None
        if not self._rewards:
            self._mean = self._lowest = reward
        advantage = reward - self._mean
        self._mean += (1.0 - self._decay) * advantage
        self._lowest = min(self._lowest, reward)
        if self._rewards:
            self._square += (1.0 - self._decay) * (advantage**2 - self._square)
        self._rewards += 1
        return advantage

    def state(self) -> State:
        """Return all averages."""
        return {
            "mean": self._mean,
            "lowest": self._lowest,
            "square": self._square,
            "rewards": self._rewards,
        }

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned."""
        self._mean = float(state["mean"])
        self._lowest = float(state["lowest"])
        self._square = float(state["square"])
        self._rewards = int(state["rewards"])
