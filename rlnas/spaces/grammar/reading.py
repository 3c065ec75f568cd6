"""Spaces in YAML files, with the line and the column of what is wrong."""

from pathlib import Path
from typing import Any

import yaml

from rlnas.errors import SpaceError
from rlnas.spaces.grammar.check import check_grammar
from rlnas.spaces.grammar.rules import Grammar, GrammarError, Place


def read_grammar(path: str | Path) -> Grammar:
    """Return the grammar of a YAML file, checked.

    Raises:
        SpaceError: The file cannot be read or something in it is wrong; the sentence begins with
            the file, the line and the column.
    """
    try:
        text = Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpaceError(f"cannot read the space {path}: {reason}") from error
    try:
        return grammar_of_text(text)
    except SpaceError as error:
        raise SpaceError(f"{path}:{error}") from error


def grammar_of_text(text: str) -> Grammar:
    """Return the grammar of YAML, checked.

    Raises:
        SpaceError: Something in it is wrong; the sentence begins with the line and the column.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise SpaceError("1:1: expected space, data and decisions, and the file is empty")
        _check_keys(node)
        given = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(str(error.problem or error.context).split())
        raise SpaceError(f"{_told(mark)}: no YAML: {reason}") from error
    except yaml.YAMLError as error:
        raise SpaceError(f"1:1: no YAML: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"1:1: no YAML that can be read: {error}") from error
    try:
        grammar = Grammar.of(given)
        check_grammar(grammar)
    except GrammarError as error:
        raise SpaceError(f"{_told(_mark(node, error))}: {error.sentence}") from error
    return grammar


def place_in_text(text: str, error: GrammarError) -> str:
    """Return the line and the column, from 1, of what an error is about, such as ``12:7``."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return "1:1" if node is None else _told(_mark(node, error))


def _check_keys(node: yaml.Node, above: tuple[yaml.Node, ...] = ()) -> None:
    """Refuse a key that stands in a mapping twice, of which YAML would take the last."""
    if node in above:
        raise SpaceError(f"{_told(node.start_mark)}: a part that holds itself")
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SpaceError(f"{_told(key.start_mark)}: a key must be a text or a number")
            if (key.tag, key.value) in seen:
                raise SpaceError(f"{_told(key.start_mark)}: {key.value} stands there twice")
            seen.add((key.tag, key.value))
            _check_keys(value, above)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check_keys(each, above)


def _mark(node: yaml.Node, error: GrammarError) -> yaml.Mark:
    """Return the mark of what an error is about, or of the nearest that is there around it."""
    mark = node.start_mark
    place: Place = error.place
    for depth, step in enumerate(place):
        last = depth == len(place) - 1
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            mark = node.start_mark
        elif isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if _means(pair[0], step)), None)
            if found is None:
                return mark
            key, node = found
            mark = key.start_mark if last and error.of_key else node.start_mark
        elif isinstance(node, yaml.ScalarNode):
            return mark
    return mark


def _means(key: yaml.Node, step: Any) -> bool:
    read = yaml.SafeLoader("").construct_object(key)
    return bool(read == step and type(read) is type(step))


def _told(mark: Any) -> str:
    return "1:1" if mark is None else f"{mark.line + 1}:{mark.column + 1}"
