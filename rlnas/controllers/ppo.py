"""PPO over whole architectures, with a surrogate that screens what it proposes.

John Schulman et al., "Proximal Policy Optimization Algorithms", arXiv:1707.06347. A policy of
this size learns from some hundred results only if it takes several steps on each batch, looks
at ranks rather than at rewards, and proposes nothing twice; `docs/benchmarks.md` measures it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlnas.config import DENSITY_PULL
from rlnas.controllers.base import Action, Array, State, Trajectory
from rlnas.controllers.candidates import Candidates
from rlnas.controllers.history import History, Scored, Tokens
from rlnas.controllers.known import Known
from rlnas.controllers.origin import check_origin, origin
from rlnas.controllers.plans import Plans
from rlnas.controllers.policy import Policy
from rlnas.controllers.presets import Settings
from rlnas.controllers.sampling import draw
from rlnas.controllers.screen import Screen
from rlnas.controllers.spending import Weigh
from rlnas.controllers.surrogate import Surrogate, shares
from rlnas.controllers.variation import grafted, mutant, uniform
from rlnas.controllers.vocabulary import Batch
from rlnas.spaces import Space, prefix_of, suggestions

_DRAWS, _HEATING = 30, 1.15
"""Draws of the policy for what was never proposed, and the factor by which each raises the
temperature: the last is nearly uniform (chosen)."""

_SUGGESTED_SHARE = 4
"""One of so many trials at most is a suggestion of the space (chosen)."""

_UNIFORM_DRAWS = 300
"""Uniform draws for one that was never proposed, when the policy finds none any more (chosen)."""

_FIRST_DRAWS = 20
"""Uniform draws without a surrogate before the best are edited, as many as evolution begins with:
edits of the first few results alone would hold the search where they lie (chosen)."""

_ROUND = 5
"""Proposals of which some are screened and the others are not."""

_STAGNANT_OPTIMISM = 2.0
"""Factor of the screen's optimism while nothing better is found (chosen)."""

_WARM_STEPS, _WARM_END, _WARM_ENTROPY = 60, 0.8, 0.5
"""Most steps of a warm start, the share of the first entropy at which it ends, and the weight of
the entropy bonus meanwhile, which keeps each single decision open (chosen)."""

_FAVOUR = 3
"""Of N best that at ``N u^3`` is edited, u uniform: of ten the very best with 0.46 (chosen)."""

_STAGNANT_EDITS, _STAGNANT_FAVOUR = 2, 1
"""Without a surrogate, while nothing better is found and what is near the very best is used up:
edits among five proposals, and the power in place of `_FAVOUR`, with which each of the best is as
likely (chosen on both tables)."""

_LONGER_PATIENCE = 2
"""Factor of the patience without a surrogate (chosen: on both tables fewer searches miss the best
network within 150 trials)."""

_STAGNANT_HEAT = 2.0
"""Temperature of the policy without a surrogate while nothing better is found (chosen)."""

_STEPS = 16
"""Steps of a batch are a multiple of this, so that few shapes are compiled (chosen)."""

_LEAST = 1e-30
"""Probabilities below this are taken for it, so that their logarithm is finite."""


@dataclass(frozen=True, slots=True)
class PPOSettings:
    """How the policy learns and what is screened.

    Attributes:
        learning_rate: Of Adam.
        batch_size: Results per update.
        epochs: Steps on each batch.
        sharpness: s of the advantage ``((s + 1) q^s - 1) / s``, q the share of results that are
            worse: its mean is 0, its highest value 1, and with larger s fewer are above 0.
        clip: How far a ratio of probabilities may go from 1.
        entropy: Weight of the entropy bonus at the start.
        entropy_end: Its weight after `anneal` results.
        anneal: Results over which it falls, linearly.
        stagnation: Results without a better best after which it starts falling anew.
        patience: Results without a better best after which proposals explore more; twice as
            many without a surrogate.
        imitation: Weight of imitating the best, at most 0.5; 0 for none.
        elite: How many of the best are imitated and mutated.
        clip_norm: Largest global norm of the gradient.
        screened: Of five proposals, how many the surrogate picks; without one, how many are
            edits of the best, after the first draws, while something better is found now and
            then.
        edits: Such edits that are written for one proposal; the policy's likeliest is taken.
        written: Tokens of new candidates per proposal, about; of eight candidates one is a
            sample of the policy, two are uniform draws and five edits of the best.
        candidates: How many are kept at most.
        density: Share of the skip connections that the policy is pulled to; None for no pull.
        density_pull: Weight of that pull.
    """

    learning_rate: float = 0.03
    batch_size: int = 5
    epochs: int = 4
    sharpness: float = 8.0
    clip: float = 0.2
    entropy: float = 0.05
    entropy_end: float = 0.02
    anneal: int = 150
    stagnation: int = 50
    patience: int = 15
    imitation: float = 0.0
    elite: int = 10
    clip_norm: float = 5.0
    screened: int = 4
    edits: int = 4
    written: int = 400
    candidates: int = 300
    density: float | None = None
    density_pull: float = DENSITY_PULL

    def network(self) -> Settings:
        """Return what the policy's network needs to know."""
        return Settings(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            entropy=0.0,  # its weight changes, so it comes with each batch
            baseline_decay=0.0,
            clip_norm=self.clip_norm,
            advantage_limit=None,
            repeat_advantage=None,
            heating=1.0,
            density=self.density,
            density_pull=self.density_pull,
        )


class PPOController:
    """Proposes by an LSTM policy and a surrogate, and learns by PPO.

    Each proposal is a whole architecture that was never proposed before, handed out token by
    token. Of five, one is a sample of the policy; the others are what the surrogate likes best
    among samples of the policy, edits of the best and uniform draws, or without a surrogate
    what the policy likes best among edits of the best, after some uniform draws. Advantages are
    the ranks of rewards among all results.

    Args:
        space: The grammar.
        settings: How it learns.
        seed: Seed of all its randomness.
        surrogate: Picks among candidates; None for the policy alone.
        weigh: Takes what rewards would be without a cost, and shares of its target, to rewards;
            None where no cost counts.
    """

    name = "ppo"

    def __init__(
        self,
        space: Space,
        settings: PPOSettings,
        seed: int,
        surrogate: Surrogate | None = None,
        weigh: Weigh | None = None,
    ) -> None:
        """See the class."""
        screened = "none" if surrogate is None else surrogate.name
        self._origin = origin(f"{self.name} with surrogate {screened}", space)
        self._space, self._settings = space, settings
        self._rng = np.random.default_rng(seed)
        self._policy = Policy(space, settings.network(), self._rng, settings.clip)
        self._plans = Plans(self._propose)
        self._history = History(settings.elite)
        self._screen = (
            None if surrogate is None else Screen(space, surrogate, self._history, seed, weigh)
        )
        self._candidates = Candidates(
            space,
            lambda: self._policy.sample(self._rng),
            _counts(settings.written, space.max_tokens),
            settings.candidates,
        )
        self._known = Known(space)
        self._batch: list[tuple[Tokens, tuple[float, ...], float | None]] = []
        self._count = 0
        self._since_best = 0
        self._heated = 0
        self._begun = False  # with what somebody knew
        self._suggestions: list[Tokens] = []  # that are still to be proposed

    def warm_start(self, known: Sequence[Scored]) -> None:
        """Learn which architectures are likely to be good, before the first proposal.

        The policy imitates the better ones, each by its advantage among all of them, until it
        has lost a fifth of its entropy: what turns out wrong can be unlearned.

        Args:
            known: Architectures of the space with scores, of which only the order counts.
        """
        settings = self._settings
        share = shares(np.array([score for _, score in known]))
        advantages = self._advantages(share / share.max())
        good = np.flatnonzero(advantages > 0)
        first = None
        for _ in range(_WARM_STEPS):
            rows = self._rng.choice(good, settings.batch_size)
            batch = self._padded([known[row][0] for row in rows], _WARM_ENTROPY)
            batch["imitation"][: len(rows)] = advantages[rows]
            figures = self._policy.update(batch, epochs=1)
            first = figures["entropy"] if first is None else first
            if figures["entropy"] < _WARM_END * first:
                break

    def begin_with(
        self,
        tokens: Sequence[int],
        reward: float,
        spent: tuple[float, float] | None = None,
        *,
        trials: int | None = None,
    ) -> None:
        """Learn what an architecture earned that was not proposed, before the first proposal.

        It will not be proposed. What the space suggests, such as other recipes for its reference
        child, is proposed first, in a quarter of the trials at most. With a surrogate, every
        second proposal is then an edit of what is known, mostly of the best of it, until enough is
        known to predict; without one, it only counts among the results that are edited and
        compared.

        Args:
            tokens: A finished architecture of the space.
            reward: What it earned; finite.
            spent: As in `Trajectory`.
            trials: How many there will be at most; None where that is not known.
        """
        most = None if trials is None else trials // _SUGGESTED_SHARE
        self._suggestions = suggestions(self._space)[:most]
        known = tuple(int(token) for token in tokens)
        self._know(known)
        log_probs = tuple(self._log_probs(known))
        self._take(Trajectory(known, log_probs, reward, spent=spent))
        self._begun = True

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`."""
        tokens = np.zeros(len(observation), dtype=np.int64)
        log_probs = np.zeros(len(observation))
        for row, observed in enumerate(observation):
            if mask[row].any():
                prefix = prefix_of(observed)
                policy = self._policy.row(prefix, mask[row])
                token = self._plans.token(prefix)
                if token is None or not mask[row, token]:
                    token = draw(policy, self._rng)
                tokens[row], log_probs[row] = token, np.log(max(policy[token], _LEAST))
        return Action(tokens, log_probs)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the policy, float64[W, A]; arguments as in `Controller.probabilities`."""
        return np.stack(
            [
                self._policy.row(prefix_of(observed), allowed)
                for observed, allowed in zip(observation, mask, strict=True)
            ]
        )

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from finished trajectories; one whose key was known teaches nothing."""
        figures: dict[str, float] = {}
        for trajectory in trajectories:
            self._know(trajectory.tokens)
            if not trajectory.repeated:
                self._take(trajectory)
                if len(self._batch) >= self._settings.batch_size:
                    figures = self._update()
        if self._screen is not None:
            figures["screen_correlation"] = self._screen.correlation
            figures["screen_on"] = float(self._screen.on)
        return {f"controller/{name}": value for name, value in figures.items()}

    def believed(self) -> Tokens | None:
        """Return which of the best so far the surrogate takes for the best; None without one.

        Where rewards are noisy the posterior mean looks through the noise, by what is alike.
        """
        if self._screen is None or not self._screen.ready:
            return None
        return self._screen.best_known()

    def state(self) -> State:
        """Return the complete state."""
        return {
            "origin": dict(self._origin),
            "generator": self._rng.bit_generator.state,
            "network": self._policy.state(),
            "plans": self._plans.state(),
            "history": self._history.state(),
            "screen": None if self._screen is None else self._screen.state(),
            "candidates": self._candidates.state(),
            "known": self._known.state(self._history),
            "batch": [[list(tokens), list(lps), reward] for tokens, lps, reward in self._batch],
            "count": self._count,
            "since_best": self._since_best,
            "heated": self._heated,
            "begun": self._begun,
            "suggestions": [list(tokens) for tokens in self._suggestions],
        }

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned.

        Raises:
            RunError: The state is of another controller or space.
        """
        check_origin(state, self._origin)
        self._policy.load(state["network"])
        self._rng.bit_generator.state = state["generator"]
        self._plans.load(state["plans"])
        self._history.load(state["history"])
        if self._screen is not None:
            self._screen.load(state["screen"])
        self._candidates.load(state["candidates"])
        self._known.load(state["known"], self._history)
        self._batch = [
            (tuple(tokens), tuple(log_probs), reward)
            for tokens, log_probs, reward in state["batch"]
        ]
        self._count, self._heated = int(state["count"]), int(state["heated"])
        self._since_best = int(state["since_best"])
        self._begun = bool(state.get("begun", False))  # older states lack it
        self._suggestions = [tuple(tokens) for tokens in state.get("suggestions", [])]  # and this

    def recall(self, keys: Mapping[Tokens, str]) -> None:
        """Take the keys of what was proposed; see `Controller`."""
        self._known.recall(keys)

    def save_weights(self, path: Path) -> None:
        """Write the policy's weights as a Keras file.

        Raises:
            StorageError: The disk refused.
        """
        self._policy.save_weights(path)

    @property
    def _stagnant(self) -> bool:
        factor = _LONGER_PATIENCE if self._screen is None else 1
        return self._since_best >= factor * self._settings.patience

    def _propose(self) -> Tokens:
        if (suggestion := self._next_suggestion()) is not None:
            self._know(suggestion)
            return suggestion
        self._count += 1
        place, screen = self._count % _ROUND, self._screen
        tokens = None
        if screen is None:
            if self._count <= _FIRST_DRAWS:
                tokens = self._new_draw()
            elif place < (_STAGNANT_EDITS if self._stagnant else self._settings.screened):
                tokens = self._new_edit()
        elif not screen.ready:
            tokens = self._new_edit() if self._begun and self._count % 2 == 0 else None
        elif screen.on and place < self._settings.screened:
            tokens = self._picked(screen)
        if tokens is None:
            tokens = self._new_sample()
            if screen is not None:
                screen.watch(tokens)
        self._know(tokens)
        return tokens

    def _next_suggestion(self) -> Tokens | None:
        """Return what the space suggests next, of what is not known by now."""
        while self._suggestions:
            suggestion = self._suggestions.pop(0)
            if not self._known.has(suggestion):
                return suggestion
        return None

    def _know(self, tokens: Tokens) -> None:
        """Remember what needs no second proposal."""
        self._known.add(tokens)
        self._candidates.drop(self._known.key(tokens))

    def _picked(self, screen: Screen) -> Tokens | None:
        """Return what the surrogate likes best, or None if there is nothing new."""
        self._candidates.refresh(self._history.elite(), self._known, self._rng)
        optimism = _STAGNANT_OPTIMISM if self._stagnant else 1.0
        return screen.pick(self._candidates, optimism=optimism)

    def _new_edit(self) -> Tokens | None:
        """Return the likeliest per token of some new edits of the best, or None if none is new.

        A sum over tokens would favour the shortest, so that nearly every edit took a layer out.
        """
        elite = self._history.elite()
        favour = _STAGNANT_FAVOUR if self._stagnant else _FAVOUR
        found: dict[Tokens, float] = {}
        for _ in range(self._settings.edits if elite else 0):
            parent = elite[int(len(elite) * self._rng.random() ** favour)]
            tokens = mutant(self._space, parent, self._rng)
            if tokens not in found and not self._known.has(tokens):
                found[tokens] = self._log_prob(tokens) / len(tokens)
        return max(found, key=lambda tokens: found[tokens], default=None)

    def _log_prob(self, tokens: Tokens) -> float:
        total = 0.0
        for log_prob in self._log_probs(tokens):
            total += log_prob
        return total

    def _log_probs(self, tokens: Tokens) -> Iterator[float]:
        """Yield the policy's log-probability of each token behind those before it."""
        for place, token in enumerate(tokens):
            prefix = tokens[:place]
            policy = self._policy.row(prefix, self._space.mask(prefix))
            yield float(np.log(max(policy[token], _LEAST)))

    def _new_sample(self) -> Tokens:
        """Return a sample of the policy that was never proposed; a hotter one if it must be."""
        heat = _STAGNANT_HEAT if self._stagnant and self._screen is None else 1.0
        for draws in range(_DRAWS):
            tokens = self._policy.sample(self._rng, heat * _HEATING**draws)
            tokens = grafted(self._space, tokens, self._history.elite(), self._rng)
            if not self._known.has(tokens):
                return tokens
        return self._new_draw()

    def _new_draw(self) -> Tokens:
        """Return a uniform draw that was never proposed, if some hundred draws find one."""
        for _ in range(_UNIFORM_DRAWS):
            tokens = uniform(self._space, self._rng)
            if not self._known.has(tokens):
                break
        return tokens

    def _take(self, trajectory: Trajectory) -> None:
        """Put a result into history and batch."""
        better = trajectory.reward is not None and trajectory.reward > self._history.best
        self._since_best = 0 if better else self._since_best + 1
        if self._since_best and self._since_best % self._settings.stagnation == 0:
            self._heated = len(self._history)
        self._history.add(trajectory.tokens, trajectory.reward, trajectory.error, trajectory.spent)
        self._batch.append((trajectory.tokens, trajectory.log_probs, trajectory.reward))
        if self._screen is not None:
            self._screen.observe(trajectory.tokens, trajectory.reward)

    def _entropy_weight(self) -> float:
        settings = self._settings
        passed = min((len(self._history) - self._heated) / settings.anneal, 1.0)
        return settings.entropy + passed * (settings.entropy_end - settings.entropy)

    def _update(self) -> dict[str, float]:
        standing = np.array([self._history.standing(reward) for _, _, reward in self._batch])
        advantages = self._advantages(0.5 + 0.5 * standing)
        weight = self._entropy_weight()
        figures = self._policy.update(
            self._arrays(advantages, weight), epochs=self._settings.epochs
        )
        self._batch.clear()
        return {**figures, "advantage": float(advantages.mean()), "entropy_weight": weight}

    def _advantages(self, share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return advantages; share is that of the results that are worse, from 0 to 1."""
        sharpness = self._settings.sharpness
        return np.asarray(((sharpness + 1.0) * share**sharpness - 1.0) / sharpness)

    def _arrays(self, advantages: npt.NDArray[np.float64], entropy_weight: float) -> Batch:
        """Return the batch, and behind it the best so far if they are imitated."""
        settings, own = self._settings, len(self._batch)
        elite = self._history.elite() if settings.imitation else []
        batch = self._padded([*(each[0] for each in self._batch), *elite], entropy_weight)
        batch["advantage"][:own] = advantages
        for row, (_, log_probs, _) in enumerate(self._batch):
            batch["log_prob"][row, : len(log_probs)] = log_probs
        weight = settings.imitation * len(batch["imitation"]) / max(len(elite), 1)
        batch["imitation"][own : own + len(elite)] = weight
        return batch

    def _padded(self, rows: Sequence[Tokens], entropy_weight: float) -> Batch:
        """Return a batch that teaches nothing yet, with as many steps as its longest needs."""
        settings = self._settings
        count = settings.batch_size + (settings.elite if settings.imitation else 0)
        padding: list[Tokens] = [()] * (count - len(rows))
        batch = self._policy.batch([*rows, *padding])
        steps = -(-max(map(len, rows)) // _STEPS) * _STEPS
        batch = {name: array[:, :steps] for name, array in batch.items()}
        batch["temperature"] = np.ones(count, dtype=np.float32)
        batch["advantage"] = np.zeros(count, dtype=np.float32)
        batch["log_prob"] = np.zeros(batch["weight"].shape, dtype=np.float32)
        batch["imitation"] = np.zeros(count, dtype=np.float32)
        batch["entropy_weight"] = np.full(count, entropy_weight, dtype=np.float32)
        return batch


def _counts(written: int, max_tokens: int) -> tuple[int, int, int]:
    """Return how many samples, edits and draws have about so many tokens together."""
    eighth = max(1, written // (8 * max_tokens))
    return eighth, 5 * eighth, 2 * eighth
