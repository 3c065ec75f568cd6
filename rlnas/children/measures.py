"""What is measured of a child's outputs, on any backend."""

from typing import Any

from rlnas.children.backend import keras


def cross_entropy(y: Any, outputs: Any, smoothing: float = 0.0) -> Any:
    """Return the cross-entropy of each example in nats.

    The classes are spelt out: with repeatable operations TensorFlow makes a dozen of the other.

    Args:
        y: Classes, integers[n].
        outputs: Probabilities, float32[n, classes].
        smoothing: Share of each label that goes to all classes alike.
    """
    one_hot = keras.ops.one_hot(y, outputs.shape[-1], dtype=outputs.dtype)
    return keras.losses.categorical_crossentropy(one_hot, outputs, label_smoothing=smoothing)


def right(y: Any, outputs: Any) -> Any:
    """Return 1.0 for each example whose most probable class is the right one, else 0.0."""
    most = keras.ops.argmax(outputs, axis=-1)
    return keras.ops.cast(keras.ops.equal(most, keras.ops.cast(y, most.dtype)), "float32")
