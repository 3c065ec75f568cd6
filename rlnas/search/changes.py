"""What changes in a run that is taken up again: a new budget, or a new retraining."""

from collections.abc import Callable
from typing import Any

from rlnas.config import SearchConfig
from rlnas.errors import RunError
from rlnas.search.folder import RunFolder
from rlnas.search.journal import LONG, REFIT, RUNNING, Journal
from rlnas.search.progress import SearchProgress

SEARCHING, RETRAINING, DONE = "searching", "retraining", "done"

Change = Callable[[RunFolder, Journal, SearchConfig, SearchProgress], None]
"""Changes a run by the config it goes on with; it is called with the right to write."""


def go_on(
    folder: RunFolder, journal: Journal, config: SearchConfig, progress: SearchProgress
) -> None:
    """Take a new budget; a search that has ended goes on if the budget has room again.

    Args:
        folder: The run's folder.
        journal: Its journal.
        config: The config to go on with.
        progress: Is told if the new budget changes nothing.

    Raises:
        StorageError: The disk refused.
    """
    values: dict[str, Any] = {"config": config.model_dump(mode="json")}
    if is_other_budget(journal, config):
        meta = journal.meta()
        spent = {**meta["config"]["budget"], "ended": _ended(journal)}
        values["budgets"] = [*meta.get("budgets", []), spent]
    if goes_on(journal, config):
        journal.drop_contenders((LONG, REFIT), {**values, "status": SEARCHING})
    elif journal.meta()["status"] != DONE:
        journal.set_meta(values)
    else:
        if is_other_budget(journal, config):
            progress.note("this budget is spent already: the first limit reached ends a search")
        return
    folder.write_config(config)


def retrain_anew(
    folder: RunFolder, journal: Journal, config: SearchConfig, progress: SearchProgress
) -> None:
    """Forget the retraining, so that it is done by the settings of the config.

    Args:
        folder: The run's folder.
        journal: Its journal.
        config: The config to go on with.
        progress: Is told nothing.

    Raises:
        RunError: The run is still searching.
        StorageError: The disk refused.
    """
    if journal.meta()["status"] == SEARCHING:
        line = folder.resume_line(python=bool(journal.meta()["own"]))
        raise RunError(f"{folder.name} is still searching; first end it with: {line}")
    values = {"config": config.model_dump(mode="json"), "status": RETRAINING}
    journal.drop_contenders((LONG, REFIT), values)
    folder.write_config(config)


def is_other_budget(journal: Journal, config: SearchConfig) -> bool:
    """Tell whether a config has another budget than the run."""
    old: object = journal.meta()["config"]["budget"]
    return config.budget.model_dump(mode="json") != old


def goes_on(journal: Journal, config: SearchConfig) -> bool:
    """Tell whether a new budget lets a run search on."""
    ended, state = _ended(journal), journal.state()
    seconds = state["counters"]["seconds"] if state else 0.0
    most, limit = config.budget.most_trials, config.budget.time_limit
    room = (most is None or ended < most) and (limit is None or seconds < limit)
    return room and is_other_budget(journal, config)


def _ended(journal: Journal) -> int:
    return sum(trial.state != RUNNING for trial in journal.trials())
