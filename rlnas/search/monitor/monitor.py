"""Writes what TensorBoard shows of a run; all of it can be made again from the journal."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnas.search.diagram import draw_png
from rlnas.search.monitor.events import (
    EventFile,
    remove_event_files,
    remove_folder,
    storage_errors,
)
from rlnas.search.monitor.heatmap import draw_heatmap
from rlnas.search.monitor.hparams import experiment, kept, write_row
from rlnas.search.monitor.records import FinalRecord, TrialRecord
from rlnas.search.monitor.texts import architecture_text, comparison_text, config_text
from rlnas.spaces import Space, recipe_fields

ROWS = 1_000
"""Most rows of the HParams table."""

PICTURES = 10
"""How many pictures of a tag `Monitor.rebuild` draws: as many as TensorBoard keeps unasked."""


class Monitor:
    """Writes one run's scalars, pictures, texts and HParams below its ``tb`` folder.

    Nothing is written before the first record. A folder that holds something already
    needs `go_on` or `rebuild` first, so that each step is there exactly once.

    Args:
        folder: The ``tb`` folder of the run; made when needed.
        space: The space of the run.
        config_record: The whole config as JSON, shown as text.
        rows: Most rows of the HParams table.
    """

    def __init__(
        self, folder: Path, space: Space, config_record: dict[str, Any], *, rows: int = ROWS
    ) -> None:
        """See the class."""
        self._folder = folder
        self._space = space
        self._config = config_record
        self._rows = rows
        self._file: EventFile | None = None
        self._forget()

    def trial(self, record: TrialRecord) -> None:
        """Write all of a finished trial and flush.

        They come in the order of their results, whatever their numbers are.

        Raises:
            KeyError: A tag that the controller returned is not declared.
            StorageError: The disk refuses.
        """
        self._write(record, row=True)
        self._flush()
        self._mark(record.step)

    def final(self, records: Sequence[FinalRecord], wall_time: float) -> None:
        """Write the networks that were retrained, and flush; once per `rebuild`.

        Args:
            records: The networks, in the order of the table.
            wall_time: When the retraining ended, in seconds since 1970.

        Raises:
            StorageError: The disk refuses.
        """
        self._unmark()  # only a rebuild takes these away again
        file = self._open(wall_time)
        ranked = {one.rank: one.scalars() for one in records if one.rank is not None}
        for rank in sorted(ranked):
            file.scalars(rank, wall_time, ranked[rank])
        file.text("final/comparison", 0, wall_time, comparison_text(records))
        self._flush()

    def go_on(self, ended: Iterable[tuple[int, int, float | None]]) -> int:
        """Go on behind the last trial that was written whole, and drop what came after it.

        To make all of it anew takes a millisecond for each trial.

        Args:
            ended: Step, number and reward of each trial that has ended.

        Returns:
            The step of that trial; the later ones are to be written with `trial`. 0 where there
            is none, or what it left was changed: then `rebuild` is needed.

        Raises:
            StorageError: The disk refuses.
        """
        mark, by_step = self._read_mark(), {step: each for step, *each in ended}
        if mark is None or mark["step"] not in by_step:
            return 0
        path = self._folder / mark["file"]
        files = sorted(self._folder.glob("events.out.tfevents.*"))
        if files != [path] or path.stat().st_size < mark["size"]:
            return 0
        with storage_errors(self._folder):
            os.truncate(path, mark["size"])
        self._forget()
        written = {
            number: reward for step, (number, reward) in by_step.items() if step <= mark["step"]
        }
        for folder in (self._folder / "trials").glob("*"):
            number = int(folder.name) if folder.name.isdecimal() else 0
            if number in written:
                self._rewards[number] = written[number]
            else:
                remove_folder(folder)
        self._file = EventFile(self._folder, 0.0, path.name)
        return int(mark["step"])

    def rebuild(self, records: Iterable[TrialRecord]) -> None:
        """Remove all that was written, and write these trials instead.

        Of the pictures and of the best architecture's text only ten each are made again,
        evenly spread, the last one among them.

        Raises:
            KeyError: A tag that the controller returned is not declared.
            StorageError: The disk refuses.
        """
        self._unmark()
        self._close_file()
        self._forget()
        remove_event_files(self._folder)
        remove_folder(self._folder / "trials")
        found = sorted(records, key=lambda record: record.step)
        policies = _spread([record.step for record in found if record.policy is not None])
        bests = _spread([record.step for record in found if record.is_best])
        rows = kept({record.number: record.reward for record in found}, self._rows)
        for record in found:
            policy = record.policy if record.step in policies else None
            shown = replace(record, policy=policy, is_best=record.step in bests)
            self._write(shown, row=record.number in rows)
        self._flush()
        if found:
            self._mark(found[-1].step)

    def close(self) -> None:
        """Close the file; to write more later, `go_on` or `rebuild` first.

        Raises:
            StorageError: The disk refuses.
        """
        self._close_file()

    def _mark(self, step: int) -> None:
        """Note that all up to a step is written."""
        if self._file is not None:
            note = {"step": step, "file": self._file.name, "size": self._file.size}
            new = self._marker.with_suffix(".new")
            with storage_errors(self._folder):
                new.write_text(json.dumps(note))
                new.replace(self._marker)

    def _unmark(self) -> None:
        with storage_errors(self._folder):
            self._marker.unlink(missing_ok=True)

    def _read_mark(self) -> dict[str, Any] | None:
        try:
            note = json.loads(self._marker.read_text())
            return {"step": int(note["step"]), "file": str(note["file"]), "size": int(note["size"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None  # never written, or by hand

    @property
    def _marker(self) -> Path:
        return self._folder / "written.json"

    def _forget(self) -> None:
        self._rewards: dict[int, float | None] = {}  # of the trials that have a row

    def _write(self, record: TrialRecord, *, row: bool) -> None:
        step, now = record.step, record.wall_time
        file = self._open(now)
        file.scalars(step, now, record.scalars())
        if record.policy is not None:
            title = f"{self._run}, after {step} trials"
            picture = draw_heatmap(self._space.decisions, record.policy, title)
            file.image("policy/heatmap", step, now, picture)
        if record.is_best:
            title = f"{self._run}, trial {record.number}"
            file.image("best/diagram", step, now, draw_png(record.architecture, title))
            file.text("best/architecture", step, now, architecture_text(record))
        if row:
            self._write_row(record)

    def _write_row(self, record: TrialRecord) -> None:
        write_row(self._row_folder(record.number), record, f"{self._run}/{record.number}")
        self._rewards[record.number] = record.reward
        for number in self._rewards.keys() - kept(self._rewards, self._rows):
            remove_folder(self._row_folder(number))
            del self._rewards[number]

    def _row_folder(self, number: int) -> Path:
        return self._folder / "trials" / str(number)

    @property
    def _run(self) -> str:
        return self._folder.resolve().parent.name

    def _open(self, wall_time: float) -> EventFile:
        if self._file is None:
            self._file = EventFile(self._folder, wall_time)
            self._file.summary(0, wall_time, experiment(wall_time, recipe_fields(self._space)))
            self._file.text("run/config", 0, wall_time, config_text(self._config))
        return self._file

    def _flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _spread(numbers: Sequence[int]) -> set[int]:
    """Return at most `PICTURES` of the numbers, evenly spread, the last among them."""
    count = min(len(numbers), PICTURES)
    return {numbers[(index + 1) * len(numbers) // count - 1] for index in range(count)}
