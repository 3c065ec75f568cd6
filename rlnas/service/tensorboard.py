"""TensorBoard as a process of its own on loopback, behind the server's address and token.

It is started when it is first asked for: TensorBoard loads TensorFlow, this process never does.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from rlnas.service.job_folder import service_folder
from rlnas.service.problems import Problem
from rlnas.service.supervisor import runner_environment

PREFIX = "/tensorboard"

_TO_START = 60.0
"""Seconds within which TensorBoard must answer (chosen): it loads TensorFlow."""

_MOST = 100
"""Answers under way at a time (chosen); a further request is refused."""

_SLOWEST = 30.0
"""Seconds within which a piece of an answer must be taken (chosen)."""

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "content-length"),
        *("authorization", "cookie", "content-security-policy", "set-cookie"),
    }
)
"""Headers that belong to one connection, or to this server alone."""

_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)
"""Of TensorBoard's pages, which write scripts and styles into themselves."""


class TensorBoard:
    """One TensorBoard over all runs of a root.

    Args:
        root: Folder of all runs.
    """

    def __init__(self, root: Path) -> None:
        """See the class."""
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._lock = asyncio.Lock()
        self._http: httpx2.AsyncClient | None = None
        self._under_way = 0

    @property
    def pid(self) -> int | None:
        """Number of its process, or None while there is none."""
        return None if self._process is None else self._process.pid

    async def answer(self, request: Request) -> Response:
        """Pass a request on to TensorBoard and its answer back.

        Raises:
            Problem: TensorBoard cannot be started, does not answer, or too many ask it.
        """
        path: bytes = request.scope["raw_path"]
        if not path.startswith(f"{PREFIX}/".encode()):  # what is decoded to it may be anything
            raise Problem(404, "no-address", "TensorBoard has no such address")
        await self._ensure()
        client = self._http
        if client is None:
            raise _away()
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if name.decode("latin-1").lower() not in _HOP_BY_HOP
        ]
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        query: bytes = request.scope["query_string"]
        try:
            passed = client.build_request(
                request.method,
                httpx2.URL(
                    scheme="http",
                    host="127.0.0.1",
                    port=self._port,
                    raw_path=path + (b"?" + query if query else b""),
                ),
                headers=[*headers, (b"accept-encoding", b"identity")],
                content=body,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise Problem(404, "no-address", "TensorBoard has no such address") from error
        if self._under_way >= _MOST:
            raise Problem(
                429, "too-many-requests", "too many ask TensorBoard at once; try again in a moment"
            )
        self._under_way += 1
        try:
            answer = await client.send(passed, stream=True)
        except BaseException as error:
            self._under_way -= 1
            if isinstance(error, httpx2.TransportError):
                raise _away() from error
            raise
        kept = {
            name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
        }
        kept["content-security-policy"] = _POLICY
        return _Passed(answer, kept, self._ended_one)

    def _ended_one(self) -> None:
        self._under_way -= 1

    async def close(self) -> None:
        """End it."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 5)
            if process.poll() is None:
                process.kill()
                await asyncio.to_thread(process.wait)

    async def _ensure(self) -> None:
        """Start it, unless it lives."""
        async with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if self._http is None:
                self._http = httpx2.AsyncClient(
                    timeout=_TO_START, limits=httpx2.Limits(max_connections=_MOST + 10)
                )
            self._port = _free_port()
            self._process = self._started()
            until = time.monotonic() + _TO_START
            while time.monotonic() < until and self._process.poll() is None:
                with suppress(httpx2.TransportError):
                    address = f"http://127.0.0.1:{self._port}{PREFIX}/"
                    if (await self._http.get(address)).status_code < 500:
                        return
                await asyncio.sleep(0.2)
            await asyncio.to_thread(self._ended)
            raise _away()

    def _started(self) -> "subprocess.Popen[bytes]":
        with open(service_folder(self._root) / "tensorboard.log", "ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "rlnas.service.tensorboard", str(os.getpid())),
                    *("--logdir", str(self._root.absolute()), "--host", "127.0.0.1"),
                    *("--port", str(self._port), "--path_prefix", PREFIX, "--load_fast", "false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**runner_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"},
            )

    def _ended(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class _Passed(StreamingResponse):
    """An answer of TensorBoard on its way to a browser, which must take it without long rests.

    Args:
        answer: The answer.
        headers: Those of its headers that go on.
        ended: Called when it has gone through, or is given up.
    """

    def __init__(
        self, answer: httpx2.Response, headers: dict[str, str], ended: Callable[[], None]
    ) -> None:
        """See the class."""
        super().__init__(answer.aiter_raw(), answer.status_code, headers)
        self._answer, self._ended = answer, ended

    async def stream_response(self, send: Send) -> None:
        """Send it."""

        async def in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), _SLOWEST)

        try:
            with suppress(TimeoutError):  # the connection is closed behind what was taken
                await super().stream_response(in_time)
        finally:
            self._ended()
            await asyncio.shield(self._answer.aclose())


def _away() -> Problem:
    return Problem(
        503,
        "no-tensorboard",
        "TensorBoard does not answer; try again, and see tensorboard.log in the folder .service of "
        "the root",
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _main() -> Any:
    """Run TensorBoard as its own command does; it ends when the server is gone."""
    import threading

    from tensorboard import main

    server = int(sys.argv.pop(1))

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    sys.argv[0] = "tensorboard"
    _pass_over_hidden_folders()
    return main.run_main()


def _pass_over_hidden_folders() -> None:
    """Let TensorBoard, which has no option for it, not show what lies in the trash."""
    from tensorboard.backend.event_processing import io_wrapper

    found = io_wrapper.GetLogdirSubdirectories

    def shown(path: str) -> Iterator[str]:
        for each in found(path):
            if not any(part.startswith(".") for part in Path(each).relative_to(path).parts):
                yield each

    io_wrapper.GetLogdirSubdirectories = shown


if __name__ == "__main__":
    sys.exit(_main())
