"""Cross-validation: a data set of which each part in turn is what is validated on."""

from dataclasses import replace

import numpy as np

from rlnas.children.data import Data, sealed
from rlnas.errors import DataError


def folds_of(data: Data, count: int, seed: int) -> list[Data]:
    """Return a data set once for each fold, classes in proportion; the test part stays the same.

    What was split off to validate on is mixed with the training part before.

    Args:
        data: The data set.
        count: Number of folds, at least 2.
        seed: Seed of the folds.

    Raises:
        DataError: A class has fewer examples than there are folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    if data.target is None:
        counts = np.bincount(y, minlength=data.classes)
        rarest = int(np.argmin(counts))
        if counts[rarest] < count:
            raise DataError(
                f"{count} folds need at least {count} examples of each class, class "
                f"{data.class_names[rarest]!r} has {counts[rarest]}; lower --folds or add some"
            )
    elif len(y) < 2 * count:
        raise DataError(
            f"{count} folds need at least {2 * count} examples, got {len(y)}; lower --folds"
        )
    kind = StratifiedKFold if data.target is None else KFold
    splits = kind(count, shuffle=True, random_state=seed).split(np.zeros(len(y)), y)
    return [
        sealed(replace(data, x_train=x[rest], y_train=y[rest], x_val=x[part], y_val=y[part]))
        for rest, part in splits
    ]
