"""Reading the config from flags and YAML, with one clear sentence for each mistake."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlnas.config.flags import config_flags
from rlnas.config.schema import SearchConfig
from rlnas.errors import ConfigError, unknown_name

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def make_config(values: Mapping[str, Any]) -> SearchConfig:
    """Return the config with these values, the rest at its defaults.

    Args:
        values: A tree of mappings as `SearchConfig` is one.

    Raises:
        ConfigError: A field is unknown or wrong; the sentence names each of them.
    """
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(detail) for detail in error.errors())
        raise ConfigError("; ".join(sentences)) from None


def read_config(path: Path) -> dict[str, Any]:
    """Return the tree of values in a YAML file.

    Raises:
        ConfigError: The file is missing, unreadable, or not a mapping in YAML.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot read the config {path}: {reason}; check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    if not comments:
        return text
    meanings = {flag.path: flag.text for flag in config_flags()}
    lines: list[str] = []
    section: tuple[str, ...] = ()
    for line in text.splitlines():
        name = line.strip().split(":")[0]
        if not line.startswith(" "):
            section = ()
        path = (*section, name)
        if path in meanings:
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}# {meanings[path]}")
        else:
            section = (name,) if not line.startswith(" ") else section
        lines.append(line)
    return "\n".join(lines) + "\n"


def default_root() -> Path:
    """Return the folder of all runs: ``RLNAS_ROOT``, else ``checkpoints``."""
    return Path(os.environ.get("RLNAS_ROOT") or "checkpoints")


def _sentence(detail: ErrorDetails) -> str:
    path = tuple(str(part) for part in detail["loc"])
    flags = {flag.path: flag for flag in config_flags()}
    kind, got = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        siblings = {p[len(path) - 1] for p in flags if p[: len(path) - 1] == path[:-1]}
        where = ".".join(path[:-1]) or "the config"
        return unknown_name(f"field in {where}", path[-1], siblings)
    known = flags.get(path)
    name = ".".join(path) + (f" ({known.flag})" if known and known.flag else "")
    if kind == "value_error":
        reason = str(detail["ctx"]["error"]) if "ctx" in detail else detail["msg"]
        return (
            f"{name}: {reason}"
            if "unknown" in reason
            else f"{name}: expected {reason}, got {got!r}"
        )
    if kind in _BOUNDS:
        limit, words = _BOUNDS[kind]
        return f"{name}: expected {words} {detail['ctx'][limit]}, got {got!r}"
    return f"{name}: expected {_EXPECTED.get(kind, detail['msg'])}, got {got!r}"
