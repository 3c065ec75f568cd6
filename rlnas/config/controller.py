"""The section of the config that says who proposes, and how it learns."""

from typing import Annotated

from pydantic import model_validator

from rlnas.config.fields import (
    CONTROLLER_NAMES,
    Checked,
    Count,
    Number,
    Record,
    Switch,
    controller_name,
    known,
    option,
    refusal,
)
from rlnas.config.names import PRESETS, SURROGATES

POPULATION, TOURNAMENT = 20, 5
"""Members of evolution and genetic, and how many of them compete to become a parent (chosen for
budgets of some hundred trials; Real et al. 2019 took 100 and 25 for 20,000)."""

DENSITY_PULL = 0.8
"""Weight of the pull to a density of skip connections: Pham et al. 2018, ENAS."""

_OWNERS = {
    "surrogate": ("ppo",),
    "preset": ("reinforce",),
    "learning_rate": ("ppo", "reinforce", "dqn"),
    "batch_size": ("ppo", "reinforce", "dqn"),
    "entropy": ("ppo", "reinforce"),
    "baseline_decay": ("reinforce",),
    "imitation": ("ppo",),
    "skip_density": ("ppo", "reinforce"),
    "skip_pull": ("ppo", "reinforce"),
    "warm_start": ("ppo",),
    "from_reference": ("ppo",),
    "population": ("evolution", "genetic"),
    "tournament": ("evolution", "genetic"),
}
"""Whose a setting of the controller is."""


class ControllerConfig(Record):
    """Who proposes architectures, and how it learns."""

    name: Annotated[str, Checked(controller_name, {"pattern": CONTROLLER_NAMES})] = option(
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
    skip_density: Number | None = option(
        None,
        "Share of skip connections to which the policy of ppo or reinforce is pulled, with "
        "--space image-skip (Pham et al. 2018, ENAS, took 0.4). Default: no pull.",
        gt=0,
        lt=1,
    )
    skip_pull: Number = option(
        DENSITY_PULL, "Weight of that pull in the loss (Pham et al. 2018, ENAS).", gt=0
    )
    warm_start: str | None = option(
        None,
        "What the policy of ppo learns before the first trial: the name or the folder of an "
        "earlier run, or flops, that larger networks are better. Default: nothing.",
    )
    from_reference: Switch = option(
        True,
        "Let ppo learn what the reference child earned, which is trained before the search anyway, "
        "and, with a surrogate, begin with edits of it; where the recipe is searched, first with "
        "recipes for it that often help. "
        "Default: yes (benchmarks/real_children.py).",
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
                raise refusal(
                    f"{field} {value} is a setting of {' and '.join(owners)}, got "
                    f"it for the controller {self.name}; leave it out or choose one of those"
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
            raise refusal(sentence)
        return self
