"""Which architectures were proposed, so that nothing is proposed twice."""

from collections.abc import Mapping, Sequence

from rlnas.controllers.history import History, Tokens
from rlnas.spaces import Space

_READ = 4096
"""Keys that are kept: that of an architecture is asked for several times (chosen)."""


class Known:
    """Architectures by canonical key.

    Args:
        space: The grammar.
    """

    def __init__(self, space: Space) -> None:
        """See the class."""
        self._space = space
        self._keys: set[str] = set()
        self._read: dict[Tokens, str] = {}
        self._recalled: Mapping[Tokens, str] = {}
        self._unlearned: list[Tokens] = []  # in no history when the state was last asked for

    def recall(self, keys: Mapping[Tokens, str]) -> None:
        """Take keys that somebody knows, so that the next `load` need not find them again."""
        self._recalled = keys

    def key(self, tokens: Tokens) -> str:
        """Return the canonical key of an architecture."""
        if tokens not in self._read:
            if len(self._read) >= _READ:
                self._read.clear()
            self._read[tokens] = self._space.key(self._space.architecture(tokens))
        return self._read[tokens]

    def has(self, tokens: Tokens) -> bool:
        """Return whether this architecture, or an equal one, is known."""
        return self.key(tokens) in self._keys

    def __contains__(self, key: str) -> bool:
        """Return whether an architecture of this key is known."""
        return key in self._keys

    def add(self, tokens: Tokens) -> None:
        """Remember an architecture."""
        key = self.key(tokens)
        if key not in self._keys:
            self._keys.add(key)
            self._unlearned.append(tokens)

    def state(self, history: History) -> list[list[int]]:
        """Return what is known and not in a history."""
        self._unlearned = [tokens for tokens in self._unlearned if tokens not in history]
        return [list(tokens) for tokens in self._unlearned]

    def load(self, state: Sequence[Sequence[int]], history: History) -> None:
        """Set what is in a history and what `state` returned."""
        recalled = self._recalled
        keys = (recalled.get(tokens) or self.key(tokens) for tokens in history.all())
        self._keys, self._unlearned, self._recalled = set(keys), [], {}
        for each in state:
            self.add(tuple(int(token) for token in each))
