"""Kill a search with SIGKILL at every kind of instant, resume it, and compare with a whole one.

Each run trains real children on digits. The process kills itself at the instant that is
asked for; then ``rlnas resume`` ends the run. Compared bit for bit with a run that was
never stopped: tokens, seeds, rewards and all that was learned, the final weights of the
policy, the report, the exported JSON and the exported weights. Counted: starts of
children, of which only those that were under way may start once more, and how often
TensorBoard shows each step of each tag.

    python benchmarks/kill_resume.py              all kills, about 10 minutes on 2 cores
    python benchmarks/kill_resume.py --kills 3    the first three
    python benchmarks/kill_resume.py --workers 2  with worker processes, ``--deterministic``
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = {
    "name": "run",
    "data": {"train_samples": 300},
    "recipe": {"epochs": 2},
    "budget": {"trials": 6},
    "final": {"top_k": 2, "epochs": 2},
    "engine": {"executor": "inline"},
}
IN_FLIGHT = 3
"""Children under way at most, where there are workers."""

KILLS = [
    ("before the first trial", "brief reference", 1),
    ("before the first trial", "before commit of proposal", 1),
    ("before the first trial", "in commit of proposal", 1),
    ("before the first trial", "after commit of proposal", 1),
    ("while a child trains", "training", 2),
    ("while a child trains", "training", 4),
    ("while a child trains", "training", 5),
    ("while a child trains", "training", 7),
    ("between result and commit", "before commit of result", 1),
    ("between result and commit", "before commit of result", 4),
    ("between result and commit", "in commit of result", 2),
    ("between result and commit", "in commit of result", 6),
    ("in retraining", "training", 8),
    ("in retraining", "training", 9),
    ("in retraining", "before commit of contender", 3),
    ("in retraining", "before commit of contender", 5),
    ("in export", "before export", 1),
    ("in export", "in export", 1),
    ("in export", "in export", 2),
    ("in export", "before last export", 1),
    ("in export", "in last export", 1),
    ("in export", "after last export", 1),
]


def die() -> None:
    """End this process as the system would."""
    os.kill(os.getpid(), signal.SIGKILL)


def on_call(owner: Any, name: str, count: int, act: Callable[[Callable[[], Any]], Any]) -> None:
    """Let the count-th call of a function go through `act`, which gets the real call."""
    real, calls = getattr(owner, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == count:
            return act(lambda: real(*args, **kwargs))
        return real(*args, **kwargs)

    setattr(owner, name, call)


def arm(instant: str, count: int, workers: int) -> None:
    """Make this process die at the count-th time it comes to an instant."""
    from rlnas.evaluation import training
    from rlnas.evaluation.process import ProcessExecutor
    from rlnas.search import export, journal, recorder
    from rlnas.search.contenders import Contenders

    def soon(real: Callable[[], Any]) -> Any:
        timer = threading.Timer(0.4, die)
        timer.start()
        return real()

    def after(real: Callable[[], Any]) -> Any:
        real()
        die()

    def at_once(real: Callable[[], Any]) -> Any:
        die()

    places: dict[str, tuple[Any, str, int, Any]] = {
        "brief reference": (Contenders, "brief", 1, soon),
        "before commit of proposal": (journal.Journal, "propose", count, at_once),
        "in commit of proposal": (journal, "_store_state", count, at_once),
        "after commit of proposal": (journal.Journal, "propose", count, after),
        "training": (ProcessExecutor, "submit", count, soon)
        if workers
        else (training.TrainingEvaluator, "_trained", count, soon),
        "before commit of result": (journal.Journal, "finish", count, at_once),
        "in commit of result": (journal, "_store_state", 2 * count, after),
        "before commit of contender": (journal.Journal, "store", count, at_once),
        "before export": (recorder, "export", count, at_once),
        "in export": (export, "_verified", count, at_once),
        "before last export": (recorder.Recorder, "export_final", count, at_once),
        "in last export": (recorder.Recorder, "export_final", count, soon),
        "after last export": (recorder.Recorder, "export_final", count, after),
    }
    on_call(*places[instant])


def config(workers: int) -> dict[str, Any]:
    """Return the config of a search with so many workers; 0 for none."""
    if not workers:
        return CONFIG
    return CONFIG | {"engine": {"workers": workers, "deterministic": True, "in_flight": IN_FLIGHT}}


def child(root: Path, instant: str, count: int, workers: int) -> None:
    """Run the search in this process, armed to die."""
    from rlnas.search.run import Search

    if instant:
        arm(instant, count, workers)
    Search(config=config(workers), root=root).run()


def run_child(root: Path, workers: int, instant: str = "", count: int = 0) -> int:
    """Run the search in a process of its own; return its exit code."""
    words = [sys.executable, __file__, "--child", str(root), instant, str(count), str(workers)]
    return subprocess.run(words, check=False).returncode


def resume(root: Path) -> int:
    """Resume the run by the command line; return its exit code."""
    words = [sys.executable, "-m", "rlnas", "resume", "run", "--root", str(root), "--json"]
    return subprocess.run(words, check=False, capture_output=True).returncode


def bits(root: Path) -> dict[str, Any]:
    """Return all of a run that must be equal, in a form that compares bit for bit."""
    from rlnas.search.folder import RunFolder

    folder = RunFolder(root, "run")
    journal = folder.open()
    state = journal.state()
    assert state is not None
    state["counters"].pop("seconds")
    trials = [
        [t.id, t.key, t.tokens, t.log_probs, t.seed, t.state, t.reward, t.learned, t.policy]
        for t in journal.trials()
    ]
    return {
        "trials": repr(trials),
        "policy weights and state": repr(flat(state)),
        "report": (folder.best / "report.json").read_bytes(),
        "exported JSON": (folder.best / "architecture.json").read_bytes(),
        "exported weights": repr(weights(folder.best / "model.keras")),
    }


def flat(value: Any) -> Any:
    """Return a tree with its arrays as bytes."""
    if isinstance(value, dict):
        return {name: flat(item) for name, item in value.items()}
    if isinstance(value, list):
        return [flat(item) for item in value]
    return value.tobytes().hex() if hasattr(value, "tobytes") else value


def weights(path: Path) -> list[Any]:
    """Return the weights in a ``.keras`` file, by name."""
    import h5py

    found: list[Any] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item[()].tobytes().hex()))

    with zipfile.ZipFile(path) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data) as file:
        file.visititems(visit)
    return sorted(found)


def starts(root: Path) -> Counter[str]:
    """Return how often the training of each child was started."""
    from rlnas.search.folder import RunFolder

    return Counter(RunFolder(root, "run").open().starts())


def under_way(root: Path) -> set[str]:
    """Return the children of a killed run that were started and have no result.

    It looks at a copy, so that the run lies for ``rlnas resume`` as the kill has left it.
    """
    from rlnas.search.folder import RunFolder
    from rlnas.search.journal import BRIEF, LONG, RUNNING

    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(root / "run", Path(copy) / "run")
        journal = RunFolder(Path(copy), "run").open()
        started = set(journal.starts())
        trials = {f"trial-{each.id}" for each in journal.trials() if each.state != RUNNING}
        others = {
            f"{each.name}/{phase}" for phase in (BRIEF, LONG) for each in journal.contenders(phase)
        }
        journal.close()
    return started - trials - others


def shown(root: Path) -> Counter[tuple[str, int]]:
    """Return how often TensorBoard shows each step of each tag."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return Counter(
        (value.tag, event.step)
        for path in (root / "run" / "tb").glob("events*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    )


def judge(root: Path, whole: Path, died: set[str]) -> dict[str, Any]:
    """Compare a resumed run with the whole one.

    Args:
        root: Where the resumed run is.
        whole: Where the whole one is.
        died: The children that were under way at the kill.
    """
    mine, theirs = bits(root), bits(whole)
    extra = starts(root) - starts(whole)
    steps, wanted = shown(root), shown(whole)
    return {
        "different": [name for name in theirs if mine[name] != theirs[name]],
        "extra_starts": sum(extra.values()),
        "needless_starts": sorted(set(extra) - died),
        "doubled_steps": sum(steps[place] != 1 for place in wanted) + len(steps.keys() - wanted),
    }


def measure(kills: int, workers: int) -> dict[str, Any]:
    """Run all kills and return their verdicts."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        if run_child(base / "whole", workers) != 0:
            raise SystemExit("the uninterrupted run failed")
        for number, (phase, instant, count) in enumerate(KILLS[:kills], 1):
            root = base / str(number)
            killed = run_child(root, workers, instant, count)
            died = under_way(root)
            ended = resume(root)
            row = {"phase": phase, "instant": f"{instant} {count}", "killed": killed == -9}
            row |= {"resumed": ended == 0}
            row |= (
                judge(root, base / "whole", died) if ended == 0 else {"different": ["not resumed"]}
            )
            rows.append(row)
            print(number, row, file=sys.stderr, flush=True)
    return {"kills": rows, "passed": all(passed(row, workers) for row in rows)}


def passed(row: dict[str, Any], workers: int) -> bool:
    """Tell whether a kill was survived without a trace.

    The children that were under way start once more; in an export none was, unless in workers.
    """
    if not row["killed"] or not row["resumed"] or row["different"]:
        return False
    allowed = IN_FLIGHT if workers else int(row["phase"] != "in export")
    needless = row["needless_starts"] or row["extra_starts"] > allowed
    return not needless and row["doubled_steps"] == 0


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--kills", type=int, default=len(KILLS), help="how many kills (default all)"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="worker processes (default none: in the search)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        root, instant, count, workers = arguments.child
        child(Path(root), instant, int(count), int(workers))
        return
    result = measure(arguments.kills, arguments.workers)
    if arguments.json:
        print(json.dumps(result))
        return
    names = ["phase", "instant", "killed", "resumed", "different"]
    names += ["extra starts", "needless starts", "doubled steps"]
    print(f"| {' | '.join(names)} |")
    print("|" + "---|" * len(names))
    for row in result["kills"]:
        print(
            f"| {row['phase']} | {row['instant']} | {row['killed']} | {row['resumed']} "
            f"| {', '.join(row['different']) or 'nothing'} | {row.get('extra_starts')} "
            f"| {', '.join(row.get('needless_starts', [])) or 'none'} "
            f"| {row.get('doubled_steps')} |"
        )
    survived = sum(passed(row, arguments.workers) for row in result["kills"])
    print(f"\n{survived} of {len(result['kills'])} passed")


if __name__ == "__main__":
    main()
