"""Objects of a user's own modules, named ``module:name``."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from rlnas.errors import ConfigError, first_line

_NAMED = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")


def is_import_name(text: str) -> bool:
    """Tell whether a text has the form ``module:name``."""
    return _NAMED.fullmatch(text) is not None


def imported(what: str, name: str) -> Any:
    """Return what ``module:name`` names; modules of the current folder are found too.

    Args:
        what: What it is, for the sentence of an error, for example ``"controller"``.
        name: ``module:name``.

    Raises:
        ConfigError: The module cannot be imported, or has nothing of the name.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a user's module does when imported
        raise ConfigError(
            f"{what} {name}: module {module_name} cannot be imported: {first_line(error)}; "
            "run from its folder or install it"
        ) from error
    if not hasattr(module, attribute):
        raise ConfigError(f"{what} {name}: module {module_name} has no {attribute}")
    return getattr(module, attribute)
