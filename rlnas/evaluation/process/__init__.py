"""Children in worker processes: each isolated, on all cores and GPUs."""

from rlnas.evaluation.process.executor import (
    CHILDREN_PER_WORKER,
    ProcessExecutor,
    ProcessSettings,
    is_limit,
)
from rlnas.evaluation.process.payload import Payload
from rlnas.evaluation.process.worker import LOG

__all__ = [
    "CHILDREN_PER_WORKER",
    "LOG",
    "Payload",
    "ProcessExecutor",
    "ProcessSettings",
    "is_limit",
]
