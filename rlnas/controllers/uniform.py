"""The honest control: every allowed token is equally likely, and nothing is learned."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.sampling import draw_action, masked_softmax
from rlnas.spaces import Space


class RandomController:
    """Chooses uniformly among the allowed tokens.

    Args:
        space: The grammar.
        seed: Seed of its own generator.
    """

    name = "random"

    def __init__(self, space: Space, seed: int) -> None:
        """See the class."""
        self._origin = origin(self.name, space)
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        return draw_action(self.probabilities(observation, mask), self._rng)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return float64[W, A], equal for all allowed tokens of a row."""
        return np.stack([masked_softmax(np.zeros(len(row)), row) for row in mask])

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn nothing, and have nothing to log."""
        return {}

    def state(self) -> State:
        """Return the state of the generator."""
        return {"origin": dict(self._origin), "generator": self._rng.bit_generator.state}

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
        check_origin(state, self._origin)
        self._rng.bit_generator.state = state["generator"]
