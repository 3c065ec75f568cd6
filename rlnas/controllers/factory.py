"""From the config to a controller."""

from rlnas.config import CONTROLLERS, ControllerConfig
from rlnas.controllers.base import Controller
from rlnas.controllers.uniform import RandomController
from rlnas.errors import ConfigError, unknown_name
from rlnas.spaces import Space


def make_controller(space: Space, config: ControllerConfig, seed: int) -> Controller:
    """Return the controller that a config asks for.

    Keras is imported only if its controller has a network.

    Args:
        space: The grammar.
        config: Name, preset and settings.
        seed: Seed of all its randomness.

    Raises:
        ConfigError: The name is unknown.
    """
    if config.name == RandomController.name:
        return RandomController(space, seed)
    if config.name == "reinforce":
        from rlnas.controllers.presets import settings
        from rlnas.controllers.reinforce import ReinforceController

        return ReinforceController(space, settings(config), seed)
    raise ConfigError(unknown_name("controller", config.name, CONTROLLERS))
