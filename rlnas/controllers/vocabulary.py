"""One number for each choice of each decision, so that one network serves all decisions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space


class Vocabulary:
    """All choices of all decisions side by side, behind entry 0, the start of a sequence.

    With two decisions of 3 and 2 choices, entry 0 is the start, 1 to 3 belong to the
    first decision, 4 and 5 to the second, and V is 6.

    Args:
        space: The grammar.
    """

    START = 0

    def __init__(self, space: Space) -> None:
        """See the class."""
        self._space = space
        self._slices: dict[str, slice] = {}
        self.size = self.START + 1
        for decision in space.decisions:
            self._slices[decision.name] = slice(self.size, self.size + len(decision.choices))
            self.size += len(decision.choices)

    def entries(self, prefix: Sequence[int]) -> slice:
        """Return the entries of the decision that comes behind a prefix; empty if none does."""
        decision = self._space.decision(prefix)
        return slice(0, 0) if decision is None else self._slices[decision.name]

    def entry(self, tokens: Sequence[int], position: int) -> int:
        """Return the entry of the token at this position."""
        return int(self.entries(tokens[:position]).start + tokens[position])

    def mask(self, prefix: Sequence[int]) -> npt.NDArray[np.int8]:
        """Return which entries may come behind a prefix, int8[V]."""
        entries = self.entries(prefix)
        wide = np.zeros(self.size, dtype=np.int8)
        wide[entries] = self._space.mask(prefix)[: entries.stop - entries.start]
        return wide
