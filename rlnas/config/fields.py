"""What the fields of the config have in common: their types, and how texts are read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from rlnas.config.imports import is_import_name
from rlnas.config.names import CONTROLLERS, EXECUTORS, SPACES
from rlnas.errors import unknown_name

_SIZES = {"MB": 1.0, "GB": 1e3, "TB": 1e6}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"


REFUSED = "refused"
"""The kind of an error whose sentence is whole: it needs no "expected ..., got ..."."""


def refusal(sentence: str) -> PydanticCustomError:
    """Return what a check raises to refuse a value with a sentence of its own."""
    return PydanticCustomError(REFUSED, "{sentence}", {"sentence": sentence})


def _not_bool(expected: str) -> BeforeValidator:
    """Return a check that refuses true and false, which Python takes for 1 and 0."""

    def check(value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(expected)
        return value

    return BeforeValidator(check)


def _seconds(value: Any) -> Any:
    """Read ``90``, ``90s``, ``20m`` or ``1h30m`` as seconds."""
    if not isinstance(value, str) or re.fullmatch(_NUMBER, value):
        return value
    if not re.fullmatch(rf"({_NUMBER}[smhd])+", value):
        raise ValueError('a time such as "90s", "20m" or "1h30m"')
    parts = re.findall(rf"({_NUMBER})([smhd])", value)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _megabytes(value: Any) -> Any:
    """Read ``800``, ``800MB`` or ``1.5GB`` as megabytes."""
    if not isinstance(value, str) or re.fullmatch(_NUMBER, value):
        return value
    parts = re.fullmatch(rf"({_NUMBER})\s*([MGT]B)", value.strip().upper())
    if parts is None:
        raise ValueError('a size such as "800MB" or "1.5GB"')
    return float(parts[1]) * _SIZES[parts[2]]


def gpu_numbers(value: Any) -> Any:
    """Read ``all``, ``none``, ``0,1``, 0 or [0, 1] as text, and nothing as nothing."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    text = re.sub(r"\s*,\s*", ",", ",".join(str(number) for number in numbers)).strip()
    whole = all(isinstance(number, int | str) and type(number) is not bool for number in numbers)
    if whole and re.fullmatch(r"all|none|[0-9]+(,[0-9]+)*", text):
        return text
    raise ValueError('"all", "none" or numbers such as "0,1"')


GPU_NUMBERS = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": "^(all|none|[0-9]+(,[0-9]+)*)$"},
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
            {"type": "null"},
        ]
    }
)
"""What `gpu_numbers` reads."""


def or_auto(value: Any) -> Any:
    """Read ``auto`` as nothing given."""
    return None if value == "auto" else value


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A check of a field, and what the JSON schema says of it.

    Attributes:
        check: Returns the value, or raises what `refusal` returns.
        schema: Further keywords of the JSON schema.
    """

    check: Callable[[Any], Any]
    schema: Mapping[str, JsonValue]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Check behind what pydantic checks by itself."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the field."""
        return {**handler(schema), **self.schema}


def known(what: str, names: tuple[str, ...]) -> Checked:
    """Return a check that a text is one of the known names."""

    def check(value: str) -> str:
        if value not in names:
            raise refusal(unknown_name(what, value, names))
        return value

    return Checked(check, {"enum": list(names)})


CONTROLLER_NAMES = rf"^({'|'.join(CONTROLLERS)}|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$"
"""What names of controllers look like."""


def controller_name(name: str) -> str:
    """Return the name of a known controller, or of a class as ``module:Class``.

    Raises:
        PydanticCustomError: It is neither.
    """
    if name not in CONTROLLERS and not is_import_name(name):
        sentence = unknown_name("controller", name, CONTROLLERS)
        raise refusal(f"{sentence}; a controller of your own is written module:Class")
    return name


def space_name(name: str | None) -> str | None:
    """Return the name of a space: a known one, a YAML file, or ``module:name``.

    Raises:
        PydanticCustomError: It is none of them.
    """
    if name is None or name in SPACES or is_file_of_rules(name) or is_import_name(name):
        return name
    if is_table_of_networks(name):
        return name
    sentence = unknown_name("space", name, SPACES)
    raise refusal(f"{sentence}; one of your own is a file such as space.yaml, or module:name")


def is_file_of_rules(name: str) -> bool:
    """Tell whether the name of a space is that of a YAML file."""
    return name.lower().endswith((".yaml", ".yml"))


def is_table_of_networks(name: str) -> bool:
    """Tell whether the name of a space is that of a CSV file of networks."""
    return name.lower().endswith((".csv", ".csv.gz"))


def executor_name(name: str | None) -> str | None:
    """Return the name of an executor, or None.

    Raises:
        PydanticCustomError: It is unknown.
    """
    if name is not None and name not in EXECUTORS:
        raise refusal(unknown_name("executor", name, EXECUTORS))
    return name


Whole = Annotated[int, _not_bool("a whole number")]
Count = Annotated[int, Field(gt=0), _not_bool("a whole number")]
Number = Annotated[FiniteFloat, _not_bool("a number")]
Switch = Annotated[bool, Strict()]
Seconds = Annotated[Number, BeforeValidator(_seconds)]
Megabytes = Annotated[Number, BeforeValidator(_megabytes)]


def option(default: Any, text: str, *, flag: str | None = None, **limits: Any) -> Any:
    """Return a field of the config: its default, what it means and its flag.

    Args:
        default: The default.
        text: What the field means, and where its default comes from.
        flag: The flag, if it is not the field's name with dashes; "" for none.
        limits: Limits such as ``ge=1``, as pydantic's ``Field`` takes them.
    """
    extra: dict[str, JsonValue] = {} if flag is None else {"flag": flag}
    return Field(default=default, description=text, json_schema_extra=extra, **limits)


_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}


def _with_bounds(schema: dict[str, Any]) -> None:
    """Name bounds as JSON schema does, where pydantic leaves its own names: beside null."""
    for field in schema["properties"].values():
        for branch in field.get("anyOf", ()):
            for name in _KEYWORDS.keys() & branch.keys():
                branch[_KEYWORDS[name]] = branch.pop(name)


class Record(BaseModel):
    """A part of the config: unknown fields are refused, nothing changes once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, json_schema_extra=_with_bounds
    )
