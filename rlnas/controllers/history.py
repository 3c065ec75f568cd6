"""What a controller remembers of all it has learned from."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = tuple[int, ...]

Scored = tuple[Tokens, float]
"""An architecture and how good it is on any scale, higher is better."""

_NOTHING = -1


class History:
    """Architectures and their rewards, in the order they came; each architecture once.

    Args:
        elite: How many of the best are at hand.
    """

    def __init__(self, elite: int) -> None:
        """See the class."""
        self._elite = elite
        self._tokens: list[Tokens] = []
        self._rewards: list[float] = []  # minus infinity for a failed child
        self._ordered: list[float] = []
        self._best: list[tuple[float, int]] = []  # of the elite: minus reward, place

    def __len__(self) -> int:
        """Return the number of architectures."""
        return len(self._tokens)

    @property
    def best(self) -> float:
        """The highest reward, minus infinity if there is none."""
        return self._ordered[-1] if self._ordered else -np.inf

    def add(self, tokens: Tokens, reward: float | None) -> None:
        """Take in an architecture; None, a failed child, ranks below all others."""
        earned = -np.inf if reward is None else float(reward)
        if reward is not None:
            insort(self._best, (-earned, len(self._tokens)))
            del self._best[self._elite :]
        self._tokens.append(tokens)
        self._rewards.append(earned)
        insort(self._ordered, earned)

    def elite(self) -> list[Tokens]:
        """Return the best architectures, the best first."""
        return [self._tokens[place] for _, place in self._best]

    def tokens(self, place: int) -> Tokens:
        """Return the architecture that came at this place."""
        return self._tokens[place]

    def all(self) -> list[Tokens]:
        """Return the architectures in the order they came."""
        return list(self._tokens)

    def rewards(self) -> npt.NDArray[np.float64]:
        """Return all rewards, minus infinity for failed children."""
        return np.array(self._rewards, dtype=np.float64)

    def standing(self, reward: float | None) -> float:
        """Return where a reward stands among all: -1 for the worst, 1 for the best."""
        earned = -np.inf if reward is None else float(reward)
        below = bisect_left(self._ordered, earned)
        above = len(self._ordered) - bisect_right(self._ordered, earned)
        return (below - above) / max(len(self._ordered) - 1, 1)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it as arrays."""
        longest = max(map(len, self._tokens), default=0)
        tokens = np.full((len(self._tokens), longest), _NOTHING, dtype=np.int16)
        for place, each in enumerate(self._tokens):
            tokens[place, : len(each)] = each
        return {"tokens": tokens, "rewards": np.array(self._rewards, dtype=np.float64)}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set what `state` returned."""
        self.__init__(self._elite)  # type: ignore[misc]
        for row, reward in zip(state["tokens"].tolist(), state["rewards"].tolist(), strict=True):
            tokens = tuple(token for token in row if token != _NOTHING)
            self.add(tokens, None if reward == -np.inf else reward)
