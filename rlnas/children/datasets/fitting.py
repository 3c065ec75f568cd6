"""What stands in front of a child, worked out from the training part: see `children.inputs`."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Array
from rlnas.children.inputs import (
    AudioInputs,
    Column,
    Inputs,
    TableInputs,
    TextInputs,
    given_to,
    prepared,
)
from rlnas.errors import DataError

_MOST_WORDS, _FEWEST = 10_000, 2
"""Words with a number of their own: so many at most, each found so often at least (chosen). Rarer
ones share a number, so that a child learns what an unknown word says."""

_LONGEST_TEXT, _COVERED = 200, 98
"""Words of a text that are looked at: as many as this percentage of the texts have, up to the
first number (chosen)."""

_MOST_CATEGORIES = 255
"""Categories of a column with a number of their own, the commonest (chosen)."""

_UNKNOWN = "[UNK]"
"""What Keras's `StringLookup` calls all others by default."""

_ROUNDS, _ROUNDING = 20, 1e-9
"""Rounds in which the size of a piece settles, and what shares of examples are rounded by."""

_PIECES, _MOST_PIECES, _TWO = 32, 4096, 2
"""Pieces of the numbers in a column, and in a table with very many (chosen; Gorishniy et al. 2022
tuned between 2 and 256)."""

_BINS, _WINDOW, _MOST_FRAMES = 40, 0.032, 128
"""Of a spectrogram: bands, seconds of a window, and frames, of which a window holds half (chosen:
windows overlap by half or, where a recording is long, less)."""

_DYNAMIC_RANGE = 80.0
"""Decibels between the loudest and the quietest that is told apart: `top_db` of Keras's layer."""


def fit_inputs(kind: str, x: Any, rate: int | None = None) -> Inputs:
    """Return what makes prepared examples of raw ones.

    Args:
        kind: ``text``, ``audio`` or ``tabular``.
        x: Raw examples of the training part; recordings of one length.
        rate: Samples a second of recordings.
    """
    match kind:
        case "text":
            return _for_texts(x)
        case "audio":
            return _for_recordings(x, rate or 1)
        case _:
            pieces = min(_PIECES, _MOST_PIECES // len(x))
            return TableInputs(tuple(_column(name, values, pieces) for name, values in x.items()))


def one_length(recordings: Array, samples: int) -> Array:
    """Return recordings as float32[n, samples]: cut off, or with silence behind them."""
    padded = np.zeros((len(recordings), samples), np.float32)
    for row, recording in zip(padded, recordings, strict=True):
        row[: min(samples, len(recording))] = recording[:samples]
    return padded


def usual_length(recordings: Array) -> int:
    """Return the samples to look at: as many as most recordings have."""
    return int(np.percentile([len(each) for each in recordings], _COVERED))


def _for_texts(x: Array) -> TextInputs:
    counting = keras.layers.TextVectorization()
    counting.adapt(given_to(x))
    numbers = np.asarray(keras.ops.convert_to_numpy(counting(given_to(x))))
    words = counting.get_vocabulary()
    counts = np.bincount(numbers.ravel(), minlength=len(words))
    often = [word for word, found in zip(words[2:], counts[2:], strict=True) if found >= _FEWEST]
    lengths = np.count_nonzero(numbers, axis=1)
    length = int(np.clip(np.percentile(lengths, _COVERED), 1, _LONGEST_TEXT))
    return TextInputs(tuple(often[:_MOST_WORDS]) or tuple(words[2:]), length)


def _for_recordings(x: Array, rate: int) -> AudioInputs:
    samples = x.shape[1]
    window = 2 ** round(np.log2(max(_WINDOW * rate, 4)))
    if samples <= window // 2:
        raise DataError(
            f"most recordings have {samples} samples or fewer, at {rate} a second; a spectrogram "
            f"needs more than {window // 2}"
        )
    stride = max(window // 2, -(-samples // _MOST_FRAMES))
    plain = AudioInputs(samples, rate, min(_BINS, window // 4), window, stride)
    decibels = prepared(plain, x)
    quietest = max(float(decibels.max()) - _DYNAMIC_RANGE, float(decibels.min()))
    decibels = np.maximum(decibels, quietest)
    return replace(
        plain,
        mean=float(decibels.mean()),
        variance=float(decibels.var()) or 1.0,
        min_power=10 ** (quietest / 10),
    )


def _column(name: str, values: Array, pieces: int) -> Column:
    if values.dtype.kind == "O":
        found = Counter(values[:, 0].tolist())
        commonest = sorted(found, key=lambda category: (-found[category], category))
        named = commonest[:_MOST_CATEGORIES]
        if named[0] == _UNKNOWN:  # which Keras would take for its own, but only there
            named.append(named.pop(0))
        return Column(name, tuple(named))
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return Column(name)
    return Column(
        name,
        mean=float(known.mean()),
        variance=float(known.var()) or 1.0,
        edges=_edges(known, pieces),
    )


def _edges(known: Array, pieces: int) -> tuple[float, ...]:
    """Return the edges of the pieces of numbers; none where they would be fewer than two.

    Each piece has as many examples. A number that alone fills more than a piece, as 0 often does,
    counts as no more than one, so that the pieces are left to the others.
    """
    values, counts = np.unique(known, return_counts=True)
    weights = counts.astype(np.float64)
    for _ in range(_ROUNDS):
        weights = np.minimum(counts, weights.sum() / pieces)
    reached = np.cumsum(weights) / weights.sum()
    at = np.searchsorted(reached, np.linspace(0, 1, pieces + 1) - _ROUNDING)
    found = values[np.unique(np.minimum(at, len(values) - 1))]
    return tuple(float(each) for each in found) if len(found) > _TWO else ()
