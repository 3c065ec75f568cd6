"""What is measured of a child's outputs, on any backend."""

from typing import Any

from rlnas.children.backend import keras


def example_loss(y: Any, outputs: Any, smoothing: float = 0.0) -> Any:
    """Return the loss of each example: cross-entropy in nats, or the square of a number's error.

    The classes are spelt out: with repeatable operations TensorFlow makes a dozen of the other.

    Args:
        y: Classes, integers[n]; or numbers, float32[n].
        outputs: Probabilities, float32[n, classes]; or predictions, float32[n, 1].
        smoothing: Share of each label that goes to all classes alike.
    """
    if outputs.shape[-1] == 1:
        return keras.ops.square(_error(y, outputs))
    one_hot = keras.ops.one_hot(y, outputs.shape[-1], dtype=outputs.dtype)
    return keras.losses.categorical_crossentropy(one_hot, outputs, label_smoothing=smoothing)


def example_score(y: Any, outputs: Any, spread: float | None = None) -> Any:
    """Return what each example adds to the score, whose mean it is.

    For classes 1.0 where the most probable one is right, else 0.0: the mean is the accuracy. For
    numbers 1 less the square of the error over the variance of the numbers: the mean is R2, the
    share of the variance that is explained.

    Args:
        y: As in `example_loss`.
        outputs: As in `example_loss`.
        spread: Variance of the numbers; None for classes.
    """
    if spread is not None:
        return 1.0 - keras.ops.square(_error(y, outputs)) / spread
    most = keras.ops.argmax(outputs, axis=-1)
    return keras.ops.cast(keras.ops.equal(most, keras.ops.cast(y, most.dtype)), "float32")


def _error(y: Any, outputs: Any) -> Any:
    return outputs[..., 0] - keras.ops.cast(y, outputs.dtype)
