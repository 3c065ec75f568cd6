"""Keras, imported once and quietly: everything in rlnas that needs it takes it from here.

TensorFlow's own chatter at its start goes to the file descriptor of standard error,
past Python; it is held back while the import runs, and shown if the import fails.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rlnas.errors import ConfigError, first_line


@contextmanager
def _quiet() -> Iterator[None]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(saved, chatter.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


try:
    with _quiet():
        import keras

        with suppress(ImportError):  # Keras does it at the first seed, on any backend
            import tensorflow  # noqa: F401
except (ImportError, ValueError) as error:  # not installed, or unknown to Keras
    raise ConfigError(
        f"Keras cannot start with the backend {os.environ.get('KERAS_BACKEND', 'of keras.json')}: "
        f"{first_line(error)}; install it, or set KERAS_BACKEND=tensorflow"
    ) from error

__all__ = ["keras"]
