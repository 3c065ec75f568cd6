"""Children per minute of the engine, a plain Keras loop, KerasTuner and Optuna, on the same work.

Each trains the same architectures, drawn uniformly from the default space (or with ``--small`` from
one of small networks), with the same epochs, batch size, optimizer and data, in a process of its
own, one after the other. The time is that of all children, without the imports of that process;
the start of our workers, who import Keras anew, counts. Competitors use all cores, as they do by
default.

    pip install keras-tuner optuna
    python benchmarks/throughput.py                        digits, 8 minutes on 2 cores
    python benchmarks/throughput.py --small                small children, 6 minutes
    python benchmarks/throughput.py --dataset fashion_mnist --samples 10000 --epochs 2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ENGINES = ("one worker", "two workers", "fit loop", "keras-tuner", "optuna")
SEED = 0
SMALL = {
    "max_layers": 5,
    "choices": {
        "conv.filters": [8, 16, 32],
        "sepconv.filters": [8, 16, 32],
        "dense.units": [32, 64],
    },
}
"""The options of a space of children as small as digits needs."""

SMALL_ONES = "RLNAS_SMALL_CHILDREN"
"""Variable that says that children are to be small; the processes of the engines see it."""


def architectures(data: Any, count: int) -> list[Any]:
    """Return different networks of the default space, drawn uniformly."""
    from rlnas.controllers import uniform
    from rlnas.spaces import ImageSpace

    options: dict[str, Any] = SMALL if os.environ.get(SMALL_ONES) else {}
    space = ImageSpace(data.input_shape, data.classes, **options)
    rng = np.random.default_rng(SEED)
    found: dict[str, Any] = {}
    while len(found) < count:
        architecture = space.architecture(uniform(space, rng))
        found.setdefault(space.key(architecture), architecture)
    return list(found.values())


def recipe(epochs: int) -> Any:
    """Return the default recipe with so many epochs."""
    from rlnas.config import RecipeConfig

    return RecipeConfig(epochs=epochs)


def with_workers(workers: int) -> Callable[[Any, int, int], Iterator[tuple[int, float]]]:
    """Return what trains with so many worker processes."""

    def run(data: Any, count: int, epochs: int) -> Iterator[tuple[int, float]]:
        from rlnas.children.machine import available_cores
        from rlnas.evaluation import Job
        from rlnas.evaluation.process import ProcessExecutor, ProcessSettings
        from rlnas.evaluation.training import TrainingEvaluator

        threads = max(1, available_cores() // workers)
        settings = ProcessSettings(workers=workers, threads=threads)
        executor = ProcessExecutor(TrainingEvaluator(data), settings)
        for number, architecture in enumerate(architectures(data, count)):
            executor.submit(Job(number, str(number), architecture, recipe(epochs), SEED + number))
        while results := executor.completed():
            for result in results:
                yield result.job.id, result.outcome.val_accuracy[-1]
        executor.close()

    return run


def compiled(data: Any, architecture: Any, epochs: int) -> Any:
    """Return the model of an architecture as a user would compile it."""
    from rlnas.children.decoder import decode
    from rlnas.children.recipes import batch_norm_momentum, make_optimizer

    count = len(data.x_train)
    momentum = batch_norm_momentum(recipe(epochs), count)
    model = decode(architecture, scale=data.scale, batch_norm_momentum=momentum)
    model.compile(
        optimizer=make_optimizer(recipe(epochs), count),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def options(data: Any, epochs: int) -> dict[str, Any]:
    """Return what `fit` is told beside the training part."""
    return {
        "batch_size": recipe(epochs).batch_size,
        "epochs": epochs,
        "validation_data": (data.x_val, data.y_val),
        "verbose": 0,
    }


def fitted(model: Any, data: Any, epochs: int) -> float:
    """Return the last validation accuracy of `fit`."""
    history = model.fit(data.x_train, data.y_train, **options(data, epochs)).history
    return float(history["val_accuracy"][-1])


def fit_loop(data: Any, count: int, epochs: int) -> Iterator[tuple[int, float]]:
    """Train one after the other, and clear the session."""
    import keras

    for number, architecture in enumerate(architectures(data, count)):
        yield number, fitted(compiled(data, architecture, epochs), data, epochs)
        keras.backend.clear_session()


def keras_tuner(
    data: Any, count: int, epochs: int, told: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[int, float]]:
    """Let KerasTuner's RandomSearch train them, one per trial; tell how many have ended."""
    import keras_tuner

    networks, found = architectures(data, count), []

    class Model(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            hp.Float("number", 0, 1)  # so that no two trials are the same to it
            return compiled(data, networks[min(len(found), count - 1)], epochs)

        def fit(self, hp: Any, model: Any, *args: Any, **given: Any) -> Any:
            history = super().fit(hp, model, *args, **given)
            found.append(float(history.history["val_accuracy"][-1]))
            told(len(found))
            return history

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            Model(), objective="val_accuracy", max_trials=count, seed=SEED, directory=folder
        )
        tuner.search(data.x_train, data.y_train, **options(data, epochs))
    yield from enumerate(found)


def optuna_loop(data: Any, count: int, epochs: int) -> Iterator[tuple[int, float]]:
    """Train one per trial of an Optuna study, and clear the session, as its examples do."""
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    networks = architectures(data, count)

    def objective(trial: Any) -> float:
        keras.backend.clear_session()
        return fitted(compiled(data, networks[trial.number], epochs), data, epochs)

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=SEED)
    )
    study.optimize(objective, n_trials=count)
    yield from ((trial.number, float(trial.value)) for trial in study.trials)


RUN: dict[str, Callable[[Any, int, int], Iterator[tuple[int, float]]]] = {
    "one worker": with_workers(1),
    "two workers": with_workers(2),
    "fit loop": fit_loop,
    "keras-tuner": keras_tuner,
    "optuna": optuna_loop,
}


def child(engine: str, dataset: str, samples: int | None, count: int, epochs: int) -> None:
    """Be one engine: print what it took as JSON."""
    import keras

    from rlnas.children.datasets import load_data
    from rlnas.config import DataConfig

    data = load_data(None, DataConfig(dataset=dataset), SEED).sampled(samples, SEED)
    keras.utils.set_random_seed(SEED)
    began = time.perf_counter()
    accuracies = dict(RUN[engine](data, count, epochs))
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "accuracies": [accuracies[number] for number in range(count)],
            }
        )
    )


def measured(engine: str, words: list[str]) -> dict[str, Any]:
    """Run one engine in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, __file__, "--engine", engine, *words],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def apart(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return the mean of the paired differences with its 95 % interval."""
    from scipy import stats

    gaps = np.array(ours) - np.array(theirs)
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return {"mean": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--samples", type=int, help="training examples. Default: all")
    parser.add_argument("--children", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--small", action="store_true", help="children of at most 5 layers and 32 filters"
    )
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of them, by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.engine:
        child(chosen.engine, chosen.dataset, chosen.samples, chosen.children, chosen.epochs)
        return
    if chosen.small:
        os.environ[SMALL_ONES] = "1"
    words = ["--dataset", chosen.dataset, "--children", str(chosen.children)]
    words += ["--epochs", str(chosen.epochs)]
    words += ["--samples", str(chosen.samples)] if chosen.samples else []
    found = {}
    for engine in chosen.engines.split(","):
        found[engine] = measured(engine, words)
        print(f"{engine}: {found[engine]['seconds']:.1f} s", file=sys.stderr, flush=True)
    base = found.get("keras-tuner", found[next(iter(found))])
    for each in found.values():
        each["per_minute"] = 60 * chosen.children / each["seconds"]
        each["times"] = base["seconds"] / each["seconds"]
        each["apart"] = apart(each["accuracies"], base["accuracies"])
    if chosen.json:
        print(json.dumps(found))
        return
    print("| engine | children a minute | times KerasTuner | accuracy less KerasTuner's |")
    print("|---|---|---|---|")
    for engine, each in found.items():
        gap = each["apart"]
        interval = f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        print(f"| {engine} | {each['per_minute']:.1f} | {each['times']:.2f} | {interval} |")


if __name__ == "__main__":
    main()
