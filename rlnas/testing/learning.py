"""Does a controller learn? A small space, rewards known without training, a fair pairing."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import comb, exp, sqrt

import numpy as np

from rlnas.controllers import Controller, Trajectory
from rlnas.cost import IMAGE_TYPES, Layer
from rlnas.spaces import Architecture, ImageSpace, Space, observation
from rlnas.spaces.canonical import canonical_layers

_LAST = 20


def small_space() -> ImageSpace:
    """Return image chains of one to three layers, most decisions with two choices."""
    return ImageSpace(
        (4, 4, 1),
        10,
        max_layers=3,
        min_layers=1,
        max_activations=10**9,  # nothing here is trained, so nothing takes time
        choices={
            "conv.filters": (16, 64),
            "conv.kernel": (1, 3),
            "conv.activation": ("relu", "elu"),
            "sepconv.filters": (16, 64),
            "sepconv.activation": ("relu", "elu"),
            "dropout.rate": (0.1, 0.5),
            "dense.units": (32, 64),
            "dense.activation": ("relu", "elu"),
        },
    )


class KnownRewards:
    """Rewards of image chains between 0 and 1, drawn from a seed instead of trained.

    Each layer type and each choice has a worth, and so has each pair of neighbouring
    types, all standard normal. A layer is worth its type plus the mean of its choices;
    a chain the sum of its layers and pairs over the root of their number, through a
    logistic function. Equal networks earn equal rewards.

    Args:
        space: The space.
        seed: Seed of all worths: another seed, another landscape.
    """

    def __init__(self, space: ImageSpace, seed: int) -> None:
        """See the class."""
        rng = np.random.default_rng(seed)
        self._types = {kind: float(rng.normal()) for kind in IMAGE_TYPES}
        self._pairs = {
            (first, second): float(rng.normal()) for first in IMAGE_TYPES for second in IMAGE_TYPES
        }
        self._choices = {
            (name, choice): float(rng.normal())
            for name, choices in space.choices.items()
            for choice in choices
        }

    def __call__(self, architecture: Architecture) -> float:
        """Return the reward of an architecture."""
        layers = canonical_layers(architecture.layers, architecture.input_shape)
        worth = sum(self._layer(layer) for layer in layers)
        worth += sum(self._pairs[first.kind, second.kind] for first, second in pairwise(layers))
        return 1.0 / (1.0 + exp(-worth / sqrt(max(len(layers), 1))))

    def _layer(self, layer: Layer) -> float:
        choices = [
            self._choices[f"{layer.kind}.{field.name}", getattr(layer, field.name)]
            for field in fields(layer)
        ]
        return self._types[layer.kind] + (sum(choices) / len(choices) if choices else 0.0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a search ended.

    Attributes:
        last: Mean reward of its last 20 new architectures.
        best: Best reward it found.
        repeats: How many proposals were known already.
    """

    last: float
    best: float
    repeats: int


def ending(controller: Controller, space: Space, rewards: KnownRewards, trials: int) -> Ending:
    """Search by a controller, one proposal at a time, and return how it ended.

    A repeated proposal teaches its known reward and costs nothing, as in a real search.

    Args:
        controller: Proposes and learns.
        space: The space.
        rewards: What each architecture earns.
        trials: Budget of different architectures.

    Raises:
        AssertionError: It got stuck: fifty times as many repeats as trials.
    """
    known: dict[str, float] = {}
    repeats = 0
    while len(known) < trials:
        tokens, log_probs = _propose(controller, space)
        architecture = space.architecture(tokens)
        key = space.key(architecture)
        repeated = key in known
        repeats += repeated
        if repeats > 50 * trials:
            raise AssertionError(
                f"expected {trials} different architectures, got {len(known)} and then repeats"
            )
        reward = known.setdefault(key, rewards(architecture))
        controller.learn([Trajectory(tokens, log_probs, reward, repeated)])
    earned = list(known.values())
    return Ending(float(np.mean(earned[-_LAST:])), max(earned), repeats)


def better_ends(ours: Sequence[float], theirs: Sequence[float]) -> tuple[int, float]:
    """Return in how many pairs ours is higher, and the p-value of the one-sided sign test.

    Ties are left out, as usual.
    """
    wins = sum(our > their for our, their in zip(ours, theirs, strict=True))
    losses = sum(our < their for our, their in zip(ours, theirs, strict=True))
    return wins, _tail(wins, wins + losses)


def _propose(controller: Controller, space: Space) -> tuple[tuple[int, ...], tuple[float, ...]]:
    tokens: list[int] = []
    log_probs: list[float] = []
    while space.decision(tokens) is not None:
        observed = observation(tokens, space.max_tokens)
        action = controller.act(observed[None], space.mask(tokens)[None])
        tokens.append(int(action.tokens[0]))
        log_probs.append(float(action.log_probs[0]))
    return tuple(tokens), tuple(log_probs)


def _tail(wins: int, pairs: int) -> float:
    """Return the probability of at least so many heads in so many tosses of a fair coin."""
    ways = sum(comb(pairs, heads) for heads in range(wins, pairs + 1))
    return float(ways / 2**pairs)
