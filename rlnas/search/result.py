"""What a search came to, read from its run folder; loads no Keras until a model is asked for."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnas.config import FinalConfig, ObjectiveConfig, RecipeConfig
from rlnas.errors import RunError, SpaceError
from rlnas.objectives import ACCURACY, Objective
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, LONG, REFIT, RUNNING, Contender, Journal, Trial
from rlnas.search.progress import best_of
from rlnas.search.summary import best_trial, find_trial
from rlnas.spaces import Space, space_from_json


@dataclass(frozen=True, slots=True)
class Best:
    """The best architecture of a run.

    Attributes:
        trial: Number of its trial.
        tokens: Its token sequence.
        val_accuracy: After the long training, or of the search while there was none.
        test_accuracy: After the long training; None while there was none.
        params: Number of weights.
        architecture: Path of its Keras JSON.
        layers: Its layers in one line.
        test_metric: Of the test part, the metric that is rewarded, where it is not the accuracy.
        cost: What it costs, where a cost counts in the reward.
    """

    trial: int
    tokens: tuple[int, ...]
    val_accuracy: float
    test_accuracy: float | None
    params: int
    architecture: Path
    layers: str
    test_metric: float | None = None
    cost: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "trial": self.trial,
            "tokens": list(self.tokens),
            "val_accuracy": self.val_accuracy,
            "test_accuracy": self.test_accuracy,
            "test_metric": self.test_metric,
            "cost": self.cost,
            "params": self.params,
            "architecture": str(self.architecture),
            "layers": self.layers,
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to.

    Attributes:
        run: Name of the run.
        folder: Its folder.
        status: ``done``, or how far it is: ``searching`` or ``retraining``.
        controller: Name of the controller.
        dataset: Name of the data set.
        seed: Seed of the run.
        seconds: Time the search and the retraining took.
        trials: All trials in the order of their numbers.
        brief: Reference and baseline, trained as in the search.
        retrained: The top K, reference and baseline after the long training.
        best: The best architecture; None while no trial has ended well.
        python: It needs objects that only the user's own Python has, also to go on.
        test_examples: How many examples the test accuracy is of.
        conditions: What must be equal in two runs that are compared.
        control: The control run, as far as it is; None where none was asked for.
        score: What the accuracies are: ``accuracy``, or ``r2`` where a number is predicted.
    """

    run: str
    folder: Path
    status: str
    controller: str
    dataset: str
    seed: int
    seconds: float
    trials: tuple[Trial, ...]
    brief: tuple[Contender, ...]
    retrained: tuple[Contender, ...]
    best: Best | None
    python: bool
    test_examples: int
    conditions: Mapping[str, Any]
    control: "SearchResult | None" = None
    score: str = ACCURACY

    @property
    def metric(self) -> str:
        """The metric that is rewarded."""
        return str(self.conditions["objective.metric"])

    @property
    def model(self) -> Any:
        """The best Keras model with its trained weights.

        Raises:
            RunError: The run has no exported model yet.
        """
        path = self.folder / "best" / "model.keras"
        if not path.is_file():
            raise RunError(f"{self.run} has no exported model yet; resume the run")
        from rlnas.children.backend import keras

        return keras.models.load_model(path)

    def to_json(self, *, history: bool = False) -> dict[str, Any]:
        """Return the result as JSON, with each trial if asked for."""
        record: dict[str, Any] = {
            "run": self.run,
            "folder": str(self.folder),
            "status": self.status,
            "controller": self.controller,
            "dataset": self.dataset,
            "seed": self.seed,
            "trials": sum(trial.state != RUNNING for trial in self.trials),
            "seconds": round(self.seconds, 3),
            "best": self.best.to_json() if self.best else None,
            "reference": self._beside("reference"),
            "baseline": self._beside("baseline"),
            "retrained": [self._contender(entry) for entry in self.retrained if entry.rank],
        }
        if history:
            record["history"] = [_trial(trial) for trial in self.trials]
        return record

    def _beside(self, name: str) -> dict[str, Any] | None:
        found = [entry for entry in (*self.brief, *self.retrained) if entry.name == name]
        if not found:
            return None
        record: dict[str, Any] = {"params": None, "brief_val_accuracy": None}
        for entry in found:
            if entry.metrics:
                record["params"] = entry.metrics.params
            if entry.phase == BRIEF:
                record["brief_val_accuracy"] = entry.val_accuracy
            else:
                record["val_accuracy"] = entry.val_accuracy
                record["test_accuracy"] = entry.test_accuracy
                record["test_metric"] = entry.test_metric(self.metric)
        return record

    def _contender(self, entry: Contender) -> dict[str, Any]:
        return {
            "trial": entry.trial,
            "rank": entry.rank,
            "state": entry.state,
            "reason": entry.reason,
            "val_accuracy": entry.val_accuracy,
            "test_accuracy": entry.test_accuracy,
            "test_metric": entry.test_metric(self.metric),
        }


def read_result(folder: RunFolder) -> SearchResult:
    """Read what a run has come to so far.

    Raises:
        RunError: There is no such run, or its journal is damaged.
    """
    journal = folder.open()
    with closing(journal), journal.reading():
        return _read(folder, journal)


def read_space(folder: RunFolder) -> Mapping[str, Any]:
    """Read the JSON of the space of a run.

    Raises:
        RunError: There is no such run, or its journal is damaged.
    """
    journal = folder.open()
    with closing(journal), journal.reading():
        space: Mapping[str, Any] = journal.meta()["space"]
        return space


def _read(folder: RunFolder, journal: Journal) -> SearchResult:
    meta, trials = journal.meta(), tuple(journal.trials())
    retrained = tuple(journal.contenders(LONG))
    config = meta["config"]
    return SearchResult(
        run=folder.name,
        folder=folder.path,
        status=meta["status"],
        controller=config["controller"]["name"],
        dataset=meta["data"]["name"],
        seed=config["seed"],
        seconds=_seconds(trials, journal),
        trials=trials,
        brief=tuple(journal.contenders(BRIEF)),
        retrained=retrained,
        best=_best(folder, trials, retrained, meta),
        python=bool(meta["own"]),
        test_examples=meta["data"]["test"],
        conditions=_conditions(meta),
        control=_control(folder, config),
        score=meta["data"].get("score", ACCURACY),  # earlier runs lack it
    )


def _conditions(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal in two runs that are compared."""
    config = meta["config"]
    # Runs of earlier versions lack some fields.
    recipe, final = RecipeConfig(**config["recipe"]), FinalConfig(**config["final"])
    objective = ObjectiveConfig(**config["objective"])
    return {
        "data": f"{meta['data']['name']} ({meta['data']['fingerprint']})",
        "space": meta["space_fingerprint"],
        "evaluator": meta["evaluator"],
        **{f"recipe.{name}": value for name, value in recipe},
        **{f"objective.{name}": value for name, value in objective},
        "data.train_samples": config["data"]["train_samples"],
        "data.final_samples": config["data"]["final_samples"],
        **{f"final.{name}": value for name, value in final},
    }


def _control(folder: RunFolder, config: Mapping[str, Any]) -> SearchResult | None:
    """Return the control run of a run, if it was asked for and has begun."""
    if config["control"] is None or not folder.control.journal.is_file():
        return None
    return read_result(folder.control)


def _best(
    folder: RunFolder, trials: tuple[Trial, ...], retrained: tuple[Contender, ...], meta: Any
) -> Best | None:
    chosen = best_of(trials)
    if meta["status"] == "done":
        chosen = next(trial for trial in trials if trial.id == meta["best_trial"])
    layers = "" if chosen is None else _layers(chosen, meta["space"])
    return _described(folder, chosen, layers, retrained, meta)


def read_best(folder: RunFolder, journal: Journal, space: Space | None) -> Best | None:
    """Read the best architecture of a run so far, and nothing else.

    Args:
        folder: Its folder.
        journal: Its journal.
        space: Its space; None for one of the user's own Python.

    Raises:
        RunError: Its journal is damaged.
    """
    meta = journal.meta()
    ended = meta["status"] == "done"
    chosen = find_trial(journal, meta["best_trial"]) if ended else best_trial(journal)
    if chosen is None:
        return None
    layers = chosen.key if space is None else space.architecture(chosen.tokens).describe()
    return _described(folder, chosen, layers, tuple(journal.contenders(LONG)), meta)


def _described(
    folder: RunFolder,
    chosen: Trial | None,
    layers: str,
    retrained: tuple[Contender, ...],
    meta: Any,
) -> Best | None:
    entry: Contender | None = None
    if meta["status"] == "done":
        named = (entry for entry in retrained if entry.trial == meta["best_trial"] is not None)
        entry = next(named, None)  # nothing is retrained where children are trained elsewhere
    if chosen is None or chosen.metrics is None:
        return None
    objective = meta["config"]["objective"]
    brief_accuracy = Objective(objective["last_epochs"]).accuracy(chosen.metrics)
    measured = chosen.metrics if entry is None or entry.metrics is None else entry.metrics
    cost = objective.get("cost")  # runs of earlier versions lack it, and the metric
    return Best(
        trial=chosen.id,
        tokens=chosen.tokens,
        val_accuracy=brief_accuracy if entry is None else float(entry.val_accuracy or 0.0),
        test_accuracy=None if entry is None else entry.test_accuracy,
        params=chosen.metrics.params,
        architecture=folder.best / "architecture.json",
        layers=layers,
        test_metric=None if entry is None else entry.test_metric(objective.get("metric", ACCURACY)),
        cost=None if cost is None else float(getattr(measured, cost)),
    )


def _layers(trial: Trial, space: Mapping[str, Any]) -> str:
    try:
        return space_from_json(space).architecture(trial.tokens).describe()
    except SpaceError:  # a space of the user's own
        return trial.key


def _seconds(trials: tuple[Trial, ...], journal: Journal) -> float:
    state = journal.state()
    searching = float(state["counters"]["seconds"]) if state else 0.0
    after = [*journal.contenders(LONG), *journal.contenders(REFIT)]
    return searching + sum(entry.metrics.seconds for entry in after if entry.metrics)


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.id,
        "tokens": list(trial.tokens),
        "seed": trial.seed,
        "state": trial.state,
        "reward": trial.reward,
        "reason": trial.reason,
        "key": trial.key,
        "metrics": trial.metrics.to_json() if trial.metrics else None,
    }
