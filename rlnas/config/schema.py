"""One tree of records for all that can be set: flags, YAML files and docs come from it.

Each field's description is the help of its flag and ends with the source of its
default: a paper, a measurement in ``benchmarks/`` or the word "chosen". A field's
flag is its name with dashes unless ``flag=`` gives another.
"""

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rlnas.config.fields import (
    Count,
    Megabytes,
    Number,
    Record,
    Seconds,
    Whole,
    controller_name,
    executor_name,
    known,
    option,
    or_auto,
)
from rlnas.config.names import (
    CONTROLS,
    DATASETS,
    FIDELITIES,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    SPACES,
    SURROGATES,
)

_TRIALS = 60


IN_FLIGHT = 8
"""Proposals under way in a deterministic run: enough for most machines (chosen)."""

POPULATION, TOURNAMENT = 20, 5
"""Members of evolution and genetic, and how many of them compete to become a parent (chosen for
budgets of some hundred trials; Real et al. 2019 took 100 and 25 for 20,000)."""

_OWNERS = {
    "surrogate": ("ppo",),
    "preset": ("reinforce",),
    "learning_rate": ("ppo", "reinforce", "dqn"),
    "batch_size": ("ppo", "reinforce", "dqn"),
    "entropy": ("ppo", "reinforce"),
    "baseline_decay": ("reinforce",),
    "imitation": ("ppo",),
    "warm_start": ("ppo",),
    "population": ("evolution", "genetic"),
    "tournament": ("evolution", "genetic"),
}
"""Whose a setting of the controller is."""


def _plain_choices(choices: dict[str, list[Any]]) -> dict[str, list[Any]]:
    for options in choices.values():
        if any(type(value) not in (bool, int, float, str) for value in options):
            raise ValueError("lists of numbers, texts, true or false")
    return choices


class DataConfig(Record):
    """The data set and its parts."""

    dataset: str = option(
        "digits",
        f"A known data set ({', '.join(DATASETS)}), a .npz file, or a folder with one folder of "
        "images per class. Default: digits, which is built in (chosen).",
    )
    validation: Number = option(
        0.15,
        "Share of the training data kept aside to validate on (chosen).",
        gt=0,
        lt=1,
    )
    test: Number = option(
        0.2,
        "Share kept aside as test data where the data set has none of its own (chosen).",
        flag="--test-share",
        gt=0,
        lt=1,
    )
    train_samples: Count | None = option(
        None, "Search on this many examples, a stratified part. Default: all (chosen)."
    )
    final_samples: Count | None = option(
        None, "Retrain on this many examples, a stratified part. Default: all (chosen)."
    )


class SpaceConfig(Record):
    """The grammar of architectures."""

    name: Annotated[str, known("space", SPACES)] = option(
        "image", "The kind of space, image (chosen).", flag="--space"
    )
    max_layers: Whole = option(10, "Most layers of a child before its head (chosen).", ge=1, le=100)
    min_layers: Whole | None = option(
        None,
        "Fewest layers of a child, where more than fewer fit. Default: 4, or --max-layers if that "
        "is less (chosen).",
        ge=1,
        le=100,
    )
    max_params: Count = option(1_000_000, "Most parameters of a child (chosen).")
    max_flops: Count | None = option(
        None,
        "Most FLOPs of a child for one example. Default: twice the reference child's (chosen).",
    )
    max_activations: Count | None = option(
        None,
        "Most values that a child's convolutions put out for one example; they tell its time "
        "better than FLOPs. Default: three times the reference child's (chosen).",
    )
    choices: Annotated[dict[str, list[Any]], AfterValidator(_plain_choices)] = option(
        {},
        "Choices by decision that replace the space's own, for example "
        '{"conv.filters": [8, 16]}; only in YAML. Default: none.',
        flag="",
    )


class ControllerConfig(Record):
    """Who proposes architectures, and how it learns."""

    name: Annotated[str, AfterValidator(controller_name)] = option(
        "ppo",
        "Who proposes: ppo, an LSTM policy with a surrogate; reinforce, the LSTM of Zoph & Le "
        "2016; dqn, Q-learning after MetaQNN; evolution (Real et al. 2019), genetic, local, "
        "random; or a class of your own as module:Class. Default: ppo, which needs the fewest "
        "trials (benchmarks/tables.py).",
        flag="--controller",
    )
    surrogate: Annotated[str, known("surrogate", SURROGATES)] = option(
        "gp",
        "What screens the proposals of ppo: gp (a Gaussian process), forest (a random forest) or "
        "none (see benchmarks/tables.py).",
        flag="--surrogate",
    )
    preset: Annotated[str, known("preset", PRESETS)] = option(
        "default",
        "Settings of reinforce: zoph (those of Zoph & Le 2016, who also cubed the accuracy: add "
        "--reward-exponent 3), enas (Pham et al. 2018), nats (Dong et al. 2021) or default "
        "(learns within 100 trials, see benchmarks/learning.py).",
    )
    learning_rate: Number | None = option(
        None,
        "Learning rate of the Adam of ppo, reinforce or dqn. Default: the controller's.",
        flag="--controller-learning-rate",
        gt=0,
    )
    batch_size: Count | None = option(
        None,
        "Trials per update of ppo, reinforce or dqn. Default: the controller's.",
        flag="--controller-batch-size",
    )
    entropy: Number | None = option(
        None,
        "Weight of the entropy bonus of ppo (at the start) or reinforce. Default: the "
        "controller's.",
        flag="--entropy",
        ge=0,
    )
    baseline_decay: Number | None = option(
        None,
        "Decay of the moving average that is the baseline of reinforce. Default: the preset's.",
        ge=0,
        lt=1,
    )
    imitation: Number | None = option(
        None,
        "Weight with which ppo imitates the 10 best so far (Abolafia et al. 2018), at most 0.5. "
        "Default: 0 (chosen).",
        ge=0,
        le=0.5,
    )
    warm_start: str | None = option(
        None,
        "What the policy of ppo learns before the first trial: the name or the folder of an "
        "earlier run, or flops, that larger networks are better. Default: nothing.",
    )
    population: Count | None = option(
        None,
        f"Members of the population of evolution or genetic. Default: {POPULATION} (chosen).",
        ge=2,
    )
    tournament: Count | None = option(
        None,
        "Members of which the best becomes a parent in evolution or genetic. "
        f"Default: {TOURNAMENT} (chosen).",
    )

    @model_validator(mode="after")
    def _settings_of_its_own(self) -> "ControllerConfig":
        for field, owners in _OWNERS.items():
            value = getattr(self, field)
            if self.name not in owners and value != type(self).model_fields[field].default:
                raise PydanticCustomError(
                    "foreign_setting",
                    "{sentence}",
                    {
                        "sentence": f"{field} {value} is a setting of {' and '.join(owners)}, got "
                        f"it for the controller {self.name}; leave it out or choose one of those"
                    },
                )
        return self

    @model_validator(mode="after")
    def _tournament_within_population(self) -> "ControllerConfig":
        members, drawn = self.population or POPULATION, self.tournament or TOURNAMENT
        if drawn > members and self.tournament is not None:
            sentence = (
                f"a tournament of {drawn} is larger than the population of {members}, expected at "
                "most as many; lower --tournament or raise --population"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self


class RecipeConfig(Record):
    """How a child is trained."""

    epochs: Count = option(5, "Epochs of a child in the search (chosen).")
    batch_size: Count = option(32, "Batch size of a child, Keras's own default (chosen).")
    optimizer: Annotated[str, known("optimizer", OPTIMIZERS)] = option(
        "adamw", f"Optimizer of a child: {', '.join(OPTIMIZERS)} (chosen)."
    )
    learning_rate: Number = option(0.002, "Learning rate of a child (chosen).", gt=0)
    schedule: Annotated[str, known("schedule", SCHEDULES)] = option(
        "cosine",
        "Learning-rate schedule: fixed, or cosine, down to 0 at the last step "
        "(Loshchilov & Hutter 2017).",
    )


class FidelityConfig(Record):
    """Which children are trained for all epochs."""

    name: Annotated[str, known("fidelity", FIDELITIES)] = option(
        "full",
        "full trains each child for all epochs; median stops one that is worse than half of the "
        "others were after as many epochs (Golovin et al. 2017); halving lets only the best third "
        "go on, after a ninth and after a third of the epochs (successive halving, Li et al. "
        "2020). What is stopped is paid what it reached (chosen).",
        flag="--fidelity",
    )
    chance_restarts: Whole | None = option(
        None,
        "Stop a child that is no better than chance after its first epoch; before that, begin anew "
        "so many times, each with 0.4 times the learning rate (Baker et al. 2017, who took 5). "
        "Default: such a child goes on.",
        ge=0,
        le=10,
    )


class ObjectiveConfig(Record):
    """How metrics become the reward."""

    last_epochs: Count = option(
        5, "The reward is the best validation accuracy of this many last epochs (Zoph & Le 2016)."
    )
    exponent: Number = option(
        1.0,
        "Power to which that accuracy is raised (Zoph & Le 2016 took 3; 1 is chosen).",
        flag="--reward-exponent",
        gt=0,
    )


class BudgetConfig(Record):
    """When the search ends: at the first limit that is reached."""

    trials: Count | None = option(
        None,
        f"Different architectures to train. Default: {_TRIALS}, or no limit where a time limit is "
        "given (chosen).",
    )
    time_limit: Seconds | None = option(
        None,
        "Wall-clock time of the search, for example 90s, 20m or 1h30m; the retraining comes on "
        "top. Default: none.",
        gt=0,
    )

    @property
    def most_trials(self) -> int | None:
        """Different architectures to train at most; None where time alone ends the search."""
        return _TRIALS if self.trials is None and self.time_limit is None else self.trials


class EngineConfig(Record):
    """Where children are trained, and what they may take."""

    executor: Annotated[str | None, AfterValidator(executor_name)] = option(
        None,
        "process trains children in worker processes, so that none can hurt the search; inline "
        "trains them one after the other in the search's own process; ray trains them on a Ray "
        'cluster (pip install "rlnas[ray]"). Default: process, or what the variable '
        "RLNAS_EXECUTOR says.",
    )
    workers: Annotated[Count | None, BeforeValidator(or_auto)] = option(
        None,
        "Children that are trained at the same time, or auto: as many as cores and memory allow. "
        "Default: auto.",
    )
    ray_address: str | None = option(
        None,
        "The Ray cluster: auto for the one this machine belongs to, or HOST:PORT; rlnas must be "
        "installed on its nodes. Default: one of this machine's own.",
    )
    isolate: bool = option(
        False, "Give each child a process of its own; it costs half a second each (chosen)."
    )
    child_time_limit: Seconds | None = option(
        None,
        "Wall-clock time of one child, for example 90s or 5m; then it is stopped and has failed. "
        "Default: none.",
        gt=0,
    )
    child_memory: Megabytes | None = option(
        None,
        "Memory that one child may take, for example 800MB or 2GB; then it is stopped and has "
        "failed. Default: none.",
        gt=0,
    )
    mixed_precision: bool = option(
        False,
        "Children compute in bfloat16 and keep their weights in float32: faster on GPUs from "
        "2020 on and on CPUs with AMX, where children are large. What is exported computes in "
        "float32 (chosen).",
    )
    jit_compile: bool = option(
        False,
        "Compile each child's step with XLA: it takes seconds, and pays where trainings are long. "
        "JAX always does (chosen).",
    )
    latency: bool = option(
        False,
        "Measure how long each trained child takes for one example, beside whatever else runs "
        "(chosen).",
    )
    deterministic: bool = option(
        False,
        "The same seed gives the same run with any number of workers: each child has one thread, "
        "and results are learned from in the order of the proposals. A worker may have to wait "
        "(chosen).",
    )
    in_flight: Count | None = option(
        None,
        "Architectures that are proposed before the first of them is learned from. Default: as "
        f"many as there are workers, {IN_FLIGHT} where the run is deterministic (chosen).",
    )

    @property
    def chosen(self) -> str:
        """The executor that was named, or the default one.

        Raises:
            PydanticCustomError: The variable names none.
        """
        return self.executor or str(executor_name(os.environ.get("RLNAS_EXECUTOR", "process")))

    @model_validator(mode="after")
    def _exact_or_compiled(self) -> "EngineConfig":
        if self.deterministic and self.jit_compile:
            sentence = (
                "XLA has no operations that give the same bits each time, got --jit-compile with "
                "--deterministic; leave one of them out"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self

    @model_validator(mode="after")
    def _ray_alone(self) -> "EngineConfig":
        if self.ray_address is not None and self.chosen != "ray":
            sentence = (
                f"a cluster is for the executor ray, got --ray-address {self.ray_address} with the "
                f"executor {self.chosen}; add --executor ray or leave it out"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self

    @model_validator(mode="after")
    def _limits_need_processes(self) -> "EngineConfig":
        given = [
            f"--{name.replace('_', '-')}"
            for name in ("isolate", "child_time_limit", "child_memory")
            if getattr(self, name)
        ]
        if (self.workers or 1) > 1:
            given.append(f"--workers {self.workers}")
        if self.chosen == "inline" and given:
            sentence = (
                f"the inline executor trains one child at a time in its own process, got "
                f"{given[0]}; leave it out or take --executor process"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self


class FinalConfig(Record):
    """The retraining at the end."""

    top_k: Count | None = option(
        None,
        "How many of the best are trained longer at the end. Default: 5, or 3 where that takes "
        "more than 12,000 steps each (chosen).",
    )
    epochs: Count | None = option(
        None,
        "Epochs of that longer training. Default: those of 10,000 steps, at least 8 and at most 30 "
        "(chosen).",
        flag="--final-epochs",
    )


class SearchConfig(Record):
    """All that defines a search."""

    name: str | None = option(
        None, "Name of the run, a folder below the root. Default: data set, controller and number."
    )
    seed: Whole = option(0, "Seed that all other seeds come from (chosen).", ge=0, lt=2**31)
    threads: Count | None = option(
        None,
        "Threads a child is trained with. Default: the cores divided among the workers.",
        le=1024,
    )
    baseline: str | None = option(
        None,
        "A Keras model of your own (.keras, or .json of its architecture), trained by the same "
        "protocol from new weights and shown beside the best. It ends with a softmax; frozen "
        "layers and adapted normalisation stay, batch normalisation keeps its own momentum "
        "(Keras's 0.99 is slow for a brief training). Default: none.",
    )
    control: Annotated[str, known("control", CONTROLS)] | None = option(
        None,
        "random: after the run, run the same with the random controller as NAME-control, and show "
        "the gap between both; takes twice the time. Default: none.",
    )
    data: DataConfig = DataConfig()
    space: SpaceConfig = SpaceConfig()
    controller: ControllerConfig = ControllerConfig()
    recipe: RecipeConfig = RecipeConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    fidelity: FidelityConfig = FidelityConfig()
    budget: BudgetConfig = BudgetConfig()
    engine: EngineConfig = EngineConfig()
    final: FinalConfig = FinalConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError(
                "a name of up to 100 letters, digits, dots, dashes and underscores, "
                "beginning with a letter or digit"
            )
        return name

    @model_validator(mode="after")
    def _something_to_stop(self) -> "SearchConfig":
        if self.fidelity.name != "full" and self.recipe.epochs == 1:
            sentence = (
                f"fidelity {self.fidelity.name} stops children before their last epoch, got "
                "epochs 1; raise --epochs or leave --fidelity out"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self

    @model_validator(mode="after")
    def _control_is_another(self) -> "SearchConfig":
        if self.control == self.controller.name:
            sentence = (
                f"control {self.control} is the controller itself, expected another controller "
                "to compare it with; leave --control out or choose another --controller"
            )
            raise PydanticCustomError("unfit_settings", "{sentence}", {"sentence": sentence})
        return self
