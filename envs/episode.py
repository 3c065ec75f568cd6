"""One episode: a prefix that grows token by token until its architecture is finished."""

import numpy as np
import numpy.typing as npt

from rlnas.errors import SpaceError
from rlnas.spaces import Mask, Space, check_token, observation

Observation = npt.NDArray[np.int64]


class Episode:
    """The prefix of one architecture in the making.

    Attributes:
        tokens: The tokens so far.
    """

    def __init__(self, space: Space) -> None:
        """Begin with the empty prefix."""
        self._space = space
        self.tokens: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether the last token was written."""
        return self._space.decision(self.tokens) is None

    def write(self, token: int) -> str | None:
        """Write one token; return None, or why it is illegal and was not written."""
        decision = self._space.decision(self.tokens)
        if decision is None:
            return "the architecture is finished; call reset()"
        try:
            check_token(self._space, self.tokens, token, decision)
        except SpaceError as error:
            return str(error)
        self.tokens.append(token)
        return None

    def observation(self) -> Observation:
        """Return int64[T], token + 1, 0 where nothing is chosen yet."""
        return observation(self.tokens, self._space.max_tokens)

    def mask(self) -> Mask:
        """Return int8[A], 1 for each token that may come next."""
        return self._space.mask(self.tokens)
