"""Does the controller learn within a hundred trials? Reinforce against random, paired seeds.

No child is trained: a small space of image chains has known rewards, another landscape for
each seed (see `rlnas.testing.KnownRewards`). One row per preset: how often and by how
much the controller ends better than random, in the mean reward of its last 20 new
architectures and in the best it found.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass

import numpy as np

from rlnas.config import PRESETS, ControllerConfig, make_config
from rlnas.controllers import Controller, make_controller
from rlnas.errors import ConfigError
from rlnas.testing import Ending, KnownRewards, better_ends, ending, small_space

OVERRIDES = ("learning_rate", "batch_size", "entropy", "baseline_decay")


@dataclass(frozen=True, slots=True)
class Row:
    """One preset against random.

    Attributes:
        preset: Its name.
        seeds: Number of pairs.
        trials: Different architectures per search.
        last: Mean reward of the last 20, ours and random's, mean over the seeds.
        last_wins: Pairs in which ours is higher.
        last_p: One-sided sign test.
        best: Best reward found, ours and random's, mean over the seeds.
        best_wins: Pairs in which ours is higher.
        best_p: One-sided sign test.
        repeats: Known proposals per search, ours.
        milliseconds: Of the controller, per trial, repeats included.
    """

    preset: str
    seeds: int
    trials: int
    last: tuple[float, float]
    last_wins: int
    last_p: float
    best: tuple[float, float]
    best_wins: int
    best_p: float
    repeats: float
    milliseconds: float


def compare(config: ControllerConfig, seeds: int, trials: int) -> Row:
    """Search with reinforce and with random on the same landscapes."""
    space = small_space()
    controller = make_controller(space, config, 0)
    ours: list[Ending] = []
    theirs: list[Ending] = []
    seconds = 0.0
    for seed in range(seeds):
        rewards = KnownRewards(space, seed)
        # Load a fresh state into one controller: its graph is traced once, not per seed.
        controller.load(make_controller(space, config, seed).state())
        begin = time.perf_counter()
        ours.append(ending(controller, space, rewards, trials))
        seconds += time.perf_counter() - begin
        theirs.append(ending(_random(seed), space, rewards, trials))
    last = [end.last for end in ours], [end.last for end in theirs]
    best = [end.best for end in ours], [end.best for end in theirs]
    last_wins, last_p = better_ends(*last)
    best_wins, best_p = better_ends(*best)
    return Row(
        preset=config.preset,
        seeds=seeds,
        trials=trials,
        last=(float(np.mean(last[0])), float(np.mean(last[1]))),
        last_wins=last_wins,
        last_p=last_p,
        best=(float(np.mean(best[0])), float(np.mean(best[1]))),
        best_wins=best_wins,
        best_p=best_p,
        repeats=float(np.mean([end.repeats for end in ours])),
        milliseconds=1000 * seconds / (seeds * trials),
    )


def main() -> None:
    """Print the table, or with ``--json`` one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=_count, default=100, help="pairs (default 100)")
    parser.add_argument("--trials", type=_count, default=100, help="budget (default 100)")
    parser.add_argument(
        "--preset", choices=PRESETS, action="append", help="a preset (default: each in turn)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for name in OVERRIDES:
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, help="instead of the preset's (default: the preset's)")
    asked = parser.parse_args()
    changed = {name: value for name in OVERRIDES if (value := getattr(asked, name)) is not None}
    try:
        configs = [
            make_config({"controller": {"name": "reinforce", "preset": name, **changed}}).controller
            for name in asked.preset or PRESETS
        ]
    except ConfigError as error:
        parser.error(str(error))
    rows = [compare(config, asked.seeds, asked.trials) for config in configs]
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}))
        return
    print("                mean reward of the last 20         best reward")
    print(
        "preset  seeds   ours  random  wins        p   ours  random  wins        p  repeats    ms"
    )
    for row in rows:
        print(
            f"{row.preset:8}{row.seeds:5}"
            f"{row.last[0]:7.3f}{row.last[1]:8.3f}{row.last_wins:6}{row.last_p:9.1e}"
            f"{row.best[0]:7.3f}{row.best[1]:8.3f}{row.best_wins:6}{row.best_p:9.1e}"
            f"{row.repeats:9.1f}{row.milliseconds:6.1f}"
        )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _random(seed: int) -> Controller:
    return make_controller(small_space(), ControllerConfig(name="random"), seed)


if __name__ == "__main__":
    main()
