"""Connections: how many there may be, and how long one may take to say what it wants."""

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

from rlnas.service.problems import MEDIA_TYPE, Problem

SLOWEST_HEAD = 10.0
"""Seconds within which a request must have begun and its headers must have come (chosen)."""

MOST_CONNECTIONS = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
"""Connections at a time (chosen): files of searches need room beside them."""


class Connection(H11Protocol):
    """HTTP/1.1 of uvicorn, with a limit to silence and to the number of connections."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; close at once where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait on if it is not all."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_watch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP by a problem document."""
        problem = Problem(400, "no-http", "the request is no HTTP/1.1; send it by an HTTP client")
        body = bytes(problem.response().body)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: "
            + MEDIA_TYPE.encode()
            + f"\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        self.transport.close()

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.timeout_keep_alive_task is not None:
            self._end_watch()
        elif self._timer is None:
            self._timer = self.loop.call_later(SLOWEST_HEAD, self.transport.close)

    def _end_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
