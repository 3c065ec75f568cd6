"""One episode: a prefix that grows token by token until its architecture is finished."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.config import RecipeConfig
from rlnas.errors import SpaceError, UsageError
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


def as_token(action: Any) -> int:
    """Return an action as a Python number.

    Raises:
        UsageError: It is not one whole number.
    """
    array = np.asarray(action)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise UsageError(f"action: expected the index of a choice, a whole number, got {action!r}")
    return int(array.reshape(()))


def checked_recipe(recipe: RecipeConfig | None) -> RecipeConfig:
    """Return the recipe, or that of the defaults.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(recipe, RecipeConfig | None):
        raise UsageError(
            f"recipe: expected a rlnas.config.RecipeConfig, got {type(recipe).__name__}; "
            "write for example RecipeConfig(epochs=3)"
        )
    return recipe or RecipeConfig()


def checked_reward(failure_reward: float) -> float:
    """Return the failure reward as a Python number.

    Raises:
        UsageError: It is not finite.
    """
    if not math.isfinite(failure_reward):
        raise UsageError(f"failure_reward: expected a finite number, got {failure_reward}")
    return float(failure_reward)
