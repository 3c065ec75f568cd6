"""Options made from the config tree, and those that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from rlnas.config import Flag, config_flags, default_root

_TITLES = {
    "": "The run",
    "data": "Data",
    "space": "Space of architectures",
    "controller": "Controller",
    "recipe": "How a child is trained",
    "fidelity": "Which children are trained for all epochs",
    "evaluation": "How often each child is trained",
    "objective": "Reward",
    "budget": "Budget",
    "engine": "Workers",
    "final": "Retraining at the end",
}

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class ConfigOption(click.Option):
    """An option that stands for one field of the config; its value stays text for pydantic."""

    def __init__(self, flag: Flag) -> None:
        """Take the field's flag, meaning and default."""
        self.field = flag
        if isinstance(flag.default, bool):
            both = f"{flag.flag}/--no-{flag.flag.removeprefix('--')}"
            super().__init__([both, parameter_name(flag)], default=None, help=flag.text)
            return
        super().__init__(
            [flag.flag, parameter_name(flag)],
            metavar="VALUE" if flag.default is None else type(flag.default).__name__.upper(),
            help=_help(flag),
        )


class ConfigCommand(click.Command):
    """A command whose help shows the config's options under the titles of its sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options section by section."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in _TITLES.values()}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(parameter, ConfigOption):
                path = parameter.field.path
                sections[_TITLES[path[0] if len(path) > 1 else ""]].append(record)
            else:
                others.append(record)
        for title, rows in [*sections.items(), ("Output and files", others)]:
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def config_options(fields: Iterable[str] | None = None) -> Decorator:
    """Return a decorator that adds the flags of the config tree to a command.

    Args:
        fields: Only these fields, for example ``["budget.trials"]``; None for all.
    """
    wanted = None if fields is None else set(fields)

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        chosen = [flag for flag in config_flags() if flag.flag]
        options = [ConfigOption(f) for f in chosen if wanted is None or f.field in wanted]
        function.__click_params__ = [  # type: ignore[attr-defined]
            *getattr(function, "__click_params__", []),
            *reversed(options),
        ]
        return function

    return add


def given_flags(values: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Take the config's flags out of a command's arguments; return those given, by path."""
    flags: dict[tuple[str, ...], Any] = {}
    for flag in config_flags():
        value = values.pop(parameter_name(flag), None)
        if value is not None:
            flags[flag.path] = value
    return flags


def parameter_name(flag: Flag) -> str:
    """Return the name under which click passes a field."""
    return "config__" + flag.field.replace(".", "__")


root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="RLNAS_ROOT",
    default=default_root,
    metavar="FOLDER",
    help="Folder of all runs. Default: RLNAS_ROOT, or checkpoints.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
run_argument = click.argument("run")


def _help(flag: Flag) -> str:
    shown = flag.default is not None and "efault" not in flag.text
    return f"{flag.text} [default: {flag.default}]" if shown else flag.text
