"""Checks of the seams, for those who write a part of their own.

A check raises `AssertionError` with what was expected and what came; a part that passes
works with all the others.

    from rlnas.testing import check_controller, check_space

    check_space(MySpace(), numpy.random.default_rng(0))
    check_controller(lambda seed: MyController(space, seed), space)
"""

from rlnas.testing.controllers import check_controller
from rlnas.testing.learning import Ending, KnownRewards, better_ends, ending, small_space
from rlnas.testing.spaces import check_space

__all__ = [
    "Ending",
    "KnownRewards",
    "better_ends",
    "check_controller",
    "check_space",
    "ending",
    "small_space",
]
