"""New architectures from known ones: uniform draws, mutants and crosses, all legal.

A variation is written token by token through the space's own masks. Behind an edit the old
tokens go on where they fit: a token is copied while the same decision comes next and the mask
allows it. Where the decisions differ, tokens are drawn, until the space's first decision (the
type of a layer, in chains) comes again and the old tokens go on from their next part.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlnas.spaces import RECIPE_PREFIX, Space

Tokens = tuple[int, ...]
_Named = list[tuple[str, int]]
"""Name of the decision and token, in the order of an architecture."""

_REPEATS = 0.5
"""Chance that a part put in repeats its neighbour."""

_RECIPE_EDITS = 0.5
"""Chance that an edit is one of the recipe, where one is searched (chosen)."""

_GRAFTS = 0.5
"""Chance that a new network is tried with a recipe that is known to be good (chosen)."""


def uniform(space: Space, rng: np.random.Generator) -> Tokens:
    """Return an architecture, each token drawn uniformly from what the mask allows."""
    return _written(space, (), [], rng)


def mutant(space: Space, tokens: Sequence[int], rng: np.random.Generator) -> Tokens:
    """Return an architecture one edit away: a token changed, or a part put in or taken out.

    A part begins with the space's first decision, such as a layer of a chain; where that
    decision comes only once, tokens alone change. Every second part put in repeats the one
    before it, as good networks do: a uniform draw hardly ever finds just those tokens. Where a
    recipe is searched, every second edit changes a token of it: what is good there is good for
    many networks. What allows no edit comes back unchanged.
    """
    named = _named(space, tokens)
    end = _end(named)
    recipe = range(end, len(named))
    if recipe and rng.random() < _RECIPE_EDITS:
        changed = _changed(space, tokens, named, rng.permutation(recipe).tolist(), rng)
        if changed != tuple(tokens):  # the same where no part of it has another choice
            return changed
    starts = [place for place, (name, _) in enumerate(named) if name == named[0][0]]
    edit = int(rng.integers(3)) if len(starts) > 1 else 0
    if edit == 1:
        longer = _inserted(space, tokens, named, starts, rng)
        if longer != tuple(tokens):  # the same where there is no room for one more
            return longer
    if edit == 2:
        gap = int(rng.integers(len(starts) - 1))
        return _written(space, tokens[: starts[gap]], named[starts[gap + 1] :], rng)
    places = [*rng.permutation(end).tolist(), *rng.permutation(recipe).tolist()]
    return _changed(space, tokens, named, places, rng)


def cross(
    space: Space, first: Sequence[int], second: Sequence[int], rng: np.random.Generator
) -> Tokens:
    """Return the beginning of one architecture with the end of another.

    Args:
        space: The grammar.
        first: Gives the tokens before a position that is drawn uniformly.
        second: Gives those from that position on, as far as they fit, and of its recipe what the
            beginning lacks.
        rng: Draws the position, and what does not fit.
    """
    place = int(rng.integers(1, max(len(first), 2)))
    named = _named(space, second)
    return _written(space, first[:place], named[min(place, _end(named)) :], rng)


def grafted(
    space: Space, tokens: Tokens, donors: Sequence[Tokens], rng: np.random.Generator
) -> Tokens:
    """Return an architecture, in every second case trained by the recipe of one of others.

    Most recipes are bad, so that one drawn with a network says nothing of the network. Where no
    recipe is searched, or there are no others, it comes back as it is.
    """
    searched = any(each.name.startswith(RECIPE_PREFIX) for each in space.decisions)
    if not searched or not donors or rng.random() >= _GRAFTS:
        return tokens
    end = _end(_named(space, tokens))
    donor = _named(space, donors[int(rng.integers(len(donors)))])
    return _written(space, tokens[:end], donor[_end(donor) :], rng)


def _changed(
    space: Space,
    tokens: Sequence[int],
    named: _Named,
    places: Sequence[int],
    rng: np.random.Generator,
) -> Tokens:
    """Change the token at the first of some places that has another choice."""
    for place in places:
        (allowed,) = space.mask(tokens[:place]).nonzero()
        if len(allowed) > 1:
            token = _one(allowed[allowed != tokens[place]], rng)
            return _written(space, (*tokens[:place], token), named[place + 1 :], rng)
    return tuple(tokens)


def _inserted(
    space: Space, tokens: Sequence[int], named: _Named, starts: list[int], rng: np.random.Generator
) -> Tokens:
    """Put in one part: its neighbour once more, or one drawn uniformly."""
    if rng.random() < _REPEATS:
        part = int(rng.integers(len(starts) - 1))
        return _written(space, tokens[: starts[part + 1]], named[starts[part] :], rng)
    place = _one(starts, rng)
    return _written(space, _longer(space, tokens[:place], rng), named[place:], rng)


def _longer(space: Space, prefix: Sequence[int], rng: np.random.Generator) -> Tokens:
    """Return a prefix with one more part, drawn uniformly."""
    tokens, start = list(prefix), _name(space, ())
    while (name := _name(space, tokens)) is not None:
        if len(tokens) > len(prefix) and (name == start or name.startswith(RECIPE_PREFIX)):
            break
        tokens.append(_drawn(space, tokens, rng))
    return tuple(tokens)


def _written(space: Space, prefix: Sequence[int], rest: _Named, rng: np.random.Generator) -> Tokens:
    """Finish a prefix by what fits of the rest of another architecture, the recipe by its names."""
    tokens, start, at = list(prefix), _name(space, ()), 0
    recipe = {name: token for name, token in rest if name.startswith(RECIPE_PREFIX)}
    while (name := _name(space, tokens)) is not None:
        while name == start and at < len(rest) and rest[at][0] != start:
            at += 1
        token = recipe.get(name)
        if token is None and at < len(rest) and rest[at][0] == name:
            token, at = rest[at][1], at + 1
        if token is None or not space.mask(tokens)[token]:
            token = _drawn(space, tokens, rng)
        tokens.append(token)
    return tuple(tokens)


def _end(named: _Named) -> int:
    """Return how many decisions are those of the network, which come before the recipe's."""
    return sum(not name.startswith(RECIPE_PREFIX) for name, _ in named)


def _named(space: Space, tokens: Sequence[int]) -> _Named:
    decisions = [space.decision(tokens[:place]) for place in range(len(tokens))]
    return [(each.name, token) for each, token in zip(decisions, tokens, strict=True) if each]


def _name(space: Space, prefix: Sequence[int]) -> str | None:
    decision = space.decision(prefix)
    return None if decision is None else decision.name


def _drawn(space: Space, prefix: Sequence[int], rng: np.random.Generator) -> int:
    return _one(space.mask(prefix).nonzero()[0], rng)


def _one(numbers: Sequence[int] | npt.NDArray[np.int64], rng: np.random.Generator) -> int:
    """Draw one of some numbers; several times as fast as `Generator.choice`."""
    return int(numbers[int(rng.integers(len(numbers)))])
