"""From a data set as it came to one in parts, checked and split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlnas.children.data import Array, Data, Labels, Target, sealed
from rlnas.children.datasets.checks import as_images, as_labels, as_numbers, encode
from rlnas.children.datasets.raw import Raw
from rlnas.config import DataConfig
from rlnas.errors import DataError

_SHOWN = 32
"""Raw examples that are kept, to compare exported models on (chosen)."""

_FEWEST = 2
"""Examples with numbers to predict that a part needs: one has no variance."""

_OUTLIERS = 2
"""How much further one of two parts may reach on the same scale (chosen)."""


def prepare(raw: Raw, config: DataConfig, seed: int) -> Data:
    """Check a data set, split off a validation part and, where there is none, a test part.

    Args:
        raw: The data set as it came.
        config: Shares of the two parts.
        seed: Seed of both splits.

    Raises:
        DataError: The data is unfit, or too small to be split.
    """
    if raw.kind != "image":
        return _prepare_others(raw, config, seed)
    if config.task == "regression":
        raise DataError("numbers are predicted of tables and texts, not of images (--task)")
    x, x_test = _examples(raw)
    y_given = as_labels(raw.y_train, "y_train", len(x))
    y_test_given = None if x_test is None else as_labels(raw.y_test, "y_test", len(x_test))
    labels, y, y_test = encode(y_given, y_test_given)
    names = _class_names(labels, raw.class_names)
    if x_test is None or y_test is None:
        rest, part = _split(y, config.test, seed, names, "test (--test-share)")
        x, y, x_test, y_test = x[rest], y[rest], x[part], y[part]
    rest, part = _split(y, config.validation, seed, names, "validation (--validation)")
    return sealed(
        Data(
            name=raw.name,
            x_train=x[rest],
            y_train=y[rest],
            x_val=x[part],
            y_val=y[part],
            x_test=x_test,
            y_test=y_test,
            class_names=names,
            scale=_scale(x) if raw.scale is None else raw.scale,
            fingerprint="",
        )
    )


def _prepare_others(raw: Raw, config: DataConfig, seed: int) -> Data:
    """Split a data set that is no set of images, and prepare its examples for children."""
    from rlnas.children.datasets.fitting import fit_inputs, one_length, usual_length
    from rlnas.children.inputs import chosen, count, prepared

    x, x_val, x_test = raw.x_train, raw.x_val, raw.x_test
    if raw.kind == "tabular":
        _check_columns(x)
    if raw.kind == "text" and len(set(x)) == 1:
        raise DataError(f"the text is {str(x[0])[:40]!r} in every example; expected different ones")
    numbers = _of_numbers(raw, config)
    read = as_numbers if numbers else as_labels
    y = read(raw.y_train, "y_train", count(x))
    y_test = None if x_test is None else read(raw.y_test, "y_test", count(x_test))
    y_val = None if x_val is None else read(raw.y_val, "y_val", count(x_val))
    names: tuple[str, ...] = ()
    if not numbers:
        labels, y, y_test = encode(y, y_test)
        y_val = None if y_val is None else np.searchsorted(labels, y_val).astype(np.int64)
        names = _class_names(labels, raw.class_names)
    if x_test is None or y_test is None:
        rest, part = _split(y, config.test, seed, names, "test (--test-share)")
        x_test, y_test = chosen(x, part), y[part]
        x, y = chosen(x, rest), y[rest]
    if x_val is None or y_val is None:
        rest, part = _split(y, config.validation, seed, names, "validation (--validation)")
        x_val, y_val = chosen(x, part), y[part]
        x, y = chosen(x, rest), y[rest]
    target = _target(y) if numbers else None
    if not numbers:
        _check_labels(y_val, names, "validation")
        _check_labels(y_test, names, "test")
    if raw.kind == "audio":
        samples = usual_length(x)
        x, x_val, x_test = (one_length(each, samples) for each in (x, x_val, x_test))
    _check_backend(raw.kind, x)
    inputs = fit_inputs(raw.kind, x, raw.rate)
    return sealed(
        Data(
            name=raw.name,
            x_train=prepared(inputs, x),
            y_train=_normalised(y, target),
            x_val=prepared(inputs, x_val),
            y_val=_normalised(y_val, target),
            x_test=prepared(inputs, x_test),
            y_test=_normalised(y_test, target),
            class_names=names,
            scale=1.0,
            fingerprint="",
            inputs=inputs,
            raw=chosen(x_val, slice(0, _SHOWN)),
            target=target,
            notes=raw.notes,
        )
    )


def _of_numbers(raw: Raw, config: DataConfig) -> bool:
    """Tell whether labels are numbers to predict: by the config, or by what they are."""
    if config.task is not None:
        return config.task == "regression"
    y = np.asarray(raw.y_train)
    return y.dtype.kind == "f" and bool((np.isfinite(y) & (y != np.floor(y))).any())


def _target(y: Array) -> Target:
    mean, scale = float(np.mean(y, dtype=np.float64)), float(np.std(y, dtype=np.float64))
    if scale <= 1e-12 * max(abs(mean), 1e-300):
        raise DataError(f"all labels of the training part are {mean:g}; expected different ones")
    return Target(mean, scale)


def _normalised(y: Array, target: Target | None) -> Array:
    if target is None:
        return y
    return ((y.astype(np.float64) - target.mean) / target.scale).astype(np.float32)


def _check_columns(x: Mapping[str, Array]) -> None:
    from rlnas.children.inputs import LAYER_NAMES

    for name, column in x.items():
        if LAYER_NAMES.fullmatch(name):
            raise DataError(
                f"the column {name!r} becomes an input of the model, but a layer may have that "
                "name, or Keras refuses it; rename the column"
            )
        if (column == column[0]).all() or not (column == column).any():  # all missing
            value = column[0, 0] if column.dtype.kind == "O" else f"{column[0, 0]:g}"
            told = "empty" if value in ("", "nan") else value
            raise DataError(
                f"the column {name} is {told} in every row of the training part; leave it out"
            )


def _check_labels(labels: Array, names: Sequence[str], part: str) -> None:
    """Refuse a part that says nothing of what tells classes apart."""
    found = np.unique(labels)
    if len(found) == 1 < len(labels):
        raise DataError(
            f"all {len(labels)} examples of the {part} part are of the class "
            f"{names[found[0]]}; expected at least two classes there"
        )


def _check_backend(kind: str, x: Any) -> None:
    """Refuse texts where the backend has no layers for them."""
    from rlnas.children.backend import keras

    texts = kind == "text" or (
        kind == "tabular" and any(column.dtype.kind == "O" for column in x.values())
    )
    if texts and keras.backend.backend() != "tensorflow":
        raise DataError(
            f"texts and categories need the TensorFlow backend, got {keras.backend.backend()}: its "
            "models take no texts; leave out KERAS_BACKEND, or write categories as numbers"
        )


def _examples(raw: Raw) -> tuple[Array, Array | None]:
    """Return the examples of both given parts, of one type, shape and range."""
    x = as_images(raw.x_train, "x_train")
    if raw.x_test is None:
        return x, None
    x_test = as_images(raw.x_test, "x_test")
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"examples of x_train have shape {x.shape[1:]} and those of x_test {x_test.shape[1:]}; "
            "expected the same"
        )
    if x.dtype != x_test.dtype:
        x, x_test = x.astype(np.float32), x_test.astype(np.float32)
    if x.dtype != np.uint8 and _other_scale(x, x_test):
        raise DataError(
            f"x_train reaches up to {_largest(x):g} and x_test up to {_largest(x_test):g}; "
            "give both on the same scale"
        )
    return x, x_test


def _class_names(labels: Array, given: tuple[str, ...] | None) -> tuple[str, ...]:
    if given is None or labels.dtype.kind == "U":
        return tuple(str(label) for label in labels)
    if labels[-1] >= len(given):
        raise DataError(f"label {labels[-1]} has no name: there are {len(given)} class names")
    return tuple(given[label] for label in labels)


def _split(
    y: Labels, share: float, seed: int, names: tuple[str, ...], part: str
) -> tuple[Labels, Labels]:
    """Return the indices of what remains and of the part, classes in proportion in both."""
    from sklearn.model_selection import train_test_split

    if not names:
        return _split_numbers(y, share, seed, part)
    counts = np.bincount(y, minlength=len(names))
    rarest = int(np.argmin(counts))
    if counts[rarest] < 2:
        raise DataError(
            f"class {names[rarest]!r} has too few examples to split off a {part} part: at least "
            f"2 are needed, got {counts[rarest]}; add some, or remove the class"
        )
    size = round(share * len(y))
    if min(size, len(y) - size) < len(names):
        raise DataError(
            f"a {part} share of {share:g} parts {len(y)} examples into {len(y) - size} and {size}, "
            f"but both need at least one for each of the {len(names)} classes; change the share"
        )
    rest, split = train_test_split(np.arange(len(y)), test_size=size, random_state=seed, stratify=y)
    lost = np.flatnonzero(np.bincount(y[rest], minlength=len(names)) == 0)
    if len(lost):
        raise DataError(
            f"class {names[lost[0]]!r} has too few examples for a {part} share of {share:g}: all "
            f"{counts[lost[0]]} would be split off; add some, or take a smaller share"
        )
    return rest, split


def _split_numbers(y: Array, share: float, seed: int, part: str) -> tuple[Labels, Labels]:
    from sklearn.model_selection import train_test_split

    size = round(share * len(y))
    if min(size, len(y) - size) < _FEWEST:
        raise DataError(
            f"a {part} share of {share:g} parts {len(y)} examples into {len(y) - size} and {size}, "
            f"but both need at least {_FEWEST}; change the share"
        )
    rest, split = train_test_split(np.arange(len(y)), test_size=size, random_state=seed)
    return rest, split


def _scale(x: Array) -> float:
    """Return the factor that takes raw values to about 0..1.

    1 for what lies within -1..1 already, 1/255 for 8-bit pixels (a largest value of
    128 to 255), otherwise one by the largest absolute value.
    """
    largest = _largest(x)
    if largest <= 1:
        return 1.0
    return 1 / 255 if 128 <= largest <= 255 else 1 / largest


def _other_scale(x: Array, x_test: Array) -> bool:
    """Tell whether only one part lies within -1..1, and not just because of a few outliers."""
    smaller, larger = sorted((_largest(x), _largest(x_test)))
    return smaller <= 1 < larger and larger > _OUTLIERS * smaller


def _largest(x: Array) -> float:
    return max(float(x.max()), -float(x.min()))
