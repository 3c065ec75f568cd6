"""Drawing a token from what a mask allows."""

import numpy as np
import numpy.typing as npt

from rlnas.controllers.base import Action

Floats = npt.NDArray[np.float64]


def masked_softmax(logits: npt.NDArray[np.floating], mask: npt.NDArray[np.int8]) -> Floats:
    """Return the softmax over what the mask allows, exactly 0 elsewhere.

    Args:
        logits: float[A].
        mask: int8[A], 1 for allowed.

    Returns:
        float64[A] that sums to 1, or all zeros if nothing is allowed.
    """
    (allowed,) = mask.nonzero()
    return softmax_at(logits[allowed].astype(np.float64), allowed, len(mask))


def softmax_at(logits: Floats, places: npt.NDArray[np.intp], width: int) -> Floats:
    """Return the softmax of some logits at their places, exactly 0 elsewhere.

    Args:
        logits: float64[K].
        places: Where each stands, 0 <= place < width.
        width: Length of what is returned.
    """
    probabilities = np.zeros(width)
    if places.size:
        weights = np.exp(logits - logits.max())
        probabilities[places] = weights / weights.sum()
    return probabilities


def draw(probabilities: Floats, rng: np.random.Generator) -> int:
    """Return an index drawn with these probabilities; one with probability 0 never comes.

    If all are 0 there is nothing to choose (the episode has ended and its action
    will be ignored): 0 is returned and nothing is drawn.

    Args:
        probabilities: float64[A], sum 1 or 0.
        rng: One uniform number is drawn from it.
    """
    (possible,) = probabilities.nonzero()
    if not possible.size:
        return 0
    ladder = probabilities[possible].cumsum()
    rung = ladder.searchsorted(rng.random() * ladder[-1], side="right")
    return int(possible[min(int(rung), possible.size - 1)])


def draw_action(probabilities: Floats, rng: np.random.Generator) -> Action:
    """Return the next token of each episode, drawn in the order of the rows.

    Args:
        probabilities: float64[W, A]; a row of zeros, where nothing could be chosen, gives
            token 0 with log-probability 0.
        rng: One uniform number is drawn from it for each row that is not zero.
    """
    tokens = np.array([draw(row, rng) for row in probabilities], dtype=np.int64)
    chosen = probabilities[np.arange(len(tokens)), tokens]
    log_probs = np.log(np.where(probabilities.any(axis=1), chosen, 1.0))
    return Action(tokens, log_probs)
