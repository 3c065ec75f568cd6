"""Spaces of a user's own: a YAML file of rules, or an object of a Python module."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlnas.children.data import Data
from rlnas.config import SearchConfig, SpaceConfig, is_file_of_rules
from rlnas.config.imports import imported, is_import_name
from rlnas.errors import ConfigError, SpaceError, first_line
from rlnas.spaces import (
    Grammar,
    GrammarError,
    GrammarSpace,
    Space,
    caps_of,
    check_own_rules,
    place_in_text,
    read_grammar,
)

METHODS = ("decision", "mask", "architecture", "key", "reference", "to_json")
"""What a space of the user's own must have."""


def is_own_space(config: SpaceConfig) -> bool:
    """Tell whether the config names a space of the user's own."""
    return config.name is not None and (
        is_file_of_rules(config.name) or is_import_name(config.name)
    )


def kind_of_space(config: SpaceConfig) -> str | None:
    """Return the kind of data that a space is for; None where only the data tells it.

    Raises:
        ConfigError: The file of the space cannot be read, or something in it is wrong.
    """
    if config.name is not None and is_file_of_rules(config.name):
        return _grammar(config.name).data
    return config.kind


def make_own_space(config: SearchConfig, data: Data) -> Space:
    """Return the space of the user's own that the config names, for this data.

    Raises:
        ConfigError: It cannot be had, is not for this data, or is given settings of another space.
    """
    space = own_space_for(config.space, data.input_shape, data.classes)
    check_space(space, data)
    return space


def own_space_for(config: SpaceConfig, input_shape: Sequence[int], classes: int) -> Space:
    """Return the space of the user's own that the config names, for examples of a shape.

    Raises:
        ConfigError: It cannot be had, or is given settings of another space.
    """
    name = str(config.name)
    try:
        check_own_rules(config)
    except SpaceError as error:
        raise ConfigError(str(error)) from error
    if is_file_of_rules(name):
        return _of_rules(name, _grammar(name), input_shape, classes, caps_of(config))
    return _of_python(name, input_shape, classes)


def space_for(
    name: str,
    input_shape: Sequence[int] | None,
    classes: int,
    usual: Mapping[str, tuple[int, ...]],
) -> Space:
    """Return a space of the user's own for examples of a shape.

    Args:
        name: A YAML file, or ``module:name``.
        input_shape: Shape of an example; None for the usual one of its kind of data.
        classes: Number of classes.
        usual: Shape of an example by kind of data.

    Raises:
        ConfigError: The space cannot be had, or is not for such examples.
    """
    if is_file_of_rules(name):
        grammar = _grammar(name)
        return _of_rules(name, grammar, input_shape or usual[grammar.data], classes, {})
    return _of_python(name, input_shape or usual["image"], classes)


def _grammar(path: str) -> Grammar:
    try:
        return read_grammar(Path(path))
    except SpaceError as error:
        raise ConfigError(str(error)) from error


def impossible_choices(name: str, space: Space, walks: int) -> list[str]:
    """Return in a sentence each what no network drawn from a file's rules could choose.

    Args:
        name: The file.
        space: The space that was made of it.
        walks: How many networks are drawn.
    """
    if not isinstance(space, GrammarSpace) or not is_file_of_rules(name):
        return []
    return [_placed(name, error) for error in space.impossible(walks)]


def _placed(name: str, error: GrammarError) -> str:
    place = place_in_text(Path(name).expanduser().read_text("utf-8"), error)
    return f"{name}:{place}: {error.sentence}"


def _of_rules(
    name: str,
    grammar: Grammar,
    input_shape: Sequence[int],
    classes: int,
    caps: Mapping[str, int | None],
) -> Space:
    try:
        return GrammarSpace(grammar, input_shape, classes, **caps)
    except GrammarError as error:
        raise ConfigError(_placed(name, error)) from error
    except SpaceError as error:
        raise ConfigError(f"{name}: {error}") from error


def _of_python(name: str, input_shape: Sequence[int], classes: int) -> Space:
    found = imported("space", name)
    if not is_space(found):
        if not callable(found):
            raise ConfigError(
                f"space {name}: expected a space, or a function (input_shape, classes) that "
                f"returns one, got {type(found).__name__}"
            )
        try:
            found = found(tuple(input_shape), classes)
        except Exception as error:  # whatever a user's function does
            raise ConfigError(f"space {name}: {first_line(error)}") from error
    if not is_space(found):
        raise ConfigError(
            f"space {name}: expected a space with the methods {', '.join(METHODS)}, got "
            f"{type(found).__name__}"
        )
    space: Space = found
    return space


def is_space(found: object) -> bool:
    """Tell whether an object has the methods of a space."""
    return not isinstance(found, type) and all(
        callable(getattr(found, method, None)) for method in METHODS
    )


def check_space(space: Space, data: Data) -> None:
    """Check that a user's own space writes networks for this data.

    Raises:
        ConfigError: It is no space, or for examples of another shape, or another number of
            classes.
    """
    if not is_space(space):
        raise ConfigError(
            "space: expected the name of a space or one such as rlnas.ImageSpace, with the "
            f"methods {', '.join(METHODS)}, got {type(space).__name__}"
        )
    network = space.reference()
    got = (tuple(network.input_shape), network.classes)
    if got != (data.input_shape, data.classes):
        raise ConfigError(
            f"space: expected one for examples of shape {data.input_shape} and {data.classes} "
            f"classes, as the data has, got one for {got[0]} and {got[1]}"
        )
