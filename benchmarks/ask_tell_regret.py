"""Does a search lose anything by asking and telling? The same search over HTTP and in one process.

Both search NAS-Bench-201 with the same controller, budget and number of trials under way, seed by
seed: once a server offers the trials and five workers look them up and tell; once the search looks
them up itself, in its own process. Printed for each number of trials: the mean regret of the
network with the best validation accuracy until then, in points of test accuracy, and the mean
difference with its 95 % interval (Student, paired). Each search is kept: the same command goes on
where it was stopped.

    python benchmarks/ask_tell_regret.py --to FOLDER             50 seeds, 150 trials
    python benchmarks/ask_tell_regret.py --to FOLDER --seeds 3   a first look
"""

import json
import subprocess
import sys
import threading
from pathlib import Path

from arguments import on_tables, print_rows, told
from ask_tell import TABLE, start_server

from rlnas.client import Client
from rlnas.config import make_config  # noqa: F401  # of the process of its own
from rlnas.evaluation import FORMATS, InlineExecutor, Table, TableEvaluator, read_table
from rlnas.search.external import ExternalSearch
from rlnas.search.folder import RunFolder
from rlnas.search.result import SearchResult, read_result

WORKERS = 5


class SeveralAtOnce(InlineExecutor):
    """Looks trials up in their order, while several are under way."""

    @property
    def workers(self) -> int:
        """As many as there are workers over HTTP."""
        return WORKERS


class SearchHere(ExternalSearch):
    """The same search, which looks its trials up itself."""

    table: Table

    def executor(self, book: object) -> SeveralAtOnce:
        """Return what looks the trials up."""
        return SeveralAtOnce(TableEvaluator(self.table))


def main() -> None:
    """Run both for each seed that is not there yet."""
    parser = on_tables(__doc__, searches=False)
    parser.add_argument("--to", type=Path, required=True, help="Folder of all that is kept.")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--controller", default="ppo")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    (given.to / "data").mkdir(exist_ok=True)
    path = given.to / "data" / "table.csv.gz"
    path.write_bytes((given.tables / TABLE).read_bytes())
    table = read_table(path, FORMATS["nasbench201"])
    SearchHere.table = table
    seeds = range(given.seeds)
    server, url = start_server(given.to, 0)
    try:
        for seed in seeds:
            if not (given.to / "runs" / f"alone-{seed}").is_dir():
                config = {
                    "seed": seed,
                    "engine": {"executor": "external", "workers": WORKERS},
                    "controller": {"name": given.controller},
                    "budget": {"trials": given.trials},
                }
                over_http(given.to, url, table, config)
                here(given.to, path, config)
    finally:
        server.terminate()
        server.wait()
    found = {
        way: [read_result(RunFolder(given.to / "runs", f"{way}-{seed}")) for seed in seeds]
        for way in ("apart", "alone")
    }
    rows = []
    for count in sorted({20, 50, 100, given.trials}):
        apart, alone = ([regret(each, table, count) for each in found[way]] for way in found)
        means = (f"{sum(each) / len(each):.4f}" for each in (apart, alone))
        difference = told([one - other for one, other in zip(apart, alone, strict=True)])
        rows.append((count, *means, difference))
    print_rows(("trials", "over HTTP", "in one process", "difference"), rows, given.json)


def over_http(to: Path, url: str, table: Table, config: dict[str, object]) -> None:
    """Search by asking and telling."""
    name = f"apart-{config['seed']}"
    with Client(url) as client:
        search = client.create({**config, "name": name, "space": {"name": "table.csv.gz"}})

        def work() -> None:
            while True:
                trials, ended = search.ask(1, wait=5)
                for trial in trials:
                    key = table.space.key(table.space.architecture(trial.tokens))
                    trial.tell(table.rows[key].reward / 100)
                if ended:
                    return

        threads = [threading.Thread(target=work) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def here(to: Path, path: Path, config: dict[str, object]) -> None:
    """Search in a process of its own, which asks nobody."""
    name = f"alone-{config['seed']}"
    words = {**config, "name": name, "space": {"name": str(path)}}
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import ask_tell_regret as b; "
        "b.SearchHere.table = b.read_table(b.Path(sys.argv[2]), b.FORMATS['nasbench201']); "
        "b.SearchHere(b.make_config(json.loads(sys.argv[4])), root=sys.argv[3]).run()"
    )
    arguments = [str(Path(__file__).parent), str(path), str(to / "runs"), json.dumps(words)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def regret(found: SearchResult, table: Table, count: int) -> float:
    """Return how far the test accuracy of the best of so many results is from the best."""
    first = [trial for trial in found.trials if trial.step is not None and trial.step <= count]
    best = max(first, key=lambda trial: (trial.reward or 0.0, -trial.id))
    key = table.space.key(table.space.architecture(best.tokens))
    return table.best_report - table.rows[key].report


if __name__ == "__main__":
    main()
