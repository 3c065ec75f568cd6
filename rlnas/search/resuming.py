"""Beginning a run by its config, and going on with one that is on disk."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rlnas.config import EXTERNAL, SearchConfig, make_config, with_flags
from rlnas.errors import RunError
from rlnas.search.changes import DONE, goes_on, is_other_budget
from rlnas.search.export import copy_export, copy_untrained
from rlnas.search.external import ExternalSearch
from rlnas.search.folder import RunFolder
from rlnas.search.progress import SearchProgress, Silence
from rlnas.search.result import SearchResult, read_result
from rlnas.search.run import Search
from rlnas.search.settings import check_config

Flags = Mapping[tuple[str, ...], Any]


def start_run(
    config: SearchConfig, root: Path, progress: SearchProgress, *, reserved: bool = False
) -> SearchResult:
    """Search as a config says.

    Args:
        config: All settings.
        root: Folder of all runs.
        progress: Shows the user how it goes.
        reserved: Whether the name of the config was reserved for this run.

    Raises:
        UsageError: A setting or the data is wrong, or the run's folder exists.
        NoValidChildError: Not one child could be trained.
        StorageError: The disk refused; all that was committed stays.
        InterruptedRunError: The user stopped the run; it was saved.
    """
    if config.engine.chosen == EXTERNAL:
        return ExternalSearch(config, root=root, progress=progress).run(reserved=reserved)
    return Search(config=config, root=root, progress=progress).run(reserved=reserved)


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
        ended = meta["status"] == DONE and not goes_on(journal, config)
        if ended and _control_ended(folder, config):
            if is_other_budget(journal, config):
                progress.note("this budget is spent already: the first limit reached ends a search")
            progress.close()
            return read_result(folder)
    _refuse_objects(folder, meta, folder.resume_line(python=True))
    check_config(folder, meta, config)
    if meta["evaluator"] == EXTERNAL:
        config = _with_own_files(folder, config)
        return ExternalSearch(config, root=folder.root, progress=progress).resume(folder.name)
    return _search(folder, config, meta, progress).resume(folder.name)


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
    _refuse_external(folder, meta, "retrained")
    _refuse_objects(folder, meta, f"rlnas.Search(...).retrain({folder.name!r})")
    check_config(folder, meta, config)
    return _search(folder, config, meta, progress).retrain(folder.name)


def export_run(folder: RunFolder, target: Path) -> list[str]:
    """Copy the best architecture of a run to another folder; return the files' names.

    Raises:
        RunError: The run has nothing to export yet, or the target holds foreign files.
        StorageError: The disk refused.
    """
    with closing(folder.open()) as journal:
        meta = journal.meta()
    line = folder.resume_line(python=bool(meta["own"]))
    if meta["evaluator"] == EXTERNAL:
        if not folder.best.is_dir():
            raise RunError(f"{folder.name} has no best yet; go on with: {line}")
        return copy_untrained(folder.best, target)
    if not (folder.best / "architecture.json").is_file():
        raise RunError(f"{folder.name} has no best yet; go on with: {line}")
    return copy_export(folder.best, target)


def export_trials(folder: RunFolder, numbers: Sequence[int], target: Path) -> list[Path]:
    """Export trials of a run as the search trained them; return their folders.

    Args:
        folder: The run's folder.
        numbers: The trials' numbers.
        target: Folder in which each gets one of its own, for example ``trial-7``.

    Raises:
        RunError: The run has no such trial, needs objects of the user's own, or a folder holds
            files of others.
        StorageError: The disk refused.
    """
    if target.resolve().is_relative_to(folder.path.resolve()):
        raise RunError(f"{target} belongs to the run {folder.name}; choose a folder outside of it")
    with closing(folder.open()) as journal:
        meta = journal.meta()
    config = make_config(meta["config"])
    _refuse_external(folder, meta, "exported as it was trained")
    _refuse_objects(folder, meta, f"rlnas.Search(...).export_trials({folder.name!r}, ...)")
    check_config(folder, meta, config)
    return _search(folder, config, meta, Silence()).export_trials(folder.name, numbers, target)


def _control_ended(folder: RunFolder, config: SearchConfig) -> bool:
    """Return whether the control that was asked for has ended, with the same budget."""
    if config.control is None:
        return True
    if not folder.control.journal.is_file():
        return False
    with closing(folder.control.open()) as journal:
        return journal.meta()["status"] == DONE and not goes_on(journal, config)


def _changed(meta: Mapping[str, Any], flags: Flags) -> SearchConfig:
    return make_config(with_flags(meta["config"], flags))


def _refuse_objects(folder: RunFolder, meta: Mapping[str, Any], line: str) -> None:
    if meta["own"]:
        raise RunError(
            f"{folder.name} was started from Python with its own {', '.join(meta['own'])}; "
            f"continue it there with: {line}"
        )


def _refuse_external(folder: RunFolder, meta: Mapping[str, Any], what: str) -> None:
    if meta["evaluator"] == EXTERNAL:
        raise RunError(
            f"{folder.name} was trained elsewhere, nothing of it can be {what} here; its networks "
            f"are in rlnas show {folder.name} --json"
        )


def _with_own_files(folder: RunFolder, config: SearchConfig) -> SearchConfig:
    """Return the config with the file of the space that lies in the run's folder."""
    path = folder.own_space()
    if path is None:
        return config
    space = config.space.model_copy(update={"name": str(path.absolute())})
    return config.model_copy(update={"space": space})


def _search(
    folder: RunFolder, config: SearchConfig, meta: Mapping[str, Any], progress: SearchProgress
) -> Search:
    pinned = config.model_copy(update={"threads": meta["threads"]})
    return Search(config=_with_own_files(folder, pinned), root=folder.root, progress=progress)
