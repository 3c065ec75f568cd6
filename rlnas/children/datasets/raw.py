"""What every source of data is first read into, and why reading failed."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Raw:
    """A data set as it came, unchecked.

    Attributes:
        name: Name of the data set, or the path it came from; begins every complaint.
        x_train: Examples, all that are not test data.
        y_train: Their labels, whole numbers or texts.
        x_test: Examples of the test part; None to split one off.
        y_test: Their labels.
        class_names: Names that whole-number labels index; None to name classes by their label.
        scale: Factor that takes raw inputs to 0..1; None to derive it from the values.
        kind: What the examples are: ``image``; ``text``, object[n]; ``audio``, object[n] of
            float32[samples]; or ``tabular``, columns by name, float32[n, 1] or object[n, 1].
        x_val: Examples of the validation part; None to split one off.
        y_val: Their labels.
        rate: Samples a second of recordings.
        notes: What the user should know of how it was read, a sentence each.
    """

    name: str
    x_train: Any
    y_train: Any
    x_test: Any = None
    y_test: Any = None
    class_names: tuple[str, ...] | None = None
    scale: float | None = None
    kind: str = "image"
    x_val: Any = None
    y_val: Any = None
    rate: int | None = None
    notes: tuple[str, ...] = ()


def reason(error: Exception) -> str:
    """Return the first line of what another library raised, to be part of a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
