"""Whose state a state is: a controller goes on only from its own kind, on its own space."""

from rlnas.controllers.base import State
from rlnas.errors import RunError
from rlnas.spaces import Space, fingerprint


def origin(controller: str, space: Space) -> dict[str, str]:
    """Return the mark that a controller of this name on this space puts into its state."""
    return {"controller": controller, "space": fingerprint(space)}


def check_origin(state: State, expected: dict[str, str]) -> None:
    """Check the mark of a state.

    Raises:
        RunError: The state has no mark, or that of another controller or space.
    """
    got = state.get("origin")
    if got != expected:
        raise RunError(
            f"this controller goes on only from a state of {_words(expected)}, "
            f"got {_words(got) if isinstance(got, dict) else 'one without an origin'}; "
            "pass the state of the same run"
        )


def _words(mark: dict[str, str]) -> str:
    return f"{mark.get('controller')} on space {mark.get('space')}"
