"""What may be chosen in an image space, and the check of choices that a user gives."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from rlnas.cost import ACTIVATIONS
from rlnas.errors import SpaceError, unknown_name

DEFAULT_CHOICES: dict[str, tuple[Any, ...]] = {
    "conv.filters": (16, 32, 64, 128),
    "conv.kernel": (3, 5),
    "conv.stride": (1, 2),
    "conv.activation": ("relu", "elu", "silu"),
    "conv.batch_norm": (False, True),
    "sepconv.filters": (16, 32, 64, 128),
    "sepconv.kernel": (3, 5),
    "sepconv.stride": (1, 2),
    "sepconv.activation": ("relu", "elu", "silu"),
    "sepconv.batch_norm": (False, True),
    "maxpool.size": (2, 3),
    "avgpool.size": (2, 3),
    "dropout.rate": (0.0, 0.1, 0.2, 0.3, 0.5),
    "dense.units": (32, 64, 128, 256),
    "dense.activation": ("relu", "elu", "silu"),
}
"""Chosen after the ranges of Zoph & Le 2016 and Baker et al. 2017, for children of seconds."""


_LARGEST_POOL = 100
"""Pixels along a side of a pooling's window at most (chosen)."""


def checked_choices(
    changed: Mapping[str, Sequence[Any]], default: Mapping[str, tuple[Any, ...]] = DEFAULT_CHOICES
) -> dict[str, tuple[Any, ...]]:
    """Return the choices of all decisions, those given instead of the default ones.

    Args:
        changed: Choices by decision; NumPy numbers become Python's.
        default: The choices of all decisions.

    Raises:
        SpaceError: A decision is unknown or a choice does not fit it.
    """
    if not isinstance(changed, Mapping):
        raise SpaceError(f"choices must be a mapping from decisions to lists, got {changed!r}")
    for name in changed:
        if name not in default:
            raise SpaceError(unknown_name("decision", str(name), default))
    return {
        name: _checked(name, changed[name]) if name in changed else options
        for name, options in default.items()
    }


def nearest(choices: Mapping[str, Sequence[Any]], decision: str, wanted: float) -> Any:
    """Return the choice of a decision that comes nearest to a number."""
    return min(choices[decision], key=lambda choice: abs(choice - wanted))


def preferred(choices: Mapping[str, Sequence[Any]], decision: str, wanted: Any) -> Any:
    """Return what is wanted of a decision, or its first choice where it has it not."""
    return wanted if wanted in choices[decision] else choices[decision][0]


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return a number of any integer type as an int.

    Raises:
        SpaceError: It is none, or too small.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SpaceError(f"{name} must be a whole number, at least {least}, got {value!r}")
    return int(value)


def _checked(name: str, options: Any) -> tuple[Any, ...]:
    if not isinstance(options, Sequence | np.ndarray) or isinstance(options, str):
        raise SpaceError(f"{name} needs a list of choices, got {options!r}")
    checked = tuple(checked_choice(name, option) for option in options)
    if not checked or len(set(checked)) != len(checked):
        raise SpaceError(f"{name} needs different choices, at least one, got {list(checked)}")
    return checked


def checked_choice(name: str, value: Any) -> Any:
    """Return a choice of a decision such as ``"conv.filters"``; NumPy numbers become Python's.

    Raises:
        SpaceError: It does not fit.
    """
    match name.partition(".")[2]:
        case "activation":
            return _activation(name, value)
        case "batch_norm" | "bidirectional":
            if not isinstance(value, bool | np.bool):
                raise SpaceError(f"a choice of {name} must be true or false, got {value!r}")
            return bool(value)
        case "rate":
            return _rate(name, value)
        case "size":  # pooling over one pixel would only leave pixels out
            size = whole_number(f"a choice of {name}", value, least=2)
            if size > _LARGEST_POOL:
                raise SpaceError(f"a choice of {name} is at most {_LARGEST_POOL}, got {size}")
            return size
        case _:
            return whole_number(f"a choice of {name}", value)


def _activation(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SpaceError(f"a choice of {name} must be the name of an activation, got {value!r}")
    if value not in ACTIVATIONS:
        raise SpaceError(f"{name}: {unknown_name('activation', value, ACTIVATIONS)}")
    return str(value)


def _rate(name: str, value: Any) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < 1:
        raise SpaceError(f"a choice of {name} must be a number from 0 to below 1, got {value!r}")
    return float(value)
