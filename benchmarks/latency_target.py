"""A latency target at half of what the reference child takes: what the search finds within it.

A search of one trial writes down the reference child, which is timed. Then a search with `--cost
latency` has half of that as its target. In the end what it found and the reference child are timed
once more, in turn and in one process: a latency of a minute ago is that of another machine. Runs
are kept: the same command goes on where it was stopped.

    python benchmarks/latency_target.py --to FOLDER          3 seeds, an hour on 2 cores

Latencies are those of the network alone, on one thread, as most are served on small devices.
Nothing else should run meanwhile.

Keras downloads the data unless ``KERAS_HOME`` already has it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from arguments import print_rows

from rlnas.children.runtime import prepare

HEAD = (
    "seed",
    "target, ms",
    "latency of the best",
    "of the reference",
    "ratio",
    "test accuracy of the best",
    "of the reference",
    "difference",
)
ROUNDS = 11


def rlnas(words: Sequence[object], to: Path) -> Any:
    """Run a command of rlnas; return what it says as JSON."""
    command = [sys.executable, "-m", "rlnas", *map(str, words), "--root", str(to), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def searched(name: str, to: Path, flags: Sequence[object]) -> Any:
    """Return the result of a search; one that is in the folder is gone on with."""
    if (to / name).is_dir():
        return rlnas(["resume", name], to)
    return rlnas(["search", "--name", name, *flags], to)


def timed(folder: Path) -> tuple[float, float]:
    """Return the latencies of the network of a run and of the reference child, in milliseconds."""
    from rlnas.children.decoder import decode
    from rlnas.children.latency import latency
    from rlnas.spaces import space_from_json

    report = json.loads((folder / "best" / "report.json").read_text())
    space = {name: each for name, each in report["space"].items() if name != "fingerprint"}
    given, grammar = report["input"], space_from_json(space)
    of_images = "kind" not in given
    models = [
        decode(grammar.architecture(tokens), scale=given["scale"] if of_images else None)
        for tokens in (report["tokens"], report["reference"]["tokens"])
    ]
    x = np.zeros((1, *given["shape"]), "uint8" if of_images else "float32")
    mine, theirs = zip(*([latency(each, x) for each in models] for _ in range(ROUNDS)), strict=True)
    return median(mine), median(theirs)


def rows(seeds: Sequence[int], to: Path, flags: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each seed."""
    for seed in seeds:
        given = ["--seed", seed, "--workers", 1, "--threads", 1, *flags]
        once = ["--trials", 1, "--top-k", 1, "--epochs", 1, "--final-epochs", 1, "--no-refit"]
        searched(f"latency-{seed}", to, [*given, *once])
        name, target = f"half-{seed}", round(timed(to / f"latency-{seed}")[1] / 2, 4)
        found = searched(name, to, [*given, "--cost", "latency", "--cost-target", target])
        best, reference = timed(to / name)
        report = json.loads((to / name / "best" / "report.json").read_text())
        target = report["config"]["objective"]["target"]  # of a search that was gone on with
        mine, theirs = found["best"]["test_accuracy"], found["reference"]["test_accuracy"]
        cells = (f"{best:.3f}", f"{reference:.3f}", f"{best / reference:.2f}")
        yield seed, target, *cells, f"{mine:.4f}", f"{theirs:.4f}", f"{mine - theirs:+.4f}"


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--to", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--seeds", type=int, default=3, help="How many. Default: 3.")
    parser.add_argument("--first", type=int, default=0, help="First seed. Default: 0.")
    parser.add_argument(
        "--flags",
        default="--dataset fashion_mnist --train-samples 10000 --epochs 2 --trials 40 "
        "--final-samples 20000",
        help="Flags of rlnas search, in one text. Default: Fashion-MNIST, 40 trials.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    prepare(1)
    given.to.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first, given.first + given.seeds)
    print_rows(HEAD, rows(seeds, given.to, given.flags.split()), given.json)


if __name__ == "__main__":
    main()
