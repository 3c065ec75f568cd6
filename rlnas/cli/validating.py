"""The check of a user's own space before any search: its rules, and that Keras builds it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log10
from typing import Any

import numpy as np

from rlnas.config import is_file_of_rules
from rlnas.config.imports import is_import_name
from rlnas.controllers import uniform
from rlnas.cost import Cost
from rlnas.errors import ConfigError, RlnasError, SpaceError, first_line
from rlnas.search.own_space import impossible_choices, space_for
from rlnas.spaces import Architecture, GrammarSpace, Space, max_choices

USUAL_SHAPES = {"image": (28, 28, 1), "audio": (61, 40, 1), "text": (50, 10_000), "tabular": (10,)}
"""Shapes of an example that a space is tried with where none is given (chosen)."""

_WALKS = 50
"""Networks with which the contract is checked (chosen)."""

_MANY_WALKS = 200
"""Networks that are drawn to see which choices are possible (chosen)."""

_WRITTEN_OUT = 2**53
"""Largest number that every reader of JSON takes as it is."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A network of the space, built in Keras.

    Attributes:
        layers: Its layers in one line.
        params: Parameters, head included.
        flops: FLOPs of one example.
    """

    layers: str
    params: int
    flops: int


@dataclass(frozen=True, slots=True)
class Validation:
    """What a space that is right looks like.

    Attributes:
        space: Its name.
        input_shape: The shape of an example it was tried with.
        classes: And the number of classes.
        decisions: Number of choices by decision.
        max_tokens: Most decisions of a network.
        architectures: Sequences that can be written, before data and caps; None where that is not
            known.
        reference: The reference child.
        drawn: Networks drawn at random.
        impossible: What stands in the rules and no network of these examples could choose.
    """

    space: str
    input_shape: tuple[int, ...]
    classes: int
    decisions: dict[str, int]
    max_tokens: int
    architectures: int | None
    reference: Drawn
    drawn: tuple[Drawn, ...]
    impossible: tuple[str, ...] = ()

    @property
    def count(self) -> str | None:
        """How many networks there are, in words."""
        if self.architectures is None:
            return None
        if self.architectures <= _WRITTEN_OUT:
            return f"{self.architectures:,}"
        return f"about 10^{log10(self.architectures):.0f}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; a number of networks that JSON cannot hold is told in words."""
        many = self.architectures is not None and self.architectures > _WRITTEN_OUT
        return {**asdict(self), **({"architectures": self.count} if many else {})}


def validate_space(
    name: str, input_shape: Sequence[int] | None, classes: int, networks: int
) -> Validation:
    """Check a space of the user's own; build some of its networks in Keras.

    Args:
        name: A YAML file, or ``module:name``.
        input_shape: Shape of an example to try it with; None for a usual one.
        classes: Number of classes to try it with; 1 where a number is predicted.
        networks: How many networks drawn at random are built.

    Raises:
        ConfigError: Something is wrong; for a YAML file with its line and column.
    """
    if not is_file_of_rules(name) and not is_import_name(name):
        raise ConfigError(
            f"expected a space of your own, a file such as space.yaml or module:name, got {name!r}"
        )
    space = space_for(name, input_shape, classes, USUAL_SHAPES)
    _check_contract(name, space)
    rng = np.random.default_rng(0)
    found = {uniform(space, rng) for _ in range(networks)}
    return Validation(
        space=space.name,
        input_shape=tuple(space.reference().input_shape),
        classes=space.reference().classes,
        decisions={each.name: len(each.choices) for each in space.decisions},
        max_tokens=space.max_tokens,
        architectures=space.extent.architectures if isinstance(space, GrammarSpace) else None,
        reference=_built(space.reference()),
        drawn=tuple(_built(space.architecture(tokens)) for tokens in sorted(found)),
        impossible=tuple(impossible_choices(name, space, _MANY_WALKS)),
    )


def _check_contract(name: str, space: Space) -> None:
    """Check what a space promises the controllers.

    Raises:
        ConfigError: It does not keep it.
    """
    from rlnas.testing import check_space

    try:
        check_space(space, np.random.default_rng(0), walks=_WALKS, read=lambda _: space)
        max_choices(space)
    except AssertionError as error:
        raise ConfigError(f"space {name}: {first_line(error)}") from error
    except RlnasError:
        raise
    except Exception as error:  # whatever a user's space does
        raise ConfigError(
            f"space {name}: it failed while it was asked for networks: {first_line(error)}"
        ) from error


def _built(network: Architecture) -> Drawn:
    """Return a network that Keras builds as it was weighed.

    Raises:
        SpaceError: Keras refuses it, or counts other parameters.
    """
    from rlnas.children.backend import keras
    from rlnas.children.decoder import decode

    cost: Cost = network.cost
    try:
        model = decode(network, scale=1.0 if len(network.input_shape) == 3 else None)
    except (ValueError, TypeError) as error:
        raise SpaceError(f"Keras refuses {network.describe()}: {first_line(error)}") from error
    counted = model.count_params()
    keras.backend.clear_session()
    if counted != cost.params:
        raise SpaceError(
            f"{network.describe()} was weighed with {cost.params:,} parameters, Keras counts "
            f"{counted:,}"
        )
    return Drawn(network.describe(), cost.params, cost.flops)
