"""What a controller would choose now, averaged over rollouts; nothing in it changes."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlnas.spaces import Space, observation

if TYPE_CHECKING:
    from rlnas.controllers.base import Controller


def policy_table(
    space: Space, controller: "Controller", seed: int, rollouts: int = 16
) -> dict[str, list[float]]:
    """Return the mean probability of each choice, by decision.

    The rollouts are sampled from `Controller.probabilities` alone, all in one batch, with a
    generator of their own: the run goes on as if this had not been called.

    Args:
        space: The space the controller proposes in.
        controller: The controller.
        seed: Seed of the sampling.
        rollouts: W, how many architectures are written.

    Returns:
        A list as long as the decision's choices, for each decision that was met, in the
        order of ``space.decisions``.
    """
    generator = np.random.default_rng(seed)
    prefixes: list[tuple[int, ...]] = [()] * rollouts
    met: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    while not all(finished := [space.decision(prefix) is None for prefix in prefixes]):
        probabilities = _batch(space, controller, prefixes, finished)
        for row, prefix in enumerate(prefixes):
            decision = space.decision(prefix)
            if decision is not None:
                met[decision.name].append(probabilities[row, : len(decision.choices)])
                prefixes[row] = (*prefix, _sample(probabilities[row], generator))
    return {
        decision.name: [float(share) for share in np.mean(met[decision.name], axis=0)]
        for decision in space.decisions
        if decision.name in met
    }


def _batch(
    space: Space,
    controller: "Controller",
    prefixes: list[tuple[int, ...]],
    finished: list[bool],
) -> npt.NDArray[np.float64]:
    """Return float64[W, A]; the rows of finished rollouts mean nothing.

    They ask for the first decision again, so that the batch keeps its shape.
    """
    asked = [() if over else prefix for prefix, over in zip(prefixes, finished, strict=True)]
    observed = np.stack([observation(prefix, space.max_tokens) for prefix in asked])
    masks = np.stack([space.mask(prefix) for prefix in asked])
    return controller.probabilities(observed, masks)


def _sample(probabilities: npt.NDArray[np.float64], generator: np.random.Generator) -> int:
    """Return a token; one whose probability is 0 never."""
    cumulated = np.cumsum(probabilities)
    return int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
