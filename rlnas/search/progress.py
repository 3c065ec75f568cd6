"""What a user sees while a search runs: one line per trial, or a live table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rlnas.search.journal import FAILED, LONG, REFIT, Contender, Trial

_ROWS = 8
"""Newest trials that the live table shows (chosen)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a search stands.

    Attributes:
        trials: Finished trials.
        budget: Trials of the whole search; None where time alone ends it.
        seconds: Time the search has taken so far.
        best: The best trial so far, or None.
        layers: Its layers in one line.
        limit: Time limit in seconds, or None.
        reference: Reward of the reference child, or None.
    """

    trials: int
    budget: int | None
    seconds: float
    best: Trial | None
    layers: str
    limit: float | None = None
    reference: float | None = None

    @property
    def beside(self) -> str:
        """The best reward so far, and the reference child's beside it."""
        best = "no best yet" if self.best is None else f"best {self.best.reward:.4f}"
        return best if self.reference is None else f"{best} (reference {self.reference:.4f})"

    @property
    def counted(self) -> str:
        """The finished trials, of how many if that is known."""
        return str(self.trials) if self.budget is None else f"{self.trials} of {self.budget}"

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time the search still takes; None before the first trial."""
        if not self.trials:
            return None
        estimates = []
        if self.budget is not None:
            estimates.append(self.seconds / self.trials * (self.budget - self.trials))
        if self.limit is not None:
            estimates.append(max(0.0, self.limit - self.seconds))
        return min(estimates, default=None)


class SearchProgress(Protocol):
    """Is told what happens, as it happens."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def trial(self, trial: Trial, layers: str, standing: Standing) -> None:
        """A trial has ended; layers are its own in one line."""

    def contender(self, contender: Contender, number: int, count: int) -> None:
        """A model beside the trials has been trained, the number-th of count."""

    def close(self) -> None:
        """Nothing more will come."""


class Silence:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def trial(self, trial: Trial, layers: str, standing: Standing) -> None:
        """Show nothing."""

    def contender(self, contender: Contender, number: int, count: int) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class Lines:
    """Writes one line per trial, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream to write to."""
        self._stream = stream

    def note(self, text: str) -> None:
        """Write the text."""
        print(text, file=self._stream, flush=True)

    def trial(self, trial: Trial, layers: str, standing: Standing) -> None:
        """Write the trial's number, reward, the best so far and the time left."""
        self.note(
            f"trial {standing.counted}  {_outcome(trial)}  {standing.beside}  "
            f"{_time_left(standing)}  {layers}"
        )

    def contender(self, contender: Contender, number: int, count: int) -> None:
        """Write the model's validation accuracy."""
        self.note(contender_line(contender, number, count))

    def close(self) -> None:
        """Do nothing: each line was flushed."""


class LiveTable:
    """Keeps a table on the terminal: the newest trials, the best, and a bar with the time left.

    It takes hold of the terminal when there is something to show, and lets go in `close`.
    """

    def __init__(self, console: Console) -> None:
        """Take the terminal to draw on."""
        self._rows: list[tuple[Trial, str]] = []
        self._best = "no trial has ended yet"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._bar.add_task("trials", total=None, counted="", left="")
        self._live = Live(self._drawn(), console=console, refresh_per_second=4)

    def note(self, text: str) -> None:
        """Print the text above the table."""
        self._live.start()  # does nothing once it has started
        self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def trial(self, trial: Trial, layers: str, standing: Standing) -> None:
        """Add the trial to the table."""
        self._live.start()
        self._rows = [*self._rows, (trial, layers)][-_ROWS:]
        if standing.best is not None:
            self._best = f"{standing.beside}, trial {standing.best.id}: {standing.layers}"
        timed = standing.budget is None
        self._bar.update(
            self._task,
            total=standing.limit if timed else standing.budget,
            completed=standing.seconds if timed else standing.trials,
            counted=standing.counted,
            left=_time_left(standing),
        )
        self._live.update(self._drawn())

    def contender(self, contender: Contender, number: int, count: int) -> None:
        """Print the model's validation accuracy above the table."""
        self.note(contender_line(contender, number, count))

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.stop()

    def _drawn(self) -> Group:
        table = Table(expand=True)
        for title, justify in (("trial", "right"), ("reward", "right"), ("s", "right")):
            table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("layers", ratio=1)
        for trial, layers in self._rows:
            seconds = f"{trial.metrics.seconds:.1f}" if trial.metrics else "-"
            reward = "failed" if trial.state == FAILED else f"{trial.reward:.4f}"
            told = f"{layers}{_shortened(trial)}"
            told += f"  [{trial.reason}]" if trial.reason else ""
            table.add_row(str(trial.id), reward, seconds, Text(told))  # not markup
        return Group(table, Text(self._best), self._bar)


def contender_line(contender: Contender, number: int, count: int) -> str:
    """Return what became of a model beside the trials, in one line."""
    what = f"retrained {number} of {count}: " if contender.phase == LONG else "trained briefly: "
    if contender.phase == REFIT:
        what = f"trained on all data, {number} of {count}: "
    if contender.val_accuracy is None:
        return f"{what}{contender.name} failed: {contender.reason}"
    if contender.phase == REFIT:  # it has seen the examples to validate on
        return f"{what}{contender.name}"
    return f"{what}{contender.name} reaches {contender.val_accuracy:.4f} in validation"


def duration(seconds: float) -> str:
    """Return a time as people write it, for example ``1h 05m``, ``3m 20s`` or ``42s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    if whole >= 60:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole}s"


def when(seconds: float | None) -> str:
    """Return a point in time, seconds since 1970, as local date and time."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest reward, the earliest of equals."""
    rewarded = [trial for trial in trials if trial.reward is not None]
    return max(rewarded, key=lambda trial: (trial.reward, -trial.id), default=None)


def _outcome(trial: Trial) -> str:
    if trial.state == FAILED:
        return f"failed: {trial.reason}"
    seconds = trial.metrics.seconds if trial.metrics else 0.0
    return f"reward {trial.reward:.4f}  {seconds:.1f}s{_shortened(trial)}"


def _shortened(trial: Trial) -> str:
    """Return how the training differed from a whole one, or nothing."""
    metrics = trial.metrics
    if metrics is None or not (metrics.stopped or metrics.restarts):
        return ""
    words = [f"stopped after {len(metrics.val_accuracy)}"] if metrics.stopped else []
    words += [f"restarted {metrics.restarts}x"] if metrics.restarts else []
    return f" ({', '.join(words)})"


def _time_left(standing: Standing) -> str:
    left = standing.seconds_left
    return "" if left is None else f"{duration(left)} left"
