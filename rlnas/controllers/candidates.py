"""Architectures that were never proposed, from which a surrogate picks.

Writing an architecture through a space's masks costs more than predicting its reward, so few
are written per proposal, and those that were not picked stay for the next.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rlnas.controllers.known import Known
from rlnas.controllers.variation import Tokens, grafted, mutant, uniform
from rlnas.spaces import Space


class Candidates:
    """A pool of new architectures: samples of a policy, edits of the best, uniform draws.

    Args:
        space: The grammar.
        sample: Draws an architecture from the policy.
        counts: How many samples, edits and uniform draws are written per proposal.
        size: How many are kept at most.
    """

    def __init__(
        self,
        space: Space,
        sample: Callable[[], Tokens],
        counts: tuple[int, int, int],
        size: int,
    ) -> None:
        """See the class."""
        self._space, self._sample = space, sample
        self._counts, self._size = counts, size
        self._pool: dict[str, Tokens] = {}  # by canonical key, from the oldest to the newest

    def refresh(self, elite: Sequence[Tokens], known: Known, rng: np.random.Generator) -> None:
        """Write new candidates.

        Args:
            elite: The best so far, each as likely to be edited, by one edit or by two; their
                recipes are tried with other networks too.
            known: What was proposed.
            rng: Draws them.
        """
        samples, edits, draws = self._counts
        written = [grafted(self._space, self._sample(), elite, rng) for _ in range(samples)]
        for number in range(edits if elite else 0):
            tokens = mutant(self._space, elite[int(rng.integers(len(elite)))], rng)
            written.append(mutant(self._space, tokens, rng) if number % 2 else tokens)
        written += [
            grafted(self._space, uniform(self._space, rng), elite, rng) for _ in range(draws)
        ]
        for tokens in written:
            key = known.key(tokens)
            if key not in known:
                self._pool.setdefault(key, tokens)

    def drop(self, key: str) -> None:
        """Forget what is proposed or known."""
        self._pool.pop(key, None)

    def tokens(self) -> list[Tokens]:
        """Return all of them, from the oldest to the newest."""
        return list(self._pool.values())

    def keep(self, scores: npt.NDArray[np.float64]) -> None:
        """Keep the `size` best, in their order.

        Args:
            scores: float64[N], one per candidate, as `tokens` returned them; higher is better.
        """
        if len(self._pool) > self._size:
            kept = np.sort(np.argsort(-scores, kind="stable")[: self._size])
            entries = list(self._pool.items())
            self._pool = dict(entries[place] for place in kept)

    def state(self) -> list[list[int]]:
        """Return all candidates."""
        return [list(tokens) for tokens in self._pool.values()]

    def load(self, state: Sequence[Sequence[int]]) -> None:
        """Set what `state` returned."""
        pool = [tuple(int(token) for token in tokens) for tokens in state]
        self._pool = {self._space.key(self._space.architecture(each)): each for each in pool}
