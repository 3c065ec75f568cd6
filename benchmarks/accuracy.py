"""Test accuracy of what `rlnas search` finds, beside the reference child's, over some seeds.

    python benchmarks/accuracy.py digits           the README's first command, seeds 0 to 4
    python benchmarks/accuracy.py fashion_mnist    60 trials on 10,000 images, seeds 0 to 2

Each search is a process of its own, as a user starts it. Fashion-MNIST is downloaded by
Keras unless ``KERAS_HOME`` already has it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from statistics import mean
from typing import Any

_PART = {"--dataset": "fashion_mnist", "--train-samples": "10000", "--trials": "60"}
_FASHION = [word for pair in _PART.items() for word in pair]
SEARCHES: dict[str, tuple[list[str], int]] = {
    "digits": ([], 5),
    "fashion_mnist": ([*_FASHION, "--epochs", "2"], 3),
}
"""Flags and number of seeds."""


def search(flags: list[str], seed: int, root: str) -> dict[str, Any]:
    """Run one search and return its figures.

    Args:
        flags: Flags of ``rlnas search``.
        seed: Seed of the run.
        root: Folder of the run.
    """
    started = time.monotonic()
    words = [sys.executable, "-m", "rlnas", "search", "--json", "--root", root, *flags]
    done = subprocess.run([*words, "--seed", str(seed)], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    return {
        "seed": seed,
        "test_accuracy": found["best"]["test_accuracy"],
        "val_accuracy": found["best"]["val_accuracy"],
        "reference": found["reference"]["test_accuracy"],
        "params": found["best"]["params"],
        "layers": found["best"]["layers"],
        "minutes": (time.monotonic() - started) / 60,
    }


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("data", choices=SEARCHES, help="what to search on")
    parser.add_argument("--seeds", type=int, help="how many seeds, from 0")
    parser.add_argument("--first", type=int, default=0, help="first seed (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    flags, seeds = SEARCHES[arguments.data]
    last = arguments.first + (arguments.seeds or seeds)
    with tempfile.TemporaryDirectory() as root:
        rows = [search(flags, seed, root) for seed in range(arguments.first, last)]
    summary = {
        "rows": rows,
        "mean": mean(row["test_accuracy"] for row in rows),
        "lowest": min(row["test_accuracy"] for row in rows),
        "reference_mean": mean(row["reference"] for row in rows),
    }
    if arguments.json:
        print(json.dumps(summary))
        return
    print("| seed | test accuracy | reference child | parameters | minutes | layers |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['seed']} | {row['test_accuracy']:.4f} | {row['reference']:.4f} "
            f"| {row['params']:,} | {row['minutes']:.1f} | {row['layers']} |"
        )
    print(
        f"\nmean {summary['mean']:.4f}, lowest {summary['lowest']:.4f}, "
        f"reference child {summary['reference_mean']:.4f}"
    )


if __name__ == "__main__":
    main()
