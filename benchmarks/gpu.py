"""Children per minute on a GPU, one, several and many at a time, against a `fit` loop there.

The data is random, with the sizes of digits, Fashion-MNIST and CIFAR-10, for only time is measured.
All engines train the same architectures of the default space, 5 epochs on digits and 1 on the
others. What comes before the first child, imports and the start of workers, does not count. With
``KERAS_BACKEND=jax`` it measures JAX. Where the backend sees no GPU, the cores take its place, and
the table says so.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --sizes digits --children 40 --at-a-time 1,4,16
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from typing import Any

import numpy as np
from throughput import SEED, fit_loop, ready_workers, trained

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZES = {
    "digits": ((8, 8, 1), 1222, 5),
    "fashion_mnist": ((28, 28, 1), 10_000, 1),
    "cifar10": ((32, 32, 3), 10_000, 1),
}
"""Shape of an example, training examples and epochs."""

CLASSES, HELD_OUT = 10, 0.15
FIT = "fit loop"


def random_data(size: str) -> Any:
    """Return a data set of random pixels."""
    from rlnas.children.data import Data, sealed

    shape, count, _ = SIZES[size]
    rng, validation = np.random.default_rng(SEED), int(HELD_OUT * count)
    x = rng.integers(0, 256, (count + validation, *shape), dtype=np.uint8)
    y = rng.integers(0, CLASSES, len(x))
    x_val, y_val = x[count:], y[count:]
    names = tuple(map(str, range(CLASSES)))
    parts = (x[:count], y[:count], x_val, y_val, x_val, y_val)
    return sealed(Data(size, *parts, names, 1 / 255, ""))


def on_gpu(data: Any, count: int, epochs: int, at_a_time: int) -> Iterator[tuple[int, float]]:
    """Train with so many workers on the first GPU, or on the cores where there is none."""
    from rlnas.evaluation.gpus import choose_gpus
    from rlnas.evaluation.sizing import Work, choose_crew

    gpus = choose_gpus(None)[:1]
    crew = choose_crew(at_a_time, None, Work(), gpus, at_a_time if gpus else None)
    return trained(ready_workers(data, crew), data, count, epochs)


def child(engine: str, size: str, count: int) -> None:
    """Be one engine: print the seconds that all children took."""
    from rlnas.children.runtime import backend_sees_gpus

    data, epochs = random_data(size), SIZES[size][2]
    if engine == FIT:
        run = fit_loop(data, count, epochs)
    else:
        run = on_gpu(data, count, epochs, int(engine))
    next(run)
    began = time.perf_counter()
    children = len(list(run))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "children": children, "gpu": backend_sees_gpus()}))


def measured(engine: str, size: str, count: int) -> dict[str, Any]:
    """Run one engine in a process of its own and return what it printed."""
    words = ["--engine", engine, "--sizes", size, "--children", str(count)]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(SIZES), help="some of them, by commas")
    parser.add_argument("--children", type=int, default=32)
    parser.add_argument("--at-a-time", default="1,4,16", help="children on the GPU, by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.engine:
        child(chosen.engine, chosen.sizes, chosen.children)
        return
    found: dict[str, Any] = {}
    for size in chosen.sizes.split(","):
        for engine in (FIT, *chosen.at_a_time.split(",")):
            each = measured(engine, size, chosen.children)
            each["per_minute"] = 60 * each["children"] / each["seconds"]
            each["times"] = each["per_minute"] / found.get((size, FIT), each)["per_minute"]
            found[size, engine] = each
            print(f"{size}, {engine}: {each['seconds']:.1f} s", file=sys.stderr, flush=True)
    from rlnas.children.backend import keras
    from rlnas.evaluation.gpus import choose_gpus, listed

    backend = keras.backend.backend()
    gpus = choose_gpus(None)[:1]
    where = {
        "device": listed(gpus) if gpus else f"no GPU: {os.cpu_count()} cores",
        "versions": f"{backend} {version(backend)}, Keras {version('keras')}",
        "date": date.today().isoformat(),
    }
    if chosen.json:
        rows = [{"size": size, "engine": engine, **each} for (size, engine), each in found.items()]
        print(json.dumps({**where, "rows": rows}))
        return
    print(f"{', '.join(where.values())}\n")
    print("| data | children at a time | children a minute | times the fit loop |")
    print("|---|---|---|---|")
    for (size, engine), each in found.items():
        print(f"| {size} | {engine} | {each['per_minute']:.1f} | {each['times']:.2f} |")


if __name__ == "__main__":
    main()
