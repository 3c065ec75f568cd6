"""The flags of the command line, read off the config tree."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rlnas.config.schema import SearchConfig


@dataclass(frozen=True, slots=True)
class Flag:
    """One leaf of the config tree.

    Attributes:
        path: Where it lies, for example ``("recipe", "epochs")``.
        flag: Its flag, for example ``"--epochs"``; "" where there is none.
        text: What it means.
        default: Its default.
    """

    path: tuple[str, ...]
    flag: str
    text: str
    default: Any

    @property
    def field(self) -> str:
        """The path as written in messages, for example ``recipe.epochs``."""
        return ".".join(self.path)


def config_flags(model: type[BaseModel] = SearchConfig) -> list[Flag]:
    """Return all leaves of a config tree, in its order."""
    return list(_leaves(model, ()))


def _leaves(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Flag]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, (*path, name))
        else:
            yield Flag((*path, name), _flag(name, field), field.description or "", field.default)


def _flag(name: str, field: FieldInfo) -> str:
    extra = field.json_schema_extra
    flag = extra.get("flag") if isinstance(extra, dict) else None
    return "--" + name.replace("_", "-") if flag is None else str(flag)
