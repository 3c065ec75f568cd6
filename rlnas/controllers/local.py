"""Local search: from each architecture to a better neighbour, with restarts."""

from rlnas.controllers.base import State
from rlnas.controllers.variation import Tokens, mutant, uniform
from rlnas.controllers.whole import Member, WholeController, score
from rlnas.spaces import Space

PATIENCE = 30
"""Neighbours without a better one after which it starts anew (chosen)."""

_DRAWS = 20
"""Mutants drawn for one that is new to this climb (chosen)."""


class LocalController(WholeController):
    """Greedy local search (White, Nolen & Savani 2021), with restarts.

    It stands at one architecture and tries mutants of it, one edit away; the first that is
    better is where it goes on from. After `PATIENCE` mutants without a better one it starts
    again from a uniform draw.

    Args:
        space: The grammar.
        seed: Seed of all its randomness.
    """

    name = "local"

    def __init__(self, space: Space, seed: int) -> None:
        """See the class."""
        super().__init__(space, seed)
        self._stand: Member | None = None
        self._failures, self._restarts = 0, 0
        self._tried: set[Tokens] = set()

    def _propose(self) -> Tokens:
        if self._stand is None:
            return uniform(self._space, self._rng)
        for _ in range(_DRAWS):
            tokens = mutant(self._space, self._stand[0], self._rng)
            if tokens not in self._tried:
                break
        self._tried.add(tokens)
        return tokens

    def _take(self, member: Member, repeated: bool) -> None:
        if self._stand is None or score(member) > score(self._stand):
            self._stand, self._failures, self._tried = member, 0, {member[0]}
            return
        self._failures += 1
        if self._failures >= PATIENCE:
            self._stand, self._failures, self._tried = None, 0, set()
            self._restarts += 1

    def _figures(self) -> dict[str, float]:
        return {"failures": float(self._failures), "restarts": float(self._restarts)}

    def _own_state(self) -> State:
        stand = None if self._stand is None else [list(self._stand[0]), self._stand[1]]
        counts = {"failures": self._failures, "restarts": self._restarts}
        return {"stand": stand, "tried": sorted(map(list, self._tried)), **counts}

    def _load_own(self, state: State) -> None:
        stand = state["stand"]
        self._stand = None if stand is None else (tuple(stand[0]), stand[1])
        self._failures, self._restarts = int(state["failures"]), int(state["restarts"])
        self._tried = {tuple(tokens) for tokens in state["tried"]}
