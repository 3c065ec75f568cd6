"""Writing plots."""

from pathlib import Path
from typing import Any, BinaryIO

from rlnas.errors import StorageError


def save_plot(figure: Any, path: Path | BinaryIO) -> None:
    """Write a matplotlib figure as PNG.

    Args:
        figure: The figure.
        path: File to write, or one that is open.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise StorageError(
            f"cannot write the plot {path}: {error.strerror or error}; make room or choose "
            "another --plot"
        ) from error
