"""Evolution: regularised, where the oldest die, and genetic, where the worst do."""

from abc import abstractmethod

from rlnas.config.controller import POPULATION, TOURNAMENT
from rlnas.controllers.base import State
from rlnas.controllers.variation import Tokens, cross, mutant, uniform
from rlnas.controllers.whole import (
    Member,
    WholeController,
    members_from_json,
    members_to_json,
    score,
)
from rlnas.spaces import Space


class _Population(WholeController):
    """What both kinds share: a population that begins uniform, and tournaments in it."""

    def __init__(
        self, space: Space, seed: int, *, population: int = POPULATION, sample: int = TOURNAMENT
    ) -> None:
        """Take sizes of population and tournament."""
        super().__init__(space, seed)
        self._size, self._sample = population, sample
        self._proposed = 0
        self._members: list[Member] = []  # from the oldest to the newest

    def _propose(self) -> Tokens:
        self._proposed += 1
        if self._proposed <= self._size or not self._members:
            return uniform(self._space, self._rng)
        return self._child()

    @abstractmethod
    def _child(self) -> Tokens:
        """Return an architecture made of members."""

    def _parent(self) -> Tokens:
        """Return the best of a sample that is drawn without replacement."""
        count = min(self._sample, len(self._members))
        chosen = self._rng.choice(len(self._members), count, replace=False)
        best: Member = max((self._members[place] for place in chosen), key=score)
        return best[0]

    def _figures(self) -> dict[str, float]:
        earned = [reward for _, reward in self._members if reward is not None]
        mean = sum(earned) / len(earned) if earned else 0.0
        return {"population": float(len(self._members)), "population_reward": mean}

    def _own_state(self) -> State:
        return {"members": members_to_json(self._members), "proposed": self._proposed}

    def _load_own(self, state: State) -> None:
        self._members = members_from_json(state["members"])
        self._proposed = int(state["proposed"])


class EvolutionController(_Population):
    """Regularised evolution, Real et al. 2019, "Aging Evolution", algorithm 1.

    The best of a random sample is mutated by one edit; the mutant comes in, the oldest
    member goes, however good it is. An architecture that was known comes in with its known
    reward.

    Args:
        space: The grammar.
        seed: Seed of all its randomness.
        population: Members; as many architectures are uniform first.
        sample: Members of which the best becomes the parent.
    """

    name = "evolution"

    def _child(self) -> Tokens:
        return mutant(self._space, self._parent(), self._rng)

    def _take(self, member: Member, repeated: bool) -> None:
        self._members.append(member)
        del self._members[: -self._size]


class GeneticController(_Population):
    """A genetic algorithm: children of two parents, mutated, and the fittest stay.

    Holland 1975 in its steady-state form: two tournaments give the parents, their cross is
    mutated by one edit, and the population keeps its best, each architecture once.

    Args:
        space: The grammar.
        seed: Seed of all its randomness.
        population: Members; as many architectures are uniform first.
        sample: Members of which the best becomes a parent.
    """

    name = "genetic"

    def _child(self) -> Tokens:
        child = cross(self._space, self._parent(), self._parent(), self._rng)
        return mutant(self._space, child, self._rng)

    def _take(self, member: Member, repeated: bool) -> None:
        if any(tokens == member[0] for tokens, _ in self._members):
            return
        self._members.append(member)
        if len(self._members) > self._size:
            self._members.remove(min(self._members, key=score))  # of equals, the oldest
