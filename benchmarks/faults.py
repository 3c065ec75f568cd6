"""One search in which everything goes wrong, each thing ten times: is every trial accounted for?

Real children on digits in worker processes. By lot some of them take too much memory, raise a
MemoryError, get a loss that is not a number, raise while they are built or trained, hang, are
killed, write where they must not, or find the disk full. Meanwhile the process that starts the
workers is killed ten times, and the search itself ten times, which is then resumed.

    python benchmarks/faults.py            220 trials, about 10 minutes on 2 cores
    python benchmarks/faults.py --times 1  one of each
"""

import argparse
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MARK = "RLNAS_FAULTS"
"""Variable in the environment of all processes of the search: the folder with the lots."""

FAULTS = (
    "too much memory",
    "MemoryError",
    "loss not a number",
    "exception in building",
    "exception in training",
    "hang",
    "SIGKILL once",
    "SIGKILL each time",
    "SIGSEGV once",
    "SIGSEGV each time",
    "full disk once",
)
"""What befalls a child."""

HARMLESS = {"nothing", "SIGKILL once", "SIGSEGV once", "full disk once"}
"""After which a child is done all the same; with the others it fails."""

STATES = ("done", "failed", "running")
TIME_LIMIT, MEMORY = 4, 500
CONFIG = {
    "name": "faults",
    "data": {"train_samples": 100},
    "space": {"max_layers": 3, "choices": {"conv.filters": [4, 8], "sepconv.filters": [4, 8]}},
    "recipe": {"epochs": 1},
    "engine": {
        "executor": "process",
        "workers": 2,
        "child_time_limit": TIME_LIMIT,
        "child_memory": MEMORY,
    },
    "final": {"top_k": 1, "epochs": 1},
}


def lot(seed: int) -> tuple[str, int]:
    """Return what befalls the child with this seed, and how often it was begun before."""
    lots = Path(os.environ[MARK])
    own = lots / f"child-{seed}"
    try:
        with own.open("x") as file:
            file.write(drawn(lots))
        begun = 0
    except FileExistsError:
        begun = own.stat().st_size // 100
    with own.open("a") as file:
        file.write("\n" + "." * 99)  # one more attempt
    return own.read_text().splitlines()[0], begun


def drawn(lots: Path) -> str:
    """Take the next lot; there is one for each child."""
    for name in sorted(lots.glob("lot-*")):
        with suppress(FileNotFoundError):  # another worker was faster
            text = name.read_text()
            name.unlink()
            return text
    return "nothing"


def befall(fault: str, begun: int) -> None:
    """Do what the lot says to the process of a child."""
    match fault:
        case "too much memory":
            kept = []
            while True:
                kept.append(np.ones(5 * 10**6))
                time.sleep(0.05)
        case "MemoryError":
            np.ones(10**14)
        case "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
            ctypes.PyDLL(None).sleep(600)  # and lets no other thread run
        case "SIGKILL once" | "SIGKILL each time" if "each" in fault or not begun:
            os.kill(os.getpid(), signal.SIGKILL)
        case "SIGSEGV once" | "SIGSEGV each time" if "each" in fault or not begun:
            ctypes.string_at(0)


def evaluator(setup: Any) -> Any:
    """Return the evaluator of the search, with what befalls its children."""
    from rlnas.evaluation.training import TrainingEvaluator

    class Trainer:
        """Trains as the true one, after what befalls the child."""

        def __init__(self, trainer: Any, fault: str, begun: int) -> None:
            self._trainer, self._given = trainer, (fault, begun)

        def train(self, model: Any, recipe: Any, seed: int, **options: Any) -> Any:
            befall(*self._given)
            if self._given[0] == "exception in training":
                raise RuntimeError("by lot")
            if self._given[0] == "loss not a number":
                wild = {"learning_rate": 1e30, "optimizer": "sgd"}
                recipe = recipe.model_copy(update=wild)
            history = self._trainer.train(model, recipe, seed, **options)
            if self._given == ("full disk once", 0):  # from here on no file of its may grow
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return history

    class Faulty(TrainingEvaluator):
        """Draws a lot for each child."""

        spared = setup.space.reference().tokens

        def build(self, architecture: Any, recipe: Any, seed: int) -> Any:
            if getattr(self, "fault", None) == "exception in building":
                raise ValueError("by lot")
            return super().build(architecture, recipe, seed)

        def evaluate(
            self, architecture: Any, recipe: Any, seed: int, folder: Any = None, **options: Any
        ) -> Any:
            from rlnas.children.training import make_trainer

            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            spared = architecture.tokens == self.spared  # the reference child, which is no trial
            self.fault, begun = ("nothing", 0) if spared else lot(seed)
            trainer = make_trainer(self._data)
            self.__dict__["_trainer"] = Trainer(trainer, self.fault, begun)
            return super().evaluate(architecture, recipe, seed, folder, **options)

    part = setup.data.sampled(setup.config.data.train_samples, setup.config.seed)
    return Faulty(part)


def search(root: Path, trials: int) -> None:
    """Run the search in this process, or go on with it."""
    import rlnas
    from rlnas.search.setup import Setup

    Setup.brief_evaluator = evaluator  # type: ignore[method-assign]
    made = rlnas.Search(config={**CONFIG, "budget": {"trials": trials}}, root=root)
    if (root / "faults").exists():
        made.resume("faults")
    else:
        made.run()


def marked(folder: Path) -> dict[int, str]:
    """Return the command lines of all live processes of the search by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (process / "environ").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if f"{MARK}={folder}".encode() in environment and state != "Z":
                found[int(process.name)] = (process / "cmdline").read_text()
    return found


def run(folder: Path, trials: int, times: int) -> Counter[str]:
    """Run the search to its end in processes of its own, and kill as planned; count the deaths."""
    lots, root = folder / "lots", folder / "runs"
    plan = [place * trials / (2 * times + 1) for place in range(1, 2 * times + 1)]
    deaths: Counter[str] = Counter()
    words = [sys.executable, __file__, "--search", str(root), "--trials", str(trials)]
    process = None
    while True:
        if process is None:
            process = subprocess.Popen(
                words, env={**os.environ, MARK: str(lots)}, stdout=subprocess.DEVNULL
            )
        if process.poll() is not None:
            if process.returncode != 0:
                raise SystemExit(f"the search ended with exit code {process.returncode}")
            return deaths
        if plan and len(list(lots.glob("child-*"))) >= plan[0]:
            if len(plan) % 2:
                process.kill()
                process.wait()
                process = None
                deaths["death of the search"] += 1
                plan.pop(0)
            elif servers := [p for p, line in marked(lots).items() if "process.server" in line]:
                # Workers carry the same command line: the server is the one that began first.
                os.kill(min(servers), signal.SIGKILL)
                deaths["death of the fork server"] += 1
                plan.pop(0)
        time.sleep(0.2)


def account(folder: Path, trials: int, times: int) -> dict[str, Any]:
    """Compare the journal with the lots."""
    from rlnas.search.folder import RunFolder

    journal = RunFolder(folder / "runs", "faults").open()
    found = journal.trials()
    rows: dict[str, Counter[str]] = {}
    wrong = []
    for trial in found:
        fault, *attempts = (folder / "lots" / f"child-{trial.seed}").read_text().splitlines()
        row = rows.setdefault(fault, Counter())
        row[trial.state] += 1
        row["begun again"] += len(attempts) - 1
        expected = "done" if fault in HARMLESS else "failed"
        if trial.state != expected:
            wrong.append(f"trial {trial.id}, {fault}: {trial.state} {trial.reason or ''}")
    befell = {fault: sum(rows.get(fault, {}).get(state, 0) for state in STATES) for fault in FAULTS}
    wrong += [f"{fault} befell {count}" for fault, count in befell.items() if count != times]
    return {
        "trials": len(found),
        "asked for": trials,
        "different": len({trial.key for trial in found}),
        "steps in order": [trial.step for trial in found] == list(range(1, trials + 1)),
        "unfinished": sum(trial.state == "running" for trial in found),
        "rows": {fault: dict(row) for fault, row in sorted(rows.items())},
        "unexpected": wrong,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10, help="how often each thing goes wrong")
    parser.add_argument("--trials", type=int, default=220)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.search:
        search(chosen.search, chosen.trials)
        return
    lots = [fault for fault in FAULTS for _ in range(chosen.times)]
    lots += ["nothing"] * (chosen.trials - len(lots))
    random.Random(0).shuffle(lots)
    folder = Path(tempfile.mkdtemp())
    (folder / "lots").mkdir()
    for number, fault in enumerate(lots):
        (folder / "lots" / f"lot-{number:04d}").write_text(fault)
    began = time.monotonic()
    deaths = run(folder, chosen.trials, chosen.times)
    seconds = time.monotonic() - began
    time.sleep(2)
    found = {
        **account(folder, chosen.trials, chosen.times),
        "deaths": dict(deaths),
        "seconds": seconds,
    }
    found["processes left"] = len(marked(folder / "lots"))
    shutil.rmtree(folder)
    if chosen.json:
        print(json.dumps(found))
        return
    print("| what befell the child | done | failed | begun again |")
    print("|---|---|---|---|")
    for fault, row in found["rows"].items():
        counts = (row.get(name, 0) for name in ("done", "failed", "begun again"))
        print(f"| {fault} | {' | '.join(map(str, counts))} |")
    print(f"\n{', '.join(f'{count} x {name}' for name, count in deaths.items())}")
    for name in ("trials", "different", "steps in order", "unfinished", "processes left"):
        print(f"{name}: {found[name]}")
    print(f"{seconds:.0f} s; unexpected: {found['unexpected'] or 'nothing'}")


if __name__ == "__main__":
    main()
