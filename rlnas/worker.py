"""A worker: asks a server for trials, trains them on its own data, and tells what came out."""

import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data, sealed
from rlnas.client import Client, LeasedTrial, RefusedError, RemoteSearch, ServerError
from rlnas.config import RecipeConfig
from rlnas.errors import DataError
from rlnas.evaluation import Job
from rlnas.evaluation.process import ProcessExecutor, ProcessSettings
from rlnas.evaluation.training import TrainingEvaluator, TrainingSettings
from rlnas.objectives import Failure, Metrics
from rlnas.search.stopping import stopping_by_signal
from rlnas.spaces import Architecture

_LEASE = 60.0
"""Seconds of a lease (chosen); it is kept three times as often."""

_WAIT = 10.0
"""Seconds to wait at the server where nothing is free (chosen)."""

_INVALID = 422
"""HTTP status of a body with a wrong field."""

_TOLD = ("seconds", "peak_memory", "latency", "size", "params", "stopped")


@dataclass(slots=True)
class _Held:
    """A trial under way."""

    trial: LeasedTrial
    kept: float


class NetworkEvaluator(TrainingEvaluator):
    """Trains networks that come as Keras JSON, in the place of a name of their own."""

    def build(self, architecture: Architecture, recipe: RecipeConfig, seed: int) -> keras.Model:
        """Return the untrained network; Keras's global seed is set before."""
        keras.utils.set_random_seed(seed)
        return keras.models.model_from_json(architecture.text)


class Worker:
    """Trains trials of one search until it ends.

    Args:
        search: The search, whose executor is ``external``.
        data: The data set, as the search describes it.
        settings: Processes and their limits.
        training: How children are trained beside their recipe.
        tell: Is told what happens, in lines.
    """

    def __init__(
        self,
        search: RemoteSearch,
        data: Data,
        settings: ProcessSettings,
        training: TrainingSettings,
        tell: Callable[[str], None],
    ) -> None:
        """See the class."""
        self._search, self._settings, self._tell = search, settings, tell
        self._data = scaled(data)
        self._evaluator = NetworkEvaluator(self._data, settings=training)
        self._name = f"{platform.node()[:60] or 'worker'}-{time.time_ns() % 1_000_000:06d}"
        self._held: dict[int, _Held] = {}
        self._number = 0
        self.trained = 0

    def run(self, most: int | None = None) -> int:
        """Train until the search ends; return how many trials were trained.

        A stop by the user gives the trials under way back.

        Args:
            most: Trials after which to stop; None for all.

        Raises:
            RefusedError: There is no such search, or it trains by itself.
            DataError: The networks of the search are not for this data.
            ServerError: The server did not answer for a minute.
        """
        try:
            return self._run(most)
        finally:
            for held in self._held.values():
                with suppress(ServerError):
                    held.trial.give_back()

    def _run(self, most: int | None) -> int:
        with (
            closing(ProcessExecutor(self._evaluator, self._settings)) as executor,
            stopping_by_signal(),
        ):
            ended = False
            while True:
                free = self._settings.workers - len(self._held)
                if most is not None:
                    free = min(free, most - self.trained - len(self._held))
                if free > 0 and not ended:
                    ended = self._ask(executor, free)
                if not self._held and (ended or (most is not None and self.trained >= most)):
                    return self.trained
                if self._held:
                    for result in executor.poll():
                        self._conclude(result.job.id, result.outcome)
                    self._keep(executor)

    def _ask(self, executor: ProcessExecutor, count: int) -> bool:
        """Ask for trials; return whether none will come any more."""
        wait = 0.0 if self._held else _WAIT
        trials, ended = self._search.ask(count, worker=self._name, seconds=_LEASE, wait=wait)
        first = self._number + 1
        self._number += len(trials)
        held = {
            number: _Held(trial, time.monotonic()) for number, trial in enumerate(trials, first)
        }
        self._held |= held
        for number, trial in enumerate(trials, first):
            self._check_fits(trial)
            text = json.dumps(trial.architecture)
            network = Architecture(trial.tokens, (), (), 0, text=text)
            recipe = RecipeConfig.model_validate(dict(trial.recipe))
            executor.submit(
                Job(number, trial.name, network, recipe, trial.seed, floors=trial.floors)
            )
            self._tell(f"{trial.name}  {trial.description}")
        return ended

    def _check_fits(self, trial: LeasedTrial) -> None:
        """Check that a network takes the examples of this worker and names its classes.

        Raises:
            DataError: It does not, so that another worker is to have it.
        """
        name = self._search.name
        if trial.architecture is None:
            raise DataError(
                f"{name} searches a table of networks, which have no Keras JSON; rlnas worker "
                "trains Keras networks, so look its trials up with rlnas.Client"
            )
        expected, data = _shapes(trial.architecture), self._data
        got = (tuple(data.x_train.shape[1:]), data.classes)
        if expected is not None and expected != got:
            raise DataError(
                f"{name} searches networks for examples of shape {expected[0]} and {expected[1]} "
                f"classes, got data with {got[0]} and {got[1]}; name the right --dataset"
            )

    def _conclude(self, number: int, outcome: Metrics | Failure) -> None:
        trial = self._held.pop(number).trial
        self.trained += 1
        try:
            if isinstance(outcome, Failure):
                trial.fail(outcome.reason)
                self._tell(f"{trial.name}  failed: {outcome.reason}")
                return
            trial.tell(outcome.val_accuracy, **_told(outcome))
            self._tell(f"{trial.name}  {outcome.val_accuracy[-1]:.4f}  {outcome.seconds:.1f}s")
        except RefusedError as error:
            if error.status == _INVALID:  # it would be refused of the next worker too
                with suppress(RefusedError):
                    trial.fail(f"what was measured is not what the search rewards: {error}")
            self._tell(f"{trial.name}  not taken: {error}")

    def _keep(self, executor: ProcessExecutor) -> None:
        now = time.monotonic()
        for number, held in list(self._held.items()):
            if now - held.kept < _LEASE / 3:
                continue
            held.kept = now
            try:
                reason = held.trial.keep()
            except RefusedError as error:  # the search is gone, or its lease
                reason = str(error)
            if reason:
                executor.drop(number)
                del self._held[number]
                self._tell(f"{held.trial.name}  given up: {reason}")


def _shapes(network: Mapping[str, Any]) -> tuple[tuple[int, ...], int] | None:
    """Return the shape of an example and the number of classes of a network with one input."""
    layers = [layer["config"] for layer in network["config"]["layers"]]
    inputs = [each["batch_shape"] for each in layers if "batch_shape" in each]
    units = [each["units"] for each in layers if "units" in each]
    if len(inputs) != 1 or not units:
        return None
    return tuple(inputs[0][1:]), int(units[-1])


def scaled(data: Data) -> Data:
    """Return data whose images are as a network takes them that scales nothing itself."""
    if data.inputs is not None:
        return data
    factor = np.float32(data.scale)
    parts = {
        name: getattr(data, name).astype(np.float32) * factor
        for name in ("x_train", "x_val", "x_test")
    }
    return sealed(replace(data, scale=1.0, **parts))


def connect(server: str, token: str | None, search: str) -> tuple[Client, RemoteSearch]:
    """Return a client and the search of a name.

    Raises:
        RefusedError: There is no such search, or it trains by itself.
        ServerError: The server does not answer.
    """
    client = Client(server, token)
    found = client.search(search)
    found.show()
    return client, found


def _told(metrics: Metrics) -> dict[str, Any]:
    record = {name: getattr(metrics, name) for name in _TOLD}
    finite = {name: value for name, value in metrics.extra.items() if np.isfinite(value)}
    curves = {
        name: list(getattr(metrics, name))
        for name in ("val_loss", "loss")
        if np.isfinite(getattr(metrics, name)).all()
    }
    return {**record, **curves, "extra": finite}
