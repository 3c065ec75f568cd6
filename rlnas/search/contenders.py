"""Models trained beside the trials: reference, the user's baseline, and the retrained top K."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rlnas.children.backend import keras
from rlnas.children.figures import figure
from rlnas.children.training import score
from rlnas.children.weights import load_weights
from rlnas.config import RecipeConfig
from rlnas.errors import NoValidChildError, RunError
from rlnas.evaluation import Executor, InlineExecutor, Job, Outcome, child_seed
from rlnas.evaluation.training import WEIGHTS, TrainingEvaluator
from rlnas.objectives import ACCURACY, Failure, Objective
from rlnas.search.baseline import fresh_copy, model_fingerprint
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, DONE, FAILED, LONG, REFIT, Contender, Journal, Trial
from rlnas.search.progress import SearchProgress
from rlnas.search.setup import Setup
from rlnas.spaces import Architecture

REFERENCE, BASELINE = "reference", "baseline"

_SHARES = (ACCURACY, "balanced_accuracy", "f1", "f1_macro")
"""Metrics of which a difference below their standard error says little."""

_ACCURATE = Objective()


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that is to be trained.

    Attributes:
        name: ``trial-7``, ``reference`` or ``baseline``.
        key: Canonical key, or the fingerprint of the user's own model.
        architecture: The network; None for the user's own model.
        rank: Place by reward, 0 where there is none.
        trial: Number of the trial, or None.
    """

    name: str
    key: str
    architecture: Architecture | None
    rank: int = 0
    trial: int | None = None


class Contenders:
    """Trains models beside the trials, each of them once, and measures them on the test part.

    Args:
        setup: What the run is made of.
        folder: The run's folder.
        journal: Its journal.
        progress: Shows each model to the user.
    """

    def __init__(
        self, setup: Setup, folder: RunFolder, journal: Journal, progress: SearchProgress
    ) -> None:
        """See the class."""
        self._setup, self._folder = setup, folder
        self._journal, self._progress = journal, progress

    def brief(self, executor: Executor) -> None:
        """Train reference and baseline as the search trains its children.

        Args:
            executor: Of the search.
        """
        self._train_all(BRIEF, list(self._beside()), executor)

    def long(self, trials: list[Trial], executor: Executor) -> Contender:
        """Train the top K, reference and baseline longer; return the one to keep.

        It is chosen by its validation (see `_chosen`).

        Args:
            trials: Finished trials.
            executor: Trains on the data of the retraining.

        Raises:
            NoValidChildError: Not one of the top K could be trained longer.
        """
        self._train_all(LONG, [*self._top(trials), *self._beside()], executor)
        done = [entry for entry in self._journal.contenders(LONG) if entry.metrics]
        ranked = [entry for entry in done if entry.rank]
        if not ranked:
            reason = self._journal.contenders(LONG)[0].reason
            raise NoValidChildError(f"not one of the top K could be trained longer: {reason}")
        return self._chosen(ranked)

    def refit(self, best: Contender, executor: Executor) -> None:
        """Train the one to keep, reference and baseline once more, on all but the test part.

        Args:
            best: The one to keep.
            executor: Trains on training and validation data together.
        """
        entries = [entry for entry in self._entries() if entry.name == best.name]
        self._train_all(REFIT, [*entries, *self._beside()], executor)

    def tested(self, best: Contender) -> Contender:
        """Measure the one to keep and those it is compared with on the test part, once.

        Returns:
            The one to keep with its figures.
        """
        for entry in self._journal.contenders(LONG):
            named = entry.name == best.name or not entry.rank
            if named and entry.metrics and entry.test_accuracy is None:
                self._journal.store(self._tested(entry))
        return next(entry for entry in self._journal.contenders(LONG) if entry.name == best.name)

    def model(self, contender: Contender, phase: str | None = None) -> keras.Model:
        """Return a model of the long training with its weights.

        Args:
            contender: Which one, as the long training left it.
            phase: Whose weights: `LONG`, or `REFIT`, those of all data; None for these if there
                are.

        Raises:
            RunError: Its weights are gone and it cannot be trained again.
            StorageError: Its weights cannot be read.
        """
        entry = next(entry for entry in self._entries() if entry.name == contender.name)
        if phase is None:
            refitted = is_refitted(contender, self._journal, self._setup.objective)
            phase = REFIT if refitted else LONG
        evaluator = self._evaluator(phase)
        path = self._weights_folder(entry, phase) / WEIGHTS
        if not path.is_file():  # removed by hand; the same seed gives the same model again
            self._journal.log_start(f"{contender.name}/{phase}")
            check_retrained(self._evaluated(entry, phase, evaluator, contender.seed), path)
        model = self._built(entry, evaluator, phase, contender.seed)
        load_weights(model, path)
        return model

    def _weights_folder(self, entry: Entry, phase: str) -> Path:
        return self._folder.contender(f"{entry.name}-{REFIT}" if phase == REFIT else entry.name)

    def _entries(self) -> Iterator[Entry]:
        for trial in self._journal.trials():
            yield self._of_trial(trial, 0)
        yield from self._beside()

    def _top(self, trials: list[Trial]) -> Iterator[Entry]:
        rewarded = [trial for trial in trials if trial.reward is not None]
        best_first = sorted(rewarded, key=lambda trial: (-(trial.reward or 0.0), trial.id))
        for rank, trial in enumerate(best_first[: self._setup.top_k], 1):
            yield self._of_trial(trial, rank)

    def _of_trial(self, trial: Trial, rank: int) -> Entry:
        architecture = self._setup.space.architecture(trial.tokens)
        return Entry(f"trial-{trial.id}", trial.key, architecture, rank, trial.id)

    def _beside(self) -> Iterator[Entry]:
        reference = self._setup.space.reference()
        yield Entry(REFERENCE, self._setup.space.key(reference), reference)
        if self._setup.baseline is not None:
            yield Entry(BASELINE, model_fingerprint(self._setup.baseline), None)

    def _train_all(self, phase: str, entries: list[Entry], executor: Executor) -> None:
        """Train what was not trained yet: several at a time, the user's own model here."""
        # A failed one is tried again: the limit that it met may have been changed since.
        known = self._journal.contenders(phase)
        trained = {contender.name for contender in known if contender.state == DONE}
        missing = [entry for entry in entries if entry.name not in trained]
        by_number = {entries.index(entry) + 1: entry for entry in missing}
        mortal = isinstance(executor, InlineExecutor)  # a child may end the search's process
        if isinstance(executor, InlineExecutor):
            executor.before = lambda job: self._journal.log_start(
                f"{by_number[job.id].name}/{phase}"
            )
        told = set()
        for number, entry in by_number.items():
            here = mortal or entry.architecture is None
            if here and (failure := self._journal.given_up(f"{entry.name}/{phase}")):
                self._store(entry, phase, failure, len(entries))
                told.add(entry.name)
            elif entry.architecture is not None:
                executor.submit(self._job(number, entry, phase))
        while results := executor.completed():
            for result in results:
                entry = by_number[result.job.id]
                self._store(entry, phase, result.outcome, len(entries))
        for entry in missing:
            if entry.architecture is None and entry.name not in told:
                self._journal.log_start(f"{entry.name}/{phase}")
                seed, evaluator = self._seed(entry, phase), self._evaluator(phase)
                outcome = self._evaluated(entry, phase, evaluator, seed)
                self._store(entry, phase, outcome, len(entries))

    def _job(self, number: int, entry: Entry, phase: str) -> Job:
        if entry.architecture is None:
            raise TypeError("only an architecture is a job")
        folder = None if phase == BRIEF else self._weights_folder(entry, phase)
        seed, recipe = self._seed(entry, phase), self._recipe(phase)
        return Job(number, entry.key, entry.architecture, recipe, seed, folder)

    def _store(self, entry: Entry, phase: str, outcome: Outcome, count: int) -> None:
        failed = isinstance(outcome, Failure)
        contender = Contender(
            name=entry.name,
            phase=phase,
            rank=entry.rank,
            trial=entry.trial,
            key=entry.key,
            seed=self._seed(entry, phase),
            state=FAILED if failed else DONE,
            metrics=None if isinstance(outcome, Failure) else outcome,
            reason=outcome.reason if isinstance(outcome, Failure) else None,
        )
        self._journal.store(contender)
        self._progress.contender(contender, len(self._journal.contenders(phase)), count)

    def _seed(self, entry: Entry, phase: str) -> int:
        return child_seed(self._setup.config.seed, entry.key, 0 if phase == BRIEF else 1)

    def _recipe(self, phase: str) -> RecipeConfig:
        return self._setup.config.recipe if phase == BRIEF else self._setup.long_recipe

    def _evaluator(self, phase: str) -> TrainingEvaluator:
        if phase == REFIT and (evaluator := self._setup.refit_evaluator()):
            return evaluator
        return self._setup.brief_evaluator() if phase == BRIEF else self._setup.long_evaluator()

    def _evaluated(
        self, entry: Entry, phase: str, evaluator: TrainingEvaluator, seed: int
    ) -> Outcome:
        recipe = self._recipe(phase)
        folder = None if phase == BRIEF else self._weights_folder(entry, phase)
        model = self._built(entry, evaluator, phase, seed)
        flops = 0
        if entry.architecture is not None:
            chain = entry.architecture
            recipe = chain.trained_by(recipe)
            flops = chain.cost.flops
        return evaluator.evaluate_model(model, recipe, seed, flops=flops, folder=folder)

    def _built(
        self, entry: Entry, evaluator: TrainingEvaluator, phase: str, seed: int
    ) -> keras.Model:
        if entry.architecture is not None:
            return evaluator.build(entry.architecture, self._recipe(phase), seed)
        keras.utils.set_random_seed(seed)
        return fresh_copy(self._setup.baseline)

    def _tested(self, contender: Contender) -> Contender:
        """Return a model with its accuracy on the test part, and the metric that is rewarded."""
        data, model, name = self._setup.data, self.model(contender), self._setup.objective.metric
        tested = replace(contender, test_accuracy=score(model, data.x_test, data.y_test))
        if name == ACCURACY or contender.metrics is None or self._setup.function is not None:
            return tested
        found = {f"test_{name}": figure(name, model, data.x_test, data.y_test, data.target)}
        metrics = replace(contender.metrics, extra={**contender.metrics.extra, **found})
        return replace(tested, metrics=metrics)

    def _chosen(self, ranked: list[Contender]) -> Contender:
        """Return the model to keep of those that were trained longer.

        Where a share alone counts, as accuracy or F1, see `steadiest`; else it is the one with the
        best reward, of those within the target of the cost if there are any.
        """
        objective = self._setup.objective
        if objective.metric in _SHARES and objective.cost is None:
            data = self._setup.data
            examples = len(data.x_val)
            if self._setup.config.evaluation.folds:  # each example is validated on once
                examples += len(data.x_train)
            shares = None if data.target is not None else examples
            return steadiest(ranked, shares, objective, self.smoothing(ranked))
        measured = [(entry, entry.metrics) for entry in ranked if entry.metrics]
        cost = objective.cost
        if cost is not None and cost.form != "soft":
            within = [(entry, metrics) for entry, metrics in measured if cost.met_by(metrics)]
            measured = within or measured
        return max(measured, key=lambda pair: (objective.reward(pair[1]), -pair[0].rank))[0]

    def smoothing(self, ranked: list[Contender]) -> dict[str, float]:
        """Return the label smoothing that each of these models was trained with, by its name."""
        numbers, recipe = {entry.trial for entry in ranked}, self._setup.long_recipe
        trials = (trial for trial in self._journal.trials() if trial.id in numbers)
        entries = (self._of_trial(trial, 0) for trial in trials)
        return {
            entry.name: entry.architecture.trained_by(recipe).label_smoothing
            for entry in entries
            if entry.architecture is not None
        }


def is_refitted(contender: Contender, journal: Journal, objective: Objective) -> bool:
    """Return whether a model of the long training was trained on all data too, and well.

    It has seen the examples to validate on; where it is worse on them than the training that has
    not, it went astray.

    Args:
        contender: The model as the long training left it.
        journal: Of its run.
        objective: Of its run.
    """
    again = {entry.name: entry.metrics for entry in journal.contenders(REFIT)}
    metrics, before = again.get(contender.name), contender.metrics
    if metrics is None or before is None:
        return False
    return objective.value(metrics) >= objective.value(before)


def check_retrained(outcome: Outcome, weights: Path) -> None:
    """Check that a model whose weights were missing could be trained again.

    Raises:
        RunError: It could not.
    """
    if isinstance(outcome, Failure):
        raise RunError(
            f"{weights} is missing and its model cannot be trained again: {outcome.reason}; "
            "bring the file back"
        )


def steadiest(
    ranked: list[Contender],
    examples: int | None,
    objective: Objective = _ACCURATE,
    smoothing: Mapping[str, float] | None = None,
) -> Contender:
    """Return, of the models as good as the best, the one with the least loss.

    Accuracies, or other shares, that differ by less than the standard error of the best one do not
    tell models apart (the one-standard-error rule, Breiman et al. 1984); the loss still may, of
    models with the label smoothing of the best one: smoothing alone changes how sure a model is of
    its answers (Müller et al. 2019), and so its loss. A user's own figure that is no share has no
    such error.

    Args:
        ranked: Models with metrics, best reward first.
        examples: Number of validation examples; None where the figure is no share of them.
        objective: Whose figure counts.
        smoothing: Label smoothing of each, by name; None where it is the same.
    """

    def value(entry: Contender) -> float:
        if objective.metric == ACCURACY or entry.metrics is None:
            return entry.val_accuracy or 0.0
        return objective.value(entry.metrics)

    best, smoothed = max(ranked, key=value), smoothing or {}
    highest = value(best)
    share = examples is not None and 0 <= highest <= 1
    error = math.sqrt(highest * (1 - highest) / examples) if examples and share else 0.0
    alike = [
        entry
        for entry in ranked
        if value(entry) >= highest - error and smoothed.get(entry.name) == smoothed.get(best.name)
    ]
    return min(alike, key=lambda entry: (_loss(entry), -value(entry), entry.rank))


def _loss(contender: Contender) -> float:
    losses = contender.metrics.val_loss if contender.metrics else ()
    return losses[-1] if losses else 0.0  # a user's own evaluator may give none
