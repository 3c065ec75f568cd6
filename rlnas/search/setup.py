"""All that a run is made of, put together once: config, data, space, evaluator, seeds."""

import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from math import inf

from rlnas.children.backend import keras
from rlnas.children.data import Data, joined
from rlnas.children.folds import folds_of
from rlnas.children.machine import available_cores
from rlnas.children.recipes import steps_per_epoch
from rlnas.config import (
    AUGMENTATIONS_OF,
    IN_FLIGHT,
    OF_NUMBERS,
    RECIPE_PARTS,
    WEIGHTED,
    FidelityConfig,
    ObjectiveConfig,
    RecipeConfig,
    SearchConfig,
    SpaceConfig,
)
from rlnas.errors import ConfigError, SpaceError
from rlnas.evaluation import Executor, InlineExecutor
from rlnas.evaluation.gpus import choose_gpus
from rlnas.evaluation.process import CHILDREN_PER_WORKER, ProcessExecutor, ProcessSettings
from rlnas.evaluation.ray_executor import RayExecutor, cluster_crew
from rlnas.evaluation.repeated import RepeatedEvaluator
from rlnas.evaluation.sizing import ALONE, Crew, Work, choose_crew
from rlnas.evaluation.training import TrainingEvaluator, TrainingSettings, UserFunction
from rlnas.objectives import ACCURACY, R2, Cost, Objective
from rlnas.search.own_space import is_own_space, make_own_space
from rlnas.spaces import RECIPE_PREFIX, RecipeSpace, Space, chain_of

_LONG_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS, _MOST_OF_TABLES = 10_000, 8, 30, 100
"""How long the retraining is where the config does not say: see `FinalConfig.epochs`."""

_USUAL_K, _SMALL_K, _MANY_STEPS = 5, 3, 12_000
"""How many are retrained where the config does not say: see `FinalConfig.top_k`."""

_BACKWARD = 3
"""FLOPs of a training step for one of the forward pass alone (a usual rule)."""

_KEPT = 2
"""Values of a training step for each that its layers put out: those, and their gradients."""

_TWO = 2


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is made of.

    Attributes:
        config: All settings.
        data: The whole data set.
        space: The grammar.
        crew: Children that are trained at the same time, and what each has.
        function: A user's own evaluator, or None.
        baseline: A user's own model, untrained, or None.
    """

    config: SearchConfig
    data: Data
    space: Space
    crew: Crew = ALONE
    function: UserFunction | None = None
    baseline: keras.Model | None = None

    def __post_init__(self) -> None:
        """Refuse parts that are too small now, not after hours of search.

        Raises:
            DataError: A part of the data cannot hold all classes.
            ConfigError: The metric does not fit the data, or what is asked for needs a training of
                rlnas, and there is a user's own.
        """
        for samples in (self.config.data.train_samples, self.config.data.final_samples):
            part = self.data.sampled(samples, self.config.seed)
            if self.config.evaluation.folds:
                folds_of(part, self.config.evaluation.folds, self.config.seed)
        fidelity = self.config.fidelity
        if self.function is not None and fidelity != FidelityConfig():
            raise ConfigError(
                "fidelity (--fidelity, --chance-restarts) rules trainings of rlnas, and an "
                "evaluator of your own trains by itself; leave it out"
            )
        metric, numbers = self.config.objective.metric, self.data.target is not None
        if metric != ACCURACY and numbers != (metric in OF_NUMBERS):
            fits = ", ".join(OF_NUMBERS) if numbers else "one of the other metrics"
            raise ConfigError(
                f"objective.metric (--metric): {metric} is of {'classes' if numbers else 'numbers'}"
                f", got data in which {'a number' if numbers else 'a class'} is predicted; take "
                f"{fits}"
            )
        if numbers and self.config.recipe.class_weight:
            raise ConfigError(
                "recipe.class_weight (--class-weight) is of classes, got data in which a number is "
                "predicted; leave it out"
            )
        if numbers and self.config.recipe.label_smoothing:
            raise ConfigError(
                "recipe.label_smoothing (--label-smoothing) is of classes, got data in which a "
                "number is predicted; leave it out"
            )
        if self.config.objective.metric == "f1" and self.data.classes != _TWO:
            raise ConfigError(
                "objective.metric (--metric): f1 is of two classes, got data with "
                f"{self.data.classes}; take f1_macro"
            )
        fit = AUGMENTATIONS_OF.get(self.data.kind, ())
        if unfit := [name for name in self.config.recipe.augmentations if name not in fit]:
            raise ConfigError(
                f"recipe.augment (--augment): {unfit[0]} is not for data of the kind "
                f"{self.data.kind}; {'take ' + ', '.join(fit) if fit else 'leave it out'}"
            )
        if self.config.controller.skip_density is not None and not any(
            decision.looks_back for decision in self.space.decisions
        ):
            raise ConfigError(
                "controller.skip_density (--skip-density) is about skip connections, which a space "
                f"called {self.space.name} does not have; add --space image-skip or leave it out"
            )
        if self.function is not None and self.config.space.search_recipe != "none":
            raise ConfigError(
                "space.search_recipe (--search-recipe) chooses how rlnas trains, and an evaluator "
                "of your own trains by itself; leave it out"
            )

    @property
    def objective(self) -> Objective:
        """How metrics become the reward."""
        return make_objective(self.config.objective)

    @property
    def long_recipe(self) -> RecipeConfig:
        """The recipe of the retraining: that of the search with more epochs, but for texts.

        On texts a few epochs are enough; with more, children learn rare words by heart.
        """
        epochs = self.config.final.epochs
        if epochs is None and self.data.kind == "text":
            epochs = self.config.recipe.epochs
        elif epochs is None:
            steps = steps_per_epoch(self.config.recipe, self._long_examples)
            most = _MOST_OF_TABLES if self.data.kind == "tabular" else _MOST_EPOCHS
            epochs = min(max(round(_LONG_STEPS / steps), _FEWEST_EPOCHS), most)
        return self.config.recipe.model_copy(update={"epochs": epochs})

    @property
    def top_k(self) -> int:
        """How many of the best are retrained."""
        if self.config.final.top_k is not None:
            return self.config.final.top_k
        recipe = self.long_recipe
        steps = recipe.epochs * steps_per_epoch(recipe, self._long_examples)
        return _USUAL_K if steps <= _MANY_STEPS else _SMALL_K

    @property
    def _long_examples(self) -> int:
        return int(min(self.config.data.final_samples or inf, len(self.data.x_train)))

    def executor(self, evaluator: TrainingEvaluator, *, long: bool = False) -> Executor:
        """Return what carries out an evaluator's work, as the config says.

        Args:
            evaluator: Trains the children.
            long: Whether it is for the retraining, in which a child has as much more time as it
                has more to do.

        Raises:
            ConfigError: The evaluator cannot be handed to other processes.
            StorageError: The disk refused to take the data for them.
        """
        engine, crew = self.config.engine, self.crew
        if engine.chosen == "inline":
            return InlineExecutor(evaluator)
        settings = ProcessSettings(
            workers=crew.workers,
            threads=crew.threads,
            children=1 if engine.isolate else CHILDREN_PER_WORKER,
            time_limit=self._time_limit(long=long),
            memory_limit=engine.child_memory,
        )
        if engine.chosen == "ray":
            return RayExecutor(evaluator, settings, engine.ray_address, gpus=crew.gpu_share)
        return ProcessExecutor(evaluator, replace(settings, environments=crew.environments()))

    def _time_limit(self, *, long: bool) -> float | None:
        limit = self.config.engine.child_time_limit
        if limit is None or not long:
            return limit
        brief = min(self.config.data.train_samples or inf, len(self.data.x_train))
        more = self.long_recipe.epochs * self._long_examples / (self.config.recipe.epochs * brief)
        return limit * max(1.0, more)

    @property
    def in_flight(self) -> int:
        """How many architectures are proposed before the first of them is learned from."""
        engine = self.config.engine
        return engine.in_flight or (IN_FLIGHT if engine.deterministic else self.crew.workers)

    def brief_evaluator(self) -> TrainingEvaluator:
        """Return the evaluator of the search, on the part of the data it may see."""
        part = self.data.sampled(self.config.data.train_samples, self.config.seed)
        return self.evaluator(part)

    def long_evaluator(self) -> TrainingEvaluator:
        """Return the evaluator of the retraining."""
        part = self.data.sampled(self.config.data.final_samples, self.config.seed)
        return self.evaluator(part)

    def refit_evaluator(self) -> TrainingEvaluator | None:
        """Return the evaluator of the training on all examples but those of the test.

        None where that is not asked for or brings no more examples, and for an evaluator of the
        user's own, which needs a validation part that no child has seen.
        """
        if not self.config.final.refit or self.function is not None:
            return None
        asked = self.config.data.final_samples
        if asked is not None and asked <= len(self.data.x_train):
            return None
        return TrainingEvaluator(joined(self.data), None, self._training_settings)

    def evaluator(self, part: Data) -> TrainingEvaluator:
        """Return what trains children on a part of the data, as the config says."""
        evaluation, seed = self.config.evaluation, self.config.seed
        settings = self._training_settings
        if evaluation.trainings == 1:
            return TrainingEvaluator(part, self.function, settings)
        folds = folds_of(part, evaluation.folds, seed) if evaluation.folds else [part]
        return RepeatedEvaluator(folds, evaluation.repeats, self.function, settings)

    @property
    def _training_settings(self) -> TrainingSettings:
        engine, objective = self.config.engine, self.config.objective
        return TrainingSettings(
            restarts=self.config.fidelity.chance_restarts,
            mixed_precision=engine.mixed_precision,
            jit_compile=engine.jit_compile,
            latency=engine.latency or objective.cost == "latency",
            size=objective.cost == "size",
            metric=self.objective.metric,
            resident_megabytes=engine.resident_data,
        )


def make_objective(config: ObjectiveConfig) -> Objective:
    """Return how metrics become the reward, as the config says."""
    cost = None
    if config.cost is not None and config.target is not None:
        cost = Cost(config.cost, config.target, config.form, config.weight)
    # What is measured after each epoch is the accuracy, or R2 where a number is predicted.
    metric = ACCURACY if config.metric == R2 else config.metric
    return Objective(config.last_epochs, config.exponent, metric, cost)


def make_crew(config: SearchConfig, data: Data, space: Space) -> Crew:
    """Return how many workers the config and the machine give, and what each has.

    Raises:
        ConfigError: The memory does not hold so many, the cluster has not so many cores, or there
            is no such GPU.
    """
    engine, threads = config.engine, _asked_threads(config)
    if engine.chosen == "inline":
        return inline_crew(config)
    if engine.chosen == "ray":
        gpus = engine.gpus != "none"
        return cluster_crew(
            engine.ray_address, engine.workers, threads, engine.children_per_gpu, gpus=gpus
        )
    work = usual_work(space, data, config.recipe, engine.resident_data)
    found = choose_gpus(engine.gpus)
    return choose_crew(engine.workers, threads, work, found, engine.children_per_gpu)


def inline_crew(config: SearchConfig) -> Crew:
    """Return what a search has that trains in its own process; the data makes no difference."""
    return Crew(1, _asked_threads(config) or available_cores())


def _asked_threads(config: SearchConfig) -> int | None:
    """Return how many threads a child is to have; None where that is not said."""
    return 1 if config.engine.deterministic and config.threads is None else config.threads


def usual_work(
    space: Space, data: Data, recipe: RecipeConfig, resident_megabytes: float = inf
) -> Work:
    """Return what a worker needs for children like the reference child.

    Args:
        space: The grammar.
        data: The data set.
        recipe: How children are trained.
        resident_megabytes: Size up to which workers have a copy of the data.
    """
    child = space.reference()
    cost = child.cost
    resident = data.megabytes if data.megabytes <= resident_megabytes else 0.0
    return Work(
        megabytes=resident + _KEPT * cost.memory * recipe.batch_size / 1e6,
        step_flops=_BACKWARD * cost.flops * recipe.batch_size,
    )


def make_space(config: SearchConfig, data: Data) -> Space:
    """Return the space of the config for this data.

    Raises:
        ConfigError: The data is not of the space's kind, or no network fits.
    """
    if is_own_space(config.space):
        return make_own_space(config, data)
    return chain_space(config.space, config.space.name or data.kind, data.input_shape, data.classes)


def chain_space(
    config: SpaceConfig, name: str, input_shape: tuple[int, ...], classes: int
) -> Space:
    """Return a space of rlnas.

    Args:
        config: Its limits and choices.
        name: Which one.
        input_shape: Shape of an example.
        classes: Number of classes.

    Raises:
        ConfigError: No network fits, or a choice is wrong.
    """
    try:
        return chain_of(config, name, input_shape, classes)
    except SpaceError as error:
        raise ConfigError(f"space: {error}") from error


def with_recipes(space: Space, config: SearchConfig, data: Data | None = None) -> Space:
    """Return a space in which the recipe is searched too, if the config asks for it.

    Args:
        space: The grammar of architectures.
        config: All settings.
        data: The data set: not all can be augmented, and only labels of classes smoothed. None
            for images of classes.

    Raises:
        ConfigError: The choices of the recipe are wrong, or it is not searched and has some.
    """
    choices = {name: each for name, each in config.space.choices.items() if _of_recipe(name)}
    parts = config.space.search_recipe
    if parts == "none":
        if choices:
            raise ConfigError(
                f"space.choices: {next(iter(choices))} is a decision of the recipe, which is not "
                "searched; add --search-recipe or leave it out"
            )
        return space
    searched = list(RECIPE_PARTS) if parts == "all" else parts.split(",")
    for part, reason in _unfit_parts(data, config.objective.metric).items():
        if part in searched and parts != "all":
            raise ConfigError(
                f"space.search_recipe (--search-recipe): {part} {reason}; leave it out"
            )
        if part in searched:
            searched.remove(part)
    try:
        return RecipeSpace(
            space,
            searched,
            recipe=config.recipe,
            choices=choices,
            augmentations=AUGMENTATIONS_OF.get("image" if data is None else data.kind, ()),
        )
    except SpaceError as error:
        raise ConfigError(f"space.choices: {error}") from error


def _unfit_parts(data: Data | None, metric: str) -> dict[str, str]:
    """Return the parts of a recipe that do not go with the data or the metric, and why."""
    unfit: dict[str, str] = {}
    if data is not None and data.kind not in AUGMENTATIONS_OF:
        kinds = " and ".join(AUGMENTATIONS_OF)
        unfit["augment"] = f"is for {kinds}, got data of the kind {data.kind}"
    if data is not None and data.target is not None:
        unfit["label_smoothing"] = "is of classes, got data in which a number is predicted"
    if metric not in WEIGHTED:
        unfit["class_weight"] = f"is for the metrics {', '.join(WEIGHTED)}, got {metric}"
    return unfit


def _of_recipe(decision: str) -> bool:
    return decision.startswith(RECIPE_PREFIX)


def versions() -> dict[str, str]:
    """Return the versions on which the bits of a run depend."""
    names = ["rlnas", "keras", "numpy", keras.backend.backend()]
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
