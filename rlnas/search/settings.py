"""The config of a search: from what the user gave, and beside that of a run on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnas.config import (
    DATASETS,
    ControllerConfig,
    SearchConfig,
    is_file_of_rules,
    is_table_of_networks,
    make_config,
    with_flags,
)
from rlnas.errors import ConfigError, RunError, unknown_name
from rlnas.search.folder import RunFolder


def joined(old: SearchConfig, new: SearchConfig, sections: Sequence[str]) -> SearchConfig:
    """Return the config of a run with what was given of these sections of another."""
    changed = {
        section: getattr(old, section).model_copy(
            update=getattr(new, section).model_dump(exclude_unset=True)
        )
        for section in sections
    }
    return old.model_copy(update=changed)


def of_control(config: SearchConfig, name: str) -> SearchConfig:
    """Return the config of a run's control: all is the same but who proposes."""
    controller = ControllerConfig(name=config.control) if config.control else config.controller
    return config.model_copy(update={"name": name, "control": None, "controller": controller})


def check_config(folder: RunFolder, meta: Mapping[str, Any], config: SearchConfig) -> None:
    """Check that a config says of trials what the config of a run says of them.

    Name, threads, budget and retraining may differ; the space is compared by its fingerprint.

    Args:
        folder: The run's folder.
        meta: What its journal stores about the run as a whole.
        config: The config to go on with.

    Raises:
        RunError: It does not; the sentence names the first field that differs.
    """
    old = _defining(make_config(meta["config"]))
    for field, value in _defining(config).items():
        if value != old[field]:
            raise RunError(
                f"{folder.path} was started with {field} {old[field]}, now it is {value}; "
                "start a new run or pass the old config"
            )


def _defining(config: SearchConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"seed": config.seed}
    for section in ("data", "controller", "recipe", "objective"):
        record = getattr(config, section).model_dump()
        fields |= {f"{section}.{name}": value for name, value in record.items()}
    del fields["data.final_samples"]  # says how the retraining is done
    return fields


_SHORTCUTS: dict[str, tuple[str, ...]] = {
    "name": ("name",),
    "seed": ("seed",),
    "threads": ("threads",),
    "controller": ("controller", "name"),
    "control": ("control",),
    "trials": ("budget", "trials"),
    "time_limit": ("budget", "time_limit"),
    "epochs": ("recipe", "epochs"),
    "executor": ("engine", "executor"),
    "workers": ("engine", "workers"),
    "deterministic": ("engine", "deterministic"),
    "top_k": ("final", "top_k"),
    "final_epochs": ("final", "epochs"),
}

_NAMED: dict[str, tuple[str, ...]] = {
    "data": ("data", "dataset"),
    "space": ("space", "name"),
    "baseline": ("baseline",),
}


def with_settings(
    config: SearchConfig | Mapping[str, Any] | None,
    named: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> SearchConfig:
    """Return the config of a search that was started from Python.

    Args:
        config: A config, a mapping like the YAML file, or None.
        named: Data, space and baseline; objects of the user's own are left out.
        settings: Shortcuts by name, as `Search` takes them; they go before the config.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """
    unknown = [name for name in settings if name not in _SHORTCUTS]
    if unknown:
        raise ConfigError(unknown_name("setting", unknown[0], _SHORTCUTS))
    if not isinstance(config, SearchConfig | Mapping | None):
        raise ConfigError(
            "config: expected a SearchConfig or a mapping like the YAML file, got "
            f"{type(config).__name__}"
        )
    values = (
        config.model_dump(exclude_unset=True)
        if isinstance(config, SearchConfig)
        else dict(config or {})
    )
    flags: dict[tuple[str, ...], Any] = {_SHORTCUTS[name]: settings[name] for name in settings}
    for name, value in named.items():
        if value is not None and in_config(value):
            flags[_NAMED[name]] = str(value)
    return with_whole_paths(make_config(with_flags(values, flags)))


def with_whole_paths(config: SearchConfig) -> SearchConfig:
    """Return the config so that the run can be resumed from another folder."""
    dataset, baseline = config.data.dataset, config.baseline
    named = dataset if dataset in DATASETS else _whole_path(dataset)
    data = config.data.model_copy(update={"dataset": named})
    whole = None if baseline is None else _whole_path(baseline)
    changes: dict[str, Any] = {"data": data, "baseline": whole}
    space = config.space.name
    if space is not None and (is_file_of_rules(space) or is_table_of_networks(space)):
        changes["space"] = config.space.model_copy(update={"name": _whole_path(space)})
    earlier = config.controller.warm_start
    if earlier is not None and Path(earlier).name != earlier:
        warm = {"warm_start": _whole_path(earlier)}
        changes["controller"] = config.controller.model_copy(update=warm)
    return config.model_copy(update=changes)


def _whole_path(text: str) -> str:
    """Return the path from the root on, or the text if nothing is there."""
    path = Path(text).expanduser()
    return str(path.absolute()) if text.strip() and path.exists() else text


def in_config(value: Any) -> bool:
    """Tell whether the config can hold it: a name or a path, not an object of the user's."""
    return value is None or isinstance(value, str | Path)
