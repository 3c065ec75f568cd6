"""Architectures as rows of choices, so that their distance can be counted.

One column per decision and occurrence ("the second layer's type"); what an architecture does
not decide is a choice of its own, "absent". So conditional decisions and sequences of any
length become rows of one width, and the Hamming distance says how many decisions differ.
Beside them stands how often each choice occurs, wherever it does: decisions among the same
choices count as one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from rlnas.spaces import Space

ABSENT = 0
"""What stands in a column that an architecture does not decide; else it is token + 1."""

Row = tuple[dict[int, int], dict[int, int]]
"""Choice by column, and how often by choice."""

Floats = npt.NDArray[np.float64]


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


def distances(first: Features, second: Features) -> tuple[Floats, Floats]:
    """Return how far each of the first is from each of the second, float64[N, M] twice.

    Returns:
        In how many decisions they differ, and how many choices one has that the other lacks
        (half the sum over both).
    """
    choices, others = _same_width(first.choices, second.choices)
    counts, other_counts = _same_width(first.counts, second.counts)
    decided: Floats = cdist(choices, others, "hamming") * choices.shape[1]
    contained: Floats = 0.5 * cdist(counts, other_counts, "cityblock")
    return decided, contained


def _same_width(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    width = max(first.shape[1], second.shape[1], 1)
    return (
        np.pad(first, ((0, 0), (0, width - first.shape[1]))),
        np.pad(second, ((0, 0), (0, width - second.shape[1]))),
    )


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
        choices: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for place, token in enumerate(tokens):
            decision = self._space.decision(tokens[:place])
            name = "" if decision is None else decision.name
            column = self._columns.setdefault((name, seen[name]), len(self._columns))
            seen[name] += 1
            choices[column] = token + 1
            counts[self._first[name] + token] += 1
        return choices, dict(counts)

    def features(self, rows: Sequence[Row]) -> Features:
        """Return rows with all columns seen so far."""
        choices = np.full((len(rows), len(self._columns)), float(ABSENT))
        counts = np.zeros((len(rows), self._width))
        for place, (chosen, counted) in enumerate(rows):
            choices[place, list(chosen)] = list(chosen.values())
            counts[place, list(counted)] = list(counted.values())
        return Features(choices, counts)

    def state(self) -> list[list[str | int]]:
        """Return what each column stands for, in their order."""
        return [[name, occurrence] for name, occurrence in self._columns]

    def load(self, state: Sequence[Sequence[str | int]]) -> None:
        """Set the columns that `state` returned."""
        self._columns = {
            (str(name), int(occurrence)): place for place, (name, occurrence) in enumerate(state)
        }
