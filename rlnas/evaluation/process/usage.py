"""How much memory a process has for itself."""

from contextlib import suppress
from pathlib import Path

_KILOBYTE = 1024 / 1e6


def own_megabytes(pid: int) -> float | None:
    """Return the memory of a process that no file backs, in MB; None where nobody can tell.

    So does that of the processes which it has started. Memory that a fork still shares with its
    parent counts too, so that what a process has taken itself is the growth of this figure.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None  # not Linux, or the process is gone
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))]
    if not kilobytes:
        return None
    started = sum(own_megabytes(child) or 0.0 for child in _children(pid))
    return sum(kilobytes) * _KILOBYTE + started


def _children(pid: int) -> list[int]:
    """Return the processes that the threads of a process have started."""
    found: list[int] = []
    with suppress(OSError):  # the process is gone
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found
