"""ppo against random on real children: best so far on validation, and the retrained best.

Fashion-MNIST, 5,000 images, 2 epochs, 80 trials in the space of image chains; the best of each
run is retrained on 10,000 images for 4 epochs. Each seed is one `rlnas search --control random`
with one child at a time, so that each result is learned from before the next proposal; two seeds
run at the same time with one thread each. The same command goes on where it was stopped. Keras
downloads the data unless ``KERAS_HOME`` already has it.

    python benchmarks/real_children.py --to FOLDER      10 seeds, hours on 2 cores

ppo begins with what the reference child earned; ``--without-reference`` shows what that is worth.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from arguments import told

FLAGS = {
    "--dataset": "fashion_mnist",
    "--train-samples": "5000",
    "--epochs": "2",
    "--trials": "80",
    "--control": "random",
    "--top-k": "1",
    "--final-samples": "10000",
    "--final-epochs": "4",
    "--threads": "1",
    "--workers": "1",
}
FIGURES = {
    "area": "area under the best so far",
    "area_behind_reference": "the same, the reference child counted as known to both",
    "best_reward": "best validation accuracy",
    "mean_reward": "mean validation accuracy",
    "test_accuracy": "test accuracy of the retrained best",
}


def pair(seed: int, root: Path, more: Sequence[str]) -> dict[str, Any]:
    """Run, or go on with, one search and its control, with more flags; return how they compare."""
    name = f"seed{seed}"
    if (root / name).exists():
        check_setting(root, name, "--no-from-reference" not in more)
        words = ["resume", name]
    else:
        flags = [word for flag in FLAGS.items() for word in flag]
        words = ["search", *flags, *more, "--name", name, "--seed", str(seed)]
    with (root / f"{name}.log").open("a") as log:
        rlnas([*words, "--root", str(root)], log, log)
    done = rlnas(
        ["compare", name, f"{name}-control", "--json", "--root", str(root)], subprocess.PIPE, None
    )
    found: dict[str, Any] = json.loads(done.stdout)
    ours, theirs = (area_behind_reference(root, each) for each in (name, f"{name}-control"))
    return {
        **found,
        "area_behind_reference": {"first": ours, "second": theirs, "gap": ours - theirs},
    }


def check_setting(root: Path, name: str, from_reference: bool) -> None:
    """Refuse to go on with a run of the other setting."""
    from rlnas.search.folder import find_run

    with closing(find_run(root, name).open()) as journal:
        was = journal.meta()["config"]["controller"].get("from_reference", False)
    if was != from_reference:
        known = "knew" if was else "did not know"
        raise SystemExit(
            f"{root / name}: expected a search of this setting, got one whose ppo {known} the "
            "reference child; give another folder with --to"
        )


def area_behind_reference(root: Path, name: str) -> float:
    """Return the mean of the best so far where the reference child's reward is the first."""
    from rlnas.search.folder import find_run
    from rlnas.search.result import read_result

    run = read_result(find_run(root, name))
    reference = next(each.metrics for each in run.brief if each.name == "reference")
    trials = sorted(run.trials, key=lambda trial: trial.step or 0)
    rewards = [np.nan if trial.reward is None else trial.reward for trial in trials]
    if reference is None:
        raise SystemExit(f"the reference child of {name} failed; see {root / name}")
    best = np.fmax(np.fmax.accumulate(np.array(rewards, float)), max(reference.val_accuracy))
    return float(best.mean())


def rlnas(words: Sequence[str], out: Any, errors: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command of rlnas in a process of its own, as a user does."""
    command = [sys.executable, "-m", "rlnas", *words]
    return subprocess.run(command, stdout=out, stderr=errors, check=True)


def main() -> None:
    """Print one line per seed, and the paired differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--to", type=Path, default=Path("benchmark-real-children"))
    parser.add_argument(
        "--without-reference", action="store_true", help="ppo is not told of the reference child"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    chosen = parser.parse_args()
    say = (lambda *_, **__: None) if chosen.json else print
    more = ["--no-from-reference"] if chosen.without_reference else []
    chosen.to.mkdir(parents=True, exist_ok=True)
    say("| seed | " + " | ".join(FIGURES.values()) + " |")
    say("|---" * (1 + len(FIGURES)) + "|", flush=True)
    pairs = []
    with ThreadPoolExecutor(chosen.workers) as pool:
        seeds = range(chosen.first, chosen.first + chosen.seeds)
        for seed, found in zip(
            seeds, pool.map(lambda seed: pair(seed, chosen.to, more), seeds), strict=True
        ):
            pairs.append(found)
            cells = [f"{found[each]['first']:.4f}, {found[each]['second']:.4f}" for each in FIGURES]
            say(f"| {seed} | " + " | ".join(cells) + " |", flush=True)
    if chosen.json:
        print(json.dumps({"pairs": pairs}))
        return
    print("\nppo less random, mean of the pairs with its 95 % interval:\n")
    for figure, words in FIGURES.items():
        print(f"- {words}: {told([found[figure]['gap'] for found in pairs])}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on where it was")
