"""What is known before a search: scored architectures of an earlier run, or of the cost model."""

from contextlib import closing, suppress
from math import log
from pathlib import Path

import numpy as np

from rlnas.controllers import Scored, uniform
from rlnas.errors import RunError, SpaceError
from rlnas.search.folder import RunFolder, find_run
from rlnas.search.journal import Journal
from rlnas.spaces import Architecture, Space, space_from_json

COST = "flops"
"""In place of a run's name: scores by the cost model."""

_DRAWN = 200
"""Architectures that are drawn to be scored by their cost (chosen)."""


def read_prior(source: str, root: Path, space: Space, seed: int) -> list[Scored]:
    """Return scored architectures of a space.

    Args:
        source: ``"flops"``, the name of a run below the root, or the path of its folder.
        root: Folder of all runs.
        space: The grammar of the search that is to begin.
        seed: Seed of what is drawn to be scored by its cost.

    Raises:
        RunError: There is no such run, it is of another grammar, or it has too few rewards.
    """
    if source == COST:
        return by_cost(space, seed)
    folder = find_run(root, source)
    with closing(folder.open()) as journal:
        _check_grammar(journal, folder, space)
        found = _legal(journal, space)
    if len({score for _, score in found}) < 2:
        raise RunError(
            f"{folder.path} cannot start another search warm: expected trials with at least two "
            f"different rewards that this space allows, got {len(found)} trials; choose another "
            "--warm-start"
        )
    return found


def by_cost(space: Space, seed: int) -> list[Scored]:
    """Return architectures drawn uniformly, scored by the logarithm of their FLOPs.

    Within the caps of a space the larger network is mostly the better one (White et al. 2021,
    "How powerful are performance predictors in neural architecture search?").

    Raises:
        RunError: The space's architectures have no layers whose cost could be told.
    """
    rng = np.random.default_rng([seed, _DRAWN])
    drawn = [space.architecture(uniform(space, rng)) for _ in range(_DRAWN)]
    if not any(architecture.layers for architecture in drawn):
        raise RunError(
            f"--warm-start {COST} needs networks of layers, which a space called {space.name} does "
            "not have; choose an earlier run"
        )
    return [(architecture.tokens, _log_flops(architecture)) for architecture in drawn]


def _log_flops(architecture: Architecture) -> float:
    cost = architecture.cost
    return log(max(cost.flops, 1))


def _check_grammar(journal: Journal, folder: RunFolder, space: Space) -> None:
    """Check that tokens of a run mean the same in this space."""
    record = journal.meta()["space"]
    same = record == space.to_json()
    with suppress(SpaceError):  # of a space of the user's own
        same = same or space_from_json(record).decisions == space.decisions
    if not same:
        raise RunError(
            f"{folder.path} was written in a space with other decisions or choices than this "
            "one, expected the same; choose another --warm-start or the old --space settings"
        )


def _legal(journal: Journal, space: Space) -> list[Scored]:
    """Return the rewarded trials that this space allows: its caps may be others."""
    found: list[Scored] = []
    for trial in journal.trials():
        if trial.reward is not None:
            with suppress(SpaceError):
                found.append((space.architecture(trial.tokens).tokens, trial.reward))
    return found
