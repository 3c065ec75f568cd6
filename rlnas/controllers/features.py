"""Architectures as rows of choices, so that their distance can be counted.

One column per decision and occurrence ("the second layer's type"); what an architecture does
not decide is a choice of its own, "absent". So conditional decisions and sequences of any
length become rows of one width, and the Hamming distance says how many decisions differ.
Beside them stands how often each choice occurs, wherever it does: decisions among the same
choices count as one.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space

ABSENT = 0
"""What stands in a column that an architecture does not decide; else it is token + 1."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

Row = tuple[Floats, Floats]
"""The choice of each column that was known when it was read, and how often each choice occurs."""


class Features:
    """N architectures.

    Args:
        choices: float64[N, P], whole numbers: the choice of each decision, or `ABSENT`.
        counts: float64[N, C]: how often each choice occurs.

    Attributes:
        decided: float32[N, K, P], bits: what is decided at all, and below it a bit per choice.
        contained: float32[N, M, C], bits: of each choice as many as it occurs.
    """

    def __init__(self, choices: Floats, counts: Floats) -> None:
        """See the class."""
        self.choices, self.counts = choices, counts
        most = np.arange(ABSENT, choices.max(initial=ABSENT) + 1)
        bits: npt.NDArray[np.bool_] = choices[:, None, :] == most[:, None]
        bits[:, 0] = ~bits[:, 0]
        self.decided = bits.astype(np.float32)
        often = np.arange(counts.max(initial=0.0))
        self.contained = (counts[:, None, :] > often[:, None]).astype(np.float32)

    def __len__(self) -> int:
        """Return N."""
        return len(self.choices)


def distances(first: Features, second: Features) -> tuple[Singles, Singles]:
    """Return how far each of the first is from each of the second, float32[N, M] twice.

    Returns:
        In how many decisions they differ, and how many choices one has that the other lacks
        (half the sum over both).
    """
    decided = _apart(first.decided[:, 0], second.decided[:, 0])
    decided -= _common(first.decided, second.decided)
    contained = _apart(0.5 * first.contained, 0.5 * second.contained)
    contained -= _common(first.contained, second.contained)
    return decided, contained


def _apart(first: Singles, second: Singles) -> Singles:
    """Return the sum of each of the first and each of the second, as if they had nothing common."""
    axes = tuple(range(1, first.ndim))
    apart: Singles = np.add.outer(first.sum(axis=axes), second.sum(axis=axes))
    return apart


def _common(first: Singles, second: Singles) -> Singles:
    """Return how many bits each of the first has in common with each of the second.

    One product of matrices, which is fast; bits that one side has no place for are not common.
    """
    height, width = map(min, first.shape[1:], second.shape[1:])
    left = first[:, :height, :width].reshape(len(first), -1)
    right = second[:, :height, :width].reshape(len(second), -1)
    common: Singles = left @ right.T
    return common


class Encoder:
    """Reads token sequences; columns come as they are first seen.

    Args:
        space: The grammar.
    """

    def __init__(self, space: Space) -> None:
        """See the class."""
        self._space = space
        self._columns: dict[tuple[str, int], int] = {}  # of a decision's name and occurrence
        self._first: dict[str, int] = {}  # by a decision's name, where its choices are counted
        width, kinds = 0, dict[tuple[str, ...], int]()
        for decision in space.decisions:
            choices = tuple(map(repr, decision.choices))
            if choices not in kinds:
                kinds[choices] = width
                width += len(choices)
            self._first[decision.name] = kinds[choices]
        self._width = width

    def row(self, tokens: Sequence[int]) -> Row:
        """Return what an architecture decides, and how often it chooses what."""
        seen: Counter[str] = Counter()
        chosen: list[tuple[int, int]] = []  # column and choice
        counts = np.zeros(self._width)
        for place, token in enumerate(tokens):
            decision = self._space.decision(tokens[:place])
            name = "" if decision is None else decision.name
            column = self._columns.setdefault((name, seen[name]), len(self._columns))
            seen[name] += 1
            chosen.append((column, token + 1))
            counts[self._first[name] + token] += 1
        choices = np.full(len(self._columns), float(ABSENT))
        for column, choice in chosen:
            choices[column] = choice
        return choices, counts

    def features(self, rows: Sequence[Row]) -> Features:
        """Return rows with all columns seen so far."""
        choices = np.full((len(rows), len(self._columns)), float(ABSENT))
        counts = np.empty((len(rows), self._width))
        for place, (chosen, counted) in enumerate(rows):
            choices[place, : len(chosen)] = chosen
            counts[place] = counted
        return Features(choices, counts)

    def state(self) -> list[list[str | int]]:
        """Return what each column stands for, in their order."""
        return [[name, occurrence] for name, occurrence in self._columns]

    def load(self, state: Sequence[Sequence[str | int]]) -> None:
        """Set the columns that `state` returned."""
        self._columns = {
            (str(name), int(occurrence)): place for place, (name, occurrence) in enumerate(state)
        }
