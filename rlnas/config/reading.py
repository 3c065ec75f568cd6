"""Reading the config from flags and YAML, with one clear sentence for each mistake."""

import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlnas.config.fields import REFUSED
from rlnas.config.flags import config_flags
from rlnas.config.schema import SearchConfig
from rlnas.errors import ConfigError, unknown_name

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number that a computer can hold",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "invalid_key": "a text as its name",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
}
_COMMENT_WIDTH = 90
_SHOWN = 80
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "string_too_long": ("max_length", "a text of at most", "characters"),
    "string_too_short": ("min_length", "a text of at least", "characters"),
    "too_long": ("max_length", "at most", "values"),
    "too_short": ("min_length", "at least", "values"),
}


def make_config(values: Mapping[str, Any]) -> SearchConfig:
    """Return the config with these values, the rest at its defaults.

    Args:
        values: A tree of mappings as `SearchConfig` is one.

    Raises:
        ConfigError: A field is unknown or wrong; the sentence names each of them.
    """
    try:
        return SearchConfig.model_validate(dict(values))
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(detail) for detail in error.errors())
        raise ConfigError("; ".join(sentences)) from None


def read_config(path: Path) -> dict[str, Any]:
    """Return the tree of values in a YAML file.

    Raises:
        ConfigError: The file is missing, unreadable, or not a mapping in YAML.
    """
    try:
        with path.open(encoding="utf-8") as file:
            values = yaml.load(file, _Loader)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot read the config {path}: {reason}; check the path") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = " ".join(str(error).split())
        raise ConfigError(f"the config {path} is not valid YAML: {place}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"the config {path} must be a mapping, got {type(values).__name__}")
    return values


def with_flags(values: Mapping[str, Any], flags: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return a tree of values in which flags replace what the file says.

    Args:
        values: A tree of mappings.
        flags: Values by path in the tree.

    Raises:
        ConfigError: A flag's section is not a mapping in the file.
    """
    merged = dict(values)
    for path, value in flags.items():
        node = merged
        for name in path[:-1]:
            section = node.get(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{name}: expected a mapping, got {section!r}")
            node[name] = dict(section)
            node = node[name]
        node[path[-1]] = value
    return merged


def dump_config(config: SearchConfig, *, comments: bool = False) -> str:
    """Return the whole config as YAML, if asked for with each field's meaning above it."""
    meanings = {flag.path: flag.text if comments else "" for flag in config_flags()}
    return "".join(_dumped(config.model_dump(mode="json"), (), meanings))


def default_root() -> Path:
    """Return the folder of all runs: ``RLNAS_ROOT``, else ``checkpoints``."""
    return Path(os.environ.get("RLNAS_ROOT") or "checkpoints")


class _Loader(yaml.SafeLoader):
    """Reads plain YAML, and refuses a name that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        names = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[str] = set()
        for name in names:
            if name.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name.value!r} stands there twice", name.start_mark
                )
            seen.add(name.value)
        return super().construct_mapping(node, deep)


def _dumped(
    tree: Mapping[str, Any], path: tuple[str, ...], meanings: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    indent = "  " * len(path)
    for name, value in tree.items():
        meaning = meanings.get((*path, name))
        if meaning is None:  # a section
            yield f"{indent}{name}:\n"
            yield from _dumped(value, (*path, name), meanings)
            continue
        yield from (f"{indent}# {line}\n" for line in textwrap.wrap(meaning, _COMMENT_WIDTH))
        leaf = yaml.safe_dump({name: value}, allow_unicode=True)
        yield textwrap.indent(leaf, indent)


def _sentence(detail: ErrorDetails) -> str:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    flags = {flag.path: flag for flag in config_flags()}
    if detail["type"] == "extra_forbidden":
        siblings = {p[len(path) - 1] for p in flags if p[: len(path) - 1] == path[:-1]}
        where = ".".join(path[:-1]) or "the config"
        return unknown_name(f"field in {where}", path[-1], siblings)
    known = flags.get(path)
    name = ".".join(path) + (f" ({known.flag})" if known and known.flag else "")
    return f"{name}: {complaint(detail)}" if name else complaint(detail)


def complaint(detail: ErrorDetails) -> str:
    """Return what pydantic found wrong with a value: what was expected, and what came."""
    if detail["type"] == REFUSED:
        return detail["msg"]
    return f"expected {_expected(detail)}, got {_shortened(detail['input'])}"


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        limit = context[name]
        return f"{words} {limit:g}" if isinstance(limit, float) else f"{words} {limit}"
    if kind in _LENGTHS:
        name, words, unit = _LENGTHS[kind]
        return f"{words} {context[name]} {unit}"
    return _EXPECTED.get(kind, detail["msg"])


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
