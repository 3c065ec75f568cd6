"""Controllers of users: found by name, and watched, so that a mistake of theirs has a name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.config.imports import imported
from rlnas.controllers.base import Action, Array, Controller, State, Trajectory
from rlnas.errors import ConfigError, ControllerError, RlnasError, first_line
from rlnas.spaces import Space, prefix_of

OWN_FIGURES = "controller/own/"
"""How the tags of what a user's controller logs begin."""

_ROUNDED = 1e-5
"""How far a log-probability may be above 0, by the rounding of single precision (chosen)."""

_METHODS = ("act", "probabilities", "learn", "state", "load")


def find_class(name: str) -> type[Any]:
    """Return the class that ``module:Class`` names; modules of the current folder are found too.

    Raises:
        ConfigError: The module cannot be imported, has no such class, or the class lacks a
            method of a controller.
    """
    found = imported("controller", name)
    if not isinstance(found, type):
        raise ConfigError(f"controller {name}: expected a class, got {type(found).__name__}")
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise ConfigError(
            f"controller {name}: expected the methods {', '.join(_METHODS)}, it lacks "
            f"{', '.join(missing)}; see rlnas.controllers.Controller"
        )
    return found


def make_guest(name: str, space: Space, seed: int) -> "Guest":
    """Return a user's controller, made as ``Class(space, seed)`` and watched.

    Args:
        name: ``module:Class``.
        space: The grammar.
        seed: Seed of all its randomness.

    Raises:
        ConfigError: It cannot be found or made.
    """
    found = find_class(name)
    try:
        controller = found(space, seed)
    except (Exception, SystemExit) as error:  # whatever a user's class does
        raise ConfigError(
            f"controller {name}: {found.__name__}(space, seed) failed: {first_line(error)}"
        ) from error
    return Guest(name, space, controller)


class Guest:
    """A user's controller, watched: what it chooses is allowed, what it says is a number.

    Args:
        name: What it is called in errors.
        space: The grammar.
        controller: The controller.
    """

    def __init__(self, name: str, space: Space, controller: Controller) -> None:
        """See the class."""
        self._name, self._space, self._controller = name, space, controller

    def act(self, observation: Array, mask: Array) -> Action:
        """Choose the next token of each episode; arguments as in `Controller.act`.

        Raises:
            ControllerError: A token is masked, or a log-probability is none.
        """
        action = self._called("act", observation, mask)
        tokens, log_probs = self._arrays(action, len(observation))
        for row, allowed in enumerate(mask):
            if allowed.any():
                self._check(observation[row], int(tokens[row]), float(log_probs[row]), allowed)
        return Action(tokens, log_probs)

    def probabilities(self, observation: Array, mask: Array) -> npt.NDArray[np.float64]:
        """Return the policy, float64[W, A]; arguments as in `Controller.probabilities`.

        Raises:
            ControllerError: It is no table of probabilities.
        """
        policy = np.asarray(self._called("probabilities", observation, mask))
        if policy.shape != mask.shape or not np.isfinite(policy).all() or (policy < 0).any():
            raise ControllerError(
                f"controller {self._name}: probabilities() must return numbers of at least 0 in "
                f"shape {mask.shape}, got shape {policy.shape} or other numbers; mend the class"
            )
        return policy.astype(np.float64)

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from finished trajectories; return figures to log.

        Raises:
            ControllerError: A figure is not a finite number.
        """
        figures = self._called("learn", trajectories)
        figures = {} if figures is None else figures
        if not isinstance(figures, Mapping):
            raise ControllerError(
                f"controller {self._name}: learn() must return a dict of figures by name, got "
                f"{figures!r}; mend the class"
            )
        for tag, value in figures.items():
            if not _finite(value):
                raise ControllerError(
                    f"controller {self._name}: learn() returned {value!r} for {tag!r}, expected "
                    "a finite number; mend the class"
                )
        return {
            OWN_FIGURES + str(tag).removeprefix("controller/"): float(value)
            for tag, value in figures.items()
        }

    def state(self) -> State:
        """Return the complete state.

        Raises:
            ControllerError: It is none that can be saved.
        """
        state: State = self._called("state")
        if not isinstance(state, Mapping):
            raise ControllerError(
                f"controller {self._name}: state() must return a dict of numbers, text, lists, "
                f"dicts and NumPy arrays, got {state!r}; mend the class"
            )
        for key in _keys(state):
            if not isinstance(key, str):  # it would come back as a text
                raise ControllerError(
                    f"controller {self._name}: the keys of dicts in state() must be texts, got "
                    f"{key!r}; take str(key), or a list of pairs"
                )
        return state

    def load(self, state: State) -> None:
        """Go on from a state that `state` returned."""
        self._called("load", state)

    def _called(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._controller, method)(*arguments)
        except RlnasError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's method does
            raise ControllerError(
                f"controller {self._name}: {method}() failed: {first_line(error)}; mend the class"
            ) from error

    def _arrays(
        self, action: Any, width: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        try:
            tokens = np.asarray(action.tokens)
            if not np.issubdtype(tokens.dtype, np.integer):
                raise TypeError("tokens are whole numbers")
            tokens = tokens.astype(np.int64)
            log_probs = np.asarray(action.log_probs, dtype=np.float64)
            fits = tokens.shape == log_probs.shape == (width,)
        except (AttributeError, TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise ControllerError(
                f"controller {self._name}: act() must return an Action of {width} tokens and "
                f"{width} log-probabilities, got {action!r}; mend the class"
            )
        return tokens, log_probs

    def _check(
        self, observed: Array, token: int, log_prob: float, mask: npt.NDArray[np.int8]
    ) -> None:
        decision = self._space.decision(prefix_of(observed))
        name = "the next decision" if decision is None else decision.name
        if not 0 <= token < len(mask) or not mask[token]:
            raise ControllerError(
                f"controller {self._name}: expected an allowed token for {name}, one of "
                f"{np.flatnonzero(mask).tolist()}, got {token}; mend the class"
            )
        if not (np.isfinite(log_prob) and log_prob <= _ROUNDED):
            raise ControllerError(
                f"controller {self._name}: expected a finite log-probability of at most 0 for "
                f"{name}, got {log_prob}; mend the class"
            )


def _keys(value: Any) -> Iterator[Any]:
    """Yield the keys of all dictionaries in a value."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            yield from each
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += (item for item in each if isinstance(item, Mapping | list | tuple))


def _finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError, OverflowError):
        return False
