"""The gap between a run and its control, as TensorBoard shows it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlnas.search.monitor.events import EventFile, remove_folder


def write_control(folder: Path, curve: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """Write the gap over the trials into ``control`` below a run's ``tb`` folder, anew.

    Args:
        folder: The ``tb`` folder of the run.
        curve: Trials, and the figures after them by declared tag.

    Raises:
        StorageError: The disk refuses.
    """
    remove_folder(folder / "control")
    now = time.time()
    file = EventFile(folder / "control", now)
    for trials, figures in curve:
        file.scalars(trials, now, figures)
    file.close()
