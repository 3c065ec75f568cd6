"""What controllers share that choose a whole architecture at once: search without a policy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.plans import Plans
from rlnas.controllers.sampling import draw_action, masked_softmax
from rlnas.controllers.variation import Tokens
from rlnas.spaces import Space, prefix_of

Member = tuple[Tokens, float | None]
"""An architecture and its reward, None for a failed child."""


class WholeController(ABC):
    """Proposes whole architectures and hands them out token by token.

    There is no policy: `probabilities` says what the mask allows, all alike, and so do the
    log-probabilities of `act`.

    Args:
        space: The grammar.
        seed: Seed of all its randomness.
    """

    name: str

    def __init__(self, space: Space, seed: int) -> None:
        """See the class."""
        self._space = space
        self._origin = origin(self.name, space)
        self._rng = np.random.default_rng(seed)
        self._plans = Plans(self._propose)

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        drawn = self.probabilities(observation, mask)
        for row, observed in enumerate(observation):
            if mask[row].any():
                token = self._plans.token(prefix_of(observed))
                if token is not None and mask[row, token]:
                    drawn[row] = np.eye(len(mask[row]))[token]
        tokens = draw_action(drawn, self._rng).tokens
        allowed = mask.sum(axis=1).astype(np.float64)
        return Action(tokens, -np.log(np.where(allowed > 0, allowed, 1.0)))

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return float64[W, A], equal for all allowed tokens of a row."""
        return np.stack([masked_softmax(np.zeros(len(row)), row) for row in mask])

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Take the rewards in; what is logged tells how the kind of search stands."""
        for trajectory in trajectories:
            self._take((trajectory.tokens, trajectory.reward), trajectory.repeated)
        return {f"controller/{name}": value for name, value in self._figures().items()}

    def state(self) -> State:
        """Return the complete state."""
        return {
            "origin": dict(self._origin),
            "generator": self._rng.bit_generator.state,
            "plans": self._plans.state(),
            **self._own_state(),
        }

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
        check_origin(state, self._origin)
        self._rng.bit_generator.state = state["generator"]
        self._plans.load(state["plans"])
        self._load_own(state)

    @abstractmethod
    def _propose(self) -> Tokens:
        """Choose an architecture."""

    @abstractmethod
    def _take(self, member: Member, repeated: bool) -> None:
        """Learn what an architecture earned."""

    @abstractmethod
    def _figures(self) -> dict[str, float]:
        """Return figures to log, by name."""

    @abstractmethod
    def _own_state(self) -> State:
        """Return what this kind of search keeps beside generator and plans."""

    @abstractmethod
    def _load_own(self, state: State) -> None:
        """Set what `_own_state` returned."""


def score(member: Member) -> float:
    """Return a reward that can be compared: a failed child ranks below all others."""
    return -np.inf if member[1] is None else member[1]


def members_to_json(members: Sequence[Member]) -> list[list[Any]]:
    """Return members as JSON."""
    return [[list(tokens), reward] for tokens, reward in members]


def members_from_json(record: Sequence[Any]) -> list[Member]:
    """Return the members that `members_to_json` wrote."""
    return [(tuple(tokens), reward) for tokens, reward in record]
