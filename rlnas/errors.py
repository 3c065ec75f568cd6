"""The errors of rlnas: one tree, each with one clear sentence and an exit code.

    RlnasError               1  something failed
    ├── UsageError           2  the caller asked for something that cannot be
    │   ├── ConfigError      2  a flag, a field of the config or an unknown name
    │   ├── DataError        2  the data set
    │   ├── SpaceError       2  a token, an architecture or a space
    │   ├── RunError         2  a run folder or its journal
    │   └── ControllerError  2  a controller of the user's own chose what cannot be
    ├── StorageError         1  the disk refused while a run was under way
    ├── NoValidChildError    3  the search ended without one trained child
    └── InterruptedRunError  130  the user stopped the run; it was saved

A sentence says what was expected, what came and what to do.
"""

import difflib
from collections.abc import Iterable
from itertools import pairwise

_LISTED = 20
_HEADINGS = ("in user code:", "Graph execution error:")
_AROUND = (*_HEADINGS, "File ", "Detected at ", "<stack traces", "Traceback")
"""How the lines begin that TensorFlow puts around what happened."""


class RlnasError(Exception):
    """Base of all errors that rlnas raises on purpose."""

    exit_code = 1


class UsageError(RlnasError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A flag or a field of the config is wrong, or a name is unknown."""


class DataError(UsageError):
    """The data set is missing, unreadable or unfit for training."""


class SpaceError(UsageError):
    """A token, an architecture or the definition of a space is wrong."""


class RunError(UsageError):
    """A run folder or its journal is missing, foreign or damaged."""


class ControllerError(UsageError):
    """A controller of the user's own failed or chose what cannot be."""


class StorageError(RlnasError):
    """The disk refused to take or give back what a run needs."""


class NoValidChildError(RlnasError):
    """The search ended and not one child could be trained."""

    exit_code = 3


class InterruptedRunError(RlnasError):
    """The user stopped the run; everything was saved first."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its class where it says nothing.

    TensorFlow puts a heading and a traceback in front; they are passed over.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    told = [
        line
        for before, line in pairwise(["", *lines])
        if not line.startswith(_AROUND) and not before.startswith("File ")
    ]
    return told[0] if lines[0].startswith(_HEADINGS) and told else lines[0]


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for an unknown name, with the nearest known ones.

    Args:
        what: What was named, for example ``"controller"``.
        name: The name that came.
        known: All names that would have been right; the sentence lists up to 20 of them.
    """
    names = sorted(known)
    plain = {each.lower(): each for each in names}
    nearest = [
        plain[each] for each in difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)
    ]
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"unknown {what} {name!r}: {hint}known are {', '.join(names[:_LISTED])}{rest}"
