"""One tree of records for all that can be set: flags, YAML files and docs come from it.

Each field's description is the help of its flag and ends with the source of its
default: a paper, a measurement in ``benchmarks/`` or the word "chosen". A field's
flag is its name with dashes unless ``flag=`` gives another.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from rlnas.config.controller import ControllerConfig
from rlnas.config.engine import EngineConfig
from rlnas.config.fields import (
    Count,
    Number,
    Record,
    Seconds,
    Switch,
    Whole,
    is_table_of_networks,
    known,
    option,
    refusal,
    space_name,
)
from rlnas.config.names import (
    CONTROLS,
    DATASETS,
    EXTERNAL,
    FIDELITIES,
    LONGEST_NAME,
    PLAIN_NAME,
    RECIPE_PARTS,
    SPACES,
    TASKS,
    WEIGHTED,
)
from rlnas.config.objective import ObjectiveConfig
from rlnas.config.recipe import RecipeConfig, recipe_parts

_TRIALS = 60


def _plain_choices(choices: dict[str, list[Any]]) -> dict[str, list[Any]]:
    for options in choices.values():
        if any(type(value) not in (bool, int, float, str) for value in options):
            raise ValueError("lists of numbers, texts, true or false")
    return choices


class DataConfig(Record):
    """The data set and its parts."""

    dataset: str = option(
        "digits",
        f"A known data set ({', '.join(DATASETS)}), a .npz file of images, a CSV or TSV file "
        "(maybe .gz) of texts or of columns, or a folder with one folder of images, .txt or .wav "
        "files per class. Default: digits, which is built in (chosen).",
    )
    test_data: str | None = option(
        None,
        "A CSV or TSV file with the same columns that holds the test part. Default: the rows with "
        "split test, or a share that is split off.",
    )
    text_column: str = option("text", "Column of the texts (chosen).")
    label_column: str = option("label", "Column of the labels (chosen).")
    split_column: str = option(
        "split",
        "Column that says train, dev or test, if there is one of this name (chosen).",
    )
    task: Annotated[str, known("task", TASKS)] | None = option(
        None,
        "What labels are: classification, names of classes, or regression, numbers of which the "
        "child predicts one, of a table or of texts. Default: regression where some label is no "
        "whole number.",
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

    name: Annotated[str | None, AfterValidator(space_name)] = option(
        None,
        "What the examples are, and so what networks are made of: image, image-skip (with skip "
        "connections), text, audio or tabular; or a space of your own, as a YAML file or as "
        "module:name in Python; rlnas validate checks it. For trainers elsewhere (--executor "
        "external) also a CSV table of networks with the columns arch, their token strings, and "
        "canonical, equal for equal ones. Default: seen from the data.",
        flag="--space",
    )
    input_shape: tuple[Count, ...] | None = option(
        None,
        "Shape of an example, such as [32, 32, 3], as the network takes it, where trainers "
        "elsewhere have the data (--executor external); only in YAML. Default: seen from the data.",
        flag="",
        min_length=1,
        max_length=4,
    )
    classes: Count | None = option(
        None,
        "Number of classes there, 1 where a number is predicted; only in YAML. Default: seen from "
        "the data.",
        flag="",
        le=100_000,
    )
    max_layers: Whole = option(10, "Most layers of a child before its head (chosen).", ge=1, le=100)
    min_layers: Whole | None = option(
        None,
        "Fewest layers of a child, where more than fewer fit. Default: 4 for images and audio, 3 "
        "for texts, 1 for tables, or --max-layers if that is less (chosen).",
        ge=1,
        le=100,
    )
    max_params: Count = option(1_000_000, "Most parameters of a child (chosen).")
    max_flops: Count | None = option(
        None,
        "Most FLOPs of a child for one example. Default: 4 times the reference child's for images "
        "and audio, 8 times for texts, 30 times for tables (chosen).",
    )
    max_activations: Count | None = option(
        None,
        "Most values that a child's convolutions put out for one example; they tell its time "
        "better than FLOPs. Default: three times the reference child's for images, 4 times for "
        "audio, 8 times for texts (chosen).",
    )
    search_recipe: Annotated[str, BeforeValidator(recipe_parts)] = option(
        "none",
        "Let the controller choose the recipe too: all, or parts of it separated by commas: "
        f"{', '.join(RECIPE_PARTS)}. Default: none (chosen).",
    )

    @property
    def kind(self) -> str | None:
        """What the examples are, one of `KINDS`; None where the name does not tell it."""
        return self.name.partition("-")[0] if self.name in SPACES else None

    choices: Annotated[dict[str, list[Any]], AfterValidator(_plain_choices)] = option(
        {},
        "Choices by decision that replace the space's own, for example "
        '{"conv.filters": [8, 16]}; only in YAML. Default: none.',
        flag="",
    )


class FidelityConfig(Record):
    """Which children are trained for all epochs."""

    name: Annotated[str, known("fidelity", FIDELITIES)] = option(
        "full",
        "full trains each child for all epochs; median stops one that, from a third of the epochs "
        "on, is worse than half of the others were after as many (Golovin et al. 2017); halving "
        "lets only the best third go on, after a ninth and after a third of the epochs "
        "(successive halving, Li et al. 2020). What is stopped is paid what it reached (chosen).",
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


class EvaluationConfig(Record):
    """How often a child is trained for one reward."""

    folds: Whole | None = option(
        None,
        "Train each child on so many folds of the training and validation data together, in each "
        "of which another part is kept aside, and reward the mean; for small data. Default: one "
        "split (chosen).",
        ge=2,
        le=50,
    )
    repeats: Count = option(
        1,
        "Train each child so many times, each from a seed of its own, and reward the mean "
        "(chosen).",
        le=50,
    )

    @property
    def trainings(self) -> int:
        """Trainings of a child."""
        return (self.folds or 1) * self.repeats


class BudgetConfig(Record):
    """When the search ends: at the first limit that is reached."""

    trials: Count | None = option(
        None,
        f"Different architectures to train. Default: {_TRIALS}, or no limit where a time limit is "
        "given (chosen).",
        le=10_000_000,
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


class FinalConfig(Record):
    """The retraining at the end."""

    top_k: Count | None = option(
        None,
        "How many of the best are trained longer at the end. Default: 5, or 3 where that takes "
        "more than 12,000 steps each (chosen).",
    )
    epochs: Count | None = option(
        None,
        "Epochs of that longer training. Default: those of 10,000 steps, at least 8 and at most 30,"
        " for tables 100; for texts those of the search, for with more they learn rare words by "
        "heart (chosen).",
        flag="--final-epochs",
    )
    refit: Switch = option(
        True,
        "Train the one to keep, and the reference child and --baseline beside it, once more on "
        "training and validation data together, as the searches of scikit-learn do (chosen).",
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
    evaluation: EvaluationConfig = EvaluationConfig()
    budget: BudgetConfig = BudgetConfig()
    # Made when it is needed, for the environment says what the executor is.
    engine: EngineConfig = Field(default_factory=EngineConfig)
    final: FinalConfig = FinalConfig()

    @model_validator(mode="after")
    def _weighted_classes(self) -> "SearchConfig":
        weight = WEIGHTED.get(self.objective.metric)
        if weight is not None and "class_weight" not in self.recipe.model_fields_set:
            weighted = self.recipe.model_copy(update={"class_weight": weight})
            object.__setattr__(self, "recipe", weighted)
        return self

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(PLAIN_NAME, name):
            raise ValueError(
                f"a name of up to {LONGEST_NAME} letters, digits, dots, dashes and underscores, "
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
            raise refusal(sentence)
        return self

    @model_validator(mode="after")
    def _whole_trainings(self) -> "SearchConfig":
        if self.evaluation.trainings > 1 and self.fidelity != FidelityConfig():
            raise refusal(
                "a child of which several trainings count is trained whole each time, got "
                "--folds or --repeats with --fidelity or --chance-restarts; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _exact_reward(self) -> "SearchConfig":
        if self.engine.deterministic and self.objective.cost == "latency":
            raise refusal(
                "a measured latency differs from run to run, got --cost latency with "
                "--deterministic; leave one of them out, or take --cost flops"
            )
        return self

    @model_validator(mode="after")
    def _trained_elsewhere(self) -> "SearchConfig":
        if self.engine.chosen != EXTERNAL:
            for name in ("input_shape", "classes"):
                if getattr(self.space, name) is not None:
                    raise refusal(
                        f"space.{name} is for trainers elsewhere, who have the data, got it with "
                        f"the executor {self.engine.chosen}; leave it out or take --executor "
                        "external"
                    )
            if self.space.name is not None and is_table_of_networks(self.space.name):
                raise refusal(
                    f"the networks of {self.space.name} are names that only trainers elsewhere "
                    f"understand, got it with the executor {self.engine.chosen}; take --executor "
                    "external"
                )
            return self
        for name, value in (
            ("--control", self.control),
            ("--baseline", self.baseline),
            ("--folds", self.evaluation.folds),
            ("--repeats", self.evaluation.repeats > 1),
            ("--chance-restarts", self.fidelity.chance_restarts),
            ("--latency", self.engine.latency),
            ("--mixed-precision", self.engine.mixed_precision),
            ("--jit-compile", self.engine.jit_compile),
        ):
            if value:
                raise refusal(
                    f"children are trained elsewhere, got {name} with --executor external; leave "
                    "it out and see to it there"
                )
        return self

    @model_validator(mode="after")
    def _control_is_another(self) -> "SearchConfig":
        if self.control == self.controller.name:
            sentence = (
                f"control {self.control} is the controller itself, expected another controller "
                "to compare it with; leave --control out or choose another --controller"
            )
            raise refusal(sentence)
        return self
