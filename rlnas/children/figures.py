"""Figures of a trained child's answers on the validation part, by scikit-learn."""

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Array, Target, examples_at_once


def figure(
    name: str, model: keras.Model, x: Array, y: Array, target: Target | None = None
) -> float:
    """Return a figure of a model's answers.

    Args:
        name: One of `rlnas.config.METRICS`. ``f1`` is that of the last of two classes; ``auc`` is
            the mean over the classes of the area under the curve of one against the rest, over
            those of which there are examples.
        model: From inputs to class probabilities, or to a normalised number.
        x: Examples, ``(n, ...)``.
        y: Their classes, int[n]; or numbers, float32[n].
        target: The scale of the numbers; None for classes.
    """
    from sklearn import metrics

    probabilities = model.predict(x, batch_size=examples_at_once(x), verbose=0)
    if target is not None:
        if name == "mae":
            return float(np.mean(np.abs(probabilities[:, 0] - y)) * target.scale)
        return float(metrics.r2_score(y, probabilities[:, 0]))
    chosen = np.argmax(probabilities, axis=-1)
    classes = np.arange(probabilities.shape[-1])
    match name:
        case "accuracy":
            return float(np.mean(chosen == y))
        case "balanced_accuracy":
            known = np.unique(y)  # as in `balanced_accuracy_score`, which warns of the others
            return float(metrics.recall_score(y, chosen, labels=known, average="macro"))
        case "f1":
            return float(metrics.f1_score(y, chosen, pos_label=int(classes[-1]), zero_division=0.0))
        case "f1_macro":
            return float(metrics.f1_score(y, chosen, average="macro", zero_division=0.0))
        case "auc":
            present = [each for each in classes if 0 < np.sum(y == each) < len(y)]
            areas = [metrics.roc_auc_score(y == each, probabilities[:, each]) for each in present]
            return float(np.mean(areas)) if areas else 0.5
        case _:
            return float(metrics.log_loss(y, probabilities, labels=classes))
