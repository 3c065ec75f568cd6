"""Architecture and recipe searched together against the architecture alone, paired over seeds.

Both searches have the same data, seeds and number of trials; one of them lets the controller choose
the recipe too (`--search-recipe all`), the other trains each network by the default recipe. The
figure is that of the test part, of the network that each search picked and trained again. The cases
are those of `kinds.py`. Runs are kept in the folder: the same command goes on where it was stopped.

    python benchmarks/joint.py --to FOLDER --only phoneme trec       5 seeds, hours on 2 cores

The data is the folder that ``RLNAS_TEST_DATA`` names.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arguments import print_rows, told
from kinds import CASES, figures, placed, searched

HEAD = ("data", "seed", "with the recipe", "architecture alone", "reference", "difference")
WAYS = {"joint": ["--search-recipe", "all"], "alone": ["--search-recipe", "none"]}


def pair(name: str, seed: int, data: str, to: Path, more: Sequence[str]) -> list[float]:
    """Search both ways, or go on; return the test figures and that of the reference child."""
    case, found, reference = CASES[name], [], 0.0
    for way, flags in WAYS.items():
        run = f"{name}-{seed}-{way}"
        best, reference = figures(
            case, to, run, searched(case, data, to, run, seed, [*flags, *more])
        )
        found.append(best)
    return [*found, reference]


def rows(
    names: Sequence[str], seeds: Sequence[int], given: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    """Yield a row for each data set and seed, and the paired difference of each data set."""
    more = given.flags.split()
    for name in names:
        data, apart = placed(CASES[name], given.data, given.to), []
        with ThreadPoolExecutor(given.workers) as pool:
            work = [pool.submit(pair, name, seed, data, given.to, more) for seed in seeds]
            for seed, each in zip(seeds, work, strict=True):
                joint, alone, reference = each.result()
                apart.append(joint - alone)
                cells = (joint, alone, reference, apart[-1])
                yield name, seed, *(f"{cell:.4f}" for cell in cells)
        yield name, "all", "", "", "", told(apart)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    data = os.environ.get("RLNAS_TEST_DATA")
    parser.add_argument(
        "--data", type=Path, default=data and Path(data), required=not data, help="All data."
    )
    parser.add_argument("--to", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--only", nargs="+", choices=CASES, default=["phoneme", "trec"])
    parser.add_argument("--seeds", type=int, default=5, help="How many. Default: 5.")
    parser.add_argument("--first", type=int, default=0, help="First seed. Default: 0.")
    parser.add_argument("--workers", type=int, default=2, help="Seeds at a time. Default: 2.")
    parser.add_argument(
        "--flags",
        default="--workers 1 --threads 1",
        help="More flags of rlnas search, in one text. Default: one child with one thread at a "
        "time, so that two searches share two cores.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first, given.first + given.seeds)
    print_rows(HEAD, rows(given.only, seeds, given), given.json)


if __name__ == "__main__":
    main()
