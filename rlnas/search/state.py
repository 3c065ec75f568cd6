"""Trees of JSON values and NumPy arrays as bytes and back, without pickle."""

import io
import json
from functools import partial
from typing import Any

import numpy as np

from rlnas.errors import ControllerError, RunError, first_line

_ARRAY = "__array__"


def pack(state: dict[str, Any]) -> bytes:
    """Return a state as bytes: an ``.npz`` of its arrays and one JSON text.

    Args:
        state: Dictionaries with text keys, lists, numbers, texts, None and arrays.

    Raises:
        ControllerError: It holds something else, which only a user's controller can put there.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    try:
        text = json.dumps(state, default=partial(_plain, arrays=arrays))
    except (TypeError, ValueError, RecursionError) as error:
        raise ControllerError(
            f"state() of the controller cannot be saved: {first_line(error)}; expected dicts, "
            "lists, numbers, text, None and NumPy arrays of them; mend the class"
        ) from error
    buffer = io.BytesIO()
    np.savez(buffer, *arrays, json=np.frombuffer(text.encode(), dtype=np.uint8))
    return buffer.getvalue()


def unpack(blob: bytes) -> dict[str, Any]:
    """Return the state that `pack` wrote.

    Raises:
        RunError: The bytes are damaged.
    """
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
            tree = json.loads(stored["json"].tobytes().decode())
            state = _with_arrays(tree, stored)
    except Exception as error:
        raise RunError(
            "the stored state of the run is damaged, it cannot be read; restore the journal from "
            "a backup or start a new run"
        ) from error
    if not isinstance(state, dict):
        raise RunError("the stored state of the run is damaged: it is not a mapping")
    return state


def _plain(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Return what stands in JSON for a value that it does not know; an array is put aside."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects")
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a plain value")


def _with_arrays(value: Any, stored: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return stored[f"arr_{value[_ARRAY]}"]
        return {name: _with_arrays(item, stored) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, stored) for item in value]
    return value
