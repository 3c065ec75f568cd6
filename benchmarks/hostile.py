"""Forty hostile requests to a server with a token, and how each is refused.

Every one must be answered with a 4xx and a problem document that names what is wrong, change no
file of the root, and leave the server as it was. Printed as a table.

    python benchmarks/hostile.py
"""

import argparse
import hashlib
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from arguments import print_rows
from service_pages import write_run

TOKEN, READ_TOKEN = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
_PATIENCE = 30.0


@dataclass(frozen=True)
class Hostile:
    """A request that is to be refused.

    Attributes:
        what: What is wrong with it.
        status: With which status it is to be refused.
        method: Its method.
        path: Its target, as it goes over the wire.
        body: Its body; None for none.
        headers: Headers that take the place of the usual ones; None leaves one out.
        size: What the header Content-Length says, where that is not true.
    """

    what: str
    status: int
    method: str = "GET"
    path: str = "/v1/searches"
    body: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    size: int | None = None


def _post(what: str, config: object, status: int = 422, **more: object) -> Hostile:
    return Hostile(what, status, "POST", body=json.dumps(config).encode(), **more)  # type: ignore[arg-type]


def _tell(what: str, metrics: object, status: int = 422, trial: str = "trial-1") -> Hostile:
    body = json.dumps({"lease": "x", "metrics": metrics}).encode()
    return Hostile(what, status, "POST", f"/v1/searches/seen/trials/{trial}:tell", body)


REQUESTS = (
    Hostile("path leads out of the root", 404, path="/v1/searches/../../etc/passwd"),
    Hostile("the same, encoded", 404, path="/v1/searches/..%2f..%2fetc%2fpasswd"),
    Hostile("the same, encoded twice", 422, path="/v1/searches/%252e%252e%252fetc"),
    Hostile("a name that begins with a dot", 422, path="/v1/searches/.service"),
    Hostile("a name with a NUL", 422, path="/v1/searches/a%00b"),
    Hostile("a name of 10,000 letters", 422, path=f"/v1/searches/{'a' * 10_000}"),
    Hostile("download leads out of the run", 404, path="/v1/searches/seen/files/..%2fconfig.yaml"),
    Hostile("download of what is no export", 404, path="/v1/searches/seen/files/config.yaml"),
    Hostile("static file leads out", 404, path="/static/..%2fapp.py"),
    Hostile("static file that is none", 422, path="/static/app.py"),
    Hostile("trash id leads out", 404, "POST", "/v1/trash/..%2f..%2fseen:restore", b""),
    Hostile("no token", 401, headers={"Authorization": None}),
    Hostile("wrong token", 401, headers={"Authorization": f"Bearer {'x' * 32}"}),
    Hostile("token that is no ASCII", 401, headers={"Authorization": "Bearer \xfc\xff"}),
    Hostile("token of another scheme", 401, headers={"Authorization": f"Basic {TOKEN}"}),
    Hostile("forged cookie", 401, headers={"Authorization": None, "Cookie": "rlnas-session=1"}),
    _post("read token begins a search", {}, 403, headers={"Authorization": f"Bearer {READ_TOKEN}"}),
    Hostile(
        *("read token deletes", 403, "DELETE", "/v1/searches/seen"),
        headers={"Authorization": f"Bearer {READ_TOKEN}"},
    ),
    Hostile(
        *("cookie that is hard to read", 401),
        headers={"Authorization": None, "Cookie": 'a="' + '\\"' * 15_000 + '"'},
    ),
    Hostile("other host behind TensorBoard", 404, path="%2ftensorboard%2f@127.0.0.1:9/secret"),
    _post("sent by a page of another site", {}, 403, headers={"Origin": "http://evil.example"}),
    _post("sent from a sandboxed frame", {}, 403, headers={"Origin": "null"}),
    _post("origin that is no address", {}, 403, headers={"Origin": "http://["}),
    _post("told to be cross-site", {}, 403, headers={"Sec-Fetch-Site": "cross-site"}),
    Hostile("host of somebody else (DNS rebinding)", 421, headers={"Host": "evil.example"}),
    Hostile("body of 2 MB", 413, "POST", body=b"[" * 2_000_000),
    Hostile("body that says it has 10 GB", 413, "POST", body=b"{}", size=10**10),
    Hostile("body that comes too slowly", 408, "POST", body=b"{", size=100),
    Hostile("body that is no JSON", 422, "POST", body=b"{'name': x}"),
    Hostile("body nested 50,000 deep", 400, "POST", body=b"[" * 50_000),
    Hostile("body that is no UTF-8", 400, "POST", body=b'{"name": "\xff\xfe"}'),
    Hostile("body that is a list", 422, "POST", body=b"[]"),
    _post("number of the wrong type", {"budget": {"trials": {"a": 1}}}),
    _post("number beyond all bounds", {"budget": {"trials": -(10**30)}}),
    Hostile("number that is none", 422, "POST", body=b'{"budget": {"time_limit": NaN}}'),
    _post("field that is not there", {"__class__": "os"}),
    _post("data from the disk", {"data": {"dataset": "/etc/passwd"}}),
    _post("data above the folder", {"data": {"dataset": "../../secret.npz"}}),
    _post("space from the disk", {"space": {"name": "/etc/hosts.yaml"}}),
    _post("Python to run", {"controller": {"name": "os:system"}}, 403),
    _post("model from the disk", {"baseline": "/root/model.keras"}),
    _tell("figure that is a text", {"val_accuracy": ["high"]}),
    _tell("name of a figure that leads out", {"val_accuracy": [1], "extra": {"../x": 1}}),
    _tell("trial that is none", {"val_accuracy": [1]}, trial="trial-0x1"),
    Hostile("method that is not taken", 405, "PUT"),
)


def main() -> None:
    """Start a server, send everything, and print the answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as port:
        before = held(Path(folder))
        rows = []
        for request in REQUESTS:
            status, kind, document = sent(port, request)
            good = "yes" if refused(request, status, kind, document) else "NO"
            rows.append((request.what, status, good, document.get("detail", "")[:90]))
        unchanged = "yes" if held(Path(folder)) == before else "NO"
        rows.append(("files of the root afterwards", "-", unchanged, "unchanged"))
    print_rows(("request", "answer", "as it should be", "problem"), rows, given.json)


def refused(request: Hostile, status: int, kind: str, document: dict[str, str]) -> bool:
    """Return whether an answer refuses a request as it should."""
    whole = {"type", "title", "status", "detail", "errors"} <= set(document)
    return status == request.status and kind == "application/problem+json" and whole


@contextmanager
def server(root: Path) -> Iterator[int]:
    """Start a server with tokens and one search that has ended; give its port."""
    write_run(root, "seen", 20)
    words = [sys.executable, "-m", "rlnas", "serve", "--root", str(root), "--port", "0"]
    environment = {**os.environ, "RLNAS_TOKEN": TOKEN, "RLNAS_READ_TOKEN": READ_TOKEN}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[-1].rstrip("/").rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate()


def held(root: Path) -> dict[str, str]:
    """Return all files of a root with what they hold; of SQLite's, what stands in the tables."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): _content(path) for path in files if not path.name.endswith(("-wal", "-shm"))}


def _content(path: Path) -> str:
    if path.suffix != ".sqlite":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump())


def sent(port: int, request: Hostile) -> tuple[int, str, dict[str, str]]:
    """Send a request, byte for byte; return status, media type and problem document."""
    headers: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"Bearer {TOKEN}",
        "Connection": "close",
        **request.headers,
    }
    if request.body is not None:
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(request.size or len(request.body))
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    data = "\r\n".join([*lines, "", ""]).encode("latin-1") + (request.body or b"")
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
        answer = b""
        with suppress(OSError):  # it was refused before all of it came
            connection.sendall(data)
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in fields)
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    return int(status.split()[1]) if status else 0, named.get("content-type", ""), document


if __name__ == "__main__":
    main()
