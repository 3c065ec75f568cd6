"""`Search`: a whole run from data to exported model, new or resumed."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnas.children.data import Data
from rlnas.children.datasets import load_data
from rlnas.children.runtime import prepare
from rlnas.config import (
    EXTERNAL,
    LONGEST_NAME,
    SearchConfig,
    default_root,
    make_config,
)
from rlnas.controllers import Controller, Scored, check_controller_class, make_controller
from rlnas.errors import (
    ConfigError,
    RunError,
    SpaceError,
)
from rlnas.evaluation.training import UserFunction
from rlnas.objectives import ACCURACY, R2
from rlnas.search.baseline import load_baseline, model_fingerprint
from rlnas.search.changes import (
    DONE,
    RETRAINING,
    SEARCHING,
    Change,
    go_on,
    retrain_anew,
)
from rlnas.search.comparison import gap_curve
from rlnas.search.contenders import REFERENCE, Contenders
from rlnas.search.folder import RunFolder, create_next
from rlnas.search.journal import BRIEF, LONG, Journal
from rlnas.search.loop import SearchLoop
from rlnas.search.monitor import write_control
from rlnas.search.own_space import check_space, kind_of_space
from rlnas.search.prior import read_prior
from rlnas.search.progress import SearchProgress, Silence
from rlnas.search.recorder import Recorder
from rlnas.search.rehearsal import rehearse
from rlnas.search.result import SearchResult, read_result
from rlnas.search.settings import check_config, in_config, joined, of_control, with_settings
from rlnas.search.setup import (
    Setup,
    inline_crew,
    make_crew,
    make_space,
    versions,
    with_recipes,
)
from rlnas.search.stopping import saved_when_stopped
from rlnas.spaces import Space, fingerprint


class Search:
    """A search for a Keras architecture.

    Training is made repeatable for the whole process: TensorFlow's operations become
    deterministic, and each child sets the global seeds of Python, NumPy and Keras.

    Args:
        data: Arrays ``(x, y)`` or ``(x, y, x_test, y_test)``, a `tf.data.Dataset`, a known
            name, a path, or None for the config's data set.
        space: A space of your own; by default the one the config describes.
        evaluator: Your own training, a function ``(model, data, seed)`` that returns the
            validation accuracy or a mapping of metrics; by default the config's recipe.
            It trains in the retraining too, with another seed, and decides by itself for
            how long: ``epochs`` and ``final_epochs`` then say nothing.
        baseline: Your own Keras model or its file, trained by the same protocol from new
            weights; frozen layers and what ``Normalization.adapt`` has learned stay.
        config: All other settings, a `SearchConfig` or a mapping like the YAML file.
        root: Folder of all runs; by default ``RLNAS_ROOT`` or ``checkpoints``.
        progress: Shows the user how the search goes; by default nothing is shown.
        settings: Shortcuts into the config: ``controller``, ``control``, ``trials``, ``seed``,
            ``name``, ``epochs``, ``time_limit``, ``top_k``, ``final_epochs``, ``threads``,
            ``executor``, ``workers``, ``deterministic``.

    Raises:
        UsageError: A setting, the data or the baseline is wrong.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        space: Space | str | None = None,
        evaluator: UserFunction | None = None,
        baseline: Any = None,
        config: SearchConfig | Mapping[str, Any] | None = None,
        root: str | Path | None = None,
        progress: SearchProgress | None = None,
        **settings: Any,
    ) -> None:
        """See the class."""
        named = {"data": data, "space": space, "baseline": baseline}
        self.config = with_settings(config, named, settings)
        if not isinstance(root, str | Path | None):
            raise ConfigError(f"root: expected the path of a folder, got {type(root).__name__}")
        self.root = Path(root) if root is not None else default_root()
        self._progress = progress or Silence()
        if self.config.engine.chosen == EXTERNAL:
            raise ConfigError(
                "the executor external trains nothing here, got it with rlnas.Search; use "
                "rlnas.ExternalSearch, or leave it out"
            )
        check_controller_class(self.config.controller)
        own = {name: value for name, value in named.items() if not in_config(value)}
        kind = kind_of_space(self.config.space)
        if self.config.engine.chosen == "inline":  # to prepare data is to compute already
            _make_backend_ready(self.config, inline_crew(self.config).threads, baseline)
        loaded = load_data(own.get("data"), self.config.data, self.config.seed, kind)
        self._setup = _make_setup(
            self.config, loaded, own.get("space"), evaluator, own.get("baseline")
        )
        self._own = [*own, *(["evaluator"] if evaluator is not None else [])]
        self._started_by: RunFolder | None = None  # the run whose control this is

    def run(self, *, reserved: bool = False) -> SearchResult:
        """Search, retrain the best, export it, and return what came out.

        Args:
            reserved: Whether the name was reserved for this run (`RunFolder.reserve`).

        Raises:
            RunError: The run's folder exists or cannot be written.
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
            InterruptedRunError: The user stopped the run; it was saved.
        """
        self._read_prior()  # what is wrong with it ends the run before it begins
        rehearse(self._setup)
        folder, journal = self._begin(reserved)
        with closing(journal), folder.writing():
            self._go(folder, journal)
            self._run_control(folder, ("budget",), go_on)
            return read_result(folder)

    def resume(self, name: str) -> SearchResult:
        """Go on with a run of this config; an ended one only gives its result.

        A budget that is given here takes the place of the run's own, and an ended run
        searches on if it is larger. The retraining stays as the run has it; see `retrain`.

        Args:
            name: Name of the run.

        Raises:
            RunError: There is no such run, or it is of another space, data or version.
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
            InterruptedRunError: The user stopped the run; it was saved.
        """
        return self._reopen(name, ("budget",), go_on)

    def retrain(self, name: str) -> SearchResult:
        """Do the retraining of a run anew, with the settings of it that are given here.

        Args:
            name: Name of the run.

        Raises:
            RunError: There is no such run, it is still searching, or it is of another
                space, data or version.
            NoValidChildError: Not one of the top K could be trained longer.
            StorageError: The disk refused; all that was committed stays.
            InterruptedRunError: The user stopped the run; it was saved.
        """
        return self._reopen(name, ("final", "data"), retrain_anew)

    def export_trials(self, name: str, numbers: Sequence[int], target: Path) -> list[Path]:
        """Export trials of a run as the search trained them.

        Args:
            name: Name of the run.
            numbers: Their numbers.
            target: Folder in which each gets one of its own, for example ``trial-7``.

        Returns:
            These folders.

        Raises:
            RunError: There is no such run or trial, it has not ended well, or a folder holds files
                of others.
            StorageError: The disk refused.
        """
        folder, folders = RunFolder(self.root, name), []
        with closing(folder.open()) as journal:
            meta = journal.meta()
            self._check_same(folder, meta)
            self._take(make_config(meta["config"]))
            trials = {trial.id: trial for trial in journal.trials() if trial.metrics}
            for number in numbers:
                if number not in trials:
                    raise RunError(
                        f"{name} has no trial {number} that ended well; rlnas show {name} lists "
                        "them"
                    )
            recorder = Recorder(self._setup, folder, journal, None)
            for number in numbers:
                folders.append(target / f"trial-{number}")
                recorder.export_trial(trials[number], folders[-1])
        return folders

    def _reopen(self, name: str, given: Sequence[str], change: Change) -> SearchResult:
        """Change a run, once all was checked and no other process writes; go on.

        Args:
            name: Name of the run.
            given: Sections of the config of which what was given here counts.
            change: Makes the change.
        """
        folder = RunFolder(self.root, name)
        with closing(folder.open()) as journal, folder.writing():
            meta = journal.meta()
            self._check_same(folder, meta)
            config = joined(make_config(meta["config"]), self.config, given)
            self._take(config)
            rehearse(self._setup)  # with the limits of now, before anything is changed
            change(folder, journal, config, self._progress)
            self._go(folder, journal)
            self._run_control(folder, given, change)
            return read_result(folder)

    def _run_control(self, folder: RunFolder, given: Sequence[str], change: Change) -> None:
        """Do with the control run what was done with the run, or begin it; compare both.

        Args:
            folder: The run that has ended.
            given: As for `_reopen`.
            change: As for `_reopen`.
        """
        if self.config.control is None:
            return
        control = copy(self)
        control._take(of_control(self.config, folder.control.name))
        control._started_by = folder
        if folder.control.path.exists():
            control._reopen(folder.control.name, given, change)
        else:
            self._progress.note(f"now its control, the {self.config.control} controller")
            control.run()
        found = read_result(folder)
        if found.control is not None:
            write_control(folder.tensorboard, gap_curve(found, found.control))

    def _take(self, config: SearchConfig) -> None:
        """Go on by the config of a run, all but the threads and workers."""
        same = {name: getattr(config.engine, name) for name in ("deterministic", "in_flight")}
        engine = self.config.engine.model_copy(update=same)
        self.config = config.model_copy(update={"threads": self.config.threads, "engine": engine})
        self._setup = replace(self._setup, config=self.config)

    def _go(self, folder: RunFolder, journal: Journal) -> None:
        line = (self._started_by or folder).resume_line(python=bool(self._own))
        try:
            with saved_when_stopped(journal, line), ExitStack() as stack:
                recorder: Recorder | None = None
                if journal.meta()["status"] == SEARCHING:
                    recorder = self._search(folder, journal, stack)
                if journal.meta()["status"] == RETRAINING:
                    self._retrain(folder, journal, stack, recorder)
        finally:
            self._progress.close()

    def _search(self, folder: RunFolder, journal: Journal, stack: ExitStack) -> Recorder:
        self._progress.note(f"run {folder.name} in {folder.path}")
        if self._setup.data.inputs is not None:
            self._progress.note(self._setup.data.inputs.words)
        for each in self._setup.data.notes:
            self._progress.note(each)
        executor = self._setup.executor(self._setup.brief_evaluator())
        stack.callback(executor.close)
        self._name_workers()
        Contenders(self._setup, folder, journal, self._progress).brief(executor)
        controller = make_controller(
            self._setup.space,
            self.config.controller,
            self.config.seed,
            trials=self.config.budget.most_trials,
            weigh=self._setup.objective.weigh,
        )
        if journal.state() is None:
            self._prepare(controller, journal)
        recorder = Recorder(self._setup, folder, journal, controller)
        stack.enter_context(closing(recorder))
        recorder.rebuild()
        loop = SearchLoop(
            self._setup,
            folder,
            journal,
            controller,
            executor,
            recorder,
            self._progress,
            in_flight=self._setup.in_flight,
            ordered=self.config.engine.deterministic,
        )
        loop.run()
        recorder.save_policy()
        journal.set_meta({"status": RETRAINING})
        return recorder

    def _name_workers(self) -> None:
        if self.config.engine.chosen != "inline":
            self._progress.note(f"{self._setup.crew}")

    def _retrain(
        self, folder: RunFolder, journal: Journal, stack: ExitStack, recorder: Recorder | None
    ) -> None:
        trials = [trial for trial in journal.trials() if trial.ended is not None]
        contenders = Contenders(self._setup, folder, journal, self._progress)
        if recorder is None:
            self._name_workers()
        executor = self._setup.executor(self._setup.long_evaluator(), long=True)
        stack.callback(executor.close)
        kept = contenders.long(trials, executor)
        if evaluator := self._setup.refit_evaluator():
            executor.close()
            executor = self._setup.executor(evaluator, long=True)
            stack.callback(executor.close)
            contenders.refit(kept, executor)
        kept = contenders.tested(kept)
        trial = next(trial for trial in trials if trial.id == kept.trial)
        if recorder is None:  # the search was another process
            recorder = Recorder(self._setup, folder, journal, None)
            stack.enter_context(closing(recorder))
            recorder.rebuild()
        recorder.final(journal.contenders(LONG), kept)
        recorder.export_final(trial, contenders.model(kept))
        journal.set_meta({"status": DONE, "best_trial": trial.id})

    def _prepare(self, controller: Controller, journal: Journal) -> None:
        """Tell a new controller what is known before the first trial, as the config says."""
        if prior := self._read_prior():
            controller.warm_start(prior)  # type: ignore[attr-defined]  # of ppo alone
        if self.config.controller.name != "ppo" or not self.config.controller.from_reference:
            return
        space = self._setup.space
        reference = next(each for each in journal.contenders(BRIEF) if each.name == REFERENCE)
        reason = reference.reason
        if reference.metrics is not None:
            try:
                known = space.architecture(space.reference().tokens)
            except SpaceError as error:  # most often a cap of the user's that it does not keep
                reason = str(error)
            else:
                reward = self._setup.objective.reward(reference.metrics)
                spent = self._setup.objective.spent(reference.metrics)
                trials = self.config.budget.most_trials
                controller.begin_with(known.tokens, reward, spent, trials=trials)  # type: ignore[attr-defined]
                return
        self._progress.note(f"ppo begins without the reference child: {reason}")

    def _read_prior(self) -> list[Scored]:
        source = self.config.controller.warm_start
        if source is None:
            return []
        return read_prior(source, self.root, self._setup.space, self.config.seed)

    def _begin(self, reserved: bool) -> tuple[RunFolder, Journal]:
        if self.config.name is not None:
            folder = RunFolder(self.root, self.config.name)
            if self.config.control is not None:
                if len(folder.control.name) > LONGEST_NAME:
                    raise ConfigError(
                        f"name (--name): the control run is called {folder.control.name}, which "
                        f"has more than {LONGEST_NAME} characters; choose a shorter name"
                    )
                folder.control.check_free()
            return folder, folder.create(self.config, self._meta(), reserved=reserved)
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self._setup.data.name).stem).strip("-_")
        stem = f"{plain[:60] or 'data'}-{self.config.controller.name}"
        return create_next(self.root, stem, self.config, self._meta())

    def _meta(self) -> dict[str, Any]:
        return {
            "status": SEARCHING,
            "space": self._setup.space.to_json(),
            "space_fingerprint": fingerprint(self._setup.space),
            "data": {
                "name": self._setup.data.name,
                "fingerprint": self._setup.data.fingerprint,
                "test": len(self._setup.data.x_test),
                "score": R2 if self._setup.data.target else ACCURACY,
            },
            "own": self._own,
            "threads": self._setup.crew.threads,
            "evaluator": "training" if self._setup.function is None else "function",
            "baseline": None
            if self._setup.baseline is None
            else model_fingerprint(self._setup.baseline),
            "versions": versions(),
            "best_trial": None,
        }

    def _check_same(self, folder: RunFolder, meta: Mapping[str, Any]) -> None:
        mine = self._meta()
        check_config(folder, meta, self.config)
        if mine["space_fingerprint"] != meta["space_fingerprint"]:
            raise RunError(
                f"{folder.path} was written for space {meta['space_fingerprint']}, this config "
                f"says {mine['space_fingerprint']}; start a new run or pass the old config"
            )
        if mine["data"]["fingerprint"] != meta["data"]["fingerprint"]:
            raise RunError(
                f"{folder.path} was written for data {meta['data']['fingerprint']}, this is "
                f"{mine['data']['fingerprint']}; start a new run or bring the old data back"
            )
        for name in ("evaluator", "baseline"):
            if mine[name] != meta[name]:
                raise RunError(
                    f"{folder.path} was started with {name} {meta[name]}, now it is {mine[name]}; "
                    f"start a new run or pass the old {name}"
                )
        old = {**meta["versions"], "threads": meta["threads"]}
        now = {**mine["versions"], "threads": mine["threads"]}
        changed = [
            f"{part} {value} (was {old.get(part)})"
            for part, value in now.items()
            if old.get(part) != value
        ]
        if changed:
            self._progress.note(f"not as it was, bits may differ: {', '.join(changed)}")


def _make_backend_ready(config: SearchConfig, threads: int, baseline: Any) -> int:
    """Make the backend's settings for this process; return the threads that are really used."""
    inline = config.engine.chosen == "inline"
    trains = inline or baseline is not None or config.baseline is not None
    return prepare(
        threads,
        deterministic=not config.engine.jit_compile,
        # Children in processes of their own need the memory of the GPUs; a baseline trains here.
        gpus=config.engine.gpus != "none" and trains,
    )


def _make_setup(
    config: SearchConfig,
    data: Data,
    space: Space | None,
    function: UserFunction | None,
    baseline: Any,
) -> Setup:
    if function is not None and not callable(function):
        raise ConfigError(
            f"evaluator: expected a function (model, data, seed), got {type(function).__name__}"
        )
    if space is None:
        space = make_space(config, data)
    else:
        check_space(space, data)
    space = with_recipes(space, config, data)
    crew = make_crew(config, data, space)
    baseline = config.baseline if baseline is None else baseline
    threads = _make_backend_ready(config, crew.threads, baseline)
    inline = config.engine.chosen == "inline"
    return Setup(
        config=config,
        data=data,
        space=space,
        crew=replace(crew, threads=threads) if inline else crew,
        function=function,
        baseline=load_baseline(baseline, data),
    )
