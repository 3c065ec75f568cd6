"""`ExternalSearch`: a search whose children are trained elsewhere, by whoever asks for them."""

import json
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnas.children.decoder import decode
from rlnas.config import (
    EXTERNAL,
    OFFERED,
    SearchConfig,
    default_root,
    is_table_of_networks,
    make_config,
)
from rlnas.controllers import Controller, check_controller_class, make_controller
from rlnas.errors import ConfigError, DataError, SpaceError
from rlnas.evaluation import Executor, Job, read_strings
from rlnas.evaluation.external import ExternalExecutor
from rlnas.evaluation.leases import LeaseBook
from rlnas.objectives import ACCURACY, Objective
from rlnas.search.changes import DONE, SEARCHING, go_on
from rlnas.search.export import export_untrained
from rlnas.search.folder import RunFolder, create_next
from rlnas.search.journal import Journal, Trial
from rlnas.search.loop import SearchLoop
from rlnas.search.own_space import is_own_space, own_space_for
from rlnas.search.prior import read_prior
from rlnas.search.progress import SearchProgress, Silence
from rlnas.search.recorder import RunRecorder
from rlnas.search.result import SearchResult, read_result
from rlnas.search.settings import check_config, joined, with_whole_paths
from rlnas.search.setup import chain_space, make_objective, versions, with_recipes
from rlnas.search.stopping import saved_when_stopped
from rlnas.spaces import Architecture, Space, TableSpace, fingerprint

_NORM_MOMENTUM = 0.9
"""Of the networks that trainers get (chosen): right for a few hundred steps of training."""


@dataclass(frozen=True, slots=True)
class ExternalSetup:
    """What a run is made of whose children are trained elsewhere.

    Attributes:
        config: All settings.
        space: The grammar.
    """

    config: SearchConfig
    space: Space

    @property
    def objective(self) -> Objective:
        """How metrics become the reward."""
        return make_objective(self.config.objective)

    @property
    def offered(self) -> int:
        """How many children are offered at a time."""
        engine = self.config.engine
        return engine.in_flight or engine.workers or OFFERED


class ExternalSearch:
    """A search that trains nothing: trainers elsewhere ask for trials and tell what came out.

    It proposes, learns and keeps its run like any other; the trials lie in the book of leases in
    the run's folder, from where ``rlnas serve`` gives them out.

    Args:
        config: All settings, a `SearchConfig` or a mapping like the YAML file, with the executor
            ``external``.
        root: Folder of all runs; by default ``RLNAS_ROOT`` or ``checkpoints``.
        progress: Shows the user how the search goes; by default nothing is shown.

    Raises:
        UsageError: A setting or the space is wrong.
    """

    def __init__(
        self,
        config: SearchConfig | Mapping[str, Any],
        *,
        root: str | Path | None = None,
        progress: SearchProgress | None = None,
    ) -> None:
        """See the class."""
        config = config if isinstance(config, SearchConfig) else make_config(config)
        if config.engine.chosen != EXTERNAL:
            raise ConfigError(
                f"expected the executor external, got {config.engine.chosen}; use rlnas.Search"
            )
        check_controller_class(config.controller)
        self._root = Path(root) if root is not None else default_root()
        self._progress = progress or Silence()
        config = with_whole_paths(config)
        self._setup = ExternalSetup(config, make_external_space(config))

    def run(self, *, reserved: bool = False) -> SearchResult:
        """Search until the budget is spent, export the best network, and return what came out.

        Args:
            reserved: Whether the name was reserved for this run (`RunFolder.reserve`).

        Raises:
            RunError: The run's folder exists or cannot be written.
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
            InterruptedRunError: The user stopped the run; it was saved.
        """
        config = self._setup.config
        if config.name is not None:
            folder = RunFolder(self._root, config.name)
            journal = folder.create(config, self._meta(), reserved=reserved)
        else:
            stem = f"external-{config.controller.name}"
            folder, journal = create_next(self._root, stem, config, self._meta())
        with closing(journal), folder.writing():
            return self._go(folder, journal)

    def resume(self, name: str) -> SearchResult:
        """Go on with a run of this config; the budget may be another one.

        Raises:
            RunError: There is no such run, or it is of another space or controller.
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
            InterruptedRunError: The user stopped the run; it was saved.
        """
        folder = RunFolder(self._root, name)
        with closing(folder.open()) as journal, folder.writing():
            meta = journal.meta()
            check_config(folder, meta, self._setup.config)
            config = joined(make_config(meta["config"]), self._setup.config, ("budget", "engine"))
            self._setup = ExternalSetup(config, self._setup.space)
            go_on(folder, journal, config, self._progress)
            return self._go(folder, journal)

    def _go(self, folder: RunFolder, journal: Journal) -> SearchResult:
        line = folder.resume_line()
        try:
            with saved_when_stopped(journal, line), ExitStack() as stack:
                if journal.meta()["status"] == SEARCHING:
                    self._search(folder, journal, stack)
        finally:
            self._progress.close()
        return read_result(folder)

    def _search(self, folder: RunFolder, journal: Journal, stack: ExitStack) -> None:
        self._progress.note(f"run {folder.name} in {folder.path}")
        book = stack.enter_context(closing(LeaseBook(folder.leases)))
        executor = self.executor(book)
        config = self._setup.config
        controller = make_controller(
            self._setup.space,
            config.controller,
            config.seed,
            trials=config.budget.most_trials,
            weigh=self._setup.objective.weigh,
        )
        if journal.state() is None:
            self._warm_start(controller)
        recorder = ExternalRecorder(self._setup, folder, journal, controller)
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
            ordered=config.engine.deterministic,
        )
        best = loop.run()
        recorder.save_policy()
        journal.set_meta({"status": DONE, "best_trial": best.id})

    def executor(self, book: LeaseBook) -> Executor:
        """Return what offers the trials, by way of the run's book of leases."""
        return ExternalExecutor(book, self._describe, self._setup.offered)

    def _warm_start(self, controller: Controller) -> None:
        config = self._setup.config
        source = config.controller.warm_start
        if source is not None:
            prior = read_prior(source, self._root, self._setup.space, config.seed)
            controller.warm_start(prior)  # type: ignore[attr-defined]  # of ppo alone

    def _describe(self, job: Job) -> dict[str, Any]:
        """Return as JSON what a trainer is told of a job."""
        architecture, config = job.architecture, self._setup.config
        recipe = architecture.trained_by(job.recipe)
        network = architecture_json(architecture, config)
        cost = architecture.cost
        return {
            "trial": job.id,
            "tokens": list(architecture.tokens),
            "description": architecture.describe(),
            "architecture": None if network is None else json.loads(network),
            "recipe": recipe.model_dump(mode="json"),
            "epochs": recipe.epochs,
            "seed": job.seed,
            "floors": list(job.floors),
            "params": cost.params,
            "flops": cost.flops,
            "metric": config.objective.metric,
            "cost": config.objective.cost,
            "time_limit": config.engine.child_time_limit,
        }

    def _meta(self) -> dict[str, Any]:
        return {
            "status": SEARCHING,
            "space": self._setup.space.to_json(),
            "space_fingerprint": fingerprint(self._setup.space),
            "data": {"name": EXTERNAL, "fingerprint": EXTERNAL, "test": 0, "score": ACCURACY},
            "own": [],
            "threads": 1,
            "evaluator": EXTERNAL,
            "baseline": None,
            "versions": versions(),
            "best_trial": None,
        }


class ExternalRecorder(RunRecorder):
    """Keeps up to date what shows a run whose children were trained elsewhere."""

    def export_brief(self, trial: Trial) -> None:
        """Export the best network without weights: those lie where it was trained."""
        setup = self._rules
        architecture = setup.space.architecture(trial.tokens)
        report = {
            "run": self._folder.name,
            "trial": trial.id,
            "tokens": list(trial.tokens),
            "key": trial.key,
            "architecture": architecture.describe(),
            "layers": architecture.to_json()["layers"],
            "recipe": architecture.trained_by(setup.config.recipe).model_dump(mode="json"),
            "seed": setup.config.seed,
            "child_seed": trial.seed,
            "reward": trial.reward,
            "metrics": trial.metrics.lasting() if trial.metrics else None,
            "space": {"fingerprint": fingerprint(setup.space)},
            "versions": versions(),
            "config": self._journal.meta()["config"],
        }
        network = architecture_json(architecture, setup.config)
        export_untrained(network, architecture, report, self._folder.best)


def architecture_json(architecture: Architecture, config: SearchConfig) -> str | None:
    """Return the Keras JSON of an untrained network; None for a row of a table.

    It takes examples as the trainer prepares them: no scaling stands in front.
    """
    if architecture.is_named:
        return None
    recipe = architecture.trained_by(config.recipe)
    model = decode(
        architecture,
        scale=None,
        batch_norm_momentum=_NORM_MOMENTUM,
        dropout=recipe.dropout,
        batch_norm=recipe.batch_norm,
        penalties=(recipe.l1, recipe.l2),
    )
    return str(model.to_json())


def make_external_space(config: SearchConfig) -> Space:
    """Return the space of a search whose data is elsewhere.

    Raises:
        ConfigError: No network fits, the file of the space is wrong, or nothing says what the
            examples are.
    """
    name, shape, classes = (
        config.space.name or "image",
        config.space.input_shape,
        config.space.classes,
    )
    if is_table_of_networks(name):
        return _table(Path(name))
    if shape is None or classes is None:
        missing = "input_shape" if shape is None else "classes"
        raise ConfigError(
            f"space.{missing} is missing: trainers elsewhere have the data, so say what it is, "
            "such as space: {input_shape: [32, 32, 3], classes: 10} in the YAML file"
        )
    if is_own_space(config.space):
        space = own_space_for(config.space, shape, classes)
    else:
        space = chain_space(config.space, name, shape, classes)
    return with_recipes(space, config)


def _table(path: Path) -> TableSpace:
    try:
        return TableSpace(*read_strings(path))
    except (DataError, SpaceError) as error:
        raise ConfigError(f"space: {error}") from error
