"""`RayExecutor`: children on a Ray cluster, where one machine is too small.

Only Ray's core is used. The evaluator with its data is put into the object store once. Each child
is a task; the process of a node that runs it trains it through a `ProcessExecutor` of its own, so
that limits, repeats and logs are those of one machine, and a bad child costs no node anything.
Weights and logs come back as bytes: the nodes need share no disk, but they need rlnas installed.
"""

import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlnas.errors import ConfigError, RlnasError, StorageError, first_line
from rlnas.evaluation.base import Evaluator, Job, Outcome, Result
from rlnas.evaluation.process import Payload, ProcessExecutor, ProcessSettings
from rlnas.evaluation.sizing import Crew

_MOST_LOSSES = 5
"""Times a child may be lost with its node, or meet a full disk there (chosen)."""

_TO_CONNECT, _TO_ANSWER = 10, 30
"""Seconds within which somebody must listen, and a cluster must say that it is well; Ray itself
takes some to be imported for that (chosen)."""


@dataclass(slots=True)
class _Task:
    job: Job
    losses: int = 0


class RayExecutor:
    """Trains children as tasks of a Ray cluster; one that is lost with its node begins anew.

    Args:
        evaluator: Trains the children; it is put into the object store once, with its data.
        settings: How many children are trained at a time, and the limits of each.
        address: Of the cluster, as for `connected`.
        gpus: Share of a GPU of each child.

    Raises:
        ConfigError: Ray is not installed, the cluster cannot be reached, or the evaluator cannot
            be handed over.
        StorageError: The disk refused to take the evaluator.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        settings: ProcessSettings,
        address: str | None = None,
        *,
        gpus: float = 0.0,
    ) -> None:
        """See the class."""
        self._settings, self._ray = settings, connected(address)
        payload = Payload.of(evaluator)
        self._modules = payload.modules
        self._payload = self._ray.put(np.frombuffer(payload.to_bytes(), dtype=np.uint8))
        payload.close()
        self._train = self._ray.remote(
            num_cpus=settings.threads,
            num_gpus=gpus,
            max_retries=0,  # which losses count is decided here
        )(_train)
        self._waiting: deque[_Task] = deque()
        self._under_way: dict[Any, _Task] = {}  # by the reference of the task's result
        self._results: list[Result] = []

    @property
    def workers(self) -> int:
        """How many children are trained at a time."""
        return self._settings.workers

    def submit(self, job: Job) -> None:
        """Start a child, or put it at the end of the queue."""
        self._waiting.append(_Task(job))
        self._dispatch()

    def completed(self) -> list[Result]:
        """Return what has ended; wait for one child, unless none is under way.

        Raises:
            RlnasError: A child met a full disk each time, or lost its node each time.
        """
        while not self._results and (self._waiting or self._under_way):
            self._dispatch()
            ready, _ = self._ray.wait(list(self._under_way), num_returns=1)
            for reference in ready:
                self._take(reference)
        results, self._results = self._results, []
        return results

    def cancel(self) -> None:
        """Drop the queue, and end the children under way."""
        self._waiting.clear()
        self._results.clear()
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        self._under_way.clear()

    def close(self) -> None:
        """End the children under way, and free the object store; the connection stays."""
        self.cancel()
        self._payload = None

    def _dispatch(self) -> None:
        while self._waiting and len(self._under_way) < self._settings.workers:
            task = self._waiting.popleft()
            alone = replace(self._settings, workers=1)
            reference = self._train.remote([self._payload], self._modules, alone, task.job)
            self._under_way[reference] = task

    def _take(self, reference: Any) -> None:
        """Take the result of a task, or begin one anew that was lost."""
        task, errors = self._under_way.pop(reference), self._ray.exceptions
        try:
            outcome, files = self._ray.get(reference)
        except errors.RayTaskError as error:
            if not isinstance(error.cause, RlnasError):
                raise ConfigError(
                    f"a child cannot be trained on the cluster: {first_line(error.cause)}; are "
                    "rlnas, Keras and its backend installed on all nodes, in the same versions?"
                ) from error
            self._lost(task, error.cause)
        except errors.RayError as error:
            self._lost(task, RlnasError(f"a child was lost with its node: {first_line(error)}"))
        else:
            if task.job.folder is not None:
                _keep(task.job.folder, files)
            self._results.append(Result(task.job, outcome))

    def _lost(self, task: _Task, error: RlnasError) -> None:
        """Begin anew, unless it has come too often."""
        task.losses += 1
        if task.losses > _MOST_LOSSES:
            raise error
        self._waiting.append(task)


def _keep(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a child left on its node.

    Raises:
        StorageError: The disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder} ({error.strerror or error}): free some space or make the "
            "folder writable"
        ) from error


def connected(address: str | None) -> Any:
    """Return Ray, connected to a cluster; again and again the same connection.

    Args:
        address: As `ray.init` takes it, ``auto`` for the cluster this machine belongs to; None for
            a cluster of this machine's own, which ends with this process.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            '--executor ray needs Ray, which is not installed; pip install "rlnas[ray]", or take '
            "--executor process"
        ) from error
    if not ray.is_initialized():
        try:
            if address is not None:
                _check_answers(address)
            local: dict[str, Any] = {} if address else {"include_dashboard": False}
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except (Exception, SystemExit) as error:  # Ray raises many kinds, and exits
            raise ConfigError(
                f"engine.ray_address (--ray-address): no Ray cluster answers at {address}: "
                f"{first_line(error)}; start one with: ray start --head"
            ) from error
    return ray


def _check_answers(address: str) -> None:
    """Check that a Ray cluster listens there: Ray itself takes minutes to find out.

    Raises:
        OSError: Nobody does, or somebody else.
    """
    parts = re.fullmatch(r"(ray://)?(\[[^]]+\]|[^:/]+):(\d{1,5})", address)
    if parts is None:
        return
    client, host, port = parts.groups()
    socket.create_connection((host.strip("[]"), int(port)), timeout=_TO_CONNECT).close()
    if client:
        return
    words = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    try:
        done = subprocess.run(
            [*words, "--address", f"{host}:{port}"], capture_output=True, timeout=_TO_ANSWER
        )
    except subprocess.TimeoutExpired:
        raise OSError("what listens there is no Ray cluster") from None
    if done.returncode:
        raise OSError("what listens there is no Ray cluster, or not of this version")


def cluster_crew(
    address: str | None,
    workers: int | None,
    threads: int | None,
    per_gpu: int | None = None,
    *,
    gpus: bool = True,
) -> Crew:
    """Return how many children a cluster trains at a time, and what each asks it for.

    Args:
        address: As for `connected`.
        workers: What the user asked for; None for as many as the cluster has room for.
        threads: Cores of each; None for one, or for all cores divided among the workers.
        per_gpu: Children on one GPU at a time; None for one.
        gpus: Whether children are trained on GPUs, where the cluster has some.

    Raises:
        ConfigError: Ray is not installed, there is no cluster, or it has too few cores or GPUs.
    """
    resources = connected(address).cluster_resources()
    cores = int(resources.get("CPU", 0))
    found = int(resources.get("GPU", 0)) if gpus else 0
    if per_gpu is not None and not found:
        raise ConfigError(
            "engine.children_per_gpu (--children-per-gpu): the cluster has no GPU, got "
            f"{per_gpu}; leave it out"
        )
    each = threads or max(1, cores // workers if workers else 1)
    room, share = cores // each, 1.0 / (per_gpu or 1) if found else 0.0
    if found and (workers or room) > found * (per_gpu or 1):
        if workers is not None:
            raise ConfigError(
                f"engine.workers (--workers): the {found} GPUs of the cluster with {per_gpu or 1} "
                f"children each take {found * (per_gpu or 1)} workers, got {workers}; lower it, "
                "or raise --children-per-gpu"
            )
        room = found * (per_gpu or 1)
    if (workers or 1) > room:
        raise ConfigError(
            f"engine.workers (--workers): {workers or 1} workers with {each} cores each need more "
            f"than the {cores} cores of the cluster; take at most {room}, or auto"
        )
    return Crew(workers or room, each, gpu_share=share)


_executors: dict[Any, ProcessExecutor] = {}
"""The executor of this process of a node, by the reference of its payload and the GPU that Ray
gives; it stays warm."""


def _train(
    reference: list[Any], modules: tuple[str, ...], settings: ProcessSettings, job: Job
) -> tuple[Outcome, dict[str, bytes]]:
    """Train a child in a process of a node; return its outcome and the files it left.

    The reference stands in a list, or Ray would read the payload anew for each child.
    """
    import ray

    (payload_key,) = reference
    gpu = {name: value for name, value in os.environ.items() if name == "CUDA_VISIBLE_DEVICES"}
    key = payload_key, *gpu.values()
    if key not in _executors:
        for other in _executors.values():
            other.close()
        _executors.clear()
        payload = Payload.from_bytes(ray.get(payload_key).data, modules)
        _executors[key] = ProcessExecutor(payload, replace(settings, environments=(gpu,)))
    with tempfile.TemporaryDirectory() as name:
        folder = None if job.folder is None else Path(name)
        _executors[key].submit(replace(job, folder=folder))
        (result,) = _executors[key].completed()
        return result.outcome, {each.name: each.read_bytes() for each in Path(name).iterdir()}
