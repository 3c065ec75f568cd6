"""What the benchmark scripts have in common: their command lines, and how they tell figures."""

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats


def on_tables(doc: str, *, searches: bool = True, needed: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the folder of the two tables, and how many searches there are.

    Args:
        doc: The script's docstring; its first line is the help.
        searches: Whether the script runs searches: ``--seeds`` and ``--workers``.
        needed: Whether all of the script needs the tables.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    data = os.environ.get("RLNAS_TEST_DATA")
    parser.add_argument(
        "--tables",
        type=Path,
        default=Path(data) / "tables" if data else None,
        required=needed and not data,
        help="Folder of the two tables. Default: tables in RLNAS_TEST_DATA.",
    )
    if searches:
        parser.add_argument(
            "--seeds", type=int, default=200, help="Searches of each. Default: 200."
        )
        parser.add_argument("--workers", type=int, default=2, help="At a time. Default: 2.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    return parser


def print_rows(head: Sequence[str], rows: Iterable[Sequence[object]], as_json: bool) -> None:
    """Print a table, each row as it comes, or all of it as one JSON object at the end.

    Args:
        head: Names of the columns.
        rows: Their cells.
        as_json: Whether it is to be JSON.
    """
    if as_json:
        print(json.dumps({"rows": [dict(zip(head, row, strict=True)) for row in rows]}))
        return
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def told(differences: Sequence[float]) -> str:
    """Return the mean of paired differences with its 95 % interval (Student), and their signs."""
    apart = np.asarray(differences, dtype=float)
    mean, interval = apart.mean(), ""
    if len(apart) > 1:
        half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
        interval = f" [{mean - half:+.4f}, {mean + half:+.4f}]"
    return f"{mean:+.4f}{interval}, higher in {(apart > 0).sum()} of {len(apart)}"
