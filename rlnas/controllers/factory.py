"""From the config to a controller."""

from dataclasses import replace
from typing import Any

from rlnas.config import CONTROLLERS, ControllerConfig
from rlnas.controllers.base import Controller
from rlnas.controllers.evolution import EvolutionController, GeneticController
from rlnas.controllers.guest import find_class, make_guest
from rlnas.controllers.local import LocalController
from rlnas.controllers.spending import Weigh
from rlnas.controllers.uniform import RandomController
from rlnas.errors import ConfigError, unknown_name
from rlnas.spaces import Space

_BUDGET = 60
"""Trials over which a schedule is laid where a search has no such limit (chosen)."""


def plans_by_budget(config: ControllerConfig) -> bool:
    """Return whether the controller does something else where the budget is another."""
    return config.name == "dqn"


def has_network(config: ControllerConfig) -> bool:
    """Return whether the controller, one of rlnas's own, learns by Keras."""
    return config.name in ("ppo", "reinforce", "dqn")


def has_policy(config: ControllerConfig) -> bool:
    """Return whether its probabilities tell more than what is allowed."""
    return config.name not in ("evolution", "genetic", "local")


def check_controller_class(config: ControllerConfig) -> None:
    """Check that a controller of the user's own can be had.

    Raises:
        ConfigError: It cannot be imported, or is not a controller.
    """
    if config.name not in CONTROLLERS:
        find_class(config.name)


def make_controller(
    space: Space,
    config: ControllerConfig,
    seed: int,
    *,
    trials: int | None = None,
    weigh: Weigh | None = None,
) -> Controller:
    """Return the controller that a config asks for.

    Keras is imported only if its controller has a network.

    Args:
        space: The grammar.
        config: Name, preset and settings.
        seed: Seed of all its randomness.
        trials: Budget of the search, for controllers that plan by it; None where it has none.
        weigh: How a cost counts in the reward, for controllers that foretell it: see
            `PPOController`.

    Raises:
        ConfigError: The name is unknown, or the user's own class cannot be had.
    """
    sizes = _given(population=config.population, sample=config.tournament)
    match config.name:
        case "ppo":
            return _ppo(space, config, seed, weigh)
        case "reinforce":
            from rlnas.controllers.presets import settings
            from rlnas.controllers.reinforce import ReinforceController

            return ReinforceController(space, settings(config), seed)
        case "dqn":
            from rlnas.controllers.dqn import DQNController, DQNSettings

            changed = _given(learning_rate=config.learning_rate, batch_size=config.batch_size)
            budget = DQNSettings(budget=_BUDGET if trials is None else trials)
            return DQNController(space, replace(budget, **changed), seed)
        case "evolution":
            return EvolutionController(space, seed, **sizes)
        case "genetic":
            return GeneticController(space, seed, **sizes)
        case "local":
            return LocalController(space, seed)
        case "random":
            return RandomController(space, seed)
    if ":" in config.name:
        return make_guest(config.name, space, seed)
    raise ConfigError(unknown_name("controller", config.name, CONTROLLERS))


def _ppo(space: Space, config: ControllerConfig, seed: int, weigh: Weigh | None) -> Controller:
    from rlnas.controllers.ppo import PPOController, PPOSettings
    from rlnas.controllers.surrogate import Forest, GaussianProcess, Surrogate

    changed = _given(
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        entropy=config.entropy,
        imitation=config.imitation,
        density=config.skip_density,
        density_pull=config.skip_pull,
    )
    surrogates: dict[str, Surrogate | None] = {
        "gp": GaussianProcess(),
        "forest": Forest(seed),
        "none": None,
    }
    settings = replace(PPOSettings(), **changed)
    return PPOController(space, settings, seed, surrogates[config.surrogate], weigh)


def _given(**settings: Any) -> dict[str, Any]:
    """Return the settings that have a value."""
    return {name: value for name, value in settings.items() if value is not None}
