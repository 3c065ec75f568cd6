"""The surrogate screen: of many candidates, which is worth a training?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy.stats import rankdata

from rlnas.controllers.candidates import Candidates
from rlnas.controllers.features import Encoder, Features, Row
from rlnas.controllers.history import History, Tokens
from rlnas.controllers.spending import Floats, Spending, Weigh
from rlnas.controllers.surrogate import Surrogate, rank_normalised
from rlnas.spaces import Space

MOST_KNOWN = 300
"""Trials a surrogate is fitted on at most, so that its cost stays flat (chosen)."""

_UNFITTED = 5
"""Trials between two fits where more than `MOST_KNOWN` are known, of which a part is then chosen
anew (chosen); up to there each trial brings a fit."""

KAPPAS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Standard deviations of optimism, in turn: from trusting the mean to exploring (chosen)."""

_WATCHED, _OFF, _ON = 40, 0.1, 0.25
"""Predictions whose rank correlation is watched, and where it turns the screen off and on."""

_JUDGED = 15
"""Predictions before the first judgement: the correlation of fewer is chance (chosen)."""

_FEWEST = 10
"""Trials before the first fit (chosen: at least as good on the two tables as 15)."""

_SHARE = MOST_KNOWN // 3
"""Of the trials fitted on when there are many: how many are the best, and the newest (chosen)."""

_READ = 4096
"""Candidates whose features are kept (chosen)."""

_Read = TypeVar("_Read")

_MOST_NOISE = 4.0
"""How much more than the mean a reward's chance may count, and how much less (chosen)."""


class Screen:
    """Predicts what was not trained from what was, and knows whether it can be trusted.

    Args:
        space: The grammar.
        surrogate: The predictor.
        history: What was trained; the controller adds to it.
        seed: Seed of the sample that it is fitted on when there are many trials.
        weigh: How a cost counts in the reward; None where none does. With one, the surrogate
            predicts rewards without the cost, and the cost is foretold apart.

    Attributes:
        on: Whether its picks are to be followed.
        correlation: Spearman's, of the last predictions with what was earned.
    """

    def __init__(
        self,
        space: Space,
        surrogate: Surrogate,
        history: History,
        seed: int,
        weigh: Weigh | None = None,
    ) -> None:
        """See the class."""
        self._encoder = Encoder(space)
        self._weigh, self._spending = weigh, Spending(space, self._encoder)
        self._foretells = False  # what candidates will cost
        self._scale = np.zeros(0), np.zeros(0)  # quantiles and values of what is known, rising
        self._surrogate, self._history, self._seed = surrogate, history, seed
        self._rows: dict[int, Row] = {}  # by place in the history, of what was fitted on
        self._features: Features | None = None  # of all that was fitted on, while it was all
        self._read: dict[Tokens, Row] = {}
        self._sizes: dict[Tokens, Floats] = {}
        self._fitted = 0
        self._foreseen: dict[Tokens, tuple[float, float]] = {}  # mean, deviation; by the last fit
        self._turn = 0
        self._predicted: dict[Tokens, float] = {}  # of what was proposed and is under way
        self._watched: list[tuple[float, float]] = []  # prediction, reward
        self.on = True
        self.correlation = 0.0

    @property
    def ready(self) -> bool:
        """Whether there is enough to fit on."""
        return len(self._history) >= _FEWEST

    def observe(self, tokens: Tokens, reward: float | None) -> None:
        """Compare what was predicted of an architecture with what it earned."""
        prediction = self._predicted.pop(tokens, None)
        if prediction is not None:
            self._watched.append((prediction, -np.inf if reward is None else reward))
            del self._watched[:-_WATCHED]
            self._judge()

    def pick(self, candidates: Candidates, *, optimism: float = 1.0) -> Tokens | None:
        """Return the candidate with the highest mean plus kappa standard deviations.

        Of too many candidates the least promising are dropped.

        Args:
            candidates: Architectures that were never proposed; None is returned if empty.
            optimism: Factor of kappa.
        """
        tokens = candidates.tokens()
        if not tokens:
            return None
        kappa = optimism * KAPPAS[self._turn % len(KAPPAS)]
        self._turn += 1
        worth = self._promise(tokens)
        place = int(np.argmax(worth(kappa)))
        self._predicted[tokens[place]] = float(worth(0.0)[place])
        candidates.keep(worth(KAPPAS[-1]))
        return tokens[place]

    def watch(self, tokens: Tokens) -> None:
        """Predict what is proposed without the screen, to compare it with what it will earn."""
        if self.ready:
            self._predicted[tokens] = float(self._promise([tokens])(0.0)[0])

    def best_known(self) -> Tokens:
        """Return the architecture with the highest posterior mean among those that were trained."""
        self._refit()
        rows = self._known_rows(range(len(self._history)))
        mean, _ = self._surrogate.predict(self._encoder.features(rows))
        if self._weigh is not None and self._foretells:
            _, shares = self._history.spent()
            shares = np.where(np.isnan(shares), np.inf, shares)  # of what failed
            mean = self._weigh(_values(mean, *self._scale), shares)
        return self._history.tokens(int(np.argmax(mean)))

    def predict(self, candidates: Sequence[Tokens]) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each candidate, in normal quantiles of ranks.

        What was predicted since the last fit is not predicted again.

        Args:
            candidates: At least one architecture.
        """
        self._refit()
        seen = self._foreseen
        new = [tokens for tokens in candidates if tokens not in seen] if seen else candidates
        if new:
            rows = [self._row(tokens) for tokens in new]
            mean, deviation = self._surrogate.predict(self._encoder.features(rows))
            seen.update(zip(new, zip(mean.tolist(), deviation.tolist(), strict=True), strict=True))
        if len(new) < len(candidates):
            mean, deviation = np.array([seen[tokens] for tokens in candidates]).T
        return mean, deviation

    def _promise(self, candidates: Sequence[Tokens]) -> Callable[[float], Floats]:
        """Return what tells the worth of candidates for so many standard deviations of optimism.

        Only the order counts: normal quantiles of rewards, or rewards where a cost counts.
        """
        mean, deviation = self.predict(candidates)
        weigh = self._weigh
        if weigh is None or not self._foretells:
            return lambda kappa: np.asarray(mean + kappa * deviation)
        shares = self._spending.predict(np.stack([self._described(each) for each in candidates]))
        return lambda kappa: weigh(_values(mean + kappa * deviation, *self._scale), shares)

    def _described(self, tokens: Tokens) -> Floats:
        """Return what the cost of a candidate is foretold from."""
        return _kept(
            self._sizes, tokens, lambda: self._spending.described(tokens, self._row(tokens))
        )

    def _row(self, tokens: Tokens) -> Row:
        """Return the features of a candidate."""
        return _kept(self._read, tokens, lambda: self._encoder.row(tokens))

    def state(self) -> dict[str, Any]:
        """Return what cannot be made again from the history."""
        foreseen = {} if self._outdated else self._foreseen
        return {
            "surrogate": self._surrogate.state(),
            "fitted": self._fitted,
            "foreseen": [list(tokens) for tokens in foreseen],
            "foresight": np.array(list(foreseen.values())).reshape(-1, 2),
            "seed": self._seed,
            "turn": self._turn,
            "predicted": [[list(tokens), mean] for tokens, mean in self._predicted.items()],
            "watched": np.array(self._watched, dtype=np.float64).reshape(-1, 2),
            "on": self.on,
            "correlation": self.correlation,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the history was loaded before."""
        self._surrogate.load(state["surrogate"])
        self._rows, self._read, self._fitted, self._features = {}, {}, 0, None
        self._seed, self._turn = int(state["seed"]), int(state["turn"])
        self._predicted = {tuple(tokens): float(mean) for tokens, mean in state["predicted"]}
        self._watched = [(float(p), float(r)) for p, r in state["watched"].tolist()]
        self.on, self.correlation = bool(state["on"]), float(state["correlation"])
        if fitted := int(state.get("fitted", 0)):  # older states lack it: each trial was a new fit
            self._fit(fitted)
        # Not predicted again: the last bits depend on what is predicted together.
        foreseen = map(tuple, state.get("foreseen", []))
        self._foreseen = dict(zip(foreseen, map(tuple, state.get("foresight", [])), strict=True))

    @property
    def _outdated(self) -> bool:
        """Whether the last fit is too old: where much is known, only when some more of it came."""
        known = len(self._history)
        return known - self._fitted >= (1 if known <= MOST_KNOWN else _UNFITTED)

    def _refit(self) -> None:
        if self._outdated:
            self._fit(len(self._history))

    def _fit(self, known: int) -> None:
        """Fit on the first so many trials."""
        rewards = self._history.rewards()[:known]
        chosen = self._chosen(rewards)
        if known <= MOST_KNOWN and self._features is not None:  # all of them: most are there
            new = self._known_rows(range(len(self._features), known))
            features = self._features.followed_by(self._encoder.features(new))
        else:
            features = self._encoder.features(self._known_rows(chosen))
        self._features = features if known <= MOST_KNOWN else None
        noise = _noise(self._history.errors()[:known][chosen])
        values = rewards[chosen] if self._weigh is None else self._fit_spending(rewards, chosen)
        targets = rank_normalised(values)
        finite = np.isfinite(values)
        self._scale = np.unique(targets[finite]), np.unique(values[finite])
        self._surrogate.fit(features, targets, known, noise)
        self._fitted, self._foreseen = known, {}

    def _fit_spending(self, rewards: Floats, chosen: Sequence[int]) -> Floats:
        """Fit what foretells the cost on some trials; return their rewards without it."""
        values, shares = (each[: len(rewards)][chosen] for each in self._history.spent())
        told = np.flatnonzero(~np.isnan(shares)).tolist()
        self._foretells = bool(told)
        if told:
            tokens = [self._history.tokens(chosen[place]) for place in told]
            described = np.stack([self._described(each) for each in tokens])
            self._spending.fit(described, shares[told])
        return np.where(np.isnan(values), rewards[chosen], values)

    def _known_rows(self, places: Iterable[int]) -> list[Row]:
        """Return the features of what was trained, by its places; each is read once."""
        rows = []
        for place in places:
            if place not in self._rows:
                self._rows[place] = self._encoder.row(self._history.tokens(place))
            rows.append(self._rows[place])
        return rows

    def _chosen(self, rewards: Floats) -> list[int]:
        """Return what to fit on: all, or the best, the newest and a sample of the rest."""
        count = len(rewards)
        if count <= MOST_KNOWN:
            return list(range(count))
        chosen = np.zeros(count, dtype=np.bool)
        chosen[np.argpartition(-rewards, _SHARE)[:_SHARE]] = True
        chosen[-_SHARE:] = True
        rest = np.flatnonzero(~chosen)
        rng = np.random.default_rng([self._seed, count])
        chosen[rng.choice(rest, MOST_KNOWN - int(chosen.sum()), replace=False)] = True
        places: list[int] = np.flatnonzero(chosen).tolist()
        return places

    def _judge(self) -> None:
        if len(self._watched) < _JUDGED:
            return
        predictions, rewards = zip(*self._watched, strict=True)
        if len(set(predictions)) > 1 and len(set(rewards)) > 1:
            # As `scipy.stats.spearmanr`, without the p-value that takes most of its time.
            self.correlation = float(np.corrcoef(rankdata(predictions), rankdata(rewards))[0, 1])
        if self.correlation < _OFF:
            self.on = False
        elif self.correlation > _ON:
            self.on = True


def _kept(cache: dict[Tokens, _Read], tokens: Tokens, read: Callable[[], _Read]) -> _Read:
    """Return what was read of a candidate, of which most come again at the next proposal."""
    found = cache.get(tokens)
    if found is None:
        if len(cache) >= _READ:
            cache.clear()
        found = cache[tokens] = read()
    return found


def _values(quantiles: Floats, known: Floats, values: Floats) -> Floats:
    """Return the values that stand at some quantiles; above the best they go on as from the median.

    Args:
        quantiles: Normal quantiles of ranks.
        known: Those of what is known, rising.
        values: Its values, rising.
    """
    middle = len(known) // 2
    rise = (values[-1] - values[middle]) / max(known[-1] - known[middle], 1e-9)
    beyond = np.maximum(quantiles - known[-1], 0.0)
    return np.asarray(np.interp(quantiles, known, values) + rise * beyond)


def _noise(errors: Floats) -> Floats | None:
    """Return the variance of each reward's chance in their mean; None where none is known.

    A standard error of a few trainings is itself uncertain: none counts less than a quarter of the
    mean or more than four times it (chosen). One that is not known counts as the mean.
    """
    squares = errors**2
    known = squares > 0
    if not known.any():
        return None
    shares = np.where(known, squares / squares[known].mean(), 1.0)
    return np.asarray(np.clip(shares, 1 / _MOST_NOISE, _MOST_NOISE))
