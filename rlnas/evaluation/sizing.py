"""How many workers fit a machine, with how many threads, and on which GPUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from rlnas.children.machine import available_cores
from rlnas.errors import ConfigError
from rlnas.evaluation.gpus import HIDDEN, Gpu, listed

WORKER_MEGABYTES = 700.0
"""Memory of one worker with TensorFlow, some children and what it keeps of them, without the
data (chosen)."""

_SHARE = 0.8
"""Share of the free memory that workers may take (chosen)."""

_PER_GPU, _GPU_MEGABYTES = 4, 2000.0
"""Children on one GPU at most where nothing is said, and the memory of each there, without the
data (chosen)."""

_WORTH_A_THREAD = 3e8
"""FLOPs of a training step for each thread (chosen: steps on digits, at a third of this, are slower
with two threads than with one)."""

_GROUP = Path("/sys/fs/cgroup")
_GROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and use of the memory of a container, by the version of control groups."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers and what each of them has.

    Attributes:
        workers: Children that are trained at the same time.
        threads: Threads of each.
        gpus: The GPUs they share; none for the cores alone.
        gpu_share: Share of a GPU that each child asks a cluster for.
    """

    workers: int
    threads: int
    gpus: tuple[Gpu, ...] = ()
    gpu_share: float = 0.0

    def __str__(self) -> str:
        """Return all of it in words."""
        workers, threads = _counted(self.workers, "worker"), _counted(self.threads, "thread")
        text = f"{workers} with {threads}{' each' if self.workers > 1 else ''}"
        if self.gpus:
            return f"{text} on {listed(self.gpus)}"
        return f"{text} and {self.gpu_share:.2g} of a GPU each" if self.gpu_share else text

    def environments(self) -> tuple[Mapping[str, str], ...]:
        """Return the variables of each worker: those with a GPU see only their own."""
        if not self.gpus:
            return (HIDDEN,) * self.workers
        return tuple(
            self.gpus[place % len(self.gpus)].environment() for place in range(self.workers)
        )


ALONE = Crew(1, 1)
"""One worker with one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What each worker is to do, as far as it says what it needs.

    Attributes:
        megabytes: The data, of which each worker makes a copy for its device, and what a training
            step keeps of a batch.
        step_flops: FLOPs of a usual training step; 0 if not known.
    """

    megabytes: float = 0.0
    step_flops: float = 0.0


def choose_crew(
    workers: int | None,
    threads: int | None,
    work: Work,
    gpus: Sequence[Gpu] = (),
    per_gpu: int | None = None,
) -> Crew:
    """Return how many workers are to be started, with how many threads, on which GPUs.

    Args:
        workers: What the user asked for; None for as many as cores, memory and GPUs allow.
        threads: Threads of each, None for the cores divided among them, as far as they help.
        work: What each is to do.
        gpus: Those that children are trained on.
        per_gpu: Children on each of them at a time; None for what its memory allows.

    Raises:
        ConfigError: The free memory does not hold so many, or the GPUs are not to.
    """
    if per_gpu is not None and not gpus:
        raise ConfigError(
            "engine.children_per_gpu (--children-per-gpu): there is no GPU to train on, got "
            f"{per_gpu}; leave it out"
        )
    cores, free = available_cores(), free_megabytes()
    each = WORKER_MEGABYTES + work.megabytes
    room = cores if free is None else max(1, int(_SHARE * free / each))
    if gpus and workers is not None and per_gpu is not None and workers > per_gpu * len(gpus):
        raise ConfigError(
            f"engine.workers (--workers): {listed(gpus)} with {per_gpu} children each take "
            f"{per_gpu * len(gpus)} workers, got {workers}; lower it, or raise --children-per-gpu"
        )
    if workers is None and gpus:
        workers = min(room, sum(per_gpu or _fitting(gpu, work, cores, gpus) for gpu in gpus))
    elif workers is None:
        workers = max(1, min(room, cores // (threads or 1)))
    elif free is not None and workers * each > free:
        raise ConfigError(
            f"engine.workers (--workers): {workers} workers need about {workers * each / 1e3:.1f} "
            f"GB, {free / 1e3:.1f} GB of memory are free; take at most {room}, or auto"
        )
    if threads is None:
        threads = max(1, cores // workers)
        if work.step_flops and not gpus:
            threads = min(threads, ceil(work.step_flops / _WORTH_A_THREAD))
    return Crew(workers, threads, tuple(gpus[:workers]))


def _fitting(gpu: Gpu, work: Work, cores: int, gpus: Sequence[Gpu]) -> int:
    """Return how many children are to share a GPU."""
    memory = int(_SHARE * gpu.megabytes / (_GPU_MEGABYTES + work.megabytes))
    return max(1, min(_PER_GPU, cores // len(gpus), memory))


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
