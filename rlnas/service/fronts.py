"""The Pareto fronts of runs, of which only what is new is read again."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rlnas.objectives import Metrics
from rlnas.search.folder import RunFolder
from rlnas.search.journal import Journal
from rlnas.search.pareto import brief_pareto
from rlnas.service.models import ParetoPage, ParetoPoint
from rlnas.service.summaries import Signature

_MOST_PAGES = 20
"""Answers that are kept until their runs change (chosen)."""

_MOST_RUNS = 5
"""Runs of which the figures of all trials are kept (chosen): 10,000 trials take some 10 MB."""

_Measured = tuple[int, str, Metrics]


class Fronts:
    """The trials of runs between their metric and a cost.

    Args:
        root: Folder of all runs.
        journal: Gives the journal of a run, as it is at one moment.
    """

    def __init__(
        self, root: Path, journal: Callable[[str], AbstractContextManager[Journal]]
    ) -> None:
        """See the class."""
        self._root, self._journal = root, journal
        self._measured: dict[str, tuple[tuple[Any, ...], list[_Measured], int]] = {}
        self._pages: dict[tuple[str, str, int], tuple[Signature, ParetoPage]] = {}

    def page(self, name: str, signature: Signature, cost: str, others: int) -> ParetoPage:
        """Return the trials that no other one beats in the metric and a cost, and some others.

        Args:
            name: Name of the run.
            signature: What changes when anything of the run has changed.
            cost: Name of the cost.
            others: How many others at most.

        Raises:
            RunError: No trial has that figure, or the journal is damaged.
        """
        known = self._pages.get((name, cost, others))
        if known is not None and known[0] == signature:
            return known[1]
        with self._journal(name) as journal:
            rule, measured = journal.meta()["config"]["objective"], self._read(name, journal)
        metric, found = brief_pareto(name, rule, measured, cost, others)
        points = [ParetoPoint(**point.to_json()) for point in found]
        page = ParetoPage(cost=cost, metric=metric, points=points)
        if len(self._pages) >= _MOST_PAGES:
            self._pages.clear()
        self._pages[name, cost, others] = signature, page
        return page

    def forget(self, name: str) -> None:
        """Forget a run that is gone."""
        self._measured.pop(name, None)
        for key in [key for key in list(self._pages) if key[0] == name]:
            self._pages.pop(key, None)

    def _read(self, name: str, journal: Journal) -> list[_Measured]:
        began = journal.rows("SELECT started FROM trials ORDER BY id LIMIT 1")
        # Another run of the name may come, even with the same inode.
        mark = (RunFolder(self._root, name).journal.stat().st_ino, *began)
        known = self._measured.get(name)
        before, last = known[1:] if known is not None and known[0] == mark else ([], 0)
        new, last = journal.measured(last)
        if name not in self._measured and len(self._measured) >= _MOST_RUNS:
            self._measured.clear()
        found = [*before, *new]
        self._measured[name] = mark, found, last
        return found
