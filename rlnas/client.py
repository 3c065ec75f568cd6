"""`Client`: the searches of a server, and trials for a trainer, from anywhere.

It needs neither Keras nor a run folder: all goes over HTTP.
"""

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_delay,
    wait_random_exponential,
)

from rlnas.errors import RlnasError, UsageError, first_line

_TIMEOUT = 60.0
"""Seconds to wait for an answer (chosen): a report takes a few."""

_NOT_FOUND = 404

_LOOK = 1.0
"""Seconds between two looks at a search that is waited for (chosen)."""

_END = ("done", "failed", "stopped", "paused", "interrupted", "damaged")
"""States in which nothing more happens by itself."""


class ServerError(RlnasError):
    """The server refused, or did not answer.

    Attributes:
        status: The HTTP status; None if no answer came.
        kind: Name of the kind of problem, for example ``name-taken``; None if it has none.
        attempts: Times the request was sent.
    """

    def __init__(
        self,
        sentence: str,
        status: int | None = None,
        kind: str | None = None,
        attempts: int = 1,
    ) -> None:
        """See the class."""
        super().__init__(sentence)
        self.status, self.kind, self.attempts = status, kind, attempts


class RefusedError(ServerError, UsageError):
    """The server refused what was asked for; to ask again does not help."""

    exit_code = 2


@dataclass(slots=True)
class LeasedTrial:
    """A trial that this trainer holds.

    Attributes:
        name: Its name, for example ``trial-7``.
        architecture: Keras JSON of the untrained network, as a mapping; None for a row of a table.
        recipe: How to train it: fields of `rlnas.config.RecipeConfig`.
        tokens: Its token sequence.
        description: Its layers and its recipe in one line.
        epochs: How long to train.
        floors: For each epoch, the least best accuracy so far with which to go on.
        seed: Seed of its training.
        metric: What is rewarded: ``accuracy``, or a name that `tell` is to be given.
    """

    name: str
    architecture: Mapping[str, Any] | None
    recipe: Mapping[str, Any]
    tokens: tuple[int, ...]
    description: str
    epochs: int
    floors: tuple[float, ...]
    seed: int
    metric: str
    _search: "RemoteSearch" = field(repr=False)
    _lease: str = field(repr=False)
    _seconds: float = field(repr=False)

    def keep(self, val_accuracy: Sequence[float] | None = None) -> str | None:
        """Say that it is still trained; return why to stop, or None to go on.

        Args:
            val_accuracy: Validation accuracy behind each epoch so far.

        Raises:
            ServerError: The server did not answer for a minute.
        """
        body = {"lease": self._lease, "seconds": self._seconds, "val_accuracy": val_accuracy}
        answer = self._search.post(f"/trials/{self.name}:heartbeat", body)
        reason: str | None = answer["reason"]
        return reason

    def give_back(self) -> None:
        """Let somebody else have it, in a second: this trainer cannot train it, or is to end.

        Raises:
            RefusedError: The lease is lost.
            ServerError: The server did not answer for a minute.
        """
        self._search.post(f"/trials/{self.name}:heartbeat", {"lease": self._lease, "seconds": 1})

    def tell(self, val_accuracy: float | Sequence[float], **metrics: Any) -> None:
        """Tell what was measured.

        Args:
            val_accuracy: Validation accuracy, or that behind each epoch.
            metrics: Further fields of `rlnas.Metrics`, such as ``params``, ``latency`` or
                ``extra={"f1": 0.8}``.

        Raises:
            RefusedError: The lease is lost, or a figure is missing.
            ServerError: The server did not answer for a minute.
        """
        curve = [val_accuracy] if isinstance(val_accuracy, int | float) else list(val_accuracy)
        record = {"val_accuracy": [float(value) for value in curve], **metrics}
        self._search.post(f"/trials/{self.name}:tell", {"lease": self._lease, "metrics": record})

    def fail(self, reason: str) -> None:
        """Tell that it could not be trained.

        Raises:
            RefusedError: The lease is lost.
            ServerError: The server did not answer for a minute.
        """
        body = {"lease": self._lease, "failure": reason[:500] or "no reason"}
        self._search.post(f"/trials/{self.name}:tell", body)


class RemoteSearch:
    """A search of a server.

    Attributes:
        name: Its name.
    """

    def __init__(self, client: "Client", name: str) -> None:
        """Take a name; nothing is asked yet."""
        self.name = name
        self._client = client
        self._path = f"/v1/searches/{quote(name, safe='')}"

    def show(self) -> dict[str, Any]:
        """Return how it stands: see ``GET /v1/searches/{name}``."""
        found: dict[str, Any] = self.get("")
        return found

    def trials(self, **query: Any) -> list[dict[str, Any]]:
        """Return some trials: ``state``, ``order``, ``descending``, ``limit``, ``offset``."""
        found: list[dict[str, Any]] = self.get("/trials", query)["trials"]
        return found

    def best(self) -> dict[str, Any]:
        """Return the best architecture."""
        found: dict[str, Any] = self.get("/best")
        return found

    def pause(self) -> None:
        """Pause it."""
        self.post(":pause")

    def stop(self) -> None:
        """Stop it; the best so far can be taken away."""
        self.post(":stop")

    def resume(self, trials: int | None = None, time_limit: float | None = None) -> None:
        """Go on with it, maybe with another budget."""
        self.post(":resume", {"trials": trials, "time_limit": time_limit})

    def delete(self) -> str:
        """Move it to the trash; return its id there."""
        try:
            return str(self._client.request("DELETE", self._path).json()["id"])
        except RefusedError as error:
            if error.status != _NOT_FOUND or error.attempts == 1:
                raise
            # An earlier attempt came through and its answer was lost.
            thrown = self._client.request("GET", "/v1/trash").json()["deleted"]
            found = [each["id"] for each in thrown if each["name"] == self.name]
            if not found:
                raise
            return str(found[0])

    def wait(self, seconds: float | None = None) -> dict[str, Any]:
        """Wait until it ends or is stopped; return how it stands then.

        Args:
            seconds: How long at most; None for as long as it takes.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while (found := self.show())["state"] not in _END:
            if until is not None and time.monotonic() >= until:
                break
            time.sleep(_LOOK)
        return found

    def download(self, file: str, target: str | Path) -> Path:
        """Download ``architecture.json``, ``model.keras``, ``model.py`` or ``report.html``.

        Args:
            file: Its name.
            target: A file to write, or a folder.

        Returns:
            The file.
        """
        answer = self._client.request("GET", f"{self._path}/files/{quote(file, safe='')}")
        path = Path(target)
        path = path / file if path.is_dir() else path
        path.write_bytes(answer.content)
        return path

    def ask(
        self, count: int = 1, *, worker: str = "client", seconds: float = 60.0, wait: float = 10.0
    ) -> tuple[list[LeasedTrial], bool]:
        """Lease trials to train.

        Args:
            count: Most trials.
            worker: Name of the trainer, for people to read.
            seconds: How long a lease lasts unless `LeasedTrial.keep` keeps it.
            wait: Seconds to wait for a trial where none is free, at most 30.

        Returns:
            The trials, and whether the search has ended so that none will come any more.
        """
        body = {
            "worker": worker,
            "count": count,
            "seconds": seconds,
            "wait": wait,
            "request": secrets.token_hex(8),  # asked again, it gives the same leases
        }
        answer = self.post("/trials:ask", body)
        return [self._leased(each, seconds) for each in answer["trials"]], answer["ended"]

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of an address below that of the search."""
        return self._client.request("GET", f"{self._path}{path}", params=query).json()

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send JSON to an address below that of the search, and return the answer's."""
        return self._client.request("POST", f"{self._path}{path}", json=body).json()

    def _leased(self, record: Mapping[str, Any], seconds: float) -> LeasedTrial:
        return LeasedTrial(
            name=record["trial"],
            architecture=record["architecture"],
            recipe=record["recipe"],
            tokens=tuple(record["tokens"]),
            description=record["description"],
            epochs=record["epochs"],
            floors=tuple(record["floors"]),
            seed=record["seed"],
            metric=record["metric"],
            _search=self,
            _lease=record["lease"],
            _seconds=seconds,
        )


class Client:
    """The searches of a server.

    What is sent may be sent again without harm, so a server that is away for a moment costs
    nothing but time. Threads may share a client.

    Args:
        server: Its address, for example ``http://127.0.0.1:8420``.
        token: Its token; by default that of the variable ``RLNAS_TOKEN``.
        patience: Seconds for which a server that does not answer is asked again.
    """

    def __init__(self, server: str, token: str | None = None, patience: float = 60.0) -> None:
        """See the class."""
        self.server = server.rstrip("/")
        self._check_address()
        token = token or os.environ.get("RLNAS_TOKEN")
        if token is not None and not token.isascii():
            raise UsageError(
                "the token (RLNAS_TOKEN) has characters other than ASCII, which no server's has; "
                "set the one that rlnas serve has"
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx2.Client(base_url=self.server, headers=headers, timeout=_TIMEOUT)
        except (httpx2.InvalidURL, UnicodeEncodeError) as error:
            raise UsageError(f"server {server!r}: {first_line(error)}") from error
        self._patience = patience

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create(self, config: Mapping[str, Any]) -> RemoteSearch:
        """Begin a search.

        Args:
            config: Settings as in the YAML file; all may be left out.

        Raises:
            RefusedError: A setting is wrong; the sentence names it.
            ServerError: The server did not answer.
        """
        key = {"Idempotency-Key": secrets.token_hex(16)}
        found = self.request("POST", "/v1/searches", json=dict(config), headers=key).json()
        return RemoteSearch(self, found["name"])

    def search(self, name: str) -> RemoteSearch:
        """Return the search of a name; whether there is one is seen when it is used."""
        return RemoteSearch(self, name)

    def searches(self) -> list[dict[str, Any]]:
        """Return how all searches stand, the newest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.request("GET", "/v1/searches", params={"limit": 500, "offset": len(found)})
            record = page.json()
            found += record["searches"]
            if not record["searches"] or len(found) >= record["total"]:
                return found

    def request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Send a request, again while no answer comes, and return the answer.

        Raises:
            RefusedError: The server refused.
            ServerError: No answer came, or the server has an error of its own.
        """
        retrying = Retrying(
            retry=retry_if_exception(_may_pass) | retry_if_result(_is_away),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            stop=stop_after_delay(self._patience),
            retry_error_callback=lambda state: state.outcome.result(),  # type: ignore[union-attr]
        )
        try:
            answer: httpx2.Response = retrying(self._http.request, method, path, **more)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError) as error:
            raise UsageError(f"server {self.server!r}: {first_line(error)}") from error
        except httpx2.TransportError as error:
            raise ServerError(
                f"{self.server} does not answer ({first_line(error)}); is rlnas serve running "
                "there?"
            ) from error
        if answer.is_success:
            return answer
        problem = _problem(answer)
        sentence = problem.get("detail") or f"the server answered {answer.status_code}"
        kind = str(problem.get("type", "")).rpartition(":")[2] or None
        if kind == "no-token":
            given = "Authorization" in self._http.headers
            sentence = (
                f"{self.server} needs its token, and {'another one' if given else 'none'} was "
                "given; set the variable RLNAS_TOKEN to the one that rlnas serve has or has shown"
            )
        cls = RefusedError if answer.status_code < 500 else ServerError
        attempts = retrying.statistics.get("attempt_number", 1)
        raise cls(str(sentence), answer.status_code, kind, attempts)

    def _check_address(self) -> None:
        try:
            parts = urlsplit(self.server)
            right = parts.scheme in ("http", "https") and parts.port != 0
            right = right and re.fullmatch(r"[\w.:%-]+", parts.hostname or "") is not None
        except ValueError:
            right = False
        if not right:
            raise UsageError(
                f"server {self.server!r}: expected an address such as http://127.0.0.1:8420"
            )


def _may_pass(error: BaseException) -> bool:
    """Return whether a request may be answered when it is sent again."""
    wrong = isinstance(error, httpx2.UnsupportedProtocol)
    return isinstance(error, httpx2.TransportError) and not wrong


def _is_away(answer: httpx2.Response) -> bool:
    """Return whether a server, or a proxy before it, says that it cannot answer just now."""
    return answer.status_code in (502, 503, 504)


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
