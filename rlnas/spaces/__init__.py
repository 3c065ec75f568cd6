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

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_CHOICES",
    "Architecture",
    "Decision",
    "ImageSpace",
    "Mask",
    "Space",
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
    if record.get("type") != ImageSpace.name:
        raise SpaceError(f"unknown type of space {record.get('type')!r}: expected 'image'")
    return ImageSpace.from_json(record)
