"""Assertions that also hold under ``python -O``, with expected and actual value."""

from typing import Any


def expect(holds: bool, sentence: str) -> None:
    """Raise `AssertionError` with this sentence unless it holds."""
    if not holds:
        raise AssertionError(sentence)


def expect_equal(what: str, got: Any, expected: Any) -> None:
    """Raise `AssertionError` unless both are equal."""
    expect(bool(got == expected), f"{what}: expected {expected}, got {got}")
