"""The loss of a batch in a TensorFlow graph, with its gradient written out."""

from typing import Any


def cross_entropy(y: Any, outputs: Any, smoothing: float = 0.0) -> tuple[Any, Any, Any]:
    """Return the cross-entropy of each example, and where its gradient begins.

    Derived by TensorFlow, that of repeatable operations is ninety nodes of a graph.

    Args:
        y: Classes, integers[n].
        outputs: What Keras's softmax returned in this graph, float32[n, classes].
        smoothing: Share of each label that goes to all classes alike, for the gradient.

    Returns:
        The cross-entropy in nats, float32[n], of labels as they are; what went into the softmax,
        and the gradient of the sum of the cross-entropies by that, both float32[n, classes].
    """
    import tensorflow as tf

    # Keras's own losses take them from there. Without them, softmax(log(p)) is p.
    logits = getattr(outputs, "_keras_logits", None)
    logits = tf.math.log(outputs) if logits is None else logits
    one_hot = tf.one_hot(y, outputs.shape[-1], dtype=outputs.dtype)
    nats = -tf.reduce_sum(one_hot * tf.nn.log_softmax(logits), axis=-1)
    if smoothing:
        one_hot = (1 - smoothing) * one_hot + smoothing / outputs.shape[-1]
    return nats, logits, outputs - one_hot
