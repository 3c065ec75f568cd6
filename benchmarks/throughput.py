"""Children per minute of the engine, a plain Keras loop, KerasTuner and Optuna, on the same work.

Each trains the same architectures, drawn uniformly from the default space (or with ``--small`` from
one of small networks), with the same first weights, epochs, batch size, optimizer and data, in a
process of its own, one after the other. The time is that of all children; what comes before the
first, imports and the start of our workers, stands in a column of its own. Competitors use all
cores, as they do by default, and one worker of ours as many threads as `rlnas search` would give
it.

A second table says where the time of a child goes in a worker with one thread: building the model,
tracing its graphs, what TensorFlow does before the first step (optimising them), training,
validating. Training and validating alone are the limit of what an engine can reach.

    pip install keras-tuner optuna
    python benchmarks/throughput.py                        digits, 8 minutes on 2 cores
    python benchmarks/throughput.py --parts                where the time goes, alone
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
from statistics import median
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STARTED = time.perf_counter()

ENGINES = ("one worker", "two workers", "fit loop", "keras-tuner", "optuna")
PARTS = "parts"
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


FIRST_SEED = "RLNAS_FIRST_SEED"
"""Variable that holds the seed of the first child, for the processes of the engines."""


def child_seed(number: int) -> int:
    """Return the seed of the weights of a child, and in our engine of all that is random in it."""
    return int(os.environ.get(FIRST_SEED, SEED)) + number


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


READY = (-1, 0.0)
"""What an engine yields before its first child, when all has been imported and started."""


def recipe(epochs: int) -> Any:
    """Return the default recipe with so many epochs."""
    from rlnas.config import RecipeConfig

    return RecipeConfig(epochs=epochs)


def ready_workers(data: Any, crew: Any) -> Any:
    """Return an executor all of whose workers have started: they could not build a first child."""
    from rlnas.evaluation import Job
    from rlnas.evaluation.process import ProcessExecutor, ProcessSettings
    from rlnas.evaluation.training import TrainingEvaluator
    from rlnas.spaces import Architecture

    settings = ProcessSettings(
        workers=crew.workers, threads=crew.threads, environments=crew.environments()
    )
    executor = ProcessExecutor(TrainingEvaluator(data), settings)
    impossible = Architecture((), (), (), 0)
    for worker in range(crew.workers):
        executor.submit(Job(-1 - worker, "", impossible, recipe(1), SEED))
    ready = 0
    while ready < crew.workers:
        ready += len(executor.completed())
    return executor


def trained(executor: Any, data: Any, count: int, epochs: int) -> Iterator[tuple[int, float]]:
    """Train with workers that are ready, and close them."""
    from rlnas.evaluation import Job

    yield READY
    for number, architecture in enumerate(architectures(data, count)):
        job = Job(number, str(number), architecture, recipe(epochs), child_seed(number))
        executor.submit(job)
    while results := executor.completed():
        for result in results:
            yield result.job.id, result.outcome.val_accuracy[-1]
    executor.close()


def with_workers(workers: int) -> Callable[[Any, int, int], Iterator[tuple[int, float]]]:
    """Return what trains with so many worker processes."""

    def run(data: Any, count: int, epochs: int) -> Iterator[tuple[int, float]]:
        from rlnas.evaluation.sizing import choose_crew
        from rlnas.search.setup import usual_work
        from rlnas.spaces import ImageSpace

        space = ImageSpace(data.input_shape, data.classes)
        crew = choose_crew(workers, None, usual_work(space, data, recipe(epochs)))
        yield from trained(ready_workers(data, crew), data, count, epochs)

    return run


def compiled(data: Any, architecture: Any, epochs: int, number: int) -> Any:
    """Return the model of an architecture as a user would compile it, with the weights of ours."""
    import keras

    from rlnas.children.decoder import decode
    from rlnas.children.recipes import batch_norm_momentum, make_optimizer

    count = len(data.x_train)
    keras.utils.set_random_seed(child_seed(number))
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

    networks = architectures(data, count)
    yield READY
    for number, architecture in enumerate(networks):
        yield number, fitted(compiled(data, architecture, epochs, number), data, epochs)
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
            number = min(len(found), count - 1)
            return compiled(data, networks[number], epochs, number)

        def fit(self, hp: Any, model: Any, *args: Any, **given: Any) -> Any:
            history = super().fit(hp, model, *args, **given)
            found.append(float(history.history["val_accuracy"][-1]))
            told(len(found))
            return history

    yield READY
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
        number = trial.number
        return fitted(compiled(data, networks[number], epochs, number), data, epochs)

    yield READY
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
    if engine == PARTS:
        print(json.dumps(parts(data, count, epochs)))
        return
    keras.utils.set_random_seed(SEED)
    run = RUN[engine](data, count, epochs)
    next(run)
    began = time.perf_counter()
    accuracies = dict(run)
    print(
        json.dumps(
            {
                "start": began - STARTED,
                "seconds": time.perf_counter() - began,
                "accuracies": [accuracies[number] for number in range(count)],
            }
        )
    )


def parts(data: Any, count: int, epochs: int) -> dict[str, float]:
    """Return the mean seconds of each part of a child, in this process with one thread."""
    import tensorflow as tf

    from rlnas.children import graph_training
    from rlnas.children.feeds import ResidentFeed
    from rlnas.children.recipes import make_optimizer, steps_per_epoch
    from rlnas.children.runtime import prepare
    from rlnas.cost import network_cost
    from rlnas.evaluation.training import TrainingEvaluator

    prepare(1)
    evaluator, how = TrainingEvaluator(data), recipe(epochs)
    tensors = [tf.convert_to_tensor(x) for x in (data.x_train, data.y_train, data.x_val)]
    feed = ResidentFeed((*tensors, tf.convert_to_tensor(data.y_val)), how.batch_size)
    order, zero, nats = tf.range(len(data.x_train)), tf.constant(0), tf.constant(0.0)
    steps = tf.constant(steps_per_epoch(how, len(data.x_train)))
    spent = dict.fromkeys(("build", "trace", "optimise", "train", "validate"), 0.0)
    for number, architecture in enumerate(architectures(data, count + 1)):
        marks = [time.perf_counter()]
        model = evaluator.build(architecture, how, SEED + number)
        marks.append(time.perf_counter())
        cost = network_cost(architecture.layers, architecture.input_shape, data.classes)
        with graph_training.optimised(cost.flops, len(data.x_train), epochs):
            optimizer = make_optimizer(how, len(data.x_train), model)
            learn, look = graph_training.graphs(
                model, optimizer, how, data, feed, jit_compile=False
            )
            source = feed.training(order)
            learn.get_concrete_function(source, zero, zero, nats)
            look.get_concrete_function(feed.validation())
            marks.append(time.perf_counter())
            float(learn(source, zero, zero, nats))  # no step
            marks.append(time.perf_counter())
            for _ in range(epochs):
                float(learn(source, zero, steps, nats))
            marks.append(time.perf_counter())
            for _ in range(epochs):
                float(look(feed.validation())[0])
            marks.append(time.perf_counter())
        if number:  # TensorFlow's own start counts for no child
            for name, seconds in zip(spent, np.diff(marks), strict=True):
                spent[name] += seconds / count
    return spent


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
    parser.add_argument(
        "--first-seed",
        type=int,
        default=SEED,
        help="seed of the first child's weights; that of the architectures stays",
    )
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of them, by commas")
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help="so often each engine in turn; the table has the medians, and each ratio's span",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parts", action="store_true", help="only where a child's time goes")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.engine:
        child(chosen.engine, chosen.dataset, chosen.samples, chosen.children, chosen.epochs)
        return
    os.environ[FIRST_SEED] = str(chosen.first_seed)
    if chosen.small:
        os.environ[SMALL_ONES] = "1"
    words = ["--dataset", chosen.dataset, "--children", str(chosen.children)]
    words += ["--epochs", str(chosen.epochs)]
    words += ["--samples", str(chosen.samples)] if chosen.samples else []
    found: dict[str, dict[str, Any]] = {}
    for _ in range(chosen.rounds):
        for engine in [] if chosen.parts else chosen.engines.split(","):
            one = measured(engine, words)
            found.setdefault(engine, {**one, "rounds": []})["rounds"].append(one["seconds"])
            print(f"{engine}: {one['seconds']:.1f} s", file=sys.stderr, flush=True)
    spent = measured(PARTS, words)
    base = found.get("keras-tuner", next(iter(found.values()), None))
    for each in found.values():
        each["seconds"] = median(each["rounds"])
        each["per_minute"] = 60 * chosen.children / each["seconds"]
        ratios = [b / a for a, b in zip(each["rounds"], base["rounds"], strict=True)]
        each["times"], each["span"] = median(ratios), (min(ratios), max(ratios))
        each["apart"] = apart(each["accuracies"], base["accuracies"])
    if chosen.json:
        print(json.dumps({"engines": found, "parts": spent}))
        return
    if found:
        print("| engine | start, s | children a minute | times | accuracy less KerasTuner's |")
        print("|---|---|---|---|---|")
    for engine, each in found.items():
        gap = each["apart"]
        interval = f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        times = f"{each['times']:.2f}"
        if chosen.rounds > 1:
            times += " ({:.2f} to {:.2f})".format(*each["span"])
        speed = f"{each['start']:.1f} | {each['per_minute']:.1f} | {times}"
        print(f"| {engine} | {speed} | {interval} |")
    whole = sum(spent.values())
    print("\n| part of a child | seconds | share |\n|---|---|---|")
    for part, seconds in spent.items():
        print(f"| {part} | {seconds:.3f} | {seconds / whole:.0%} |")
    alone = spent["train"] + spent["validate"]
    print(f"| all | {whole:.3f} | {whole / alone:.2f} times training and validating alone |")


if __name__ == "__main__":
    main()
