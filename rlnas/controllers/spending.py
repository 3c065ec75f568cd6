"""What a network will cost, told apart from how good it will be.

Where a cost counts in the reward, two things are mixed in it: how good a network is, which is hard
to foretell, and what it costs, which goes with its size far beyond what was tried: half the layers
take about half the time. A surrogate of their mixture only knows how alike networks are, and
nothing of where none was tried. So the cost has a model of its own, and both are put together for
each candidate.

Letters: N known architectures, M candidates, D descriptors.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rlnas.controllers.features import Encoder, Row
from rlnas.spaces import Space

Floats = npt.NDArray[np.float64]

Weigh = Callable[[Floats, Floats], Floats]
"""Takes what rewards would be without a cost, and shares of its target, to rewards."""

_PENALTY = 1.0
"""Of the ridge regression, with descriptors in standard deviations (chosen)."""

_FARTHEST = 4.0
"""Standard deviations of a descriptor behind which it counts no further (chosen)."""

_SAME = 1e-9
"""Standard deviation of a descriptor up to which it is taken to be the same everywhere (chosen)."""


class Spending:
    """Foretells the logarithm of a cost by ridge regression on logarithms of counts.

    The descriptors are ``log(1 + n)`` of the parameters, of the FLOPs, of the layers, and of how
    often each choice of the space occurs.

    Args:
        space: The grammar.
        encoder: Counts choices.
    """

    def __init__(self, space: Space, encoder: Encoder) -> None:
        """Begin with nothing known."""
        self._space, self._encoder = space, encoder
        self._mean: Floats = np.zeros(0)
        self._spread: Floats = np.zeros(0)
        self._slopes: Floats = np.zeros(0)
        self._level = 0.0

    def described(self, tokens: Sequence[int], row: Row) -> Floats:
        """Return the descriptors of an architecture, float64[D].

        Args:
            tokens: The architecture.
            row: What the encoder reads of it.
        """
        architecture = self._space.architecture(tokens)
        cost = architecture.cost
        sizes = (cost.params, cost.flops, len(architecture.layers))
        counts = np.concatenate([sizes, self._encoder.counts(row)])
        return np.asarray(np.log1p(counts), dtype=np.float64)

    def fit(self, known: Floats, shares: Floats) -> None:
        """Learn anew.

        Args:
            known: float64[N, D], N at least 1.
            shares: float64[N]: what each spent, as a share of the target; above 0.
        """
        logs = np.log(shares)
        self._mean, self._spread = np.asarray(known.mean(axis=0)), np.asarray(known.std(axis=0))
        self._level = float(logs.mean())
        terms = self._scaled(known)
        square = terms.T @ terms + _PENALTY * np.eye(terms.shape[1])
        self._slopes = np.asarray(np.linalg.solve(square, terms.T @ (logs - self._level)))

    def predict(self, candidates: Floats) -> Floats:
        """Return the shares of the target that candidates will spend, float64[M].

        Args:
            candidates: float64[M, D].
        """
        # Row by row: the same bits for any number of candidates.
        logs = self._level + (self._scaled(candidates) * self._slopes).sum(axis=1)
        return np.asarray(np.exp(logs))

    def _scaled(self, given: Floats) -> Floats:
        """Return descriptors in standard deviations; what never differed says nothing."""
        differs = self._spread > _SAME
        scaled = np.where(differs, given - self._mean, 0.0) / np.where(differs, self._spread, 1.0)
        return np.clip(scaled, -_FARTHEST, _FARTHEST)
