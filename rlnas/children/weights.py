"""Writing models and their weights without what training added to them."""

import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from rlnas.children.backend import keras
from rlnas.errors import StorageError, first_line


def plain_model(model: keras.Model) -> keras.Model:
    """Return the same network, layers and weights shared, without optimizer, loss and metrics.

    Args:
        model: A functional or sequential model with one output.
    """
    given = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(given, model.outputs[0], name=model.name)


def megabytes(model: keras.Model) -> float:
    """Return the size of the ``.keras`` file of a model, without an optimizer, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        plain_model(model).save(path)
        return path.stat().st_size / 1e6


def load_weights(model: keras.Model, path: Path) -> None:
    """Give a model the weights that `save_weights` wrote.

    Args:
        model: The same network; its weights are replaced.
        path: The file, ending in ``.weights.h5``.

    Raises:
        StorageError: The file is missing, damaged or of another network.
    """
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(
            f"cannot read the weights in {path}: {first_line(error)}; delete the file, and "
            "rlnas resume or retrain makes it anew"
        ) from error


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a model's weights as Keras does, without the optimizer; the file appears whole.

    Keras writes the file piece by piece, and HDF5 takes the process down when the disk is
    full. Inside of a ``.keras`` archive Keras builds the same bytes in memory.

    Args:
        model: A functional or sequential model.
        path: Where to write; the name must end in ``.weights.h5``. Its folder is made.

    Raises:
        StorageError: The disk refused.
    """
    new, archive = path.with_name(f"{path.name}.new"), path.with_name(f"{path.name}.keras")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        plain_model(model).save(archive)
        with zipfile.ZipFile(archive) as parts:
            content = parts.read("model.weights.h5")
        archive.unlink()
        new.write_bytes(content)
        new.replace(path)
    except OSError as error:
        for unfinished in (new, archive):
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write the weights to {path.parent}: {error.strerror or error}; make room or "
            "mend its permissions"
        ) from error
