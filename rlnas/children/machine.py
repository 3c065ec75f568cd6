"""What the machine has."""

import os
from math import inf
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
_QUOTAS = (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Files with the quota and the period of a container, by the version of control groups."""


def available_cores() -> int:
    """Return the number of cores that this process may use; the quota of a container counts."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, int(min(_quota(), cores)))


def _quota() -> float:
    """Return how many cores a container may use in the mean; infinity where nothing says."""
    for limit, period in _QUOTAS:
        try:
            words = [*(_GROUP / limit).read_text().split(), *(_read(period))]
            if (quota := int(words[0])) > 0:
                return quota / int(words[1])
        except (OSError, ValueError, IndexError, ZeroDivisionError):
            continue  # no such group, or no limit
    return inf


def _read(name: str) -> list[str]:
    return (_GROUP / name).read_text().split() if name else []
