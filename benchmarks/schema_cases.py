"""Thousands of generated requests against the server's own description, by Schemathesis.

A server with a token and two searches, one of which has ended and one is open to workers, gets what
Schemathesis makes of `/v1/openapi.json`, valid and invalid, alone and in sequences. First names are
free, without the stream of events, which ends only with its search; then all requests are about
the search that has ended, and delete nothing. Printed: cases, server errors and what else the
checks name; the exit code is 1 where the server made a mistake.

    pip install schemathesis
    python benchmarks/schema_cases.py                    5,000 cases and more, minutes
    python benchmarks/schema_cases.py --examples 5       a first look
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arguments import print_rows

import rlnas

ROOT = Path(__file__).parent.parent
TOKEN = secrets.token_urlsafe(24)
ENDED = ("done", "failed", "stopped")
PASSES = {
    "names are free": ("", ["--exclude-path-regex", "/events$"]),
    "about an ended search": (
        '[parameters]\n"path.name" = "seen"\n',
        ["--exclude-method", "DELETE", "--phases", "coverage,fuzzing"],
    ),
}


def main() -> int:
    """Run both passes; return 1 where the server made a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--examples", type=int, default=40, help="Generated cases of each address. Default: 40."
    )
    parser.add_argument("--seed", type=int, default=1, help="Of Schemathesis. Default: 1.")
    parser.add_argument("--details", type=Path, help="File for what Schemathesis prints.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    command = shutil.which("st", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if command is None:
        raise SystemExit("schemathesis is not installed; install it with: pip install schemathesis")
    rows: list[tuple[object, ...]] = []
    details = []
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
        for what, (config, flags) in PASSES.items():
            words = [command, "run", f"{url}/v1/openapi.json", "--max-examples", given.examples]
            report, printed = checked([*words, "--seed", given.seed, *flags], config, Path(folder))
            rows.append((what, *figures(report)))
            details.append(printed)
    rows.append(("all", *(sum(row[at] for row in rows) for at in (1, 2)), ""))  # type: ignore[misc]
    print_rows(("pass", "cases", "server errors", "other findings"), rows, given.json)
    if given.details:
        given.details.write_text("\n".join(details))
    return 1 if rows[-1][2] else 0


def checked(words: Sequence[object], config: str, folder: Path) -> tuple[Any, str]:
    """Run Schemathesis with all checks; return its report and what it printed."""
    place = folder / "report.json"
    file = folder / "schemathesis.toml"
    file.write_text(config)
    command = [
        *(words[0], "--config-file", file, *words[1:], "--checks", "all", "--no-color"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--request-timeout", 20),
        *("--continue-on-failure", "--report", "json", "--report-json-path", place),
    ]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if not place.is_file():
        raise SystemExit(f"schemathesis ended without a report: {done.stdout}{done.stderr}")
    return json.loads(place.read_text()), done.stdout


def figures(report: Any) -> tuple[int, int, str]:
    """Return cases, server errors, and the other findings in words."""
    if not report["complete"]:
        raise SystemExit(f"schemathesis was cut off: {report['stop_reason']}")
    wrong = [each for each in report["failures"] if each["type"] == "ServerError"]
    other = [each for each in report["failures"] if each not in wrong]
    words = [f"{each['title']} ({', '.join(each['operations'])})" for each in other]
    words += [f"error: {each}" for each in report["errors"]]
    return report["test_cases"]["generated"], sum(each["count"] for each in wrong), "; ".join(words)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a server with two searches; at the end stop all that was begun."""
    (folder / "data").mkdir()
    shutil.copy(ROOT / "examples" / "digits_table.csv", folder / "data" / "table.csv")
    words = [sys.executable, "-m", "rlnas", "serve", "--root", str(folder / "runs")]
    words += ["--data", str(folder / "data"), "--port", "0"]
    environment = {**os.environ, "RLNAS_TOKEN": TOKEN}
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1].rstrip("/")
    client = rlnas.Client(url, token=TOKEN)
    try:
        config = {
            "engine": {"executor": "external", "workers": 2},
            "controller": {"name": "random"},
            "space": {"name": "table.csv"},
            "budget": {"trials": 10},
        }
        seen = client.create({**config, "name": "seen"})
        while True:
            trials, ended = seen.ask(2, wait=5)
            for trial in trials:
                trial.tell(0.5)
            if ended:
                break
        client.create({**config, "name": "open"}).ask(1, wait=30)
        yield url
    finally:
        for each in client.searches():
            if each["state"] not in (*ENDED, "stopping"):
                client.search(each["name"]).stop()
        while any(each["state"] not in ENDED for each in client.searches()):
            time.sleep(0.5)
        client.close()
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
