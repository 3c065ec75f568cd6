"""What a network says of what comes behind a prefix, read in NumPy and kept while it holds."""

import numpy as np
import numpy.typing as npt

from rlnas.controllers.reading import (
    Floats,
    Memory,
    PositionWeights,
    Weights,
    look_back,
    no_memory,
    read,
)
from rlnas.controllers.vocabulary import Vocabulary

_CACHE_SIZE = 4096
"""Prefixes whose outputs are kept, about 2 kB each (chosen)."""


class Reader:
    """Reads prefixes by a copy of a network's weights; parts read before are not read again.

    Args:
        vocabulary: What the network was made for.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """See the class."""
        self._vocabulary = vocabulary
        self._weights: Weights | PositionWeights | None = None
        self._read: dict[tuple[int, ...], tuple[Floats, Memory]] = {}

    def keep(self, weights: Weights | PositionWeights) -> None:
        """Read by these weights from now on."""
        self._weights, self._read = weights, {}

    def scores(self, prefix: tuple[int, ...], tokens: npt.NDArray[np.intp]) -> Floats:
        """Return the output for some choices behind a prefix, float64[K].

        Args:
            prefix: The tokens so far.
            tokens: K choices of what comes next; none where it is finished.
        """
        if not tokens.size:
            return np.zeros(0)
        weights, anchor = self._weights, self._vocabulary.anchor(prefix)
        if anchor is not None and isinstance(weights, Weights) and weights.attention is not None:
            behind, now = self._memory(weights, prefix[:anchor]), self._memory(weights, prefix)
            return look_back(weights, behind, now)[tokens]
        scores: Floats = self._output(prefix)[tokens + self._vocabulary.entries(prefix).start]
        return scores

    def _output(self, prefix: tuple[int, ...]) -> Floats:
        """Return float64[V], what comes behind a prefix."""
        weights = self._weights
        if weights is None:
            raise RuntimeError("scores() before keep()")
        if isinstance(weights, PositionWeights):
            logits: Floats = weights.logits[len(prefix)]
            return logits
        self._memory(weights, prefix)
        return self._read[prefix][0]

    def _memory(self, weights: Weights, prefix: tuple[int, ...]) -> Memory:
        """Return the memory behind a prefix, which was read now if not before."""
        known = len(prefix)
        while known >= 0 and prefix[:known] not in self._read:
            known -= 1
        for length in range(known + 1, len(prefix) + 1):
            self._read_last(weights, prefix[:length])
        return self._read[prefix][1]

    def _read_last(self, weights: Weights, prefix: tuple[int, ...]) -> None:
        """Read the last token of a prefix whose other tokens were read before."""
        if prefix:
            entry = self._vocabulary.entry(prefix, len(prefix) - 1)
            memory = self._read[prefix[:-1]][1]
        else:
            entry, memory = Vocabulary.START, no_memory(weights)
        if len(self._read) >= _CACHE_SIZE:
            self._read.clear()
        self._read[prefix] = read(weights, entry, memory)
