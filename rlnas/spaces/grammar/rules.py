"""The rules of a space that a user writes: what is decided, in which order, and what it becomes.

The rules are plain data, as YAML gives them. `Grammar.of` reads them; what is wrong is named with
its place, a path of keys and numbers such as ``("decisions", "kernel", "next")``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from rlnas.config import KINDS
from rlnas.cost import (
    KERAS_LAYERS,
    LAYER_TYPES,
    Join,
    KerasLayer,
    Layer,
    keras_needs,
    keras_option,
    keras_options,
)
from rlnas.errors import SpaceError, unknown_name
from rlnas.spaces.choices import checked_choice
from rlnas.spaces.fitting import DECIDED
from rlnas.spaces.recipe import RECIPE_PREFIX

END = "end"
"""What follows the last decision."""

_OWN = tuple(name for name in LAYER_TYPES if name != Join.kind)
_EMBEDDING, _VALUE = "Embedding", "value"

Place = tuple[str | int | float | bool, ...]
Value = str | int | float | bool


class GrammarError(SpaceError):
    """Rules are wrong.

    Attributes:
        place: Where, as a path of keys and numbers.
        sentence: What, without the place.
        of_key: Whether the last key of the place is wrong, not what stands behind it.
    """

    def __init__(self, place: Place, sentence: str, *, of_key: bool = False) -> None:
        """See the class."""
        super().__init__(f"{'.'.join(map(str, place)) or 'the space'}: {sentence}")
        self.place, self.sentence, self.of_key = place, sentence, of_key


@dataclass(frozen=True, slots=True)
class Planned:
    """A layer that a decision writes, choices of decisions maybe still open in its options."""

    name: str
    options: tuple[tuple[str, Any], ...]
    place: Place

    def made(self, values: Mapping[str, Value]) -> Layer:
        """Return the layer.

        Args:
            values: What was chosen last, by decision.

        Raises:
            SpaceError: An option does not take it.
        """
        options = {each: self.option(each, values) for each, _ in self.options}
        if self.name in KERAS_LAYERS:
            return KerasLayer(self.name, tuple(options.items()))
        return LAYER_TYPES[self.name](**options)

    def option(self, name: str, values: Mapping[str, Value]) -> Any:
        """Return an option of the layer.

        Raises:
            SpaceError: It does not take the value.
        """
        value = _filled(dict(self.options)[name], values)
        if self.name in KERAS_LAYERS:
            return keras_option(self.name, name, value)
        return checked_choice(f"{self.name}.{name}", value)

    def asked_by(self, option: str) -> tuple[str, ...]:
        """Return the names of the decisions whose choices an option takes, each once."""
        return tuple(dict.fromkeys(_asked(dict(self.options)[option])))


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be chosen, what is written then and decided next."""

    key: Any  # its place among the choices
    value: Value
    next: str
    layers: tuple[Planned, ...] = ()
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """One decision.

    Attributes:
        name: What is decided.
        choices: What may be chosen.
        next: What is decided behind it where it is passed over.
        when: Choices of earlier decisions without which it is passed over.
        at_most: How often it is decided; then it is passed over. None for no bound.
    """

    name: str
    choices: tuple[Choice, ...]
    next: str
    when: Mapping[str, tuple[Value, ...]]
    at_most: int | None


class Position(NamedTuple):
    """Where the writing of an architecture stands, for what is decided next.

    Attributes:
        name: The decision that is next, or `END`.
        counts: How often the bounded decisions were decided, in the order of the rules.
        values: What was chosen last, by decision.
    """

    name: str
    counts: tuple[int, ...]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Grammar:
    """All rules of a space.

    Attributes:
        name: What the space is called.
        data: The kind of examples it is for.
        start: The first decision.
        rules: The decisions by name.
        reference: What the reference child chooses, in order; None for the first choice that is
            allowed, each time.
        given: The plain data it was read from.
    """

    name: str
    data: str
    start: str
    rules: Mapping[str, Rule]
    reference: tuple[Value, ...] | None
    given: Mapping[str, Any]

    @classmethod
    def of(cls, given: Any) -> "Grammar":
        """Return the grammar of plain data.

        Raises:
            GrammarError: Something is unknown, missing or of a wrong kind. Whether the decisions
                lead to an end is for `rlnas.spaces.grammar.check`.
        """
        record = _mapping(given, (), ("space", "data", "decisions"), ("start", "reference"))
        name = _text(record["space"], ("space",))
        if record["data"] not in KINDS:
            raise GrammarError(("data",), unknown_name("kind of data", str(record["data"]), KINDS))
        decisions = record["decisions"]
        if not isinstance(decisions, Mapping) or not decisions:
            raise GrammarError(("decisions",), f"expected decisions by name, got {decisions!r}")
        names = list(decisions)
        for each in names:
            if not isinstance(each, str) or not each or each == END or each.startswith("$"):
                raise GrammarError(
                    ("decisions", each),
                    f"the name of a decision must be a text other than {END!r}, got {each!r}",
                    of_key=True,
                )
            if each.startswith(RECIPE_PREFIX):
                raise GrammarError(
                    ("decisions", each),
                    f"names that begin with {RECIPE_PREFIX!r} are those of the recipe's decisions, "
                    f"got {each!r}; call it otherwise",
                    of_key=True,
                )
        read = _Reader(names, {each: _values(decisions[each], each) for each in names})
        rules = {each: read.rule(each, decisions[each]) for each in names}
        start = read.follower(record.get("start", names[0]), ("start",))
        reference = record.get("reference")
        if reference is not None and not isinstance(reference, list):
            raise GrammarError(("reference",), f"expected a list of choices, got {reference!r}")
        chosen = None if reference is None else tuple(reference)
        return cls(name, str(record["data"]), start, rules, chosen, record)

    def to_json(self) -> dict[str, Any]:
        """Return the plain data it was read from, the choices as lists, as JSON needs them."""
        decisions = {}
        for name, decision in self.given["decisions"].items():
            options = decision["choices"]
            if isinstance(options, Mapping):
                options = [{"value": value, **(each or {})} for value, each in options.items()]
            decisions[name] = {**decision, "choices": options}
        return {**self.given, "decisions": decisions}

    @property
    def bounded(self) -> tuple[str, ...]:
        """Names of the decisions that are decided only so often."""
        return tuple(name for name, rule in self.rules.items() if rule.at_most is not None)

    def first(self) -> Position:
        """Return where the writing begins."""
        return self._decided(Position(self.start, (0,) * len(self.bounded), {}))

    def behind(self, position: Position, token: int) -> Position:
        """Return where it stands behind a choice."""
        rule = self.rules[position.name]
        choice, counts = rule.choices[token], list(position.counts)
        if rule.at_most is not None:
            counts[self.bounded.index(rule.name)] += 1
        values = {**position.values, rule.name: choice.value}
        return self._decided(Position(choice.next, tuple(counts), values))

    def allowed(self, position: Position) -> list[int]:
        """Return the tokens whose conditions hold."""
        choices = self.rules[position.name].choices
        return [token for token, each in enumerate(choices) if holds(each.when, position.values)]

    def _decided(self, position: Position) -> Position:
        """Pass over decisions that are not to be decided here."""
        name, limits = position.name, dict(zip(self.bounded, position.counts, strict=True))
        passed: set[str] = set()
        while name != END and name not in passed:
            rule = self.rules[name]
            full = rule.at_most is not None and limits[name] >= rule.at_most
            if not full and holds(rule.when, position.values):
                break
            passed.add(name)
            name = rule.next
        return position._replace(name=name)


def holds(when: Mapping[str, tuple[Value, ...]], values: Mapping[str, Value]) -> bool:
    """Tell whether a condition holds; not for a decision that was not decided yet."""
    return all(name in values and values[name] in options for name, options in when.items())


class _Reader:
    """Reads decisions, their names and choices known."""

    def __init__(self, names: Sequence[str], values: Mapping[str, tuple[Value, ...]]) -> None:
        self._names, self._values = names, values

    def rule(self, name: str, given: Any) -> Rule:
        place: Place = ("decisions", name)
        record = _mapping(given, place, ("choices",), ("next", "layers", "when", "at_most"))
        number = list(self._names).index(name)
        usual = self._names[number + 1] if number + 1 < len(self._names) else END
        following = self.follower(record.get("next", usual), (*place, "next"))
        layers = self._layers(record.get("layers", []), (*place, "layers"))
        choices, options = [], record["choices"]
        for key, value, each in _listed(options):
            here: Place = (*place, "choices", key)
            choices.append(self._choice(value, each, following, layers, here))
        at_most = record.get("at_most")
        if at_most is not None and (type(at_most) is not int or at_most < 1):
            raise GrammarError(
                (*place, "at_most"), f"expected a whole number, at least 1, got {at_most!r}"
            )
        when = self._condition(record.get("when", {}), (*place, "when"))
        return Rule(name, tuple(choices), following, when, at_most)

    def follower(self, name: Any, place: Place) -> str:
        known = [*self._names, END]
        if name not in known:
            raise GrammarError(place, unknown_name("decision", str(name), known))
        return str(name)

    def _choice(
        self, value: Value, given: Any, usual: str, layers: tuple[Planned, ...], place: Place
    ) -> Choice:
        record = _mapping({} if given is None else given, place, (), ("next", "layers", "when"))
        return Choice(
            place[-1],
            value,
            self.follower(record.get("next", usual), (*place, "next")),
            (*self._layers(record.get("layers", []), (*place, "layers")), *layers),
            self._condition(record.get("when", {}), (*place, "when")),
        )

    def _condition(self, given: Any, place: Place) -> dict[str, tuple[Value, ...]]:
        if not isinstance(given, Mapping):
            raise GrammarError(place, f"expected choices by decision, got {given!r}")
        condition = {}
        for name, options in given.items():
            if name not in self._names:
                raise GrammarError(
                    (*place, name), unknown_name("decision", str(name), self._names), of_key=True
                )
            wanted = tuple(options) if isinstance(options, list) else (options,)
            for each in wanted:
                if not _among(each, self._values[name]):
                    known = ", ".join(map(str, self._values[name]))
                    raise GrammarError(
                        (*place, name), f"{each!r} is no choice of {name}: expected one of {known}"
                    )
            condition[name] = wanted
        return condition

    def _layers(self, given: Any, place: Place) -> tuple[Planned, ...]:
        if not isinstance(given, list):
            raise GrammarError(place, f"expected a list of layers, got {given!r}")
        return tuple(self._layer(each, (*place, number)) for number, each in enumerate(given))

    def _layer(self, given: Any, place: Place) -> Planned:
        if not given or isinstance(given, str):
            given = {given: None}
        if not isinstance(given, Mapping) or len(given) != 1:
            raise GrammarError(
                place, f"expected a layer such as Dense: {{units: 32}}, got {given!r}"
            )
        ((name, options),) = given.items()
        if name == _EMBEDDING:
            raise GrammarError(place, "take embed, which knows the size of the vocabulary")
        if name not in KERAS_LAYERS and name not in _OWN:
            sentence = unknown_name("layer", str(name), (*KERAS_LAYERS, *_OWN))
            raise GrammarError((*place, name), sentence, of_key=True)
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise GrammarError(
                (*place, name), f"expected options of {name} by name, got {options!r}"
            )
        known = DECIDED[name] if name in _OWN else keras_options(name)
        for option, value in options.items():
            here: Place = (*place, name, option)
            if option not in known:
                sentence = unknown_name(f"option of {name}", str(option), known)
                raise GrammarError(here, sentence, of_key=True)
            for asked in _asked(value):
                if asked not in self._names:
                    raise GrammarError(here, unknown_name("decision", asked, self._names))
        if missing := [each for each in needed_options(name) if each not in options]:
            raise GrammarError(place, f"{name} needs {missing[0]}")
        return Planned(name, tuple(options.items()), place)


def needed_options(name: str) -> tuple[str, ...]:
    """Return the options that a layer cannot do without."""
    return keras_needs(name) if name in KERAS_LAYERS else DECIDED[name]


def _values(given: Any, name: str) -> tuple[Value, ...]:
    """Return the choices of a decision."""
    place: Place = ("decisions", name)
    record = _mapping(given, place, ("choices",), ("next", "layers", "when", "at_most"))
    options = record["choices"]
    place = (*place, "choices")
    if not isinstance(options, list | Mapping) or not options:
        raise GrammarError(place, f"expected a list of choices, at least one, got {options!r}")
    values: list[Value] = []
    for key, value, _ in _listed(options):
        number = isinstance(value, int | float) and isfinite(value)
        if not number and not isinstance(value, str):
            raise GrammarError(
                (*place, key), f"a choice must be a text, a number, true or false, got {value!r}"
            )
        if value in values:
            raise GrammarError((*place, key), f"the choice {value!r} stands there twice")
        values.append(value)
    return tuple(values)


def _listed(options: Any) -> list[tuple[Any, Any, Any]]:
    """Return the key of each choice in its mapping or list, the choice, and what is said of it."""
    if isinstance(options, Mapping):
        return [(value, value, each) for value, each in options.items()]
    listed: list[tuple[Any, Any, Any]] = []
    for number, each in enumerate(options):
        if isinstance(each, Mapping) and _VALUE in each:
            rest = {name: option for name, option in each.items() if name != _VALUE}
            listed.append((number, each[_VALUE], rest))
        else:
            listed.append((number, each, None))
    return listed


def _mapping(
    given: Any, place: Place, needed: Sequence[str], others: Sequence[str]
) -> Mapping[str, Any]:
    """Return a mapping that has all keys that are needed, and only known ones."""
    known = (*needed, *others)
    if not isinstance(given, Mapping):
        raise GrammarError(place, f"expected a mapping with {', '.join(known)}, got {given!r}")
    for key in given:
        if key not in known:
            raise GrammarError((*place, key), unknown_name("key", str(key), known), of_key=True)
    for key in needed:
        if key not in given:
            raise GrammarError(place, f"expected {key}, which is missing")
    return given


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not value.strip():
        raise GrammarError(place, f"expected a name, got {value!r}")
    return value


def _among(value: Any, options: Sequence[Value]) -> bool:
    return isinstance(value, str | int | float) and value in options


def _asked(options: Any) -> Iterator[str]:
    """Yield the names behind ``$`` in options."""
    if isinstance(options, str) and options.startswith("$"):
        yield options[1:]
    elif isinstance(options, Mapping):
        for each in options.values():
            yield from _asked(each)
    elif isinstance(options, list):
        for each in options:
            yield from _asked(each)


def _filled(options: Any, values: Mapping[str, Value]) -> Any:
    if isinstance(options, str) and options.startswith("$"):
        return values[options[1:]]
    if isinstance(options, Mapping):
        return {name: _filled(each, values) for name, each in options.items()}
    if isinstance(options, list):
        return [_filled(each, values) for each in options]
    return options
