"""What a controller remembers of all it has learned from."""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = tuple[int, ...]

Scored = tuple[Tokens, float]
"""An architecture and how good it is on any scale, higher is better."""


class History:
    """Architectures and their rewards, in the order they came; each architecture once.

    Args:
        elite: How many of the best are at hand.
    """

    def __init__(self, elite: int) -> None:
        """See the class."""
        self._elite = elite
        self._tokens: list[Tokens] = []
        self._members: set[Tokens] = set()
        # The same as plain numbers, so that a state is a copy and no loop.
        self._written, self._lengths = array("h"), array("h")
        self._rewards = array("d")  # minus infinity for a failed child
        self._errors = array("d")  # 0 where it is not known
        self._values, self._shares = array("d"), array("d")  # NaN where no cost counts
        self._ordered: list[float] = []
        self._best: list[tuple[float, int]] = []  # of the elite: minus reward, place

    def __len__(self) -> int:
        """Return the number of architectures."""
        return len(self._tokens)

    def __contains__(self, tokens: Tokens) -> bool:
        """Return whether these tokens were learned from."""
        return tokens in self._members

    @property
    def best(self) -> float:
        """The highest reward, minus infinity if there is none."""
        return self._ordered[-1] if self._ordered else -np.inf

    def add(
        self,
        tokens: Tokens,
        reward: float | None,
        error: float = 0.0,
        spent: tuple[float, float] | None = None,
    ) -> None:
        """Take in an architecture; None, a failed child, ranks below all others.

        Args:
            tokens: The architecture.
            reward: What it earned.
            error: The standard error of that; 0 if it is not known.
            spent: As in `Trajectory`.
        """
        earned = -np.inf if reward is None else float(reward)
        if reward is not None:
            insort(self._best, (-earned, len(self._tokens)))
            del self._best[self._elite :]
        self._tokens.append(tokens)
        self._members.add(tokens)
        self._written.extend(tokens)
        self._lengths.append(len(tokens))
        self._rewards.append(earned)
        self._errors.append(error)
        value, share = spent or (np.nan, np.nan)
        self._values.append(value)
        self._shares.append(share)
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
        return _numbers(self._rewards)

    def errors(self) -> npt.NDArray[np.float64]:
        """Return the standard errors of all rewards, 0 where one is not known."""
        return _numbers(self._errors)

    def spent(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return rewards without the cost and shares of its target, NaN where there is none."""
        return _numbers(self._values), _numbers(self._shares)

    def standing(self, reward: float | None) -> float:
        """Return where a reward stands among all: -1 for the worst, 1 for the best."""
        earned = -np.inf if reward is None else float(reward)
        below = bisect_left(self._ordered, earned)
        above = len(self._ordered) - bisect_right(self._ordered, earned)
        return (below - above) / max(len(self._ordered) - 1, 1)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it as arrays: tokens one behind the other, lengths, rewards and more."""
        tokens = _numbers(self._written)
        small = tokens.astype(np.int8) if tokens.max(initial=0) < 128 else tokens
        state = {
            "tokens": small,
            "lengths": _numbers(self._lengths),
            "rewards": _numbers(self._rewards),
        }
        if self.errors().any():
            state["errors"] = self.errors()
        values, shares = self.spent()
        if not np.isnan(shares).all():
            state["spent"] = np.stack([values, shares], axis=1)
        return state

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set what `state` returned."""
        self.__init__(self._elite)  # type: ignore[misc]
        ends = np.cumsum(state["lengths"], dtype=np.int64)
        rows = np.split(state["tokens"], ends[:-1]) if len(ends) else []
        errors = state.get("errors", np.zeros(len(rows))).tolist()
        spent = state.get("spent", np.full((len(rows), 2), np.nan)).tolist()
        each = zip(rows, state["rewards"].tolist(), errors, spent, strict=True)
        for row, reward, error, (value, share) in each:
            earned = None if reward == -np.inf else reward
            self.add(tuple(row.tolist()), earned, error, (value, share))


def _numbers(buffer: "array[Any]") -> npt.NDArray[Any]:
    """Return a copy: a view would keep the buffer from growing."""
    return np.frombuffer(buffer, dtype=buffer.typecode).copy()
