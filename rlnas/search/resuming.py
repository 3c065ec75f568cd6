"""Going on with runs that are on disk: resume, retrain and export."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rlnas.config import SearchConfig, make_config, with_flags
from rlnas.errors import RunError
from rlnas.search.export import copy_export
from rlnas.search.folder import RunFolder
from rlnas.search.journal import LONG, RUNNING, Journal
from rlnas.search.progress import SearchProgress
from rlnas.search.result import SearchResult, read_result
from rlnas.search.run import DONE, RETRAINING, SEARCHING, Search, check_config

Flags = Mapping[tuple[str, ...], Any]


def resume_run(folder: RunFolder, flags: Flags, progress: SearchProgress) -> SearchResult:
    """Go on with a run; one that has ended gives its result, unless its budget grew.

    Args:
        folder: The run's folder.
        flags: A new budget, by path in the config.
        progress: Shows the user how it goes.

    Raises:
        UsageError: The run is missing, damaged, or of other data, space or version.
        NoValidChildError: Not one child could be trained.
        StorageError: The disk refused; all that was committed stays.
        InterruptedRunError: The user stopped the run; it was saved.
    """
    with closing(folder.open()) as journal:
        meta = journal.meta()
        config = _changed(meta, flags)
        _refuse_objects(folder, meta)
        grown = config.budget.model_dump(mode="json") != meta["config"]["budget"]
        goes_on = grown and _has_budget(config, journal)
        if meta["status"] == DONE and not goes_on:
            if grown:
                progress.note("this budget is spent already: the first limit reached ends a search")
            progress.close()
            return read_result(folder)
    check_config(folder, meta, config)

    def change(journal: Journal) -> None:
        values = {"config": config.model_dump(mode="json")}
        if goes_on:
            journal.drop_contenders(LONG, {**values, "status": SEARCHING})
        else:
            journal.set_meta(values)
        folder.write_config(config)

    return _search(folder, config, meta, progress).reopen(folder.name, change)


def retrain_run(folder: RunFolder, flags: Flags, progress: SearchProgress) -> SearchResult:
    """Do the retraining of a run anew and export its best.

    Args:
        folder: The run's folder.
        flags: Settings of the retraining, by path in the config.
        progress: Shows the user how it goes.

    Raises:
        UsageError: The run is missing, damaged or still searching, or a setting is wrong.
        NoValidChildError: Not one of the top K could be trained longer.
        StorageError: The disk refused; all that was committed stays.
        InterruptedRunError: The user stopped the run; it was saved.
    """
    with closing(folder.open()) as journal:
        meta = journal.meta()
    config = _changed(meta, flags)
    _refuse_objects(folder, meta)
    check_config(folder, meta, config)
    if meta["status"] == SEARCHING:
        raise RunError(
            f"{folder.name} is still searching; first end it with: {folder.resume_line()}"
        )

    def change(journal: Journal) -> None:
        values = {"config": config.model_dump(mode="json"), "status": RETRAINING}
        journal.drop_contenders(LONG, values)
        folder.write_config(config)

    return _search(folder, config, meta, progress).reopen(folder.name, change)


def export_run(folder: RunFolder, target: Path) -> list[str]:
    """Copy the best architecture of a run to another folder; return the files' names.

    Raises:
        RunError: The run has nothing to export yet, or the target holds foreign files.
        StorageError: The disk refused.
    """
    with closing(folder.open()) as journal:
        line = folder.resume_line(python=bool(journal.meta()["own"]))
    if not (folder.best / "architecture.json").is_file():
        raise RunError(f"{folder.name} has no best yet; go on with: {line}")
    return copy_export(folder.best, target)


def _changed(meta: Mapping[str, Any], flags: Flags) -> SearchConfig:
    return make_config(with_flags(meta["config"], flags))


def _has_budget(config: SearchConfig, journal: Journal) -> bool:
    ended = sum(trial.state != RUNNING for trial in journal.trials())
    state = journal.state()
    seconds = state["counters"]["seconds"] if state else 0.0
    most, limit = config.budget.most_trials, config.budget.time_limit
    return (most is None or ended < most) and (limit is None or seconds < limit)


def _refuse_objects(folder: RunFolder, meta: Mapping[str, Any]) -> None:
    if meta["own"]:
        raise RunError(
            f"{folder.name} was started from Python with its own {', '.join(meta['own'])}; "
            f"continue it there with: {folder.resume_line(python=True)}"
        )


def _search(
    folder: RunFolder, config: SearchConfig, meta: Mapping[str, Any], progress: SearchProgress
) -> Search:
    pinned = config.model_copy(update={"threads": meta["threads"]})
    return Search(config=pinned, root=folder.root, progress=progress)
