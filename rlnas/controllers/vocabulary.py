"""One number for each choice of each decision, so that one network serves all decisions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space, anchor

Batch = dict[str, npt.NDArray[Any]]
"""What a network reads of B sequences of T steps, by name."""


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
        back = [self._slices[each.name] for each in space.decisions if each.looks_back]
        self.switches = tuple((entries.start, entries.start + 1) for entries in back)
        """Of each decision that looks back, the entries that switch the earlier part off and on."""

    def entries(self, prefix: Sequence[int]) -> slice:
        """Return the entries of the decision that comes behind a prefix; empty if none does."""
        decision = self._space.decision(prefix)
        return slice(0, 0) if decision is None else self._slices[decision.name]

    def entry(self, tokens: Sequence[int], position: int) -> int:
        """Return the entry of the token at this position."""
        return int(self.entries(tokens[:position]).start + tokens[position])

    def anchor(self, prefix: Sequence[int]) -> int | None:
        """Return behind how many tokens the part ended that is decided on, where one is."""
        return anchor(self._space, prefix) if self.switches else None

    def mask(self, prefix: Sequence[int]) -> npt.NDArray[np.int8]:
        """Return which entries may come behind a prefix, int8[V]."""
        entries = self.entries(prefix)
        wide = np.zeros(self.size, dtype=np.int8)
        wide[entries] = self._space.mask(prefix)[: entries.stop - entries.start]
        return wide

    def batch(self, sequences: Sequence[Sequence[int]]) -> Batch:
        """Return what a network reads of B whole sequences, padded to T steps.

        Returns:
            ``entry`` int32[B, T], what is read at each step, ``action`` int32[B, T], what is
            chosen, ``mask`` int8[B, T, V] and ``weight`` float32[B, T], 0 behind the end. Where
            decisions look back also ``anchor`` int32[B, T], the step at which the part ended that
            is decided on, and 0 at other steps.
        """
        steps = (len(sequences), self._space.max_tokens)
        batch: Batch = {
            "entry": np.zeros(steps, dtype=np.int32),
            "action": np.zeros(steps, dtype=np.int32),
            "mask": np.zeros((*steps, self.size), dtype=np.int8),
            "weight": np.zeros(steps, dtype=np.float32),
        }
        if self.switches:
            batch["anchor"] = np.zeros(steps, dtype=np.int32)
        for row, tokens in enumerate(sequences):
            for t in range(len(tokens)):
                if self.switches:
                    batch["anchor"][row, t] = self.anchor(tokens[:t]) or 0
                batch["action"][row, t] = self.entry(tokens, t)
                batch["mask"][row, t] = self.mask(tokens[:t])
            for t in range(1, len(tokens)):
                batch["entry"][row, t] = batch["action"][row, t - 1]
            batch["weight"][row, : len(tokens)] = 1.0
        return batch
