"""Architectures as rows of choices, so that their distance can be counted.

One column per decision and occurrence ("the second layer's type"); what an architecture does
not decide is a choice of its own, "absent". So conditional decisions and sequences of any
length become rows of one width, and the Hamming distance says how many decisions differ.
Beside them stands how often each choice occurs, wherever it does: decisions among the same
choices count as one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space

ABSENT = 0
"""What stands in a column that an architecture does not decide; else it is token + 1."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

Row = tuple[Floats, Floats]
"""The choice of each column that was known when it was read, and how often each choice occurs."""


@dataclass(frozen=True, slots=True)
class Features:
    """N architectures.

    Attributes:
        choices: float64[N, P], whole numbers: the choice of each decision, or `ABSENT`.
        counts: float64[N, C]: how often each choice occurs.
    """

    choices: Floats
    counts: Floats

    def __len__(self) -> int:
        """Return N."""
        return len(self.choices)


def distances(first: Features, second: Features) -> tuple[Singles, Singles]:
    """Return how far each of the first is from each of the second, float32[N, M] twice.

    Returns:
        In how many decisions they differ, and how many choices one has that the other lacks
        (half the sum over both).
    """
    choices, others = _same_width(first.choices, second.choices)
    counts, other_counts = _same_width(first.counts, second.counts)
    return _apart(_one_hot, choices, others), _apart(_thermometer, counts, other_counts)


def _apart(coded: Callable[[Floats, int], Singles], first: Floats, second: Floats) -> Singles:
    """Return half the number of bits in which the codes of rows differ.

    That is ``|a| / 2 + |b| / 2 - ab``: one product of matrices, which is fast.
    """
    most = int(max(first.max(initial=0), second.max(initial=0)))
    ones, others = coded(first, most), coded(second, most)
    half, other_half = 0.5 * ones.sum(axis=1), 0.5 * others.sum(axis=1)
    left = np.column_stack([ones, half, np.ones(len(ones), dtype=np.float32)])
    right = np.column_stack([-others, np.ones(len(others), dtype=np.float32), other_half])
    apart: Singles = left @ right.T  # whole or half numbers: exact
    return apart


def _one_hot(choices: Floats, most: int) -> Singles:
    """Return a bit per column and choice: where a choice differs, two bits do."""
    bits: npt.NDArray[np.bool_] = choices[:, :, None] == np.arange(most + 1)
    return bits.reshape(len(choices), -1).astype(np.float32)


def _thermometer(counts: Floats, most: int) -> Singles:
    """Return as many bits as a count says: as many differ as counts do."""
    bits = counts[:, :, None] > np.arange(most)
    return bits.reshape(len(counts), -1).astype(np.float32)


def _same_width(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    width = max(first.shape[1], second.shape[1])
    return _padded(first, width), _padded(second, width)


def _padded(rows: Floats, width: int) -> Floats:
    missing = width - rows.shape[1]
    widened: Floats = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    return widened


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
        width = len(self._columns)
        choices = [row if len(row) == width else _widened(row, width) for row, _ in rows]
        return Features(np.array(choices).reshape(len(rows), width), _stacked(rows, self._width))

    def state(self) -> list[list[str | int]]:
        """Return what each column stands for, in their order."""
        return [[name, occurrence] for name, occurrence in self._columns]

    def load(self, state: Sequence[Sequence[str | int]]) -> None:
        """Set the columns that `state` returned."""
        self._columns = {
            (str(name), int(occurrence)): place for place, (name, occurrence) in enumerate(state)
        }


def _widened(row: Floats, width: int) -> Floats:
    return np.pad(row, (0, width - len(row)), constant_values=ABSENT)


def _stacked(rows: Sequence[Row], width: int) -> Floats:
    return np.array([counts for _, counts in rows]).reshape(len(rows), width)
