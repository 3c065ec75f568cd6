"""Memory of a long search: the whole tree of processes, and the search's own, child after child.

Every few seconds the proportional memory (PSS: what is shared counts once) of the search, its fork
server and its workers is added up. Workers are replaced after some dozens of children, so that
the sum goes up and down; levels are compared over whole rounds, where workers are equally old.
Beside it KerasTuner, that trains the same kind of children in one process.

    pip install keras-tuner
    python benchmarks/memory.py                            1,000 children, about 20 minutes
    python benchmarks/memory.py --children 300 --tuner 0   a first look, without KerasTuner
    python benchmarks/memory.py --children 300 --tuner 0 --executor ray
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WORKERS, EPOCHS = 2, 1
CONFIG = {
    "name": "memory",
    "controller": {"name": "random"},
    "recipe": {"epochs": EPOCHS},
    "engine": {"workers": WORKERS},
    "final": {"top_k": 1, "epochs": 1},
}
SETTLED = 50
"""Children after which memory should no longer grow."""


def search(root: Path, children: int) -> None:
    """Run a search in this process."""
    import rlnas

    rlnas.Search(config={**CONFIG, "budget": {"trials": children}}, root=root).run()


def tuner(root: Path, children: int) -> None:
    """Let KerasTuner train as many; each leaves a file."""
    from throughput import keras_tuner

    from rlnas.children.datasets import load_data
    from rlnas.config import DataConfig

    def told(number: int) -> None:
        (root / f"{number}").touch()

    list(keras_tuner(load_data(None, DataConfig(), 0), children, EPOCHS, told))


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for each in new for child in children.get(each, [])]
    return found


def pss(pid: int) -> float:
    """Return the proportional memory of a process in MB; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def trained(root: Path) -> int:
    """Return how many children of a search, or of KerasTuner, have ended."""
    journal = root / "memory" / "journal.sqlite"
    if not journal.exists():
        return len(list(root.glob("[0-9]*")))
    query = "SELECT COUNT(*) FROM trials WHERE state != 'running'"
    opened = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    with closing(opened), suppress(sqlite3.OperationalError):  # its tables are not made yet
        return int(opened.execute(query).fetchone()[0])
    return 0


def sampled(what: str, children: int, interval: float) -> list[dict[str, float]]:
    """Run something to its end and return samples: children, MB of the tree, of the search."""
    samples = []
    with tempfile.TemporaryDirectory() as root:
        words = [sys.executable, __file__, "--run", what, root, "--children", str(children)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            ended, pids = trained(Path(root)), tree(process.pid)
            whole = [pss(pid) for pid in pids]
            samples.append({"children": ended, "tree": sum(whole), "search": whole[0]})
            print(
                f"{what}: {ended} of {children}, {sum(whole):.0f} MB", file=sys.stderr, flush=True
            )
            time.sleep(interval)
    if process.returncode:
        raise SystemExit(f"{what} ended with exit code {process.returncode}")
    return samples


def levels(samples: list[dict[str, float]], name: str, round_length: int) -> list[dict[str, float]]:
    """Return mean and maximum over each whole round of children from `SETTLED` on."""
    rows = []
    last = int(samples[-1]["children"])
    for first in range(SETTLED, last - round_length + 1, round_length):
        inside = [
            each[name] for each in samples if first <= each["children"] < first + round_length
        ]
        if inside:
            rows.append({"from": first, "mean": float(np.mean(inside)), "most": max(inside)})
    return rows


def plot(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw the memory over the children."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for label, name, samples in (
        ("rlnas: search, fork server and two workers", "tree", found["rlnas"]),
        ("rlnas: the search alone", "search", found["rlnas"]),
        ("KerasTuner", "tree", found.get("keras-tuner", [])),
    ):
        axes.plot(
            [each["children"] for each in samples], [each[name] for each in samples], label=label
        )
    axes.set(xlabel="children trained", ylabel="proportional memory, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--children", type=int, default=1000)
    parser.add_argument("--tuner", type=int, default=300, help="children of KerasTuner; 0: none")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--executor", choices=("process", "ray"), default="process")
    parser.add_argument("--plot", type=Path, help="write a picture there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        what, root = chosen.run
        (search if what == "rlnas" else tuner)(Path(root), chosen.children)
        return
    os.environ["RLNAS_EXECUTOR"] = chosen.executor
    from rlnas.evaluation.process import CHILDREN_PER_WORKER

    rounds = WORKERS * CHILDREN_PER_WORKER
    if chosen.children < SETTLED + rounds:
        parser.error(f"--children must be at least {SETTLED + rounds}, got {chosen.children}")
    found = {"rlnas": sampled("rlnas", chosen.children, chosen.interval)}
    if chosen.tuner:
        found["keras-tuner"] = sampled("keras-tuner", chosen.tuner, chosen.interval)
    if chosen.plot:
        plot(found, chosen.plot)
    told: dict[str, Any] = {"samples": found}
    for name in ("tree", "search"):
        rows = levels(found["rlnas"], name, rounds)
        told[name] = {
            "rows": rows,
            "drift": max(abs(row["mean"] - rows[0]["mean"]) for row in rows),
            "peak": max(each[name] for each in found["rlnas"]),
        }
    if chosen.json:
        print(json.dumps(told))
        return
    print("| children | tree, mean MB | tree, most | search alone, mean MB |")
    print("|---|---|---|---|")
    for whole, alone in zip(told["tree"]["rows"], told["search"]["rows"], strict=True):
        span = f"{whole['from']} to {whole['from'] + rounds}"
        print(f"| {span} | {whole['mean']:.0f} | {whole['most']:.0f} | {alone['mean']:.0f} |")
    for name in ("tree", "search"):
        figures = told[name]
        print(
            f"\n{name}: at most {figures['drift']:.0f} MB from the first of these levels, "
            f"peak {figures['peak']:.0f} MB"
        )
    if chosen.tuner:
        line = found["keras-tuner"]
        grown = line[-1]["tree"] - next(s["tree"] for s in line if s["children"] >= SETTLED)
        per_child = grown / max(line[-1]["children"] - SETTLED, 1)
        print(f"\nKerasTuner: {per_child:.1f} MB more with each child after the {SETTLED}th")


if __name__ == "__main__":
    main()
