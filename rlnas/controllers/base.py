"""What a controller is: who proposes tokens and learns from rewards.

Letters: W episodes at a time, T the most tokens of an architecture, A the most
choices of a decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
State = dict[str, Any]
"""JSON-like values and NumPy arrays, by name."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a controller chose.

    Attributes:
        tokens: int64[W].
        log_probs: float64[W], natural logarithm of the probability each token had.
    """

    tokens: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A finished architecture and what it earned.

    Attributes:
        tokens: The whole sequence.
        log_probs: Log-probability each token had when it was chosen.
        reward: The reward, in the objective's units; None for a failed child, which
            ranks below all others.
        repeated: Whether the reward was known from an earlier trial with the same key.
        error: Standard error of the reward, 0 where it is not known.
        spent: Where a cost counts in the reward: what the reward would be without it, and what the
            child spent as a share of the target. None where none counts, or the child failed.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    reward: float | None
    repeated: bool = False
    error: float = 0.0
    spent: tuple[float, float] | None = None


class Controller(Protocol):
    """Proposes tokens and learns from what they earned.

    The search calls `act` for each token of each episode, in any interleaving: a
    policy is a function of the prefix. It calls `learn` whenever trajectories end, in
    the order of their results, one or more at a time; a controller that learns in
    batches keeps what it has until the batch is full. Only `act`, `learn` and `load`
    may change state, and `state` returns all of it: after ``other.load(one.state())``
    both go on bit for bit alike.

    A controller may have a method ``recall(keys)``. It is called before `load` with the canonical
    key of each token sequence of the run, which takes long to find again.
    """

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode.

        Args:
            observation: int64[W, T], token + 1, 0 where nothing is chosen yet.
            mask: int8[W, A], 1 for allowed; only allowed tokens are chosen.
        """

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the policy, float64[W, A], rows that sum to 1 and are 0 where masked.

        It changes nothing; arguments as for `act`.
        """

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from finished trajectories; return figures to log, by TensorBoard tag."""

    def state(self) -> State:
        """Return the complete state: weights, optimizer, baseline, generators, unused batch."""

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
