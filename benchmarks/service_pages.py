"""How fast the service answers with 200 ended runs and one of 10,000 trials in its root.

The runs are written as a search writes them, without a training. Printed: for each address the
first answer of a new server, and the median and the slowest of 20 more; all within 200 ms is asked.

    python benchmarks/service_pages.py
    python benchmarks/service_pages.py --runs 20 --trials 1000    a first look
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import product
from pathlib import Path

import httpx2
import numpy as np
from arguments import print_rows

from rlnas.config import make_config
from rlnas.objectives import Metrics
from rlnas.search.folder import RunFolder
from rlnas.search.journal import DONE, Trial
from rlnas.spaces import TableSpace, fingerprint

ADDRESSES = (
    "/",
    "/v1/searches",
    "/searches/big",
    "/v1/searches/big",
    "/v1/searches/big/trials?order=reward&descending=true",
    "/v1/searches/big/trials?offset=9000",
    "/v1/searches/big/curve",
    "/v1/searches/big/policy",
    "/v1/searches/big/best",
    "/v1/searches/big/pareto",
    "/metrics",
)


def main() -> None:
    """Write the runs, start a server, and time its answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="Ended runs. Default: 200.")
    parser.add_argument(
        "--trials", type=int, default=10_000, help="Trials of the large run. Default: 10,000."
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_run(root, "run-0", 60)
        for number in range(1, given.runs):
            shutil.copytree(root / "run-0", root / f"run-{number}")
        write_run(root, "big", given.trials)
        words = [sys.executable, "-m", "rlnas", "serve", "--root", name, "--port", "0"]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1].rstrip("/")
            with httpx2.Client(base_url=address, timeout=60) as client:
                rows = [(f"`{path}`", *answers(client, path)) for path in ADDRESSES]
        finally:
            server.terminate()
            server.wait()
    print_rows(("address", "first, ms", "median, ms", "slowest, ms"), rows, given.json)


def answers(client: httpx2.Client, path: str) -> tuple[int, int, int]:
    """Return the time of the first answer, and median and slowest of 20 more."""
    first, *rest = (timed(client, path) for _ in range(21))
    return round(first), round(statistics.median(rest)), round(max(rest))


def timed(client: httpx2.Client, path: str) -> float:
    """Return how long an answer took, in milliseconds."""
    began = time.perf_counter()
    answer = client.get(path)
    seconds = time.perf_counter() - began
    assert answer.status_code == 200, answer.text[:500]
    return 1000 * seconds


def write_run(root: Path, name: str, trials: int) -> None:
    """Write a run of so many trials, as a search does."""
    strings = ["".join(row) for row in product("0123456789", repeat=5)][:: 100_000 // (2 * trials)]
    space = TableSpace(strings[: 2 * trials])
    config = make_config({"name": name, "budget": {"trials": trials}})
    meta = {
        "status": "searching",
        "space": space.to_json(),
        "space_fingerprint": fingerprint(space),
        "data": {"name": "digits", "fingerprint": "0" * 16, "test": 0, "score": "accuracy"},
        "own": [],
        "threads": 1,
        "evaluator": "external",
        "baseline": None,
        "versions": {},
        "best_trial": 1,
    }
    state = {"controller": {}, "counters": {"seconds": 60.0}, "learned": {}, "under_way": []}
    rng = np.random.default_rng(0)
    with closing(RunFolder(root, name).create(config, meta)) as journal:
        for number, string in enumerate(strings[:trials], 1):
            choices = [decision.choices for decision in space.decisions]
            tokens = tuple(map(tuple.index, choices, string))
            trial = Trial(number, string, tokens, (0.0,) * 5, number, started=float(number))
            journal.propose(trial, state)
            reward = float(rng.random())
            policy = {"position 1": [0.1] * 10} if number % 10 == 0 else None
            metrics = Metrics((reward,), params=int(rng.integers(1, 10**6)), seconds=reward)
            journal.finish(
                Trial(
                    *(number, string, tokens, (0.0,) * 5, number, DONE, reward, metrics),
                    policy=policy,
                    proposals=number,
                    started=float(number),
                    ended=number + 1.0,
                    step=number,
                ),
                state,
            )
        journal.set_meta({"status": "done"})


if __name__ == "__main__":
    main()
