"""Architectures as rows of bits, so that their distances can be counted.

A decision and its occurrence ("the second layer's type") is a place; what an architecture does
not decide is a choice of its own, "absent". So conditional decisions and sequences of any length
are compared place by place, and the Hamming distance says how many decisions differ. Beside them
stands how often each choice occurs, wherever it does: decisions among the same choices count as
one.

Letters: N architectures, P and Q bits.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space

Singles = npt.NDArray[np.float32]
_Bits = npt.NDArray[np.int64]

Row = tuple[_Bits, _Bits]
"""Which bits are set for an architecture: of what it decides, and of what it contains."""


@dataclass(frozen=True, slots=True)
class Features:
    """N architectures.

    Attributes:
        decided: float32[N, P]: a bit for each place that is decided, and one for what is chosen.
        contained: float32[N, Q]: of each choice as many bits as it occurs.
    """

    decided: Singles
    contained: Singles

    def __len__(self) -> int:
        """Return N."""
        return len(self.decided)

    def since(self, number: int) -> "Features":
        """Return those from a number on."""
        return Features(self.decided[number:], self.contained[number:])

    def followed_by(self, other: "Features") -> "Features":
        """Return these, and the others behind them."""
        pairs = ((self.decided, other.decided), (self.contained, other.contained))
        return Features(*(_stacked(ours, theirs) for ours, theirs in pairs))

    def begins_with(self, other: "Features") -> bool:
        """Return whether the first of these are all of the others."""
        pairs = ((self.decided, other.decided), (self.contained, other.contained))
        return all(_begins_with(ours, theirs) for ours, theirs in pairs)


def distances(first: Features, second: Features) -> tuple[Singles, Singles]:
    """Return how far each of the first is from each of the second, float32[N, M] twice.

    Returns:
        In how many decisions they differ, and how many choices one has that the other lacks
        (half the sum over both).
    """
    sizes = np.add.outer(first.contained.sum(axis=1), second.contained.sum(axis=1))
    # A decision that both have and decide alike is two bits in common; if not alike, one.
    decided: Singles = sizes - _common(first.decided, second.decided)
    contained: Singles = 0.5 * sizes - _common(first.contained, second.contained)
    return decided, contained


def _stacked(above: Singles, below: Singles) -> Singles:
    """Return rows above others, zeros where one side has no column."""
    whole = np.zeros(
        (len(above) + len(below), max(above.shape[1], below.shape[1])), dtype=np.float32
    )
    whole[: len(above), : above.shape[1]] = above
    whole[len(above) :, : below.shape[1]] = below
    return whole


def _begins_with(ours: Singles, theirs: Singles) -> bool:
    """Return whether the first rows are equal; columns that only one side has must be zero."""
    count, width = len(theirs), min(ours.shape[1], theirs.shape[1])
    if count > len(ours) or theirs[:, width:].any() or ours[:count, width:].any():
        return False
    return bool(np.array_equal(ours[:count, :width], theirs[:, :width]))


def _common(first: Singles, second: Singles) -> Singles:
    """Return how many bits each of the first has in common with each of the second.

    One product of matrices, which is fast; bits that one side has no place for, or that the
    second never sets, are not common.
    """
    width = min(first.shape[1], second.shape[1])
    used = np.flatnonzero(second[:, :width].any(axis=0))
    common: Singles = first[:, used] @ second[:, used].T
    return common


class Encoder:
    """Reads token sequences.

    Args:
        space: The grammar.
    """

    def __init__(self, space: Space) -> None:
        """See the class."""
        self._space = space
        self._places: dict[str, int] = {}  # of a decision's name: its bit, its choices behind it
        self._kinds: dict[str, int] = {}  # of a decision's name: where its choices are counted
        kinds: dict[tuple[str, ...], int] = {}
        self._width = self._choices = 0
        for decision in space.decisions:
            choices = tuple(map(repr, decision.choices))
            if choices not in kinds:
                kinds[choices] = self._choices
                self._choices += len(choices)
            self._kinds[decision.name] = kinds[choices]
            self._places[decision.name] = self._width
            self._width += 1 + len(choices)

    def row(self, tokens: Sequence[int]) -> Row:
        """Return what an architecture decides, and what it contains."""
        names: Counter[str] = Counter()
        counted: Counter[int] = Counter()
        decided, contained = [], []
        for place, token in enumerate(tokens):
            decision = self._space.decision(tokens[:place])
            if decision is None:
                raise ValueError(f"finished after {place} tokens, got {tokens}")
            first = names[decision.name] * self._width + self._places[decision.name]
            decided += [first, first + 1 + token]
            choice = self._kinds[decision.name] + token
            contained.append(counted[choice] * self._choices + choice)
            names[decision.name] += 1
            counted[choice] += 1
        return np.array(decided, dtype=np.int64), np.array(contained, dtype=np.int64)

    def counts(self, row: Row) -> npt.NDArray[np.int64]:
        """Return how often each choice occurs, wherever it does, int64[C]."""
        _, contained = row
        return np.bincount(contained % self._choices, minlength=self._choices)

    def features(self, rows: Sequence[Row]) -> Features:
        """Return rows as bits, as many as the longest needs."""
        return Features(_set([row for row, _ in rows]), _set([row for _, row in rows]))


def _set(rows: Sequence[_Bits]) -> Singles:
    places = np.concatenate(rows)
    bits = np.zeros((len(rows), int(places.max(initial=-1)) + 1), dtype=np.float32)
    bits[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), places] = 1.0
    return bits
