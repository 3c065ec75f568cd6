"""The section of the config that says how metrics become the reward."""

from typing import Annotated

from pydantic import model_validator

from rlnas.config.fields import Count, Number, Record, known, option, refusal
from rlnas.config.names import COST_FORMS, COSTS, LESS_IS_BETTER, METRICS

_FORM, _WEIGHT = "hard", 0.07


class ObjectiveConfig(Record):
    """How metrics become the reward."""

    metric: Annotated[str, known("metric", METRICS)] = option(
        "accuracy",
        f"What is rewarded, on the validation part: {', '.join(METRICS)}; f1 is that of the last "
        "class of two, auc is one class against the rest, log_loss and mae count negative; r2 and "
        "mae are of numbers, and r2 is what accuracy means for them (chosen).",
    )
    last_epochs: Count = option(
        5, "The accuracy that counts is the best of this many last epochs (Zoph & Le 2016)."
    )
    exponent: Number = option(
        1.0,
        "Power to which the metric is raised (Zoph & Le 2016 took 3 for the accuracy; 1 is "
        "chosen).",
        flag="--reward-exponent",
        gt=0,
    )
    cost: Annotated[str, known("cost", COSTS)] | None = option(
        None,
        "What a child is to spend little of: params, flops, latency (measured, in milliseconds for "
        "one example) or size (of the .keras file, in MB). Default: nothing.",
    )
    target: Number | None = option(
        None,
        "How much of that a child may spend. Default: it must be given with --cost.",
        flag="--cost-target",
        gt=0,
    )
    form: Annotated[str, known("form of the reward", COST_FORMS)] = option(
        _FORM,
        "How a cost counts. hard: within the target not at all, above it the metric times "
        "target/cost; soft: the metric times (target/cost)^weight (both Tan et al. 2019, MnasNet); "
        "absolute: the metric less weight times |cost/target - 1| (Bender et al. 2020, TuNAS). "
        "With hard and absolute the model that is kept is within the target, if one is (chosen).",
        flag="--cost-form",
    )
    weight: Number = option(
        _WEIGHT,
        "How much a cost counts in the forms soft and absolute (Tan et al. 2019).",
        flag="--cost-weight",
        gt=0,
    )

    @model_validator(mode="after")
    def _cost_with_target(self) -> "ObjectiveConfig":
        if (self.cost is None) != (self.target is None):
            given = (
                f"got --cost-target {self.target:g} without --cost; add what it is a target of: "
                f"{', '.join(COSTS)}"
                if self.cost is None
                else f"got --cost {self.cost} without --cost-target; add how much a child may spend"
            )
            raise refusal(f"a cost and its target go together, {given}")
        if self.cost is None and (self.form != _FORM or self.weight != _WEIGHT):
            given = (
                f"--cost-form {self.form}"
                if self.form != _FORM
                else f"--cost-weight {self.weight:g}"
            )
            raise refusal(
                f"got {given} without --cost; add what it is about: {', '.join(COSTS)}, and "
                "--cost-target"
            )
        return self

    @model_validator(mode="after")
    def _product_of_shares(self) -> "ObjectiveConfig":
        if self.metric in LESS_IS_BETTER and self.cost is not None and self.form != "absolute":
            raise refusal(
                f"{self.metric} counts negative and cannot be multiplied with a cost, got "
                f"--cost-form {self.form}; take --cost-form absolute"
            )
        if self.metric in LESS_IS_BETTER and self.exponent != 1:
            raise refusal(
                f"{self.metric} counts negative and has no power, got --reward-exponent "
                f"{self.exponent:g}; leave it out"
            )
        return self
