"""What a warm start adds in regret, from a good and from a reversed prior, on the two tables.

The prior is an earlier run: 100 networks drawn uniformly with their rewards, or with the
rewards' signs turned. Searches with and without it are paired by seed.

    python benchmarks/prior.py --seeds 200 --workers 2
"""

import argparse
import os
from collections.abc import Iterator
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from arguments import on_tables, print_rows
from scipy import stats

from rlnas.config import ControllerConfig
from rlnas.controllers import Scored, make_controller, uniform
from rlnas.evaluation import FORMATS, Table, read_table, with_columns
from rlnas.search.benchmark.play import play

KNOWN, TRIALS, BUDGETS = 100, 300, (50, 100, 192, 300)
SIGNS = {"none": 0, "good": 1, "reversed": -1}
TABLES = {
    "nasbench201": ("nasbench201_cifar10.csv.gz", with_columns(FORMATS["nasbench201"], key="none")),
    "macro": (
        "nas_bench_macro_cifar10.csv.gz",
        with_columns(FORMATS["macro"], reward="mean_acc", report=("mean_acc",)),
    ),
}


@cache
def table(name: str, folder: Path) -> Table:
    """Return a table, read once per process."""
    file, columns = TABLES[name]
    return read_table(folder / file, columns)


def earlier_run(found: Table, sign: int, seed: int) -> list[Scored]:
    """Return networks with their rewards, or the rewards with their signs turned."""
    rng = np.random.default_rng([seed, KNOWN])
    drawn = {uniform(found.space, rng) for _ in range(KNOWN)}
    keys = {tokens: found.space.key(found.space.architecture(tokens)) for tokens in drawn}
    return [(tokens, sign * found.rows[keys[tokens]].reward) for tokens in sorted(drawn)]


def regrets(job: tuple[str, Path, str, str, int]) -> list[float]:
    """Return the regret of one search at each budget."""
    name, folder, surrogate, prior, seed = job
    found = table(name, folder)
    config = ControllerConfig(name="ppo", surrogate=surrogate)
    controller = make_controller(found.space, config, seed, trials=TRIALS)
    if SIGNS[prior]:
        controller.warm_start(earlier_run(found, SIGNS[prior], seed))
    played = play(found, controller, TRIALS, ())
    return [found.best_report - played.report(budget) for budget in BUDGETS]


def main() -> None:
    """Measure what the command line asks for."""
    parser = on_tables(__doc__)
    parser.add_argument("--only", choices=sorted(TABLES), action="append")
    parser.add_argument("--surrogate", choices=["gp", "none"], action="append")
    chosen = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = "1"  # of the processes of the pool
    head = ("table", "surrogate", "prior", *(f"at {each}" for each in BUDGETS))
    print_rows(head, measured(chosen), chosen.json)


def measured(chosen: argparse.Namespace) -> Iterator[list[str]]:
    """Search with and without each prior, a row of the table at a time."""
    with get_context("spawn").Pool(chosen.workers, maxtasksperchild=25) as pool:
        for name in chosen.only or TABLES:
            for surrogate in chosen.surrogate or ["gp", "none"]:
                found: dict[str, np.ndarray] = {}
                for prior in SIGNS:
                    jobs = [
                        (name, chosen.tables, surrogate, prior, seed)
                        for seed in range(chosen.seeds)
                    ]
                    found[prior] = np.array(pool.map(regrets, jobs, chunksize=1))
                    cells = regret_cells(prior, found[prior], found["none"])
                    yield [name, surrogate, prior, *cells]


def regret_cells(prior: str, matrix: np.ndarray, plain: np.ndarray) -> list[str]:
    """Return mean regrets; behind a prior what it adds, with its interval."""
    cells = []
    for ours, theirs in zip(matrix.T, plain.T, strict=True):
        cell = f"{ours.mean():.4f}"
        if SIGNS[prior]:
            apart = ours - theirs
            half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
            mean = float(apart.mean())
            cell += f" ({mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}])"
        cells.append(cell)
    return cells


if __name__ == "__main__":
    main()
