"""The grammars of architectures: which token may follow which prefix."""

from collections.abc import Mapping
from typing import Any

from rlnas.errors import SpaceError
from rlnas.spaces.base import (
    Architecture,
    Decision,
    Mask,
    Space,
    check_token,
    check_tokens,
    fingerprint,
    max_choices,
    observation,
    prefix_of,
)
from rlnas.spaces.choices import ACTIVATIONS, DEFAULT_CHOICES
from rlnas.spaces.image import ImageSpace
from rlnas.spaces.table import TableSpace

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_CHOICES",
    "Architecture",
    "Decision",
    "ImageSpace",
    "Mask",
    "Space",
    "TableSpace",
    "check_token",
    "check_tokens",
    "fingerprint",
    "max_choices",
    "observation",
    "prefix_of",
    "space_from_json",
]


def space_from_json(record: Mapping[str, Any]) -> Space:
    """Return the space that a `to_json` described.

    Raises:
        SpaceError: The type is unknown or the description damaged.
    """
    if not isinstance(record, Mapping):
        raise SpaceError(f"expected the JSON of a space, got {type(record).__name__}")
    kinds: dict[Any, Any] = {each.name: each for each in (ImageSpace, TableSpace)}
    kind = kinds.get(record.get("type"))
    if kind is None:
        raise SpaceError(
            f"unknown type of space {record.get('type')!r}: expected one of {sorted(kinds)}"
        )
    space: Space = kind.from_json(record)
    return space
