"""Children per minute with other numbers of workers and threads, and with ``--deterministic``.

Each row is one search with the random controller, which proposes the same networks in each, so that
only how they are trained differs; the time is that from the fourth result, when all workers have
long started, to the last. Rows with other threads say whether what `rlnas search` picks by itself
is the fastest; the deterministic ones, what one thread per child and learning in the order of the
proposals cost. What learning later costs in regret is in ``scaling.py --only asynchrony``.

    python benchmarks/workers.py                        digits, a few minutes on 2 cores
    python benchmarks/workers.py --dataset fashion_mnist --samples 5000 --epochs 1 --trials 16
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FIRST = 4
"""Results that are not counted: as many as there are workers at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """How children are trained; None for what the search picks."""

    workers: int
    threads: int | None
    deterministic: bool = False

    @property
    def engine(self) -> dict[str, Any]:
        """The section of the configuration."""
        return {"workers": self.workers, "deterministic": self.deterministic}


ROWS = (
    Row(1, None),
    Row(1, 1),
    Row(1, 2),
    Row(2, None),
    Row(2, 1),
    Row(2, 2),
    Row(4, 1),
    Row(1, None, deterministic=True),
    Row(2, None, deterministic=True),
)


def per_minute(row: Row, chosen: argparse.Namespace) -> float:
    """Return how many children a search trained per minute."""
    import rlnas

    settings = {
        "data": {
            "dataset": chosen.dataset,
            "train_samples": chosen.samples,
            "final_samples": chosen.samples,
        },
        "controller": {"name": "random"},
        "recipe": {"epochs": chosen.epochs},
        "budget": {"trials": chosen.trials},
        "final": {"top_k": 1, "epochs": 1},
        "engine": row.engine,
        "threads": row.threads,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as root:
        found = rlnas.Search(config=settings, root=Path(root)).run()
    ends = sorted(trial.ended for trial in found.trials)
    return 60 * (len(ends) - FIRST) / (ends[-1] - ends[FIRST - 1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--samples", type=int, help="training examples. Default: all")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    found = []
    for row in ROWS:
        found.append({**row.engine, "threads": row.threads, "per_minute": per_minute(row, chosen)})
        print(found[-1], file=sys.stderr, flush=True)
    if chosen.json:
        print(json.dumps(found))
        return
    print("| workers | threads | deterministic | children a minute | times the first row |")
    print("|---|---|---|---|---|")
    for each in found:
        threads = each["threads"] or "picked"
        words = f"{each['workers']} | {threads} | {'yes' if each['deterministic'] else 'no'}"
        times = each["per_minute"] / found[0]["per_minute"]
        print(f"| {words} | {each['per_minute']:.1f} | {times:.2f} |")


if __name__ == "__main__":
    main()
