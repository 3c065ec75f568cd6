"""How many workers fit a machine, and with how many threads."""

from dataclasses import dataclass
from pathlib import Path

from rlnas.children.machine import available_cores
from rlnas.errors import ConfigError

WORKER_MEGABYTES = 700.0
"""Memory of one worker with TensorFlow, some children and what it keeps of them, without the
data (chosen)."""

_SHARE = 0.8
"""Share of the free memory that workers may take (chosen)."""


_GROUP = Path("/sys/fs/cgroup")
_GROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and use of the memory of a container, by the version of control groups."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers and the threads of each.

    Attributes:
        workers: Children that are trained at the same time.
        threads: Threads of each.
    """

    workers: int
    threads: int

    def __str__(self) -> str:
        """Return both in words."""
        workers, threads = _counted(self.workers, "worker"), _counted(self.threads, "thread")
        return f"{workers} with {threads}{' each' if self.workers > 1 else ''}"


def choose_crew(workers: int | None, threads: int | None, data_megabytes: float) -> Crew:
    """Return how many workers are to be started, with how many threads.

    Args:
        workers: What the user asked for; None for as many as cores and memory allow.
        threads: Threads of each, None for the cores divided among them.
        data_megabytes: The data, of which each worker makes a copy for its device.

    Raises:
        ConfigError: The free memory does not hold so many.
    """
    cores, free = available_cores(), free_megabytes()
    each = WORKER_MEGABYTES + data_megabytes
    room = cores if free is None else max(1, int(_SHARE * free / each))
    if workers is None:
        workers = max(1, min(room, cores // (threads or 1)))
    elif free is not None and workers * each > free:
        raise ConfigError(
            f"engine.workers (--workers): {workers} workers need about {workers * each / 1e3:.1f} "
            f"GB, {free / 1e3:.1f} GB of memory are free; take at most {room}, or auto"
        )
    return Crew(workers, threads or max(1, cores // workers))


def free_megabytes() -> float | None:
    """Return the memory that processes may still take, in MB; None where nobody can tell.

    The limit of a container counts (control groups of either version), where there is one.
    """
    free = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024 / 1e6)
    except OSError:
        return None  # not Linux
    for limit, used in _GROUPS:
        try:
            limited = int((_GROUP / limit).read_text()) - int((_GROUP / used).read_text())
            free.append(limited / 1e6)
        except (OSError, ValueError):
            continue  # no such group, or no limit
    return min(free, default=None)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
