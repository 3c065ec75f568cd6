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
            f"state() of the controller cannot be saved: {first_line(error)}; expected dicts with "
            "text keys, lists, numbers, text, None and NumPy arrays of them; mend the class"
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
            text = stored["json"].tobytes().decode()
            state = json.loads(text, object_hook=partial(_whole, stored=stored))
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


def _whole(record: dict[str, Any], stored: Any) -> Any:
    """Return the array that stands behind a record, or the record."""
    return stored[f"arr_{record[_ARRAY]}"] if set(record) == {_ARRAY} else record
