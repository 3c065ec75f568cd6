"""A table of trained networks as an evaluator: a search takes seconds, the optimum is known.

The search sees the reward column alone. What a report says of the network that a search would
pick is another column, such as the test accuracy; it reaches no controller.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from rlnas.config import RecipeConfig
from rlnas.errors import DataError, SpaceError, first_line
from rlnas.evaluation.base import Outcome
from rlnas.objectives import Metrics
from rlnas.spaces import Architecture, TableSpace

NO_KEY = "none"
"""Instead of a key column: each row is a network of its own."""

_COSTS = ("params", "flops")


@dataclass(frozen=True, slots=True)
class TableFormat:
    """Which columns of a CSV mean what.

    Attributes:
        tokens: Column of the token strings.
        reward: Column of what the search sees, higher is better.
        report: Columns of what a report says; their mean is the report of a network. Empty for
            the reward itself.
        key: Column of the canonical key, or ``"none"`` to count each row.
    """

    tokens: str = "arch"
    reward: str = "reward"
    report: tuple[str, ...] = ()
    key: str = "canonical"


FORMATS = {
    # Selection by the validation accuracy after the full training, the usual protocol.
    "nasbench201": TableFormat("arch", "valid_acc_200ep", ("test_acc_200ep",)),
    # No validation split: one training run is the noisy reward, the others are the report.
    "macro": TableFormat("arch", "acc1", ("acc2", "acc3")),
}
"""Columns of published tables, by name."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a table says of one network.

    Attributes:
        reward: What the search sees.
        report: What a report says.
        params: Number of weights, 0 where the table has no column ``params``.
        flops: FLOPs of one example, 0 where it has no column ``flops``.
    """

    reward: float
    report: float
    params: int = 0
    flops: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A space and what each of its networks earned.

    Attributes:
        space: Its networks.
        rows: What the table says, by key: of the first row that has the key.
    """

    space: TableSpace
    rows: Mapping[str, Row]

    @property
    def best_reward(self) -> float:
        """The highest reward: the optimum of a search."""
        return max(row.reward for row in self.rows.values())

    @property
    def best_report(self) -> float:
        """The highest report: regret is counted from here."""
        return max(row.report for row in self.rows.values())


class TableEvaluator:
    """Looks a network up instead of training it."""

    def __init__(self, table: Table) -> None:
        """Take the table."""
        self._table = table

    def evaluate(
        self,
        architecture: Architecture,
        recipe: RecipeConfig,
        seed: int,
        folder: Path | None = None,
        *,
        floors: tuple[float, ...] = (),
    ) -> Outcome:
        """Return the reward as validation accuracy, in the table's unit, and the costs."""
        row = self._table.rows[self._table.space.key(architecture)]
        return Metrics(val_accuracy=(row.reward,), params=row.params, flops=row.flops)


def read_table(path: Path, columns: TableFormat) -> Table:
    """Read a CSV file, which may be compressed (``.gz``).

    Args:
        path: The file; its first line names the columns.
        columns: Which of them mean what.

    Raises:
        DataError: The file cannot be read, a column is missing, a token string is malformed or
            comes twice, a number is none. The sentence names row and column; rows are numbered
            from 1, the line of names and empty lines not counted.
    """
    records = _records(path, columns)
    strings = [record[columns.tokens] for record in records]
    keys = None if columns.key == NO_KEY else [record[columns.key] for record in records]
    if keys and "" in keys:
        raise DataError(
            f"{path}, row {keys.index('') + 1}, column {columns.key}: expected the key of a "
            "network, got nothing; mend the row or pass --key none"
        )
    try:
        space = TableSpace(strings, keys)
    except SpaceError as error:
        raise DataError(f"{path}: {error}") from error
    rows: dict[str, Row] = {}
    for number, (key, record) in enumerate(zip(keys or strings, records, strict=True), start=1):
        row = _row(record, columns, f"{path}, row {number}")
        rows.setdefault(key, row)
    return Table(space, rows)


def read_strings(path: Path) -> tuple[list[str], list[str] | None]:
    """Read the networks of a table whose rewards are elsewhere.

    Args:
        path: A CSV file, maybe compressed (``.gz``), with a column ``arch`` of token strings and
            maybe one ``canonical`` of keys.

    Returns:
        The token strings, and their keys if the file has them.

    Raises:
        DataError: The file cannot be read, or the column is missing.
    """
    records = _records(path, None)
    columns = TableFormat()
    if not records or columns.tokens not in records[0]:
        raise DataError(
            f"{path} holds no networks: expected a column {columns.tokens!r} with a token string "
            "in each row"
        )
    strings = [record[columns.tokens] for record in records]
    keys = [record.get(columns.key, "") for record in records]
    return strings, keys if all(keys) else None


def _records(path: Path, columns: TableFormat | None) -> list[dict[str, str]]:
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if columns is not None:
                _check_columns(names, columns, path)
            records = list(reader)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as CSV: {first_line(error)}; expected a text file, plain or "
            "compressed as .gz, with a line of column names"
        ) from error
    for number, record in enumerate(records, start=1):
        more = len(record.get(cast("str", None), ()))  # where DictReader puts what has no name
        fewer = sum(field is None for field in record.values())
        if more or fewer:
            raise DataError(
                f"{path}, row {number}: expected {len(names)} fields, as many as the line of "
                f"names has, got {len(names) + more - fewer}; "
                + ("put fields with commas in quotes" if more else "mend the row or drop it")
            )
    return records


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_columns(names: Sequence[str], columns: TableFormat, path: Path) -> None:
    if not names:
        raise DataError(f"{path} is empty: expected a line of column names, and rows below it")
    for name in columns.report:
        if columns.report.count(name) > 1:
            raise DataError(f"report: the column {name!r} is named twice; name each once")
    for name in _needed(columns):
        if names.count(name) > 1:
            raise DataError(f"{path} has the column {name!r} twice; rename one of them")
        if name not in names:
            raise DataError(
                f"{path} has no column {name!r}: expected one of {', '.join(names)}"
                + ("; pass --key none to count each row" if _is_key(name, columns) else "")
            )


def _is_key(name: str, columns: TableFormat) -> bool:
    return name == columns.key != NO_KEY


def _needed(columns: TableFormat) -> Iterator[str]:
    yield from (columns.tokens, columns.reward, *columns.report)
    if columns.key != NO_KEY:
        yield columns.key


def _row(record: Mapping[str, str], columns: TableFormat, place: str) -> Row:
    reward = _number(record, columns.reward, place)
    reports = [_number(record, name, place) for name in columns.report] or [reward]
    params, flops = (
        round(_number(record, name, place)) if record.get(name) else 0 for name in _COSTS
    )
    return Row(reward, sum(reports) / len(reports), params, flops)


def _number(record: Mapping[str, str], column: str, place: str) -> float:
    try:
        number = math.nan if "_" in record[column] else float(record[column])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{place}, column {column}: expected a finite number, got {record[column]!r}; "
            "mend the row or drop it"
        )
    return number


def with_columns(
    columns: TableFormat,
    *,
    tokens: str | None = None,
    reward: str | None = None,
    report: tuple[str, ...] | None = None,
    key: str | None = None,
) -> TableFormat:
    """Return a format with the columns that a user named in their place."""
    return TableFormat(
        columns.tokens if tokens is None else tokens,
        columns.reward if reward is None else reward,
        columns.report if report is None else report,
        columns.key if key is None else key,
    )
