"""Deep Q-learning over token prefixes, explored on MetaQNN's schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.history import History, Tokens
from rlnas.controllers.known import Known
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.plans import Plans
from rlnas.controllers.qnetwork import QNetwork
from rlnas.controllers.reader import Reader
from rlnas.controllers.sampling import draw
from rlnas.controllers.vocabulary import Vocabulary
from rlnas.spaces import Space, prefix_of

SCHEDULE = (
    (1.0, 1500),
    (0.9, 100),
    (0.8, 100),
    (0.7, 100),
    (0.6, 150),
    (0.5, 150),
    (0.4, 150),
    (0.3, 150),
    (0.2, 150),
    (0.1, 150),
)
"""Epsilon and for how many of 2,700 models: Baker et al. 2017 (MetaQNN), table 3."""

_DRAWS, _HEATING = 60, 0.02
"""Draws for what was never proposed, and what each adds to epsilon (chosen)."""


@dataclass(frozen=True, slots=True)
class DQNSettings:
    """How the Q-network learns.

    Attributes:
        budget: Trials over which the schedule of epsilon is laid.
        learning_rate: Of Adam.
        batch_size: Episodes per update.
        updates: Updates per result.
        copying: Results between two copies to the target network.
    """

    budget: int = 60
    learning_rate: float = 0.005
    batch_size: int = 16
    updates: int = 4
    copying: int = 5


class DQNController:
    """Writes architectures epsilon-greedily by a Q-network, and learns by replay.

    Baker et al. 2017, "Designing Neural Network Architectures using Reinforcement Learning",
    with a network in place of their table: double Q-learning with a target network, whole
    episodes replayed in reversed time order, gamma 1, a reward at the last token alone. What
    is learned from is the rank of a reward among all results, from 0 to 1.

    Args:
        space: The grammar.
        settings: How it learns.
        seed: Seed of all its randomness.
    """

    name = "dqn"

    def __init__(self, space: Space, settings: DQNSettings, seed: int) -> None:
        """See the class."""
        self._origin = origin(self.name, space)
        self._space, self._settings = space, settings
        self._rng = np.random.default_rng(seed)
        self._vocabulary = Vocabulary(space)
        self._network = QNetwork(
            self._vocabulary.size, space.max_tokens, settings.learning_rate, self._rng
        )
        self._reader = Reader(self._vocabulary)
        self._reader.keep(self._network.weights())
        self._plans = Plans(self._propose)
        self._history = History(elite=1)
        self._known = Known(space)
        self._results = 0

    @property
    def epsilon(self) -> float:
        """The share of tokens that are drawn uniformly now."""
        return epsilon(len(self._history) / self._settings.budget)

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        tokens = np.zeros(len(observation), dtype=np.int64)
        log_probs = np.zeros(len(observation))
        for row, observed in enumerate(observation):
            if mask[row].any():
                prefix = prefix_of(observed)
                policy = self._policy(prefix, mask[row], self.epsilon)
                token = self._plans.token(prefix)
                if token is None or not mask[row, token]:
                    token = draw(policy, self._rng)
                tokens[row] = token
                log_probs[row] = np.log(policy[token])
        return Action(tokens, log_probs)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the epsilon-greedy policy; arguments as in `Controller.probabilities`."""
        return np.stack(
            [
                self._policy(prefix_of(observed), allowed, self.epsilon)
                for observed, allowed in zip(observation, mask, strict=True)
            ]
        )

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Replay finished trajectories; one whose key was known teaches nothing."""
        figures: dict[str, float] = {}
        for trajectory in trajectories:
            self._known.add(trajectory.tokens)
            if not trajectory.repeated:
                self._history.add(trajectory.tokens, trajectory.reward)
                figures["loss"] = self._replay()
        if figures:
            self._reader.keep(self._network.weights())
        figures["epsilon"] = self.epsilon
        return {f"controller/{name}": value for name, value in figures.items()}

    def state(self) -> State:
        """Return the complete state."""
        return {
            "origin": dict(self._origin),
            "generator": self._rng.bit_generator.state,
            "network": self._network.state(),
            "plans": self._plans.state(),
            "history": self._history.state(),
            "known": self._known.state(self._history),
            "results": self._results,
        }

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
        check_origin(state, self._origin)
        self._network.load(state["network"])
        self._reader.keep(self._network.weights())
        self._rng.bit_generator.state = state["generator"]
        self._plans.load(state["plans"])
        self._history.load(state["history"])
        self._known.load(state["known"], self._history)
        self._results = int(state["results"])

    def recall(self, keys: Mapping[tuple[int, ...], str]) -> None:
        """Take the keys of what was proposed; see `Controller`."""
        self._known.recall(keys)

    def save_weights(self, path: Path) -> None:
        """Write the Q-network's weights as a Keras file.

        Raises:
            StorageError: The disk refused.
        """
        self._network.save_weights(path)

    def _policy(
        self, prefix: Tokens, mask: npt.NDArray[np.int8], share: float
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities of what comes behind a prefix, float64[A].

        Args:
            prefix: The tokens so far.
            mask: int8[A]; a row of zeros gives zeros.
            share: Epsilon.
        """
        allowed = np.flatnonzero(mask)
        policy = np.zeros(len(mask))
        if allowed.size:
            policy[allowed] = share / allowed.size
            values = self._reader.scores(prefix, allowed)
            policy[allowed[values.argmax()]] += 1.0 - share
        return policy

    def _propose(self) -> Tokens:
        """Return an architecture that was never proposed, if draws of the policy find one."""
        for draws in range(_DRAWS):
            tokens = self._sample(min(self.epsilon + draws * _HEATING, 1.0))
            if not self._known.has(tokens):
                break
        self._known.add(tokens)
        return tokens

    def _sample(self, share: float) -> Tokens:
        tokens: Tokens = ()
        while self._space.decision(tokens) is not None:
            policy = self._policy(tokens, self._space.mask(tokens), share)
            tokens = (*tokens, draw(policy, self._rng))
        return tokens

    def _replay(self) -> float:
        """Learn from random episodes, the newest always among them; return the last loss."""
        settings, newest = self._settings, len(self._history) - 1
        rewards = self._history.rewards()
        places = self._rng.integers(newest + 1, size=(settings.updates, settings.batch_size))
        places[:, 0] = newest
        drawn = [int(place) for place in places.ravel()]
        batch = self._vocabulary.batch([self._history.tokens(place) for place in drawn])
        ranks = [self._history.standing(rewards[place]) for place in drawn]
        values = 0.5 + 0.5 * np.array(ranks, dtype=np.float32)
        loss = self._network.update(batch, values, steps=settings.updates)
        self._results += 1
        if self._results % settings.copying == 0:
            self._network.copy()
        return loss


def epsilon(passed: float) -> float:
    """Return MetaQNN's epsilon after a share of the budget; its last value behind the end."""
    models = passed * sum(count for _, count in SCHEDULE)
    for share, count in SCHEDULE:
        if models < count:
            return share
        models -= count
    return SCHEDULE[-1][0]
