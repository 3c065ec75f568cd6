"""Whole architectures that are written token by token, whoever asks next.

A controller that chooses a whole architecture at once must hand it out one token at a time,
in any interleaving, and a policy sees prefixes, not episodes. Two plans that stand at the same
prefix may change episodes: what is written in the end is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Tokens = tuple[int, ...]

_MOST = 1000
"""Plans that are kept at most; the oldest go, those of episodes that were given up (chosen)."""


class Plans:
    """Architectures under way.

    Args:
        propose: Chooses a whole architecture.
    """

    def __init__(self, propose: Callable[[], Tokens]) -> None:
        """See the class."""
        self._propose = propose
        self._going: list[tuple[Tokens, int]] = []  # the architecture, tokens handed out

    def token(self, prefix: Sequence[int]) -> int | None:
        """Return the next token behind a prefix, or None if no plan stands there."""
        place = len(prefix)
        if place == 0:
            tokens = self._propose()
        else:
            found = self._find(tuple(prefix))
            if found is None:
                return None
            tokens, _ = self._going.pop(found)
        if place + 1 < len(tokens):
            self._going.append((tokens, place + 1))
            del self._going[:-_MOST]
        return tokens[place]

    def under_way(self) -> list[Tokens]:
        """Return the architectures that are not wholly written."""
        return [tokens for tokens, _ in self._going]

    def state(self) -> dict[str, Any]:
        """Return the complete state."""
        return {"going": [[list(tokens), place] for tokens, place in self._going]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._going = [(tuple(tokens), int(place)) for tokens, place in state["going"]]

    def _find(self, prefix: Tokens) -> int | None:
        for number, (tokens, place) in enumerate(self._going):
            if place == len(prefix) and tokens[:place] == prefix:
                return number
        return None
