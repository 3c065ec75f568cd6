"""Table spaces: networks that were all trained before, written as token strings of one length.

A string such as ``"021"`` is one token per character, a string with commas or spaces one per
word. What stands at a position anywhere in the table are the choices of that position; a mask
allows only prefixes that some row begins with, so every row can be written and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlnas.errors import SpaceError
from rlnas.spaces.base import Architecture, Decision, Mask, check_tokens

Words = tuple[str, ...]


class TableSpace:
    """The networks of a table.

    Args:
        strings: One token string per row, all of the same number of tokens.
        keys: One canonical key per row, equal for rows that are one network; None to take
            each string as its own.

    Raises:
        SpaceError: There is no row, a string comes twice or has another number of tokens than
            the first. The sentence numbers rows from 1.
    """

    name = "table"

    def __init__(self, strings: Sequence[str], keys: Sequence[str] | None = None) -> None:
        """See the class."""
        rows = _checked([words_of(string) for string in strings], strings)
        self._keys = tuple(strings if keys is None else keys)
        if len(self._keys) != len(rows):
            raise SpaceError(
                f"table: expected one key per row, {len(rows)}, got {len(self._keys)}; "
                "give each row its key"
            )
        self._strings = tuple(strings)
        self.decisions = tuple(
            Decision(f"position {place}", _sorted(set(words)))
            for place, words in enumerate(zip(*rows, strict=True), start=1)
        )
        self.max_tokens = len(self.decisions)
        self._most = max(len(decision.choices) for decision in self.decisions)
        self._rows = {self._tokens(words): row for row, words in enumerate(rows)}
        self._masks = self._all_masks()

    @property
    def size(self) -> int:
        """Number of different networks: of different keys."""
        return len(set(self._keys))

    def decision(self, prefix: Sequence[int]) -> Decision | None:
        """Return the decision of the next position, or None when the string is complete."""
        return self.decisions[len(prefix)] if len(prefix) < self.max_tokens else None

    def mask(self, prefix: Sequence[int]) -> Mask:
        """Return which tokens may come next, int8[A]; all zeros behind a complete string."""
        mask = self._masks.get(tuple(prefix))
        if mask is not None:
            return mask.copy()
        if len(prefix) < self.max_tokens:
            raise SpaceError(f"no row of the table begins with the tokens {list(prefix)}")
        return np.zeros(self._most, dtype=np.int8)

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Return the row that a complete sequence stands for.

        Raises:
            SpaceError: A token is out of range or masked, or the sequence is not complete.
        """
        tokens = tuple(int(token) for token in tokens)
        if tokens not in self._rows:
            check_tokens(self, tokens)
        return Architecture(tokens, (), (), 0, text=self._strings[self._rows[tokens]])

    def key(self, architecture: Architecture) -> str:
        """Return the key that the table gives the row."""
        return self._keys[self._rows[architecture.tokens]]

    def reference(self) -> Architecture:
        """Return the network of the first row: a table names none to compare with."""
        return self.architecture(next(iter(self._rows)))

    def to_json(self) -> dict[str, Any]:
        """Return all strings and keys."""
        return {"type": self.name, "strings": list(self._strings), "keys": list(self._keys)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "TableSpace":
        """Return the space that `to_json` described.

        Raises:
            SpaceError: The description is damaged.
        """
        try:
            return cls(record["strings"], record["keys"])
        except (KeyError, TypeError, AttributeError) as error:
            raise SpaceError(
                "the description of a table space is damaged: expected strings and keys, got "
                f"{sorted(record)}"
            ) from error

    def _tokens(self, words: Words) -> tuple[int, ...]:
        return tuple(
            decision.choices.index(word)
            for decision, word in zip(self.decisions, words, strict=True)
        )

    def _all_masks(self) -> dict[tuple[int, ...], Mask]:
        """Return the mask behind each prefix that a row begins with."""
        masks: dict[tuple[int, ...], Mask] = {}
        for tokens in self._rows:
            for place, token in enumerate(tokens):
                if tokens[:place] not in masks:
                    masks[tokens[:place]] = np.zeros(self._most, dtype=np.int8)
                masks[tokens[:place]][token] = 1
        return masks


def words_of(string: str) -> Words:
    """Return the tokens of a string: its words if it has commas or spaces, else its characters."""
    words = string.replace(",", " ").split()
    return tuple(words) if len(words) > 1 else tuple("".join(words))


def _checked(rows: list[Words], strings: Sequence[str]) -> list[Words]:
    """Return the rows.

    Raises:
        SpaceError: One of them is empty, of another length, or comes twice.
    """
    if not rows:
        raise SpaceError("table: expected at least one row, got none")
    first: dict[Words, int] = {}
    for number, (words, string) in enumerate(zip(rows, strings, strict=True), start=1):
        if not words or len(words) != len(rows[0]):
            raise SpaceError(
                f"row {number} of the table: expected a token string of {max(len(rows[0]), 1)} "
                f"tokens, as in row 1, got {string!r}; mend the row or drop it"
            )
        if first.setdefault(words, number) != number:
            raise SpaceError(
                f"row {number} of the table: expected each token string once, got {string!r}, "
                f"which row {first[words]} has too; drop one of the two"
            )
    return rows


def _sorted(words: set[str]) -> Words:
    """Return words in the order of numbers where all are numbers, else of letters."""
    if all(word.isdecimal() for word in words):
        return tuple(sorted(words, key=lambda word: (int(word), word)))
    return tuple(sorted(words))
