"""Settings of the backend that must be made before it first computes."""

import importlib.util
import logging
import os
import sys
from contextlib import suppress

from rlnas.children.backend import keras
from rlnas.children.machine import available_cores


def backend_sees_gpus() -> bool:
    """Tell whether Keras's backend can use GPUs as it is installed here."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return bool(tf.config.list_physical_devices("GPU"))
        case "jax":
            plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
            return any(importlib.util.find_spec(plugin) for plugin in plugins)
        case "torch":
            return bool(sys.modules["torch"].cuda.is_available())  # Keras has imported it
    return False


def prepare(threads: int | None, *, deterministic: bool = True, gpus: bool = True) -> int:
    """Make the backend repeatable and set its threads; return the number of threads.

    With TensorFlow and JAX, operations become deterministic, the thread pools get the given
    size, and a GPU's memory is taken as it is needed. Once the backend has computed in this
    process, its threads and memory stay as they are. Other backends are left alone.

    Args:
        threads: Threads of one operation; None for as many as there are cores.
        deterministic: Whether operations give the same bits each time; XLA below TensorFlow has
            no such poolings, and refuses then.
        gpus: Whether this process may compute on GPUs; if not, it takes none of their memory.

    Returns:
        The threads that are really used, with TensorFlow; else those that were asked for.
    """
    count = threads or available_cores()
    match keras.backend.backend():
        case "tensorflow":
            return _prepare_tensorflow(count, deterministic=deterministic, gpus=gpus)
        case "jax":
            _prepare_jax(count, gpus=gpus)
    return count


def _prepare_jax(threads: int, *, gpus: bool) -> None:
    """Set what JAX reads when it first computes."""
    import jax

    if not gpus or os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    os.environ["PJRT_NPROC"] = str(threads)  # the only knob for its threads on the CPU
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def _prepare_tensorflow(threads: int, *, deterministic: bool, gpus: bool) -> int:
    import tensorflow as tf

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # each child is traced anew, rightly
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    with suppress(RuntimeError):  # TensorFlow has run in this process and keeps what it has
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        if not gpus:
            tf.config.set_visible_devices([], "GPU")
        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    count: int = tf.config.threading.get_intra_op_parallelism_threads()
    return count or available_cores()  # 0 is TensorFlow's word for all cores
