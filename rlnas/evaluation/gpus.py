"""The GPUs of this machine, and which of them children are trained on."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from rlnas.children.backend import keras
from rlnas.children.runtime import backend_sees_gpus
from rlnas.errors import ConfigError

_QUERY = ["--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
_TO_ANSWER = 20
"""Seconds within which the driver must answer (chosen: a sleeping GPU takes some)."""

_MEBIBYTE = 1.048576


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        number: Its number, as ``nvidia-smi`` counts.
        uuid: By which CUDA finds it.
        name: What its maker calls it.
        megabytes: Its memory.
    """

    number: int
    uuid: str
    name: str
    megabytes: float

    def environment(self) -> dict[str, str]:
        """Return the variables with which a process sees this GPU alone."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid}


HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1"}
"""The variables with which a process sees no GPU."""


def visible_gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that this process may use, as their driver lists them.

    Those that ``CUDA_VISIBLE_DEVICES`` leaves out do not count; where there is no driver there are
    none.
    """
    if (command := shutil.which("nvidia-smi")) is None:
        return ()
    try:
        told = subprocess.run(
            [command, *_QUERY], capture_output=True, text=True, timeout=_TO_ANSWER, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()  # a driver that does not work: as if there were none
    gpus = [gpu for line in told.splitlines() if (gpu := _read(line)) is not None]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return tuple(gpus)
    words = [word.strip() for word in allowed.split(",") if word.strip()]
    chosen = (gpu for word in words for gpu in gpus if _is(gpu, word))
    return tuple(dict.fromkeys(chosen))


def choose_gpus(asked: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that children are trained on.

    Args:
        asked: ``all``, ``none``, or numbers such as ``0,1``; None for all that the backend of Keras
            can use.

    Raises:
        ConfigError: A GPU is not there, or the backend cannot use it.
    """
    if asked == "none":
        return ()
    gpus = visible_gpus()
    if asked is None:
        return gpus if gpus and backend_sees_gpus() else ()
    where = "engine.gpus (--gpus)"
    if not gpus:
        raise ConfigError(
            f"{where}: this machine has no NVIDIA GPU that may be used, got {asked}; leave it out"
        )
    by_number = {gpu.number: gpu for gpu in gpus}
    wanted = list(by_number) if asked == "all" else [int(number) for number in asked.split(",")]
    if unknown := [number for number in wanted if number not in by_number]:
        listed = ", ".join(f"{gpu.number} ({gpu.name})" for gpu in gpus)
        raise ConfigError(
            f"{where}: there is no GPU {unknown[0]}, expected some of {listed}; see nvidia-smi"
        )
    if not backend_sees_gpus():
        raise ConfigError(
            f"{where}: the backend {keras.backend.backend()} cannot use the GPU as it is installed "
            f"here, got {asked}; install it with CUDA, for example tensorflow[and-cuda] or "
            "jax[cuda13], or leave it out"
        )
    return tuple(by_number[number] for number in dict.fromkeys(wanted))


def listed(gpus: Sequence[Gpu]) -> str:
    """Return GPUs in words, for example ``GPU 0 (NVIDIA H200)`` or ``GPUs 0 and 1 (...)``."""
    numbers = [str(gpu.number) for gpu in gpus]
    kinds = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
    if len(numbers) == 1:
        return f"GPU {numbers[0]} ({kinds})"
    return f"GPUs {', '.join(numbers[:-1])} and {numbers[-1]} ({kinds})"


def _read(line: str) -> Gpu | None:
    try:
        number, uuid, name, mebibytes = (part.strip() for part in line.split(","))
        return Gpu(int(number), uuid, name, float(mebibytes) * _MEBIBYTE)
    except ValueError:
        return None  # a line of another form, such as a warning


def _is(gpu: Gpu, word: str) -> bool:
    """Tell whether a word of ``CUDA_VISIBLE_DEVICES`` means a GPU."""
    return word == str(gpu.number) or (not word.isdigit() and gpu.uuid.startswith(word))
