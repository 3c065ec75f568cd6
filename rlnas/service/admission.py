"""What a config that came over HTTP may name: no file outside one folder, no code, no nonsense."""

import re
from pathlib import Path
from typing import Any

from rlnas.config import (
    AUGMENTATIONS,
    CONTROL_ENDING,
    CONTROLLERS,
    DATASETS,
    EXTERNAL,
    LONGEST_NAME,
    RECIPE_PARTS,
    SPACES,
    SearchConfig,
    SpaceConfig,
    is_file_of_rules,
    is_table_of_networks,
)
from rlnas.config.imports import is_import_name
from rlnas.errors import SpaceError
from rlnas.search.folder import RunFolder
from rlnas.service.models import NAME
from rlnas.service.problems import Problem, field_problem
from rlnas.spaces import (
    CHAINS,
    RECIPE_PREFIX,
    GrammarSpace,
    caps_of,
    chain_of,
    check_own_rules,
    checked_choices,
    checked_recipe_choices,
    read_grammar,
)

_MODELS = (".keras", ".json")

_LONGEST_SIDE, _MOST_PARAMS = 100_000_000, 1_000_000_000
"""Of an example, and of a child (chosen): what is larger can only be meant to do harm."""


class Admission:
    """Looks at what clients name.

    Args:
        root: The folder of all runs.
        data: The folder below which their files lie; None to let them name none.
        python: Whether they may name Python objects (``module:name``), which is to run code.
    """

    def __init__(self, root: Path, data: Path | None, *, python: bool = False) -> None:
        """See the class."""
        self._root = root
        self._data = None if data is None else data.resolve()
        self._python = python

    def admitted(self, config: SearchConfig) -> SearchConfig:
        """Return the config with whole paths.

        Raises:
            Problem: It names what it may not.
        """
        self._check_python("controller.name", config.controller.name, CONTROLLERS)
        _check_sizes(config)
        changes: dict[str, Any] = {
            "data": self._data_changes(config),
            "space": self._space_changes(config),
        }
        updates: dict[str, Any] = {
            section: getattr(config, section).model_copy(update=found)
            for section, found in changes.items()
            if found
        }
        if config.baseline is not None:
            if not config.baseline.lower().endswith(_MODELS):
                raise _refused(
                    "baseline",
                    f"expected a file that ends with {' or '.join(_MODELS)}, got "
                    f"{config.baseline!r}",
                )
            updates["baseline"] = self._path("baseline", config.baseline)
        earlier = config.controller.warm_start
        if earlier is not None and not self._is_run(earlier):
            raise _refused(
                "controller.warm_start",
                f"expected the name of a run of this server that has begun, got {earlier!r}",
            )
        if config.engine.ray_address not in (None, "auto"):
            raise _refused("engine.ray_address", "expected auto: the server chooses its cluster")
        _check_choices(config)
        admitted = config.model_copy(update=updates)
        if config.engine.chosen == EXTERNAL:
            _check_external(admitted.space)
        return admitted

    def _is_run(self, name: str) -> bool:
        plain = re.fullmatch(NAME, name) is not None
        return plain and RunFolder(self._root, name).journal.is_file()

    def _data_changes(self, config: SearchConfig) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if config.data.dataset not in DATASETS:
            changes["dataset"] = self._path("data.dataset", config.data.dataset)
        if config.data.test_data is not None:
            changes["test_data"] = self._path("data.test_data", config.data.test_data)
        return changes

    def _space_changes(self, config: SearchConfig) -> dict[str, Any]:
        name = config.space.name
        if name is None or name in SPACES:
            return {}
        if is_file_of_rules(name):
            path = self._path("space.name", name)
            try:
                read_grammar(Path(path))
            except SpaceError as error:
                raise _refused("space.name", str(error).replace(path, name)) from error
            return {"name": path}
        if is_table_of_networks(name):
            return {"name": self._path("space.name", name)}
        self._check_python("space.name", name, SPACES)
        return {}

    def _check_python(self, field: str, name: str, known: tuple[str, ...]) -> None:
        if name not in known and is_import_name(name) and not self._python:
            detail = (
                f"{name} is Python code, which this server was not started to run; choose one of "
                f"{', '.join(known)}, or start it with --allow-python"
            )
            pointer = _pointer(field)
            raise Problem(403, "python-refused", f"{pointer}: {detail}", [(pointer, detail)])

    def _path(self, field: str, given: str) -> str:
        """Return a file or folder of the clients' own as a whole path."""
        if not given.strip():
            raise _refused(field, "expected a known name or a path, got an empty one")
        if self._data is None:
            raise _refused(
                field,
                f"got {given!r}, which is none of the known names, and this server was started "
                "without --data, the folder of files that searches may use",
            )
        try:
            path = (self._data / given).resolve()
            there = path.is_relative_to(self._data) and path.exists()
        except (OSError, ValueError):  # a name that no file can have
            there = False
        if not there:
            raise _refused(
                field, f"got {given!r}, expected a known name or a path below the server's --data"
            )
        return str(path)


def _check_sizes(config: SearchConfig) -> None:
    """Refuse what is too large, or has no room."""
    space, room = config.space, LONGEST_NAME - len(CONTROL_ENDING)
    if config.control is not None and len(config.name or "") > room:
        raise _refused(
            "name",
            f"expected at most {room} characters, for the control run is called "
            f"NAME{CONTROL_ENDING}, got {len(config.name or '')}; choose a shorter one",
        )
    if space.min_layers is not None and space.min_layers > space.max_layers:
        raise _refused(
            "space.min_layers",
            f"expected at most space.max_layers, {space.max_layers}, got {space.min_layers}",
        )
    if max(space.input_shape or (0,)) > _LONGEST_SIDE:
        raise _refused(
            "space.input_shape", f"expected sides of at most {_LONGEST_SIDE}, got a longer one"
        )
    if space.max_params > _MOST_PARAMS:
        raise _refused(
            "space.max_params", f"expected at most {_MOST_PARAMS}, got {space.max_params}"
        )


def _check_external(config: SpaceConfig) -> None:
    """Refuse a space of trainers elsewhere that cannot be made: no data will tell more."""
    name = config.name or "image"
    if is_table_of_networks(name) or not (name in CHAINS or is_file_of_rules(name)):
        return
    for field, example in (("input_shape", "[32, 32, 3]"), ("classes", "10")):
        if getattr(config, field) is None:
            raise _refused(
                f"space.{field}",
                f"expected it, such as {example}, for trainers elsewhere have the data; add it",
            )
    shape, classes = config.input_shape or (), config.classes or 0
    try:
        if name in CHAINS:
            chain_of(config, name, shape, classes)
        else:
            check_own_rules(config)
            GrammarSpace(read_grammar(Path(name)), shape, classes, **caps_of(config))
    except SpaceError as error:
        raise _refused("space", str(error)) from error


def _check_choices(config: SearchConfig) -> None:
    """Refuse choices of decisions that the space does not have, or that do not fit them.

    What only the data can tell, such as the space where none is named, is seen by the search.
    """
    given, parts = config.space.choices, config.space.search_recipe
    name = config.space.name or ("image" if config.data.dataset in DATASETS else None)
    of_recipe = {each: given[each] for each in given if each.startswith(RECIPE_PREFIX)}
    try:
        if name in CHAINS:
            others = {each: given[each] for each in given if each not in of_recipe}
            checked_choices(others, CHAINS[name].default_choices)
        if of_recipe:
            searched = RECIPE_PARTS if parts in ("all", "none") else parts.split(",")
            checked_recipe_choices(searched, config.recipe, of_recipe, AUGMENTATIONS)
    except SpaceError as error:
        raise _refused("space.choices", str(error)) from error
    if of_recipe and parts == "none":
        raise _refused(
            "space.choices",
            f"{next(iter(of_recipe))} is a decision of the recipe, which is not searched; "
            "set space.search_recipe or leave it out",
        )


def _refused(field: str, detail: str) -> Problem:
    return field_problem(_pointer(field), detail)


def _pointer(field: str) -> str:
    return f"body.{field}"
