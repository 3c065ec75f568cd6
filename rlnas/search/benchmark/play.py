"""One search on a table: as many proposals as it takes, each network counted once."""

import time
from dataclasses import dataclass

from rlnas.controllers import Controller, Trajectory, propose
from rlnas.evaluation import Table

PATIENCE = 5000
"""Proposals of known networks in a row after which a search ends early (chosen)."""

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """How one search went.

    Attributes:
        trials: Different networks that were tried; fewer than asked for where the search ended
            early.
        picks: Trial and report of what the search would pick, the network with the highest
            reward so far, each time that it changes.
        believed: By trial, the report of the network with the highest posterior mean of the
            surrogate; empty where the controller has none.
        optimum_at: Trial in which the network with the table's highest reward came; None if it
            did not.
        seconds: Time that the controller took, on the processor.
    """

    trials: int
    picks: tuple[tuple[int, float], ...]
    believed: dict[int, float]
    optimum_at: int | None
    seconds: float

    def report(self, trial: int) -> float:
        """Return the report of what the search would pick after so many trials."""
        return [report for place, report in self.picks if place <= trial][-1]


def play(table: Table, controller: Controller, trials: int, at: tuple[int, ...]) -> Played:
    """Search a table.

    Args:
        table: Space and rewards.
        controller: It proposes and learns, from nothing but the reward.
        trials: Different networks to try.
        at: Trials after which a surrogate is asked what it believes to be the best.
    """
    space = table.space
    known: set[str] = set()
    picks: list[tuple[int, float]] = []
    believed: dict[int, float] = {}
    best, optimum, optimum_at, repeats = float("-inf"), table.best_reward, None, 0
    began = time.process_time()
    while len(known) < min(trials, space.size) and repeats < PATIENCE:
        tokens, log_probs = propose(controller, space)
        key = space.key(space.architecture(tokens))
        row, repeated = table.rows[key], key in known
        controller.learn([Trajectory(tokens, log_probs, row.reward, repeated)])
        if repeated:
            repeats += 1
            continue
        known.add(key)
        repeats = 0
        if row.reward > best:
            best = row.reward
            picks.append((len(known), row.report))
        if optimum_at is None and row.reward >= optimum:
            optimum_at = len(known)
        if len(known) in at and (tokens_believed := _believed(controller)) is not None:
            believed[len(known)] = table.rows[space.key(space.architecture(tokens_believed))].report
    return Played(len(known), tuple(picks), believed, optimum_at, time.process_time() - began)


def _believed(controller: Controller) -> Tokens | None:
    believed = getattr(controller, "believed", None)
    if believed is None:
        return None
    tokens: Tokens | None = believed()
    return tokens
