"""Whether the rules of a space lead to an end, from everywhere.

All positions that a writing can come to are looked at, as far as they differ in what is decided
next: the next decision, how often the bounded ones were decided, and the choices that conditions
ask for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import islice, product
from typing import Any

from rlnas.errors import SpaceError
from rlnas.spaces.grammar.rules import END, Grammar, GrammarError, Planned, Position, Rule, Value

_POSITIONS = 100_000
"""Positions that are looked at (chosen: seconds)."""

_COMBINATIONS = 2000
"""Combinations of choices with which an option is tried (chosen)."""

_Seen = tuple[str, tuple[int, ...], tuple[tuple[str, Value], ...]]


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a space is.

    Attributes:
        longest: Most decisions of an architecture.
        architectures: How many can be written; some of them may not fit the data.
    """

    longest: int
    architectures: int


def check_grammar(grammar: Grammar) -> Extent:
    """Check that every writing ends and every layer has what it asks for.

    Returns:
        How large the space is.

    Raises:
        GrammarError: Decisions go round in a circle, are never reached or leave nothing to choose,
            or a layer asks for a choice that may not have been made.
    """
    _check_circles(grammar)
    extent = _walk(grammar)
    _check_layers(grammar)
    return extent


def followers(rule: Rule) -> list[str]:
    """Return what may come behind a decision, each once; the one it is passed over to too."""
    passing = [rule.next] if rule.when or rule.at_most is not None else []
    return list(dict.fromkeys([*(choice.next for choice in rule.choices), *passing]))


def _check_circles(grammar: Grammar) -> None:
    """Check that the decisions that are not bounded, and passings over, make no circle."""
    edges = {
        name: followers(rule) if rule.at_most is None else [rule.next]
        for name, rule in grammar.rules.items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        raise GrammarError(
            ("decisions", circle[0]),
            f"{' > '.join(circle)} goes on for ever; give one of them at_most",
            of_key=True,
        ) from error


def _walk(grammar: Grammar) -> Extent:
    """Look at all positions; return the extent of the space."""
    asked = _conditions(grammar)
    first = grammar.first()
    positions: dict[_Seen, Position] = {}
    behind: dict[_Seen, list[_Seen]] = {}
    came: dict[_Seen, tuple[_Seen, str]] = {}  # from where and by what a position was reached
    todo = [first]
    chosen: set[tuple[str, int]] = set()
    while todo:
        position = todo.pop()
        seen = _seen(position, asked)
        if seen in positions:
            continue
        if len(positions) >= _POSITIONS:
            longest = max(grammar.rules, key=lambda name: grammar.rules[name].at_most or 0)
            raise GrammarError(
                ("decisions", longest),
                f"the space has more than {_POSITIONS:,} positions; give fewer at_most or "
                "conditions",
                of_key=True,
            )
        positions[seen], behind[seen] = position, []
        if position.name == END:
            continue
        tokens = grammar.allowed(position)
        if not tokens:
            raise GrammarError(
                ("decisions", position.name),
                f"a dead end: no choice of {position.name} is allowed behind {_way(came, seen)}",
                of_key=True,
            )
        for token in tokens:
            chosen.add((position.name, token))
            later = grammar.behind(position, token)
            mark = _seen(later, asked)
            behind[seen].append(mark)
            value = grammar.rules[position.name].choices[token].value
            came.setdefault(mark, (seen, f"{position.name} {value}"))
            todo.append(later)
    _check_reached(grammar, chosen)
    return _extent(behind, _seen(first, asked))


def _way(came: Mapping[_Seen, tuple[_Seen, str]], seen: _Seen) -> str:
    """Return in words what was chosen before a position."""
    words: list[str] = []
    while seen in came:
        seen, word = came[seen]
        words.append(word)
    return ", ".join(reversed(words)) or "the start"


def _check_reached(grammar: Grammar, chosen: set[tuple[str, int]]) -> None:
    reached = {name for name, _ in chosen}
    for name, rule in grammar.rules.items():
        if name not in reached:
            raise GrammarError(
                ("decisions", name),
                f"{name} is never decided; lead to it or leave it out",
                of_key=True,
            )
        for token, choice in enumerate(rule.choices):
            if (name, token) not in chosen:
                raise GrammarError(
                    ("decisions", name, "choices", choice.key),
                    f"{choice.value!r} can never be chosen; its condition never holds",
                    of_key=True,
                )


def _extent(behind: Mapping[_Seen, list[_Seen]], first: _Seen) -> Extent:
    """Return the longest writing and how many there are, by going through each position once."""
    longest: dict[_Seen, int] = {}
    counted: dict[_Seen, int] = {}
    todo = [first]
    while todo:
        seen = todo[-1]
        later = behind[seen]
        if open_ones := [each for each in later if each not in longest]:
            todo += open_ones
            continue
        todo.pop()
        longest[seen] = 1 + max(longest[each] for each in later) if later else 0
        counted[seen] = sum(counted[each] for each in later) if later else 1
    return Extent(longest[first], counted[first])


class _Open:
    """Stands among the values of a decision where it may not be decided yet."""


_OPEN = _Open()
_Values = Mapping[str, frozenset[Any]]
"""What may have been chosen last, by decision."""


def _check_layers(grammar: Grammar) -> None:
    """Check each option of each layer with all choices that may stand in it there."""
    for name, values in _possible(grammar).items():
        rule = grammar.rules[name]
        held = _restricted(values, rule.when)
        for choice in rule.choices:
            here = {**_restricted(held, choice.when), name: frozenset([choice.value])}
            for planned in choice.layers:
                for option, _ in planned.options:
                    _check_option(planned, option, here, name)


def _check_option(planned: Planned, option: str, values: _Values, name: str) -> None:
    place = (*planned.place, planned.name, option)
    asked = planned.asked_by(option)
    for each in asked:
        if _OPEN in values[each]:
            raise GrammarError(
                place,
                f"{option} of {planned.name} takes what is chosen at {each}, which may not be "
                f"decided before {name}",
            )
    for chosen in islice(product(*(values[each] for each in asked)), _COMBINATIONS):
        try:
            planned.option(option, dict(zip(asked, chosen, strict=True)))
        except SpaceError as error:
            raise GrammarError(place, str(error)) from error


def _possible(grammar: Grammar) -> dict[str, _Values]:
    """Return for each decision what may have been chosen before it."""
    found: dict[str, _Values] = {grammar.start: dict.fromkeys(grammar.rules, frozenset([_OPEN]))}
    todo = [grammar.start]
    while todo:
        rule = grammar.rules[todo.pop()]
        before = found[rule.name]
        held = _restricted(before, rule.when)
        ways: list[tuple[str, _Values]] = [
            (each.next, {**_restricted(held, each.when), rule.name: frozenset([each.value])})
            for each in rule.choices
        ]
        ways += [(rule.next, before)] if rule.when or rule.at_most is not None else []
        for name, values in ways:
            if name == END or not all(values.values()):
                continue
            old = found.get(name, {})
            new = {each: values[each] | old.get(each, frozenset()) for each in values}
            if new != old:
                found[name] = new
                todo.append(name)
    return found


def _restricted(values: _Values, when: Mapping[str, tuple[Value, ...]]) -> _Values:
    """Return what may have been chosen where a condition holds."""
    return {**values, **{name: values[name] & frozenset(wanted) for name, wanted in when.items()}}


def _conditions(grammar: Grammar) -> tuple[str, ...]:
    """Return the decisions that conditions ask for, each once."""
    return tuple(dict.fromkeys(_all_conditions(grammar.rules.values())))


def _all_conditions(rules: Iterable[Rule]) -> Iterable[str]:
    for rule in rules:
        yield from rule.when
        for choice in rule.choices:
            yield from choice.when


def _seen(position: Position, asked: tuple[str, ...]) -> _Seen:
    held = ((name, position.values[name]) for name in asked if name in position.values)
    return position.name, position.counts, tuple(held)
