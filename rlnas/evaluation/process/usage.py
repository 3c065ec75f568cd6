"""How much memory a process has for itself."""

from pathlib import Path

_KILOBYTE = 1024 / 1e6


def own_megabytes(pid: int) -> float | None:
    """Return the memory of a process that no file backs, in MB; None where nobody can tell.

    Memory that a fork still shares with its parent counts too, so that what a process has taken
    itself is the growth of this figure.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None  # not Linux, or the process is gone
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))]
    return sum(kilobytes) * _KILOBYTE if kilobytes else None
