"""The process of the service: one socket, one app, until somebody ends it."""

import fcntl
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn

from rlnas.errors import ConfigError, RunError
from rlnas.service.access import LOOPBACK, Access, new_token
from rlnas.service.app import make_app
from rlnas.service.connection import Connection
from rlnas.service.job_folder import service_folder
from rlnas.service.parts import Settings

_KEEP_ALIVE, _TO_END = 30, 2
"""Seconds that a connection may be idle, and that open streams have when the server ends."""


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    tell: Callable[[str], None],
    allow_hosts: tuple[str, ...] = (),
) -> None:
    """Serve until the process is told to end; searches go on without it.

    Args:
        settings: How it is started; without a token and on an address that others can reach one
            is made.
        host: The address to listen at.
        port: The port; 0 for one that is free.
        tell: Is told the address, and a token that was made, once.
        allow_hosts: Further names in the header ``Host`` that are answered.

    Raises:
        ConfigError: The address cannot be listened at.
        RunError: Another server has the root.
        StorageError: The root cannot be used.
    """
    access = settings.access
    if access.read is not None and access.write is None:
        raise ConfigError("RLNAS_READ_TOKEN is given without RLNAS_TOKEN; give both")
    if access.read is not None and access.read == access.write:
        raise ConfigError("RLNAS_READ_TOKEN and RLNAS_TOKEN are the same; give two")
    made = None
    if not is_loopback(host) and access.write is None:
        made = new_token()
        access = replace(access, write=made)
    with _listening(host, port) as listener, _alone(settings.root):
        address = listener.getsockname()
        names = {host.lower(), *(name.lower() for name in allow_hosts)}
        if host in ("0.0.0.0", "::", ""):  # the user asked for it
            names.add(socket.gethostname().lower())
            access = replace(access, addresses=True)
        access = replace(access, hosts=LOOPBACK | names)
        app = make_app(replace(settings, access=access))
        shown = f"[{host}]" if ":" in host else host
        tell(f"rlnas serves {settings.root} at http://{shown}:{address[1]}/")
        if made is not None:
            tell(f"its token, shown once: {made}")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_TO_END,
            )
        )
        server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_token(name: str, token: str | None) -> str | None:
    """Return a token from the environment.

    Raises:
        ConfigError: It is too short to be a secret, or no header can hold it.
    """
    if token is None:
        return None
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{name}: expected at least {_SHORTEST} ASCII characters without spaces; make one "
            "with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


_SHORTEST = 16


def access_from(environment: "dict[str, str]") -> Access:
    """Return the tokens of the environment.

    Raises:
        ConfigError: One is too short.
    """
    write, read = (
        checked_token(name, environment.get(name) or None)
        for name in ("RLNAS_TOKEN", "RLNAS_READ_TOKEN")
    )
    return Access(write, read)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen at {host}:{port}: {getattr(error, 'strerror', None) or error}; choose "
            "another --port or --host"
        ) from error
    with listener:
        # asyncio does this only for sockets that say they are TCP; without it an answer in two
        # packets waits 40 ms for the acknowledgement of the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let no other server have the root."""
    folder = service_folder(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "server.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise RunError(
            f"cannot use {folder}: {error.strerror}; mend its permissions or choose another --root"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"another server has {root}; end it, or choose another --root") from None
        yield
