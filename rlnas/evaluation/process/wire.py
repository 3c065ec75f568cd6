"""Short messages, and open files beside them, between a search and its fork server."""

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
_MOST_FILES = 8


def send(sock: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    """Send a message, and descriptors of open files with it.

    Args:
        sock: A Unix stream socket.
        message: What pickle takes.
        files: At most 8 file descriptors; the other side gets copies.

    Raises:
        OSError: The other side is gone.
    """
    body = pickle.dumps(message)
    whole = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(sock, [whole], files) if files else 0
    sock.sendall(whole[sent:])


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """Return the next message and the descriptors that came with it; waits for it.

    Raises:
        EOFError: The other side is gone.
    """
    head, files, _, _ = socket.recv_fds(sock, _LENGTH.size, _MOST_FILES)
    head += _exactly(sock, _LENGTH.size - len(head)) if head else b""
    if not head:
        raise EOFError
    return pickle.loads(_exactly(sock, _LENGTH.unpack(head)[0])), list(files)


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = sock.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts
