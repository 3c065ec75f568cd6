"""The contract of a space as an executable check."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlnas.errors import SpaceError
from rlnas.spaces import Decision, Space, max_choices, space_from_json
from rlnas.testing.expect import expect, expect_equal


def check_space(
    space: Space,
    rng: np.random.Generator,
    *,
    walks: int = 100,
    read: Callable[[Mapping[str, Any]], Space] = space_from_json,
) -> None:
    """Check a space against the contract of `rlnas.spaces.Space` on random walks.

    Args:
        space: The space.
        rng: Draws the walks.
        walks: How many finished architectures to write.
        read: Makes a space from what its `to_json` returned.

    Raises:
        AssertionError: The space breaks the contract.
    """
    _check_decisions(space)
    twin = read(json.loads(json.dumps(space.to_json())))
    expect_equal("to_json() after a round trip through JSON", twin.to_json(), space.to_json())
    _check_refusals(space)
    for _ in range(walks):
        tokens = _walk(space, twin, rng)
        _check_architecture(space, twin, tokens)
    _check_reference(space)


def _check_decisions(space: Space) -> None:
    names = [decision.name for decision in space.decisions]
    expect(len(names) > 0, "decisions: expected at least one, got none")
    expect(len(set(names)) == len(names), f"decisions: expected each name once, got {names}")
    for decision in space.decisions:
        expect(len(decision.choices) > 0, f"{decision.name}: expected a choice, got none")
    expect(
        isinstance(space.max_tokens, int) and space.max_tokens > 0,
        f"max_tokens: expected a positive int, got {space.max_tokens!r}",
    )


def _check_refusals(space: Space) -> None:
    """Check that `architecture` refuses what is unfinished, out of range or masked."""
    mask = space.mask(())
    wrong = {"the empty sequence": (), "a token out of range": (max_choices(space),)}
    masked = np.flatnonzero(mask == 0)
    if masked.size:
        wrong["a masked token"] = (int(masked[0]),)
    for what, tokens in wrong.items():
        try:
            space.architecture(tokens)
        except SpaceError:
            continue
        raise AssertionError(f"architecture({tokens}), {what}: expected SpaceError, got a network")


def _walk(space: Space, twin: Space, rng: np.random.Generator) -> tuple[int, ...]:
    """Write one architecture at random, with a check at each prefix; return its tokens."""
    tokens: list[int] = []
    while (decision := space.decision(tokens)) is not None:
        allowed = _allowed(space, tokens, decision)
        expect_equal(f"decision({tokens}) behind JSON", twin.decision(tokens), decision)
        expect_equal(
            f"mask({tokens}) behind JSON", twin.mask(tokens).tolist(), space.mask(tokens).tolist()
        )
        expect(
            len(tokens) < space.max_tokens,
            f"max_tokens: expected at most {space.max_tokens} tokens, got more: {tokens}",
        )
        tokens.append(int(rng.choice(allowed)))
    _check_mask(space, tokens)
    expect(not space.mask(tokens).any(), f"mask({tokens}), finished: expected zeros, got ones")
    return tuple(tokens)


def _allowed(space: Space, prefix: list[int], decision: Decision) -> list[int]:
    """Check decision and mask behind an unfinished prefix; return the allowed tokens."""
    expect(
        decision in space.decisions,
        f"decision({prefix}): expected one of the space's decisions, got {decision}",
    )
    _check_mask(space, prefix)
    allowed = [int(token) for token in np.flatnonzero(space.mask(prefix))]
    expect(len(allowed) > 0, f"mask({prefix}): expected a way on, got a dead end")
    expect(
        allowed[-1] < len(decision.choices),
        f"mask({prefix}): expected {len(decision.choices)} choices of {decision.name}, "
        f"got {allowed[-1]} allowed",
    )
    return allowed


def _check_mask(space: Space, prefix: list[int]) -> None:
    place = f"mask({prefix})"
    mask = space.mask(prefix)
    expect_equal(f"{place}: type", mask.dtype, np.dtype(np.int8))
    expect_equal(f"{place}: shape", mask.shape, (max_choices(space),))
    before = mask.tolist()
    expect(set(before) <= {0, 1}, f"{place}: expected zeros and ones, got {before}")
    mask[:] = 1 - mask  # what a caller does to its mask must not reach the space
    expect_equal(f"{place}, asked again", space.mask(tuple(prefix)).tolist(), before)


def _check_architecture(space: Space, twin: Space, tokens: tuple[int, ...]) -> None:
    architecture = space.architecture(tokens)
    expect_equal("tokens of architecture(tokens)", architecture.tokens, tokens)
    for token in architecture.tokens:
        expect(type(token) is int, f"tokens: expected Python ints, got {type(token).__name__}")
    json.dumps(architecture.to_json())
    key = space.key(architecture)
    expect(isinstance(key, str), f"key: expected str, got {type(key).__name__}")
    again = space.architecture(list(np.array(tokens)))  # as policies give them
    expect_equal(f"architecture({tokens}) from NumPy integers", again, architecture)
    expect_equal(f"key of {tokens}, read again", space.key(again), key)
    expect_equal(f"key of {tokens} behind JSON", twin.key(twin.architecture(tokens)), key)


def _check_reference(space: Space) -> None:
    """Check that the reference child is written in the space's tokens, caps aside."""
    reference = space.reference()
    capped = False
    for position, token in enumerate(reference.tokens):
        prefix = reference.tokens[:position]
        try:
            decision = space.decision(prefix)
        except SpaceError:
            expect(capped, f"reference: decision({prefix}) refuses a prefix that its mask allowed")
            return
        if decision is None:
            raise AssertionError(
                f"reference: expected it to end after {position} tokens, got {reference.tokens}"
            )
        expect(
            0 <= token < len(decision.choices),
            f"reference: expected token {position} ({decision.name}) in "
            f"0..{len(decision.choices) - 1}, got {token}",
        )
        capped = capped or not space.mask(prefix)[token]
    last = space.decision(reference.tokens)
    expect(last is None, f"reference: expected a finished sequence, got {reference.tokens}")
