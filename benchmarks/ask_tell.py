"""Ask and tell under load: many workers, killed at random, and a server that is killed too.

Workers, each a process, ask a server for the trials of one search on NAS-Bench-201, look the
accuracy up and tell it. Every second one of them is killed and another one started; the server is
killed with SIGKILL when a quarter, a half and three quarters of the trials have ended, and started
again. At the end each trial must stand once in the journal, with the reward of the table. Printed:
trials per second, and the 50th and 99th percentile of the time of an ask and of a tell, as the
workers saw them while the server answered.

    python benchmarks/ask_tell.py                             50 workers, 5,000 trials
    python benchmarks/ask_tell.py --workers 5 --trials 200    a first look
"""

import argparse
import contextlib
import csv
import gzip
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from arguments import on_tables, print_rows

TABLE = "nasbench201_cifar10.csv.gz"
REWARD = "valid_acc_200ep"
LEASE = 5.0


def main() -> None:
    """Run the load, or one of its workers."""
    parser = on_tables(__doc__, searches=False)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--controller", default="random")
    parser.add_argument("--as-worker", nargs=3, metavar=("URL", "FOLDER", "NUMBER"))
    given = parser.parse_args()
    given.table = given.tables / TABLE
    if given.as_worker:
        work(given.table, *given.as_worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        load(given, Path(folder))


def rewards_of(table: Path) -> dict[str, float]:
    """Return the accuracy of each network, by its token string."""
    with gzip.open(table, "rt") as file:
        return {row["arch"]: float(row[REWARD]) / 100 for row in csv.DictReader(file)}


def work(table: Path, url: str, folder: str, number: str) -> None:
    """Ask and tell until the search has ended; note how long each call took."""
    import rlnas

    rewards = rewards_of(table)
    with open(Path(folder) / f"{number}.jsonl", "a", buffering=1) as file:
        search = rlnas.Client(url).search("load")
        while True:
            at, began = time.time(), time.perf_counter()
            trials, ended = search.ask(1, worker=number, seconds=LEASE, wait=0)
            asked = time.perf_counter() - began
            if ended:
                return
            if not trials:
                time.sleep(0.02)
                continue
            (trial,) = trials
            began = time.perf_counter()
            try:
                trial.tell(rewards[trial.description])
            except rlnas.RlnasError as error:
                file.write(json.dumps({"refused": str(error)}) + "\n")
                continue
            told = time.perf_counter() - began
            record = {"trial": trial.name, "at": at, "ask": asked, "tell": told}
            file.write(json.dumps(record) + "\n")


def load(given: argparse.Namespace, folder: Path) -> None:
    """Run all of it and print what came out."""
    import rlnas

    for name in ("data", "told"):
        (folder / name).mkdir()
    (folder / "data" / "table.csv.gz").write_bytes(given.table.read_bytes())
    server, url = start_server(folder, 0)
    port = int(url.rpartition(":")[2])
    config = {
        "name": "load",
        "engine": {"executor": "external", "workers": given.workers},
        "controller": {"name": given.controller},
        "space": {"name": "table.csv.gz"},
        "budget": {"trials": given.trials},
    }
    search = rlnas.Client(url).create(config)
    while search.show()["state"] != "searching":
        time.sleep(0.1)
    rng, kills, downtimes = random.Random(0), 0, list[tuple[float, float]]()
    workers = {
        number: start_worker(given.table, url, folder, number) for number in range(given.workers)
    }
    newest, began = given.workers, time.monotonic()
    shown = search.show()
    while shown["state"] != "done":
        time.sleep(1)
        number = rng.choice(sorted(workers))
        if shown["trials"] < 0.95 * given.trials:
            workers[number].kill()
            workers.pop(number).wait()
            kills += 1
            workers[newest] = start_worker(given.table, url, folder, newest)
            newest += 1
        if len(downtimes) < 3 and shown["trials"] > given.trials * (len(downtimes) + 1) / 4:
            away = time.time() - 1.0
            server.send_signal(signal.SIGKILL)
            server.wait()
            server, _ = start_server(folder, port)
            shown = search.show()
            downtimes.append((away, time.time()))
        shown = search.show()
    seconds = time.monotonic() - began
    for worker in workers.values():
        worker.wait()
    server.terminate()
    server.wait()
    report(given, folder, seconds, kills, downtimes)


def start_server(folder: Path, port: int) -> tuple["subprocess.Popen[str]", str]:
    """Start a server, and wait until it tells its address."""
    words = [sys.executable, "-m", "rlnas", "serve", "--root", str(folder / "runs")]
    words += ["--data", str(folder / "data"), "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1].rstrip("/")


def start_worker(table: Path, url: str, folder: Path, number: int) -> "subprocess.Popen[bytes]":
    """Start a worker."""
    words = [sys.executable, __file__, "--tables", str(table.parent)]
    return subprocess.Popen([*words, "--as-worker", url, str(folder / "told"), str(number)])


def report(
    given: argparse.Namespace,
    folder: Path,
    seconds: float,
    kills: int,
    downtimes: list[tuple[float, float]],
) -> None:
    """Compare the journal with the table, and print it with the times."""
    from rlnas.search.folder import RunFolder
    from rlnas.search.result import read_result, read_space
    from rlnas.spaces import space_from_json

    run = RunFolder(folder / "runs", "load")
    found, space, rewards = (
        read_result(run),
        space_from_json(read_space(run)),
        rewards_of(given.table),
    )
    wrong = [
        trial.id
        for trial in found.trials
        if trial.reward is None
        or abs(trial.reward - rewards[space.architecture(trial.tokens).describe()]) > 1e-12
    ]
    records = []
    for path in (folder / "told").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # cut off by a kill
                records.append(json.loads(line))
    told = Counter(record["trial"] for record in records if "trial" in record)
    steps = sorted(trial.step or 0 for trial in found.trials)
    answered = [record for record in records if "trial" in record and not _away(record, downtimes)]
    rows: list[tuple[str, object]] = [
        ("workers, trials", f"{given.workers}, {given.trials}"),
        ("killed", f"{kills} workers, {len(downtimes)} servers"),
        ("trials in the journal", len(found.trials)),
        ("each once", steps == list(range(1, len(steps) + 1))),
        ("with another reward than the table's", len(wrong)),
        ("told twice with both counted", max(told.values()) > 1),
        ("refused for a lost lease", sum("refused" in record for record in records)),
        ("trials/s, kills included", round(given.trials / seconds, 1)),
    ]
    for call in ("ask", "tell"):
        times = sorted(1000 * record[call] for record in answered)
        half, most = times[len(times) // 2], times[int(0.99 * len(times))]
        rows.append((f"{call}, ms: 50th, 99th percentile", f"{half:.1f}, {most:.1f}"))
    print_rows(("what", "figure"), rows, given.json)


def _away(record: dict[str, float], downtimes: list[tuple[float, float]]) -> bool:
    """Return whether the server was away while a worker asked and told."""
    ended = record["at"] + record["ask"] + record["tell"]
    return any(record["at"] < back and ended > away for away, back in downtimes)


if __name__ == "__main__":
    main()
