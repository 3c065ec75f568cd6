"""The section of the config that says where children are trained."""

import os
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, model_validator

from rlnas.config.fields import (
    GPU_NUMBERS,
    Checked,
    Count,
    Megabytes,
    Record,
    Seconds,
    Switch,
    executor_name,
    gpu_numbers,
    option,
    or_auto,
    refusal,
)
from rlnas.config.names import EXECUTORS, EXTERNAL

OFFERED = 16
"""Children that are offered to trainers elsewhere at a time: as many may train (chosen)."""

IN_FLIGHT = 8
"""Proposals under way in a deterministic run: enough for most machines (chosen)."""


_HERE = ("--isolate", "--child-memory", "--children-per-gpu", "--gpus")
"""Flags about the processes of this machine in which children are trained."""


def _ray_address(address: str | None) -> str | None:
    port = (address or "").rpartition(":")[2]
    wrong = address is not None and port.isdecimal() and not 0 < int(port) < 2**16
    if wrong or (address is not None and not address.strip()):
        raise ValueError('"auto" or an address such as "10.0.0.1:6379"')
    return address


class EngineConfig(Record):
    """Where children are trained, and what they may take."""

    executor: Annotated[str | None, Checked(executor_name, {"enum": [*EXECUTORS, None]})] = option(
        None,
        "process trains children in worker processes, so that none can hurt the search; inline "
        "trains them one after the other in the search's own process; ray trains them on a Ray "
        'cluster (pip install "rlnas[ray]"); external trains nothing and offers each child to '
        "trainers elsewhere, who ask for it by way of rlnas serve. Default: process, or what the "
        "variable RLNAS_EXECUTOR says.",
    )
    workers: Annotated[Count | None, BeforeValidator(or_auto)] = option(
        None,
        "Children that are trained at the same time, or auto: as many as cores, memory and GPUs "
        "allow. Where trainers elsewhere train them, how many are offered at a time. Default: "
        f"auto; {OFFERED} are offered (chosen).",
        le=10_000,
    )
    ray_address: Annotated[str | None, AfterValidator(_ray_address)] = option(
        None,
        "The Ray cluster: auto for the one this machine belongs to, or HOST:PORT; rlnas must be "
        "installed on its nodes. Default: one of this machine's own.",
    )
    gpus: Annotated[str | None, BeforeValidator(gpu_numbers), GPU_NUMBERS] = option(
        None,
        "GPUs that children are trained on: all, none, or their numbers as nvidia-smi counts, for "
        "example 0,1. Default: all that the backend of Keras can use.",
    )
    children_per_gpu: Count | None = option(
        None,
        "Children that are trained at the same time on one GPU. Default: as many as cores and its "
        "memory allow, at most 4 (chosen).",
    )
    resident_data: Megabytes = option(
        1000.0,
        "Training and validation data up to this size lie in the memory of each worker or GPU; "
        "what is larger comes in batches while a child is trained, for example 500MB or 4GB "
        "(chosen).",
        ge=0,
    )
    isolate: Switch = option(
        False, "Give each child a process of its own; it costs half a second each (chosen)."
    )
    child_time_limit: Seconds | None = option(
        None,
        "Wall-clock time of one child, for example 90s or 5m; then it is stopped and has failed. "
        "In the retraining it is longer, as the training is. Default: none; a child that hangs "
        "then holds its worker.",
        gt=0,
    )
    child_memory: Megabytes | None = option(
        None,
        "Memory that one child may take, for example 800MB or 2GB, counted with what earlier ones "
        "left in its process (--isolate ends that); then it is stopped and has failed. Default: "
        "none.",
        gt=0,
    )
    mixed_precision: Switch = option(
        False,
        "Children compute in bfloat16 and keep their weights in float32: faster on GPUs from "
        "2020 on and on CPUs with AMX, where children are large. What is exported computes in "
        "float32 (chosen).",
    )
    jit_compile: Switch = option(
        False,
        "Compile each child's step with XLA: it takes seconds, and pays where trainings are long. "
        "JAX always does (chosen).",
    )
    latency: Switch = option(
        False,
        "Measure how long each trained child takes for one example, without the preprocessing in "
        "front of it, beside whatever else runs (chosen).",
    )
    deterministic: Switch = option(
        False,
        "The same seed gives the same run with any number of workers: each child has one thread "
        "(or --threads), and results are learned from in the order of the proposals. "
        "A worker may have to wait (chosen).",
    )
    in_flight: Count | None = option(
        None,
        "Architectures that are proposed before the first of them is learned from. Default: as "
        f"many as there are workers, {IN_FLIGHT} where the run is deterministic (chosen).",
        le=10_000,
    )

    @property
    def chosen(self) -> str:
        """The executor that was named, or the default one.

        Raises:
            PydanticCustomError: The variable names none.
        """
        return self.executor or str(executor_name(os.environ.get("RLNAS_EXECUTOR", "process")))

    @model_validator(mode="after")
    def _exact_or_compiled(self) -> "EngineConfig":
        if self.deterministic and self.jit_compile:
            sentence = (
                "XLA has no operations that give the same bits each time, got --jit-compile with "
                "--deterministic; leave one of them out"
            )
            raise refusal(sentence)
        return self

    @model_validator(mode="after")
    def _ray_alone(self) -> "EngineConfig":
        if self.ray_address is not None and self.chosen != "ray":
            sentence = (
                f"a cluster is for the executor ray, got --ray-address {self.ray_address} with the "
                f"executor {self.chosen}; add --executor ray or leave it out"
            )
            raise refusal(sentence)
        return self

    @model_validator(mode="after")
    def _gpus_of_workers(self) -> "EngineConfig":
        if self.chosen == "ray" and self.gpus not in (None, "all", "none"):
            raise refusal(
                f"Ray chooses GPUs itself, got --gpus {self.gpus}; leave it out, or take "
                "--gpus none"
            )
        if self.gpus == "none" and self.children_per_gpu is not None:
            raise refusal(
                f"got --children-per-gpu {self.children_per_gpu} with --gpus none; leave one of "
                "them out"
            )
        return self

    @model_validator(mode="after")
    def _limits_need_processes(self) -> "EngineConfig":
        given = [
            f"--{name.replace('_', '-')}"
            for name in ("isolate", "child_time_limit", "child_memory", "children_per_gpu")
            if getattr(self, name)
        ]
        if self.gpus not in (None, "none"):
            given.append(f"--gpus {self.gpus}")
        if (self.workers or 1) > 1:
            given.append(f"--workers {self.workers}")
        if self.chosen == EXTERNAL and (
            elsewhere := [each for each in given if each.startswith(_HERE)]
        ):
            raise refusal(
                f"children are trained elsewhere, got {elsewhere[0]} with --executor external; "
                "leave it out and see to it there"
            )
        if self.chosen == "inline" and given:
            sentence = (
                f"the inline executor trains one child at a time in its own process, got "
                f"{given[0]}; leave it out or take --executor process"
            )
            raise refusal(sentence)
        return self
