"""Who may do what: tokens, hosts, sites, and how large and slow a request may be.

One ASGI layer around everything, the page and TensorBoard too.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse

from rlnas.service.problems import MEDIA_TYPE, Problem

COOKIE = "rlnas-session"

_SESSION = re.compile(rf"(?:^|; ?){COOKIE}=([0-9a-f]{{64}})(?:;|$)")

LARGEST_BODY = 1_000_000
"""Bytes of a request's body (chosen): a config has a few thousand."""

SLOWEST_BODY = 10.0
"""Seconds within which a body must have come (chosen)."""

OPEN = ("/healthz", "/readyz", "/login", "/static/")
"""Addresses that tell nothing of a search, and need no token."""

_LOOKING = ("/tensorboard/", "/logout")
"""Addresses where POST changes nothing: TensorBoard asks so for much data at once."""

_SAFE = ("GET", "HEAD", "OPTIONS")

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none, browsers hide the origin of their own forms
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-resource-policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are always this machine."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens of a server and the hosts it answers for.

    Attributes:
        write: The token that may do all; None to let everybody who can reach it.
        read: The token that may look; None for none.
        hosts: Names and addresses in the header ``Host`` that are answered, in lower case.
        addresses: Whether any address is answered: a page of another site can only come under a
            name.
    """

    write: str | None = None
    read: str | None = None
    hosts: frozenset[str] = LOOPBACK
    addresses: bool = False

    def answers_for(self, host: str) -> bool:
        """Tell whether a host in the header ``Host`` is answered."""
        if host in self.hosts:
            return True
        try:
            return self.addresses and bool(ipaddress.ip_address(host))
        except ValueError:
            return False

    def right(self, token: str | None) -> str | None:
        """Return ``write``, ``read`` or None for a token; in constant time."""
        if self.write is None:
            return "write"
        given = (token or "").encode("utf-8", "replace")
        writes = hmac.compare_digest(given, self.write.encode())
        reads = self.read is not None and hmac.compare_digest(given, self.read.encode())
        return "write" if writes else "read" if reads else None

    def session(self, right: str) -> str:
        """Return what the cookie of a browser holds that has given a token: not the token."""
        token = self.write if right == "write" else self.read
        return hmac.new((token or "").encode(), b"rlnas session", hashlib.sha256).hexdigest()

    def right_of_session(self, session: str) -> str | None:
        """Return what a cookie may do."""
        for right, token in (("write", self.write), ("read", self.read)):
            if token is not None and hmac.compare_digest(
                session.encode("utf-8", "replace"), self.session(right).encode()
            ):
                return right
        return None


def new_token() -> str:
    """Return a token that nobody can guess: 32 characters."""
    return secrets.token_urlsafe(24)


class Guard:
    """Refuses what may not pass, before anything else sees it.

    Args:
        app: What stands behind it.
        access: Tokens and hosts.
        body_seconds: Seconds within which a body must have come.
    """

    def __init__(self, app: App, access: Access, body_seconds: float = SLOWEST_BODY) -> None:
        """See the class."""
        self._app, self._access, self._body_seconds = app, access, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        answer = _Answer(scope, send)
        try:
            self._check(scope, headers)
            body = _Body(receive, headers, self._body_seconds, answer)
            scope["rlnas.right"] = self._right(headers)
            await self._app(scope, body, answer)
        except _ToLogin:
            address = f"/login?next={quote(scope['path'])}" if scope["path"] != "/" else "/login"
            await RedirectResponse(address, 303)(scope, receive, answer)
        except Problem as problem:
            response = problem.response()
            if scope["method"] not in _SAFE:  # its body is not read to the end
                response.headers["connection"] = "close"
            await response(scope, receive, answer)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        host = _host(headers.get("host", ""))
        if not self._access.answers_for(host):
            raise Problem(
                421,
                "unknown-host",
                "this server does not answer for the name in the header Host; start it with "
                "--allow-host NAME if it is right",
            )
        self._check_site(scope, headers)
        length = headers.get("content-length")
        if length is not None and (not length.isdecimal() or int(length[:12]) > LARGEST_BODY):
            raise _too_large()
        if scope["path"].startswith(OPEN):
            return
        right = self._right(headers)
        if right is None and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            raise _ToLogin
        if right is None:
            raise Problem(
                401,
                "no-token",
                "this server needs its token: send it as Authorization: Bearer TOKEN, or log in at "
                "/login",
                headers={"WWW-Authenticate": 'Bearer realm="rlnas"'},
            )
        looks = scope["method"] in _SAFE or scope["path"].startswith(_LOOKING)
        if right == "read" and not looks:
            raise Problem(403, "read-only", "this token may only look; use the write token")

    def _check_site(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another site sends through its visitor's browser."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = site in ("cross-site", "same-site")
        if origin == "null":  # a browser may hide its origin, and still tells whether it is ours
            foreign = site != "same-origin"
        elif origin is not None:
            foreign = foreign or _netloc(origin) != headers.get("host", "").lower()
        navigates = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if foreign and not navigates:
            raise Problem(403, "cross-site", "requests from pages of other sites are refused")

    def _right(self, headers: Mapping[str, str]) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.right(token.strip())
        session = _SESSION.search(headers.get("cookie", ""))
        right = self._access.right_of_session(session[1]) if session else None
        return right or self._access.right(None)


class _ToLogin(Exception):  # no error: a browser is shown the way
    """A browser without a token asks for a page."""


class _Body:
    """The body of a request, of which no more is taken than may come, and not for ever."""

    def __init__(
        self, receive: Receive, headers: Mapping[str, str], seconds: float, answer: "_Answer"
    ) -> None:
        self._receive, self._seconds, self._size = receive, seconds, 0
        self._answer = answer
        self._deadline: float | None = None
        self._whole = headers.get("content-length", "0") == "0" and (
            "transfer-encoding" not in headers
        )

    async def __call__(self) -> Message:
        if self._whole or self._answer.begun:
            return await self._receive()
        clock = asyncio.get_running_loop().time
        self._deadline = self._deadline or clock() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                408,
                "slow-body",
                f"the body did not come within {self._seconds:g} s; send it at once",
            ) from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > LARGEST_BODY:
            raise _too_large()
        return message


def _too_large() -> Problem:
    return Problem(
        413, "too-large", f"the body is larger than {LARGEST_BODY:,} bytes; send less at a time"
    )


def _headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _netloc(origin: str) -> str:
    """Return host and port of a header ``Origin``; nothing where it is no address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host(header: str) -> str:
    """Return the name in a header ``Host``, without the port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


class _Answer:
    """What an app answers, with the headers of all answers; refusals are problem documents."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._refusal: Message | None = None
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            present = {name.decode("latin-1").lower(): value for name, value in message["headers"]}
            if self._is_plain_refusal(message["status"], present.get("content-type", b"")):
                self._refusal = message
                return
            more = {**_HEADERS, "content-security-policy": _POLICY, "cache-control": "no-store"}
            missing = [
                (name.encode(), value.encode())
                for name, value in more.items()
                if name not in present
            ]
            message["headers"] = [*message["headers"], *missing]
        if self._refusal is None:
            await self._send(message)
        elif not message.get("more_body", False):
            start, self._refusal = self._refusal, None
            await self._refused(start)

    def _is_plain_refusal(self, status: int, kind: bytes) -> bool:
        """Return whether something below answers by a text of its own: a wrong range, say."""
        told = kind.startswith((MEDIA_TYPE.encode(), b"text/html"))
        return status >= 400 and not told and not self._scope["path"].startswith("/tensorboard/")

    async def _refused(self, start: Message) -> None:
        kept = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in start["headers"]
            if name.lower() in (b"allow", b"content-range")
        }
        phrase = HTTPStatus(start["status"]).phrase.lower()
        detail = f"the request cannot be answered: {phrase}; mend its headers"
        response = Problem(start["status"], "http", detail, headers=kept).response()
        await response(self._scope, _nothing, self)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
