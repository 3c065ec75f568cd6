"""What is derived from the journal after each commit: TensorBoard, ``best/``, policy weights."""

import json
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from rlnas.children.backend import keras
from rlnas.children.weights import load_weights
from rlnas.config import RecipeConfig
from rlnas.controllers import Controller
from rlnas.evaluation.memory import release_memory
from rlnas.evaluation.training import WEIGHTS, TrainingEvaluator
from rlnas.search.contenders import BASELINE, REFERENCE, check_retrained
from rlnas.search.export import export
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, FAILED, RUNNING, Contender, Journal, Trial
from rlnas.search.loop import LoopSetup, Observer
from rlnas.search.monitor import FinalRecord, Monitor, TrialRecord
from rlnas.search.progress import best_of
from rlnas.search.report import make_report
from rlnas.search.setup import Setup

WEIGHTS_EVERY, RELEASE_EVERY = 10, 50
"""Trials after which the policy's weights are written anew (chosen)."""


class RunRecorder(Observer):
    """Keeps what shows a run up to date; every part of it can be made again.

    How the best network is exported is for a subclass to say.

    Args:
        setup: What the run is made of.
        folder: Its folder.
        journal: Its journal.
        controller: The controller whose weights are kept, or None.
    """

    def __init__(
        self, setup: LoopSetup, folder: RunFolder, journal: Journal, controller: Controller | None
    ) -> None:
        """See the class."""
        self._rules, self._folder, self._journal = setup, folder, journal
        self._controller = controller
        self._best: Trial | None = None
        self._ended, self._failures = 0, 0
        self._monitor = Monitor(
            folder.tensorboard, setup.space, setup.config.model_dump(mode="json")
        )

    def rebuild(self) -> None:
        """Make TensorBoard's files and ``best/`` agree with the journal after any stop.

        Raises:
            RunError: The best child's weights are missing and it cannot be trained again.
        """
        finished = [trial for trial in self._journal.trials() if trial.state != RUNNING]
        finished.sort(key=lambda trial: trial.step or 0)
        self._best, self._ended, self._failures = None, 0, 0
        written = self._monitor.go_on((t.step or 0, t.id, t.reward) for t in finished)
        if not written:
            self._monitor.rebuild([self._record(trial) for trial in finished])
        for trial in finished if written else []:
            if (trial.step or 0) <= written:
                self._count(trial)
            else:
                self._monitor.trial(self._record(trial))
        if self._controller is None or self._best is None:
            return
        if self._exported().get("trial") != self._best.id:
            self.export_brief(self._best)

    def trial(self, trial: Trial) -> None:
        """Write a trial to TensorBoard, and export it if it is the best so far."""
        self._monitor.trial(self._record(trial))
        if self._best is trial:
            self.export_brief(trial)
        if self._best is trial or trial.id % RELEASE_EVERY == 0:
            release_memory()  # models and pictures leave much behind
        if trial.id % WEIGHTS_EVERY == 0:
            self.save_policy()

    def close(self) -> None:
        """Write what is left."""
        self.save_policy()
        self._monitor.close()

    def save_policy(self) -> None:
        """Write the policy's weights, if the controller has some."""
        save = getattr(self._controller, "save_weights", None)
        if save is not None:
            save(self._folder.controller_weights)

    def export_brief(self, trial: Trial) -> None:
        """Export the best child of the search to ``best/``."""
        raise NotImplementedError

    def _exported(self) -> dict[str, Any]:
        """Return the report that lies in ``best/``; empty if none can be read."""
        try:
            report = json.loads((self._folder.best / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # missing or cut off in the middle: it is made again
        return report if isinstance(report, dict) else {}

    def _record(self, trial: Trial) -> TrialRecord:
        """Return what TensorBoard shows of a trial, and count it."""
        best = self._count(trial)
        return TrialRecord(
            number=trial.id,
            step=trial.step or 0,
            tokens=trial.tokens,
            architecture=self._rules.space.architecture(trial.tokens),
            reward=trial.reward,
            best_reward=best.reward if best else None,
            is_best=best is trial,
            state=trial.state,
            metrics=trial.metrics,
            learned=trial.learned,
            proposals=trial.proposals,
            repeats=trial.proposals - self._ended,
            failures=self._failures,
            policy=trial.policy,
            wall_time=trial.ended or trial.started,
        )

    def _count(self, trial: Trial) -> Trial | None:
        """Count a trial; return the best so far."""
        self._best = best_of([trial] if self._best is None else [self._best, trial])
        self._ended += 1
        self._failures += trial.state == FAILED
        return self._best


class Recorder(RunRecorder):
    """Keeps all that shows a run up to date, its exported models too.

    Args:
        setup: What the run is made of.
        folder: Its folder.
        journal: Its journal.
        controller: The controller whose weights are kept, or None.
    """

    def __init__(
        self, setup: Setup, folder: RunFolder, journal: Journal, controller: Controller | None
    ) -> None:
        """See the class."""
        super().__init__(setup, folder, journal, controller)
        self._setup = setup

    def export_final(self, trial: Trial, model: keras.Model) -> None:
        """Export the retrained best to ``best/``, over what the search left there.

        Args:
            trial: Its trial.
            model: Its model after the long training.
        """
        self._export(trial, model, self._setup.long_recipe, self._folder.best)

    def export_trial(self, trial: Trial, target: Path) -> None:
        """Export any trial as the search trained it.

        Args:
            trial: One that ended well.
            target: A folder, new or of an earlier export.

        Raises:
            RunError: The folder holds files of others.
            StorageError: The disk refused.
        """
        model, recipe = self._trained(trial)
        self._export(trial, model, recipe, target)

    def final(self, retrained: list[Contender], kept: Contender) -> None:
        """Write the retrained models to TensorBoard, once per `rebuild`.

        Args:
            retrained: All models of the long training.
            kept: The one that is the result of the run.
        """
        rewards = {trial.id: trial.reward for trial in self._journal.trials()}
        reward = self._setup.objective.reward
        brief = self._journal.contenders(BRIEF)
        beside = {entry.name: reward(entry.metrics) for entry in brief if entry.metrics}
        records = [
            FinalRecord(
                name=entry.name,
                rank=entry.rank or (0 if entry.name == REFERENCE else None),
                layers="your own model" if entry.name == BASELINE else entry.key,
                params=entry.metrics.params if entry.metrics else 0,
                reward=rewards[entry.trial] if entry.trial else beside.get(entry.name),
                val_accuracy=entry.val_accuracy,
                test_accuracy=entry.test_accuracy,
                chosen=entry.name == kept.name,
            )
            for entry in retrained
        ]
        self._monitor.final(records, time.time())

    @cached_property
    def _evaluator(self) -> TrainingEvaluator:
        return self._setup.brief_evaluator()

    def export_brief(self, trial: Trial) -> None:
        """Export the best child of the search, but never over a retrained one."""
        if self._exported().get("retrained"):
            return  # of a run that searches on; the next retraining writes over it
        model, recipe = self._trained(trial)
        self._export(trial, model, recipe, self._folder.best)

    def _trained(self, trial: Trial) -> tuple[keras.Model, RecipeConfig]:
        """Return the child of a trial as the search trained it, and by which recipe."""
        architecture = self._setup.space.architecture(trial.tokens)
        recipe = architecture.trained_by(self._setup.config.recipe)
        model = self._evaluator.build(architecture, recipe, trial.seed)
        folder = self._folder.trial(trial.id)
        if (folder / WEIGHTS).is_file():
            load_weights(model, folder / WEIGHTS)
        else:  # removed by hand; the same seed gives the same child again
            self._journal.log_start(f"trial-{trial.id}")
            outcome = self._evaluator.evaluate_model(model, recipe, trial.seed, folder=folder)
            check_retrained(outcome, folder / WEIGHTS)
        return model, recipe

    def _export(self, trial: Trial, model: keras.Model, recipe: RecipeConfig, target: Path) -> None:
        architecture = self._setup.space.architecture(trial.tokens)
        export(
            model,
            architecture,
            make_report(self._setup, self._folder.name, trial, self._journal),
            target,
            data=self._setup.data,
            recipe=architecture.trained_by(recipe),
            # What a file manager or the user left in the run's own folder ends no search.
            keep_others=target == self._folder.best,
        )
