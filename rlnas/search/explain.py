"""What a run has learned about each choice: its effect on the reward, and with what it interacts.

For each decision the model has the share of each choice in an architecture: of the layers that
decide ``conv.filters``, how many took 64. A decision that is made once, as in a table or a recipe,
has one share of 1. Where an architecture does not decide it at all, the average stands for it.

The effects are those of a linear model of the reward, fitted as Bayesian ridge regression
(MacKay 1992; Tipping 2001, as in scikit-learn), so that it is defined for few trials too. Pairs of
decisions join the model one after the other while an F test, corrected for all pairs (Bonferroni),
says that they explain more than chance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rlnas.errors import RunError, SpaceError
from rlnas.search.plots import save_plot
from rlnas.search.result import SearchResult
from rlnas.spaces import Space, space_from_json

Floats = npt.NDArray[np.float64]

_FEWEST = 10
"""Trials below which nothing is explained (chosen)."""

_CONFIDENCE, _CHANCE = 0.95, 0.01
"""Of the intervals, and the probability with which a pair is named that does not interact."""

_NOISE = (1.0, 0.2)
"""Shape and rate of the gamma prior of the noise's precision, rewards having the variance 1: it
weighs as much as two trials. Without it a model with more columns than trials can explain them all,
and is then far too sure (chosen: of tables with 14 to 120 trials, 95 to 99 % of intervals hold)."""

_MOST_PAIRS = 10
"""Pairs of decisions that are named at most (chosen)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one choice does to the reward.

    Attributes:
        decision: Name of the decision.
        choice: The choice, as text.
        tried: In how many trials it was chosen, at least once.
        effect: Mean difference of the reward from the average of the decision's choices.
        low: Lower end of its 95 % interval.
        high: Upper end.
        policy: Mean probability that the policy gave it at last; None where there is no policy.
    """

    decision: str
    choice: str
    tried: int
    effect: float
    low: float
    high: float
    policy: float | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """What two choices together do to the reward, beside what each does by itself.

    Attributes:
        decisions: Names of both decisions.
        choices: The choice of each, as text.
        effect: Difference of the reward from the sum of both effects.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    decisions: tuple[str, str]
    choices: tuple[str, str]
    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a run has learned.

    Attributes:
        trials: How many rewards it is from.
        explained: Share of the variance of the rewards that the model explains of trials that it
            was not fitted to: each is left out in turn (PRESS, Allen 1974); 0 where it is no better
            than the mean.
        effects: Of all choices that were tried, decision by decision.
        interactions: Those whose interval excludes 0, the largest first.
    """

    trials: int
    explained: float
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON."""
        return asdict(self)


def explain(
    space: Space,
    sequences: Sequence[Sequence[int]],
    rewards: Sequence[float],
    policy: Mapping[str, Sequence[float]] | None = None,
) -> Explanation:
    """Explain rewards by what was decided.

    Args:
        space: The grammar.
        sequences: Tokens of each trial.
        rewards: Reward of each.
        policy: Probability of each choice by decision, or None.

    Raises:
        RunError: There are too few trials, or they all earned the same.
    """
    y = np.asarray(rewards, dtype=np.float64)
    if len(y) < _FEWEST or not np.ptp(y):
        raise RunError(
            f"expected at least {_FEWEST} trials with different rewards, got {len(y)} with "
            f"{len(np.unique(y))}; search on first"
        )
    blocks = _blocks(space, sequences)
    pairs = _pairs(blocks, y)
    design = _Design(blocks, pairs)
    fit = _fit(design.columns, y)
    effects = tuple(
        Effect(
            block.name, choice, int(block.tried[place]), *interval, _policy(policy, block, place)
        )
        for number, block in enumerate(blocks)
        for place, (choice, interval) in enumerate(
            zip(block.labels, fit.intervals(design.main(number)), strict=True)
        )
    )
    interactions = [
        Interaction(names, labels, *interval)
        for number in range(len(pairs))
        for (names, labels), interval in zip(
            design.cells(number), fit.intervals(design.joint(number)), strict=True
        )
        if interval[1] > 0 or interval[2] < 0
    ]
    interactions.sort(key=lambda each: -abs(each.effect))
    return Explanation(len(y), fit.explained, effects, tuple(interactions))


@dataclass(frozen=True, slots=True)
class _Block:
    """The choices of one decision.

    Attributes:
        name: Of the decision.
        labels: Its choices that were tried, as text.
        places: Their indices.
        tried: Trials in which each was chosen.
        shares: float64[N, C], rows sum to 1.
    """

    name: str
    labels: tuple[str, ...]
    places: tuple[int, ...]
    tried: npt.NDArray[np.int64]
    shares: Floats

    @property
    def coded(self) -> Floats:
        """The shares without their sum, which is known: float64[N, C - 1]."""
        return self.shares @ _contrasts(len(self.labels))


def _contrasts(count: int) -> Floats:
    """Return an orthonormal basis of what sums to 0, float64[count, count - 1]."""
    centred = np.eye(count) - 1 / count
    basis: Floats = np.linalg.svd(centred)[0][:, : count - 1]
    return basis


def _blocks(space: Space, sequences: Sequence[Sequence[int]]) -> list[_Block]:
    """Return the decisions that were decided in more than one way."""
    counts = [_counted(space, tokens) for tokens in sequences]
    blocks = []
    for decision in space.decisions:
        chosen = np.array(
            [[row[decision.name, k] for k in range(len(decision.choices))] for row in counts],
            dtype=np.float64,
        )
        tried = (chosen > 0).sum(axis=0)
        places = np.flatnonzero(tried)
        if len(places) < 2:
            continue
        chosen = chosen[:, places]
        total = chosen.sum(axis=1, keepdims=True)
        shares = chosen / np.where(total > 0, total, 1.0)
        decided = total[:, 0] > 0
        shares[~decided] = shares[decided].mean(axis=0)
        labels = tuple(str(decision.choices[place]) for place in places)
        blocks.append(_Block(decision.name, labels, tuple(places.tolist()), tried[places], shares))
    return blocks


def _counted(space: Space, tokens: Sequence[int]) -> Counter[tuple[str, int]]:
    """Return how often an architecture takes each choice of each decision."""
    found: Counter[tuple[str, int]] = Counter()
    for place, token in enumerate(tokens):
        decision = space.decision(tokens[:place])
        if decision is not None:
            found[decision.name, int(token)] += 1
    return found


def _pairs(blocks: Sequence[_Block], y: Floats) -> list[tuple[int, int]]:
    """Return the pairs of decisions that interact, the surest first."""
    from scipy import stats

    candidates = list(combinations(range(len(blocks)), 2))
    found: list[tuple[int, int]] = []
    while candidates and len(found) < _MOST_PAIRS:
        base = _Design(blocks, found).columns
        basis = _orthonormal(np.hstack([np.ones((len(y), 1)), base]))
        left = y - basis @ (basis.T @ y)
        chances = []
        for first, second in candidates:
            columns = _products(blocks[first], blocks[second])
            more = _orthonormal(columns - basis @ (basis.T @ columns))
            explained = float(np.sum((more.T @ left) ** 2))
            free = len(y) - basis.shape[1] - more.shape[1]
            if more.shape[1] == 0 or free < more.shape[1]:
                chances.append(1.0)
                continue
            rest = max(float(left @ left) - explained, 1e-300)
            ratio = explained / more.shape[1] / (rest / free)
            chances.append(float(stats.f.sf(ratio, more.shape[1], free)))
        surest = int(np.argmin(chances))
        if chances[surest] * len(candidates) >= _CHANCE:
            break
        found.append(candidates.pop(surest))
    return found


def _products(first: _Block, second: _Block) -> Floats:
    """Return all products of both decisions' columns, float64[N, (C - 1) (D - 1)]."""
    products: Floats = np.einsum("nc,nd->ncd", first.coded, second.coded)
    return products.reshape(len(products), -1)


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of what columns span."""
    if not columns.size:
        return np.zeros((len(columns), 0))
    vectors, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis: Floats = vectors[:, sizes > 1e-9 * max(sizes.max(), 1e-9)]
    return basis


class _Design:
    """The columns of the model: each decision by itself, then the pairs."""

    def __init__(self, blocks: Sequence[_Block], pairs: Sequence[tuple[int, int]]) -> None:
        self._blocks, self._pairs = blocks, pairs
        parts = [block.coded for block in blocks]
        parts += [_products(blocks[first], blocks[second]) for first, second in pairs]
        self._ends = np.cumsum([0, *(part.shape[1] for part in parts)])
        self.columns: Floats = np.hstack(parts)

    def main(self, number: int) -> Floats:
        """Return what turns coefficients into a decision's effects, float64[C, columns]."""
        return self._placed(number, _contrasts(len(self._blocks[number].labels)))

    def joint(self, number: int) -> Floats:
        """Return what turns coefficients into the effects of a pair, float64[C * D, columns]."""
        first, second = (self._blocks[each] for each in self._pairs[number])
        both = np.kron(_contrasts(len(first.labels)), _contrasts(len(second.labels)))
        return self._placed(len(self._blocks) + number, both.astype(np.float64))

    def cells(self, number: int) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """Return names and choices of a pair, in the order of `joint`."""
        first, second = (self._blocks[each] for each in self._pairs[number])
        names = (first.name, second.name)
        return [(names, (ours, theirs)) for ours in first.labels for theirs in second.labels]

    def _placed(self, number: int, contrasts: Floats) -> Floats:
        whole = np.zeros((len(contrasts), self.columns.shape[1]))
        whole[:, self._ends[number] : self._ends[number + 1]] = contrasts
        return whole


@dataclass(frozen=True, slots=True)
class _Fit:
    """Coefficients with their covariance, and the share of the variance they explain."""

    coefficients: Floats
    covariance: Floats
    width: float
    explained: float

    def intervals(self, contrasts: Floats) -> list[tuple[float, float, float]]:
        """Return combinations of coefficients, each with both ends of its interval."""
        means = contrasts @ self.coefficients
        spread = np.einsum("ij,jk,ik->i", contrasts, self.covariance, contrasts)
        half = self.width * np.sqrt(np.maximum(spread, 0.0))
        return [
            (float(mean), float(mean - h), float(mean + h))
            for mean, h in zip(means, half, strict=True)
        ]


def _fit(columns: Floats, y: Floats) -> _Fit:
    from scipy import stats
    from sklearn.linear_model import BayesianRidge

    scale = float(y.std())
    shape, rate = _NOISE
    model = BayesianRidge(max_iter=1000, tol=1e-6, alpha_1=shape, alpha_2=rate)
    model.fit(columns, (y - y.mean()) / scale)
    free = max(len(y) - 1 - float(np.sum(1 - model.lambda_ * np.diag(model.sigma_))), 1.0)
    width = float(stats.t.ppf((1 + _CONFIDENCE) / 2, free))
    explained = _explained(model, columns, (y - y.mean()) / scale)
    return _Fit(scale * model.coef_, scale**2 * model.sigma_, width, explained)


def _explained(model: Any, columns: Floats, y: Floats) -> float:
    """Return the share of the variance that is explained with each trial left out in turn.

    A linear model with a given prior need not be fitted anew for that: its residual grows by
    ``1 / (1 - h)``, where h is how much the trial's own reward moves its prediction.
    """
    centred = columns - columns.mean(axis=0)
    own = 1 / len(y) + model.alpha_ * np.einsum("ij,jk,ik->i", centred, model.sigma_, centred)
    wrong = (y - model.predict(columns)) / np.maximum(1 - own, 1e-9)
    by_mean = (y - y.mean()) / (1 - 1 / len(y))
    return max(0.0, 1 - float(wrong @ wrong) / float(by_mean @ by_mean))


def _policy(
    policy: Mapping[str, Sequence[float]] | None, block: _Block, place: int
) -> float | None:
    if policy is None or block.name not in policy:
        return None
    return float(policy[block.name][block.places[place]])


def explain_run(found: SearchResult, space: Mapping[str, Any]) -> Explanation:
    """Explain a run.

    Args:
        found: The run.
        space: The JSON of its space.

    Raises:
        RunError: The space is the user's own, or there are too few trials.
    """
    try:
        grammar = space_from_json(space)
    except SpaceError as error:
        raise RunError(
            f"{found.run} has a space of your own, which only Python has; call "
            "rlnas.search.explain.explain with it"
        ) from error
    done = [trial for trial in found.trials if trial.reward is not None]
    policies = [trial.policy for trial in found.trials if trial.policy]
    rewards = [float(trial.reward or 0.0) for trial in done]
    policy = policies[-1] if policies else None
    return explain(grammar, [trial.tokens for trial in done], rewards, policy)


def plot_effects(found: Explanation, title: str, path: Path | BinaryIO) -> None:
    """Draw each choice's effect with its interval.

    Args:
        found: From `explain`.
        title: Of the plot.
        path: PNG file to write, or one that is open.

    Raises:
        StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    decisions = list(dict.fromkeys(effect.decision for effect in found.effects))
    rows = len(found.effects) + len(decisions)
    figure = Figure(figsize=(8, 1 + 0.2 * rows), dpi=120, layout="constrained")
    axes = figure.subplots()
    labels: list[tuple[int, str]] = []
    row = 0
    for number, decision in enumerate(decisions):
        row += 1
        for effect in (each for each in found.effects if each.decision == decision):
            width = [[effect.effect - effect.low], [effect.high - effect.effect]]
            axes.errorbar(effect.effect, row, xerr=width, fmt="o", color=f"C{number % 10}")
            labels.append((row, f"{decision} {effect.choice}"))
            row += 1
    axes.axvline(0.0, color="0.5", linewidth=1)
    axes.set_yticks([place for place, _ in labels], [label for _, label in labels], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("effect on the reward, with its 95 % interval")
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    save_plot(figure, path)
