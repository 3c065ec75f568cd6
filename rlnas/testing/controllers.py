"""The contract of a controller as an executable check."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlnas.controllers import Action, Controller, State, Trajectory
from rlnas.errors import RunError
from rlnas.spaces import Space, max_choices, observation
from rlnas.testing.expect import expect, expect_equal

_STATE_LIMIT = 1_000_000
"""Bytes of arrays in a state: below 1 MB (chosen), because each trial writes it anew."""

_TOLERANCE = 1e-6
"""How far probabilities may be off: that of float32 (chosen)."""

Make = Callable[[int], Controller]


def check_controller(
    make: Make, space: Space, *, seed: int = 0, in_flight: int = 8, trajectories: int = 24
) -> None:
    """Check a controller against the contract of `rlnas.controllers.Controller`.

    Episodes are written in turns, in any interleaving, with `in_flight` of them at a
    time; rewards come out of order, some of them failed or repeated.

    Args:
        make: Makes the controller from a seed; called a few times.
        space: The space it proposes in.
        seed: Seed of controller and check.
        in_flight: Episodes at a time.
        trajectories: How many are finished and learned before the state is saved and
            again behind it; more than two batches of the controller, not a whole number of
            them, so that a batch is half full.

    Raises:
        AssertionError: The controller breaks the contract.
    """
    first, second = make(seed), make(seed)
    here, there = _Flight(space, in_flight, seed), _Flight(space, in_flight, seed)
    _check_policy(first, here)
    record = list(here.fly(first, trajectories))
    # The second controller is never asked for its probabilities: they change nothing.
    again = list(there.fly(second, trajectories, watch=False))
    _expect_same("made from the same seed", again, record)
    _check_policy(first, here)
    _check_restart(first, make(seed + 1), here, trajectories)
    _check_foreign_state(first)


@dataclass
class _Flight:
    """Episodes under way, and the randomness of the world they meet."""

    space: Space
    width: int
    seed: int
    rng: np.random.Generator = field(init=False)
    prefixes: list[list[int]] = field(init=False)
    log_probs: list[list[float]] = field(init=False)
    landed: list[Trajectory] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.prefixes = [[] for _ in range(self.width)]
        self.log_probs = [[] for _ in range(self.width)]

    def twin(self) -> "_Flight":
        """Return an independent flight in the same situation."""
        twin = _Flight(self.space, self.width, self.seed)
        twin.rng = deepcopy(self.rng)
        twin.prefixes, twin.log_probs = deepcopy(self.prefixes), deepcopy(self.log_probs)
        twin.landed = list(self.landed)
        return twin

    def fly(
        self, controller: Controller, trajectories: int, *, watch: bool = True
    ) -> Iterator[Any]:
        """Go on until so many trajectories were learned; give all that the controller returns.

        Args:
            controller: It acts and learns.
            trajectories: How many to learn from, at least.
            watch: Whether its probabilities are asked for and compared at each turn.
        """
        learned = 0
        while learned < trajectories:
            yield self._turn(controller, watch)
            if len(self.landed) >= self.rng.integers(1, 4):
                self.rng.shuffle(self.landed)
                figures = controller.learn(tuple(self.landed))
                _check_figures(figures)
                yield sorted(figures.items())
                learned += len(self.landed)
                self.landed = []

    def situation(self, rows: list[int]) -> tuple[Any, Any]:
        """Return observation int64[n, T] and mask int8[n, A] of these episodes."""
        seen = [observation(self.prefixes[row], self.space.max_tokens) for row in rows]
        return np.stack(seen), np.stack([self.space.mask(self.prefixes[row]) for row in rows])

    def _turn(self, controller: Controller, watch: bool) -> Any:
        count = int(self.rng.integers(1, self.width + 1))
        rows = [int(row) for row in self.rng.choice(self.width, count, replace=False)]
        observed, mask = self.situation(rows)
        policy = controller.probabilities(observed, mask) if watch else None
        given = observed.copy(), mask.copy()
        action = controller.act(*given)
        _expect_same("what was given to act()", given, (observed, mask))
        _check_action(action, mask, policy)
        for row, token, log_prob in zip(rows, action.tokens, action.log_probs, strict=True):
            self._write(row, int(token), float(log_prob))
        return action.tokens.tolist(), action.log_probs.tolist()

    def _write(self, row: int, token: int, log_prob: float) -> None:
        self.prefixes[row].append(token)
        self.log_probs[row].append(log_prob)
        if self.space.decision(self.prefixes[row]) is not None:
            return
        reward = None if self.rng.random() < 0.2 else float(self.rng.random())
        repeated = bool(self.rng.random() < 0.2)
        tokens, log_probs = tuple(self.prefixes[row]), tuple(self.log_probs[row])
        self.landed.append(Trajectory(tokens, log_probs, reward, repeated))
        self.prefixes[row], self.log_probs[row] = [], []


def _check_action(action: Action, mask: Any, policy: Any) -> None:
    rows = np.arange(len(mask))
    expect_equal("act(): type of tokens", action.tokens.dtype, np.dtype(np.int64))
    expect_equal("act(): shape of tokens", action.tokens.shape, rows.shape)
    expect_equal("act(): type of log_probs", action.log_probs.dtype, np.dtype(np.float64))
    expect_equal("act(): shape of log_probs", action.log_probs.shape, rows.shape)
    within = (action.tokens >= 0) & (action.tokens < mask.shape[1])
    allowed = within & (mask[rows, np.where(within, action.tokens, 0)] == 1)
    expect(
        bool(allowed.all()),
        f"act(): expected tokens that the mask allows, got {action.tokens.tolist()} for "
        f"{mask.tolist()}",
    )
    if policy is not None:
        expected = np.log(policy[rows, action.tokens])
        expect(
            bool(np.allclose(action.log_probs, expected, atol=_TOLERANCE)),
            f"act(): expected log_probs {expected.tolist()} after probabilities(), "
            f"got {action.log_probs.tolist()}",
        )


def _check_policy(controller: Controller, flight: _Flight) -> None:
    """Check the probabilities: legal, and a function of each row alone."""
    rows = list(range(flight.width))
    observed, mask = flight.situation(rows)
    policy = controller.probabilities(observed, mask)
    expect_equal("probabilities(): type", policy.dtype, np.dtype(np.float64))
    expect_equal("probabilities(): shape", policy.shape, (flight.width, max_choices(flight.space)))
    sums = policy.sum(axis=1)
    expect(
        bool(np.allclose(sums, 1.0, atol=_TOLERANCE)),
        f"probabilities(): expected rows that sum to 1, got {sums.tolist()}",
    )
    expect(
        bool((policy >= 0).all() and (policy[mask == 0] == 0).all()),
        f"probabilities(): expected 0 where masked and nothing below 0, got {policy.tolist()}",
    )
    for row in rows:
        alone = controller.probabilities(observed[row : row + 1], mask[row : row + 1])[0]
        expect(
            bool(np.allclose(alone, policy[row], atol=_TOLERANCE)),
            f"probabilities(): expected a row to depend on its prefix alone, got "
            f"{policy[row].tolist()} among others and {alone.tolist()} alone",
        )


def _check_figures(figures: Any) -> None:
    expect(
        isinstance(figures, dict)
        and all(isinstance(tag, str) and type(value) is float for tag, value in figures.items()),
        f"learn(): expected a dict of Python floats by tag, got {figures}",
    )
    infinite = {tag: value for tag, value in figures.items() if not np.isfinite(value)}
    expect(not infinite, f"learn(): expected finite figures, got {infinite}")


def _check_restart(
    controller: Controller, other: Controller, flight: _Flight, trajectories: int
) -> None:
    """Check that a controller of another seed goes on from a state as the first one does."""
    state = controller.state()
    kept = deepcopy(state)
    _check_state(state)
    twin, late = flight.twin(), flight.twin()
    record = list(flight.fly(controller, trajectories))
    _expect_same("a state after its controller went on", state, kept)
    other.load(state)
    _expect_same("state() after load()", other.state(), kept)
    _expect_same("after load()", list(twin.fly(other, trajectories)), record)
    _expect_same("a state after it was loaded", state, kept)
    controller.load(state)
    _expect_same("after load() of its own past", list(late.fly(controller, trajectories)), record)


def _check_state(state: State) -> None:
    size = sum(_bytes("state()", state))
    expect(size < _STATE_LIMIT, f"state(): expected less than {_STATE_LIMIT} bytes, got {size}")


def _bytes(place: str, value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for name, part in value.items():
            expect(isinstance(name, str), f"{place}: expected str as names, got {name!r}")
            yield from _bytes(f"{place}[{name!r}]", part)
    elif isinstance(value, list):
        for part in value:
            yield from _bytes(place, part)
    elif isinstance(value, np.ndarray):
        yield value.nbytes
    else:
        expect(
            value is None or type(value) in (bool, int, float, str),
            f"{place}: expected JSON-like values and arrays, got {type(value).__name__}",
        )
        yield len(str(value))


def _check_foreign_state(controller: Controller) -> None:
    try:
        controller.load({"origin": "another controller"})
    except RunError:
        return
    except Exception as error:
        raise AssertionError(
            f"load() of a foreign state: expected RunError, got {type(error).__name__}: {error}"
        ) from error
    raise AssertionError("load() of a foreign state: expected RunError, got no error")


def _expect_same(what: str, got: Any, expected: Any) -> None:
    """Compare nested values bit for bit."""
    difference = _difference(got, expected)
    expect(difference is None, f"{what}: expected the same bit for bit, {difference}")


def _difference(got: Any, expected: Any) -> str | None:
    """Return a sentence on the first difference of two nested values, or None."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if got.keys() != expected.keys():
            return f"expected the names {list(expected)}, got {list(got)}"
        pairs = [(got[name], expected[name]) for name in expected]
    elif isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(expected):
            return f"expected {len(expected)} entries, got {len(got)}"
        pairs = list(zip(got, expected, strict=True))
    else:
        same = type(got) is type(expected) and np.array_equal(got, expected)
        return None if same else f"expected {expected}, got {got}"
    return next((found for pair in pairs if (found := _difference(*pair))), None)
