"""Tables of text: CSV and TSV files with a header, plain or compressed by gzip."""

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from rlnas.children.data import Array
from rlnas.children.datasets.checks import LARGEST
from rlnas.children.datasets.raw import Raw, reason
from rlnas.config import DataConfig
from rlnas.errors import DataError, unknown_name

_TEST, _VALIDATION = ("test",), ("dev", "val", "valid", "validation")
_TRAIN = ("train", "training")
"""What may stand in the column that says which part a row belongs to."""

_NEARLY = 0.9
"""Share of labels, or of the cells of a column, that are numbers from which on all should be
(chosen)."""

_MOST_NOTES = 5
"""Columns of which a sentence each is told at most (chosen)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A file of rows.

    Attributes:
        path: The file.
        header: Names of its columns.
        cells: Its rows, each as long as the header.
        lines: The line of each, from 2 on.
    """

    path: Path
    header: list[str]
    cells: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return what stands in a column."""
        place = self.header.index(name)
        return [row[place] for row in self.cells]

    def place(self, row: int) -> str:
        """Return where a row stands."""
        return f"{self.path}, line {self.lines[row]}"


def is_table(path: Path) -> bool:
    """Tell whether a file is one of rows, by its name."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower() in (".csv", ".tsv")


def read_table(path: Path, config: DataConfig, kind: str | None) -> Raw:
    """Return a file of rows as texts with labels, or as columns of numbers and categories.

    Args:
        path: The file.
        config: Says which columns hold what.
        kind: ``text`` or ``tabular``; None for texts where there is a column for them.

    Raises:
        DataError: It cannot be read, or a row or a column is not what it has to be.
    """
    rows = _read(path)
    tests = None if config.test_data is None else _read(Path(config.test_data).expanduser())
    if tests is not None and tests.header != rows.header:
        raise DataError(
            f"the columns of {tests.path} are {', '.join(tests.header)}, those of {path.name} "
            f"{', '.join(rows.header)}; expected the same in this order"
        )
    usual = DataConfig()
    for name in ("text_column", "split_column"):
        if (asked := getattr(config, name)) != getattr(usual, name):
            _check_column(rows, asked)
    chosen = kind or ("text" if config.text_column in rows.header else "tabular")
    read = _texts if chosen == "text" else _columns
    return read(rows, tests, config)


def _texts(rows: Rows, tests: Rows | None, config: DataConfig) -> Raw:
    for each in (rows, *([tests] if tests else [])):
        for name in (config.text_column, config.label_column):
            _check_column(each, name)
        for row, text in enumerate(each.column(config.text_column)):
            if not text.strip():
                raise DataError(f"{each.place(row)}: the text is empty; remove the line")
    parts = _parts(rows, tests, config)
    labels = _all_labels(parts, config)
    x = {
        name: np.array(part.column(config.text_column), dtype=object)
        for name, part in parts.items()
    }
    return _raw("text", rows.path, x, labels)


def _columns(rows: Rows, tests: Rows | None, config: DataConfig) -> Raw:
    _check_column(rows, config.label_column)
    parts = _parts(rows, tests, config)
    labels = _all_labels(parts, config)
    left_out = {config.label_column, config.split_column}
    names = [name for name in rows.header if name not in left_out]
    if not names:
        raise DataError(f"{rows.path} has no column beside {', '.join(rows.header)}")
    x: dict[str, dict[str, Array]] = {name: {} for name in parts}
    notes = []
    for name in names:
        numbers = _are_numbers(parts["train"].column(name))
        for part, each in parts.items():
            x[part][name] = _numbers(each, name) if numbers else _categories(each, name)
        if not numbers:
            notes += _nearly_numbers(parts["train"], name)
    if (more := len(notes) - _MOST_NOTES) > 0:
        notes[_MOST_NOTES:] = [f"{rows.path}: {more} more columns have such cells"]
    return _raw("tabular", rows.path, x, labels, tuple(notes))


def _raw(
    kind: str,
    path: Path,
    x: dict[str, Any],
    labels: dict[str, Array],
    notes: tuple[str, ...] = (),
) -> Raw:
    return Raw(
        str(path),
        x["train"],
        labels["train"],
        x.get("test"),
        labels.get("test"),
        kind=kind,
        x_val=x.get("val"),
        y_val=labels.get("val"),
        notes=notes,
    )


def _read(path: Path) -> Rows:
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    tabs = plain.suffix.lower() == ".tsv"
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    cells, lines, line = [], [], 1
    csv.field_size_limit(2**31 - 1)
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            # Tabs are in no text, and quotes in many: they stand for themselves.
            if tabs:
                reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            else:
                reader = csv.reader(file, strict=True)  # else an open quote takes all that follows
            for row in reader:  # a cell in quotes may have several lines
                if any("\0" in cell for cell in row):
                    raise DataError(
                        f"{path}, line {line}: there is a zero byte, which models cannot keep; "
                        "take it out"
                    )
                if row:
                    cells.append(row)
                    lines.append(line)
                line = reader.line_num + 1
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except csv.Error as error:
        if "unexpected end" not in str(error):
            raise DataError(f"{path}, line {line}: no CSV: {error}") from error
        raise DataError(
            f"{path}, line {line}: a quote that begins there is never closed; close it or leave it "
            "out"
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {reason(error)}; expected a {'TSV' if tabs else 'CSV'} file "
            "in UTF-8"
        ) from error
    if len(cells) < 2:
        raise DataError(f"{path} holds {len(cells)} lines; expected a header and rows behind it")
    header = [name.strip() for name in cells[0]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the header has the column {twice!r} twice; rename one")
    others = [mark for mark in (";", "|", "," if tabs else "\t") if mark in header[0]]
    if len(header) == 1 and others:
        raise DataError(
            f"{path}, line 1: expected columns separated by {'tabs' if tabs else 'commas'}, got "
            f"{header[0]!r}, which seem to be separated by {others[0]!r}; save it with "
            f"{'tabs' if tabs else 'commas'}{'' if tabs else ', or as .tsv with tabs'}"
        )
    for row, line in zip(cells[1:], lines[1:], strict=True):
        if len(row) != len(header):
            open_quote = any("\n" in cell for cell in row)
            hint = "; a quote that begins there may not be closed" if open_quote else ""
            raise DataError(
                f"{path}, line {line}: expected {len(header)} cells as in the header, got "
                f"{len(row)}{hint}"
            )
    return Rows(path, header, cells[1:], lines[1:])


def _check_column(rows: Rows, name: str) -> None:
    if name not in rows.header:
        flags = "--text-column, --label-column, --split-column"
        raise DataError(
            f"{rows.path}: {unknown_name('column', name, rows.header)}; choose columns by {flags}"
        )


def _parts(rows: Rows, tests: Rows | None, config: DataConfig) -> dict[str, Rows]:
    """Return the rows of each part that is given: train, and maybe val and test."""
    if config.split_column not in rows.header:
        return {"train": rows, **({"test": tests} if tests else {})}
    if tests is not None:
        raise DataError(
            f"{rows.path} has the column {config.split_column!r}, and test data is given too "
            "(--test-data); leave out one of them"
        )
    names = {"train": _TRAIN, "val": _VALIDATION, "test": _TEST}
    known = {word: name for name, words in names.items() for word in words}
    places: dict[str, list[int]] = {}
    for row, word in enumerate(rows.column(config.split_column)):
        part = known.get(word.strip().lower())
        if part is None:
            raise DataError(
                f"{rows.place(row)}: {config.split_column} is {word!r}; expected train, dev or test"
            )
        places.setdefault(part, []).append(row)
    if "train" not in places:
        raise DataError(f"{rows.path}: no row has {config.split_column} train")
    return {name: _some(rows, places[name]) for name in names if name in places}


def _some(rows: Rows, places: Sequence[int]) -> Rows:
    cells, lines = [rows.cells[k] for k in places], [rows.lines[k] for k in places]
    return Rows(rows.path, rows.header, cells, lines)


def _all_labels(parts: dict[str, Rows], config: DataConfig) -> dict[str, Array]:
    """Return the labels of each part: classes, or numbers that are to be predicted."""
    name = config.label_column
    train = [label.strip() for label in parts["train"].column(name)]
    if config.task == "regression" or (config.task is None and _are_measures(train)):
        return {part: _targets(rows, name) for part, rows in parts.items()}
    labels = {part: _labels(rows, name) for part, rows in parts.items()}
    _check_known(parts, labels)
    return labels


def _are_measures(cells: Sequence[str]) -> bool:
    """Tell whether these are nearly all numbers, and not all of them whole.

    The few that are none are then refused by their line.
    """
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    nearly_all = len(numbers) >= _NEARLY * len(cells)
    return nearly_all and any(not number.is_integer() for number in numbers)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _targets(rows: Rows, name: str) -> Array:
    numbers = np.empty(len(rows.cells), dtype=np.float32)
    for row, cell in enumerate(rows.column(name)):
        try:
            numbers[row] = float(cell)
        except ValueError:
            numbers[row] = np.nan
        if not math.isfinite(numbers[row]):
            raise DataError(
                f"{rows.place(row)}: {name} is {cell.strip()!r}; expected a finite number to "
                "predict (--task classification for names of classes)"
            )
        _check_size(rows, row, name, numbers[row])
    return numbers


def _labels(rows: Rows, name: str) -> Array:
    labels = [label.strip() for label in rows.column(name)]
    for row, label in enumerate(labels):
        if not label:
            raise DataError(f"{rows.place(row)}: {name} is empty; give the row a label")
    if all(label.isdecimal() for label in labels):
        return np.array([int(label) for label in labels])
    return np.array(labels)


def _check_known(parts: dict[str, Rows], labels: dict[str, Array]) -> None:
    known = set(map(str, labels["train"].tolist()))
    for part, given in labels.items():
        for row, label in enumerate(map(str, given.tolist())):
            if label not in known:
                raise DataError(
                    f"{parts[part].place(row)}: the label {label!r} does not occur in the training "
                    "part; add examples of it there, or remove the line"
                )


def _are_numbers(cells: Sequence[str]) -> bool:
    """Tell whether these are numbers, some of which may be missing."""
    found = False
    for cell in cells:
        if cell.strip():
            try:
                float(cell)
            except ValueError:
                return False
            found = True
    return found


def _nearly_numbers(rows: Rows, name: str) -> list[str]:
    """Return a sentence on a column of categories that may have been meant as one of numbers."""
    cells = rows.column(name)
    filled = [row for row, cell in enumerate(cells) if cell.strip()]
    words = [row for row in filled if _number(cells[row]) is None]
    if not words or len(filled) - len(words) < _NEARLY * len(filled):
        return []
    first = shortened(cells[words[0]].strip())
    return [
        f"{rows.place(words[0])}: {name} is {first}, so each number of that column counts as a "
        f"category; correct or empty such cells, {len(words)} of {len(cells)}, for a column of "
        "numbers"
    ]


@np.errstate(over="ignore")  # what is too large for float32 is refused
def _numbers(rows: Rows, name: str) -> Array:
    numbers = np.full((len(rows.cells), 1), np.nan, dtype=np.float32)
    for row, cell in enumerate(rows.column(name)):
        if cell.strip():
            try:
                value = float(cell)
            except ValueError:
                raise DataError(
                    f"{rows.place(row)}: {name} is {shortened(cell)}; expected a number, as in the "
                    "training part"
                ) from None
            numbers[row] = value
            if math.isinf(numbers[row, 0]):
                raise DataError(f"{rows.place(row)}: {name} is {cell}; expected a finite number")
            _check_size(rows, row, name, value)
    return numbers


def _check_size(rows: Rows, row: int, name: str, number: float) -> None:
    if abs(number) > LARGEST:
        raise DataError(
            f"{rows.place(row)}: {name} is {number:g}; expected a number up to {LARGEST:g}, scale "
            "the column down"
        )


def _categories(rows: Rows, name: str) -> Array:
    return np.array([[cell.strip()] for cell in rows.column(name)], dtype=object)
