"""Who takes part in a benchmark: a controller and its settings, written in a few words."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from rlnas._version import __version__
from rlnas.config import ControllerConfig, make_config
from rlnas.controllers import check_controller_class, has_network, plans_by_budget
from rlnas.errors import ConfigError

_ELSEWHERE = {
    "name": "the controller's name in front of the first plus sign",
    "warm_start": "no prior on a table (benchmarks/prior.py measures them)",
    "from_reference": "no reference child on a table",
}
"""Fields of a controller that are no setting of a contestant, and what is expected instead."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A controller and its settings.

    Attributes:
        words: As the user wrote it, such as ``ppo`` or ``evolution+population=50``.
        config: What that means.
    """

    words: str
    config: ControllerConfig

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ with settings, version and code of a guest."""
        parts = [__version__.encode(), self.config.model_dump_json().encode()]
        if ":" in self.config.name:
            source = sys.modules[self.config.name.partition(":")[0]].__file__
            parts.append(b"" if source is None else Path(source).read_bytes())
        return hashlib.sha256(b"\n".join(parts)).hexdigest()[:12]

    @property
    def per_budget(self) -> bool:
        """Whether it is run once for each budget, because it plans by it."""
        return plans_by_budget(self.config)

    @property
    def needs_keras(self) -> bool:
        """Whether it has a network."""
        return has_network(self.config)

    @classmethod
    def read(cls, words: str) -> "Contestant":
        """Return who is meant.

        Args:
            words: The controller's name, and its settings behind plus signs.

        Raises:
            ConfigError: The name or a setting is unknown or wrong.
        """
        name, *settings = words.split("+")
        values: dict[str, str] = {"name": name}
        for setting in settings:
            field, equals, value = setting.partition("=")
            if not equals:
                raise ConfigError(
                    f"controller {words}: expected field=value behind a plus sign, got "
                    f"{setting!r}; write it like evolution+population=50"
                )
            if field in values or field in _ELSEWHERE:
                expected = _ELSEWHERE.get(field, "each setting once")
                raise ConfigError(f"controller {words}: expected {expected}, got {setting!r} too")
            values[field] = value
        config = make_config({"controller": values}).controller
        check_controller_class(config)
        return cls(words, config)


def read_contestants(words: str) -> list[Contestant]:
    """Return who is meant by a list with commas.

    Raises:
        ConfigError: One of them is unknown or wrong, or stands there twice, or none is named.
    """
    names = [name.strip() for name in words.split(",") if name.strip()]
    if not names:
        raise ConfigError("expected at least one controller, such as ppo,random; got none")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"expected each controller once, got {twice[0]} twice")
    return [Contestant.read(name) for name in names]
