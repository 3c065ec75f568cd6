"""Small data: choosing by 5 folds against choosing by one split, paired over seeds.

For each seed, 500 rows of the phoneme table are what is known, the other 4,904 the test part. The
same random networks are trained by two searches, one of which rewards the mean of 5 folds, the
other what one split (0.15 kept aside) says. Each takes the network with the best reward and trains
it on all 500 rows, from the same seed; so the two differ in what was chosen, and in nothing else.
Where both choose one network their figures are equal.

    python benchmarks/folds.py                     20 seeds, half an hour on 2 cores

The data is the folder that ``RLNAS_TEST_DATA`` names.
"""

import argparse
import csv
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from arguments import print_rows, told

HEAD = ("seed", "5 folds", "one split", "difference", "chosen by folds", "chosen by the split")


def divided(table: Path, rows: int, seed: int, to: Path) -> Path:
    """Write the table with a column that leaves so many rows to train on; return the file."""
    from sklearn.model_selection import train_test_split

    with table.open(newline="") as file:
        records = list(csv.DictReader(file))
    labels = [record["label"] for record in records]
    known, _ = train_test_split(
        range(len(records)), train_size=rows, stratify=labels, random_state=seed
    )
    path = to / f"{table.stem}-{seed}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*records[0], "split"])
        writer.writeheader()
        for number, record in enumerate(records):
            writer.writerow({**record, "split": "train" if number in set(known) else "test"})
    return path


def pair(seed: int, table: Path, trials: int, rows: int) -> tuple[float, float, str, str]:
    """Search both ways; return the test figures and the networks, folds first."""
    import rlnas

    found = []
    with tempfile.TemporaryDirectory() as folder:
        data = divided(table, rows, seed, Path(folder))
        for folds in (5, None):
            config = {
                "name": f"folds-{folds}",
                "seed": seed,
                "controller": {"name": "random"},
                "recipe": {"epochs": 20},
                "evaluation": {"folds": folds},
                "engine": {"executor": "inline"},
                "threads": 1,
                "budget": {"trials": trials},
                "final": {"top_k": 1, "epochs": 40},
            }
            best = rlnas.Search(str(data), config=config, root=folder).run().best
            if best is None or best.test_accuracy is None:
                raise SystemExit(f"the search of seed {seed} ended without a model")
            found.append((best.test_accuracy, best.layers))
    (folds_figure, by_folds), (split_figure, by_split) = found
    return folds_figure, split_figure, by_folds, by_split


def rows_of(
    seeds: Sequence[int], work: Callable[[int], tuple[float, float, str, str]], workers: int
) -> Iterator[tuple[object, ...]]:
    """Yield a row for each seed, and the paired difference at the end."""
    apart = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, max_tasks_per_child=1) as pool:
        for seed, (mine, theirs, *chosen) in zip(seeds, pool.map(work, seeds), strict=True):
            apart.append(mine - theirs)
            yield seed, f"{mine:.4f}", f"{theirs:.4f}", f"{apart[-1]:+.4f}", *chosen
    yield "all", "", "", told(apart), "", ""


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    data = os.environ.get("RLNAS_TEST_DATA")
    parser.add_argument(
        "--data", type=Path, default=data and Path(data), required=not data, help="All data."
    )
    parser.add_argument("--seeds", type=int, default=20, help="How many. Default: 20.")
    parser.add_argument("--first", type=int, default=0, help="First seed. Default: 0.")
    parser.add_argument("--trials", type=int, default=20, help="Networks of each. Default: 20.")
    parser.add_argument("--rows", type=int, default=500, help="Rows that are known. Default: 500.")
    parser.add_argument("--workers", type=int, default=2, help="Seeds at a time. Default: 2.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    work = partial(
        pair, table=given.data / "tabular" / "phoneme.csv", trials=given.trials, rows=given.rows
    )
    seeds = range(given.first, given.first + given.seeds)
    print_rows(HEAD, rows_of(seeds, work, given.workers), given.json)


if __name__ == "__main__":
    main()
