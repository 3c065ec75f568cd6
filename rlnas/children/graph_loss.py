"""The loss of a batch in a TensorFlow graph, with its gradient written out."""

from typing import Any


def graph_loss(y: Any, outputs: Any, smoothing: float = 0.0) -> tuple[Any, Any, Any]:
    """Return the loss of each example, as `example_loss` does, and where its gradient begins.

    Derived by TensorFlow, that of repeatable operations is ninety nodes of a graph.

    Args:
        y: Classes, integers[n]; or numbers, float32[n].
        outputs: What Keras's softmax returned in this graph, float32[n, classes]; or predictions,
            float32[n, 1].
        smoothing: Share of each label that goes to all classes alike, for the gradient.

    Returns:
        The loss, for classes in nats and of labels as they are, float32[n]; what went into the
        softmax, or the predictions; and the gradient of the sum of the losses by that.
    """
    import tensorflow as tf

    if outputs.shape[-1] == 1:
        error = outputs - tf.cast(y, outputs.dtype)[:, tf.newaxis]
        return tf.square(error[:, 0]), outputs, 2 * error

    # Keras's own losses take them from there. Without them, softmax(log(p)) is p.
    logits = getattr(outputs, "_keras_logits", None)
    logits = tf.math.log(outputs) if logits is None else logits
    one_hot = tf.one_hot(y, outputs.shape[-1], dtype=outputs.dtype)
    nats = -tf.reduce_sum(one_hot * tf.nn.log_softmax(logits), axis=-1)
    if smoothing:
        one_hot = (1 - smoothing) * one_hot + smoothing / outputs.shape[-1]
    return nats, logits, outputs - one_hot
