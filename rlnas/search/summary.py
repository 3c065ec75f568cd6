"""Parts of a run for those who show many runs, or one of many trials: counts, pages, curves.

All is asked of the journal in SQL, so that nothing grows with the trials but what is shown.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

from rlnas.config import BudgetConfig
from rlnas.errors import ConfigError, RunError, SpaceError
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, DONE, FAILED, LONG, RUNNING, Journal, Trial
from rlnas.spaces import Space, space_from_json

ORDERS = {
    "number": "id",
    "ended": "step IS NULL, step",
    "reward": "reward IS NULL, reward",
    "seconds": "metrics IS NULL, json_extract(metrics, '$.seconds')",
    "params": "metrics IS NULL, json_extract(metrics, '$.params')",
}
"""By what trials may be sorted, and how SQL says it."""

_SPARK = 60
"""Points of a small curve (chosen): more are not seen."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in one line.

    Attributes:
        name: Its name.
        status: ``searching``, ``retraining`` or ``done``.
        controller: Name of the controller.
        dataset: Name of the data set.
        executor: Who trains the children.
        metric: What is rewarded.
        cost: What counts beside it, or None.
        seed: Seed of the run.
        python: It needs objects that only the user's own Python has.
        trials: Trials that have ended.
        running: Trials that are under way.
        failed: Trials that have failed.
        budget: Most trials, or None.
        time_limit: Most seconds, or None.
        seconds: Time the search has taken.
        started: When the first trial was proposed, seconds since 1970; None before.
        changed: When the last trial has ended; None before.
        best_trial: Number of the best trial; None while none has ended well.
        best_reward: Its reward.
        best_layers: Its layers in one line.
        reference: Reward of the reference child, if it was trained.
        test_accuracy: Of the model that was kept; None before.
        spark: Best reward so far, at most 60 points from the first trial to the last.
    """

    name: str
    status: str
    controller: str
    dataset: str
    executor: str
    metric: str
    cost: str | None
    seed: int
    python: bool
    trials: int
    running: int
    failed: int
    budget: int | None
    time_limit: float | None
    seconds: float
    started: float | None
    changed: float | None
    best_trial: int | None
    best_reward: float | None
    best_layers: str | None
    reference: float | None
    test_accuracy: float | None
    spark: tuple[float, ...]

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time the search still takes; None where nothing tells it."""
        if self.status != "searching" or not self.trials:
            return None
        estimates = []
        if self.budget is not None:
            estimates.append(self.seconds / self.trials * max(0, self.budget - self.trials))
        if self.time_limit is not None:
            estimates.append(max(0.0, self.time_limit - self.seconds))
        return min(estimates, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON, with the estimate of the time that is left."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**record, "spark": list(self.spark), "seconds_left": self.seconds_left}


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """Which trials are shown, and how.

    Attributes:
        state: Only those that are ``running``, ``done`` or ``failed``; None for all.
        order: One of `ORDERS`.
        descending: The largest first.
        offset: How many are passed over.
        limit: How many at most.
    """

    state: str | None = None
    order: str = "number"
    descending: bool = False
    offset: int = 0
    limit: int = 50


def summarize(folder: RunFolder) -> Summary:
    """Return a run in one line.

    Raises:
        RunError: There is no such run, or its journal is damaged.
        StorageError: It cannot be read.
    """
    with closing(Journal(folder.journal)) as journal, journal.reading():
        try:
            return _summary(folder.name, journal)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(
                f"the journal {folder.journal} is damaged: {error}; restore it from a backup or "
                "start a new run"
            ) from error


def status_of(folder: RunFolder) -> str:
    """Return how far a run is: ``searching``, ``retraining`` or ``done``.

    Raises:
        RunError: There is no such run, or its journal is damaged.
        StorageError: It cannot be read.
    """
    with closing(Journal(folder.journal)) as journal:
        (found,) = journal.rows("SELECT value FROM meta WHERE name = 'status'")
        return str(json.loads(found[0]))


def count_trials(journal: Journal) -> dict[str, int]:
    """Return the number of trials by state."""
    found = dict(journal.rows("SELECT state, COUNT(*) FROM trials GROUP BY state"))
    return {state: int(found.get(state, 0)) for state in (RUNNING, DONE, FAILED)}


def best_trial(journal: Journal) -> Trial | None:
    """Return the trial with the highest reward, the earliest of equals."""
    found = journal.trials_where("WHERE reward IS NOT NULL ORDER BY reward DESC, id LIMIT 1")
    return found[0] if found else None


def trials_page(journal: Journal, query: TrialQuery) -> tuple[list[Trial], int]:
    """Return some trials, and how many there are in all.

    Args:
        journal: Of the run.
        query: Which, in what order.
    """
    where, values = ("WHERE state = ?", [query.state]) if query.state else ("", [])
    (count,) = journal.rows(f"SELECT COUNT(*) FROM trials {where}", values)[0]
    *first, last = ORDERS[query.order].split(", ")  # what is not known stands last
    order = ", ".join([*first, f"{last} {'DESC' if query.descending else 'ASC'}", "id"])
    page = journal.trials_where(
        f"{where} ORDER BY {order} LIMIT ? OFFSET ?", [*values, query.limit, query.offset]
    )
    return page, int(count)


def find_trial(journal: Journal, number: int) -> Trial | None:
    """Return a trial by its number, or None."""
    found = journal.trials_where("WHERE id = ?", [number])
    return found[0] if found else None


def trials_after(journal: Journal, step: int, limit: int) -> list[Trial]:
    """Return trials that have ended behind a step, in the order of their results."""
    return journal.trials_where("WHERE step > ? ORDER BY step LIMIT ?", [step, limit])


def reward_curve(journal: Journal, points: int) -> list[tuple[int, float | None, float | None]]:
    """Return step, reward and best reward so far of at most so many trials, evenly spread.

    The first and the last are always among them.
    """
    rows = journal.rows(
        "WITH ended AS (SELECT step, reward, MAX(reward) OVER (ORDER BY step) AS best FROM trials "
        "WHERE step IS NOT NULL), last AS (SELECT MAX(step) AS step FROM ended) "
        "SELECT ended.step, reward, best FROM ended, last WHERE ended.step = 1 OR "
        "ended.step = last.step OR ended.step % (last.step / ? + 1) = 0 ORDER BY ended.step",
        [max(points, 1)],
    )
    return [(step, reward, best) for step, reward, best in rows]


def newest_policy(journal: Journal) -> tuple[int, Mapping[str, list[float]]] | None:
    """Return the newest picture of the policy and the step it was taken at, or None."""
    found = journal.trials_where("WHERE policy IS NOT NULL ORDER BY step DESC LIMIT 1")
    return (found[0].step or 0, found[0].policy or {}) if found else None


def space_of(journal: Journal) -> Space | None:
    """Return the space of a run; None for one of the user's own Python."""
    try:
        return space_from_json(journal.meta()["space"])
    except (SpaceError, ConfigError):
        return None


def layers_of(trial: Trial, space: Space | None) -> str:
    """Return the layers of a trial in one line."""
    return trial.key if space is None else space.architecture(trial.tokens).describe()


def _summary(name: str, journal: Journal) -> Summary:
    meta, counts = journal.meta(), count_trials(journal)
    config = meta["config"]
    best = best_trial(journal)
    started, changed = journal.rows("SELECT MIN(started), MAX(ended) FROM trials")[0]
    budget = config["budget"]
    state = journal.state()
    return Summary(
        name=name,
        status=meta["status"],
        controller=config["controller"]["name"],
        dataset=meta["data"]["name"],
        executor=config["engine"]["executor"] or "process",
        metric=config["objective"]["metric"],
        cost=config["objective"]["cost"],
        seed=config["seed"],
        python=bool(meta["own"]),
        trials=counts[DONE] + counts[FAILED],
        running=counts[RUNNING],
        failed=counts[FAILED],
        budget=BudgetConfig(**budget).most_trials,
        time_limit=budget["time_limit"],
        seconds=float(state["counters"]["seconds"]) if state else 0.0,
        started=started,
        changed=changed,
        best_trial=best.id if best else None,
        best_reward=best.reward if best else None,
        best_layers=layers_of(best, space_of(journal)) if best else None,
        reference=_reference(journal),
        test_accuracy=_test_accuracy(journal, meta["best_trial"]),
        spark=tuple(best for _, _, best in reward_curve(journal, _SPARK) if best is not None),
    )


def _reference(journal: Journal) -> float | None:
    found = [entry for entry in journal.contenders(BRIEF) if entry.name == "reference"]
    return found[0].val_accuracy if found else None


def _test_accuracy(journal: Journal, best: int | None) -> float | None:
    found = [entry for entry in journal.contenders(LONG) if entry.trial == best is not None]
    return found[0].test_accuracy if found else None
