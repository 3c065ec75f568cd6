"""How raw examples that are no images become what a child is trained on.

A child is trained on arrays that were prepared once; the exported model does the same by Keras
layers in front of it, so that it takes raw examples. Both come from one `Inputs`, whose state
stands in the layers' arguments: the JSON of the model holds it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from rlnas.children.backend import keras

Raw = Any
"""Raw examples: texts as object[n], recordings as float32[n, samples], or the columns of a table
by name, each float32[n, 1] or object[n, 1]."""

_AT_ONCE = 1024
"""Examples that are prepared at a time (chosen)."""

_NO_LIMIT = 1e4
"""Decibels that no two values of float32 differ by."""

_TEXT = "string"

LAYER_NAMES = re.compile(r"row|head(_\w*)?|[a-z0-9]+_\d+(_\w*)?|.*/.*|")
"""Names that no column may have: those of a child's layers, and what Keras refuses."""

_TOLD = 8
"""Columns of categories that are named (chosen)."""


class Inputs(Protocol):
    """What stands in front of a child in the exported model."""

    @property
    def kind(self) -> str:
        """The kind of space it is for: ``text``, ``audio`` or ``tabular``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an example as a space takes it."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Shape of a prepared example."""

    @property
    def words(self) -> str:
        """What it does, in a few words."""

    def layers(self) -> tuple[Any, keras.KerasTensor]:
        """Return Keras inputs for raw examples, and what a child is to see of them."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Texts, in lower case and without punctuation, as the numbers of their words.

    Attributes:
        vocabulary: The words that have a number of their own, from 2 on; 1 is any other, and 0
            fills up short texts.
        length: Words of a text that are looked at.
    """

    vocabulary: tuple[str, ...]
    length: int
    kind = "text"

    @property
    def shape(self) -> tuple[int, ...]:
        """Words, and how many different ones there are."""
        return self.length, len(self.vocabulary) + 2

    @property
    def steps(self) -> tuple[int, ...]:
        """Words."""
        return (self.length,)

    @property
    def words(self) -> str:
        """What it does, in a few words."""
        return f"text, its first {self.length} words by number"

    def layers(self) -> tuple[Any, keras.KerasTensor]:
        """Return a Keras input for texts, and the numbers of their words."""
        text = keras.Input((), dtype=_TEXT, name="text")
        numbers = keras.layers.TextVectorization(
            vocabulary=list(self.vocabulary),
            output_sequence_length=self.length,
            name="words",
        )(text)
        return text, numbers

    def to_json(self) -> dict[str, Any]:
        """Return length and size; the vocabulary is in the model."""
        return {"kind": self.kind, "length": self.length, "vocabulary": len(self.vocabulary)}


@dataclass(frozen=True, slots=True)
class AudioInputs:
    """Recordings as spectrograms on the mel scale, normalised.

    Attributes:
        samples: Samples of a recording; shorter ones end in silence.
        rate: Samples a second.
        bins: Bands of frequency.
        window: Samples of a window, a power of 2.
        stride: Samples between two windows.
        mean: Mean of all values, in decibels.
        variance: Their variance.
        min_power: Quieter power counts as this much. It stands for `top_db` of Keras's layer, whose
            values depend on the loudest recording of a batch.
    """

    samples: int
    rate: int
    bins: int
    window: int
    stride: int
    mean: float = 0.0
    variance: float = 1.0
    min_power: float = 1e-10
    kind = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, bins and one channel."""
        return 1 + self.samples // self.stride, self.bins, 1

    @property
    def steps(self) -> tuple[int, ...]:
        """Frames, bins and one channel."""
        return self.shape

    @property
    def words(self) -> str:
        """What it does, in a few words."""
        return f"{self.samples} samples, {self.rate} a second, as a mel spectrogram"

    def layers(self) -> tuple[Any, keras.KerasTensor]:
        """Return a Keras input for recordings, and their spectrograms."""
        samples = keras.Input((self.samples,), name="samples")
        x = keras.layers.MelSpectrogram(
            fft_length=self.window,
            sequence_length=self.window,
            sequence_stride=self.stride,
            num_mel_bins=self.bins,
            sampling_rate=self.rate,
            max_freq=self.rate / 2,
            min_power=self.min_power,
            top_db=_NO_LIMIT,
            name="spectrogram",
        )(samples)
        x = keras.layers.Permute((2, 1), name="frames_first")(x)
        x = keras.layers.Reshape(self.shape, name="one_channel")(x)
        x = keras.layers.Normalization(
            axis=None, mean=self.mean, variance=self.variance, name="normalization"
        )(x)
        return samples, x

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        categories: What may stand there; none for numbers.
        mean: Of numbers, their mean.
        variance: Of numbers, their variance.
        edges: Of numbers, those between pieces with as many examples each, least first; none of
            them for no pieces.
    """

    name: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    variance: float = 1.0
    edges: tuple[float, ...] = ()

    @property
    def pieces(self) -> int:
        """Between how many pairs of edges a number can stand."""
        return max(0, len(self.edges) - 1)

    @property
    def width(self) -> int:
        """Numbers that a child sees of it; of categories one more, for unknown ones."""
        return len(self.categories) + 1 if self.categories else 1 + self.pieces


@dataclass(frozen=True, slots=True)
class TableInputs:
    """Rows of a table: numbers normalised, categories each as a number of its own, 0 or 1.

    Of a number a child also sees how far it reaches into each piece between two edges, from 0 to 1
    (piecewise linear encoding, Gorishniy et al. 2022, section 3.2): what a network learns of single
    numbers too slowly, as trees do not. A number that is missing
    counts as the mean and reaches into no piece, a category that was never seen as one of its own.
    """

    columns: tuple[Column, ...]
    kind = "tabular"

    @property
    def shape(self) -> tuple[int, ...]:
        """Features."""
        return (sum(column.width for column in self.columns),)

    @property
    def steps(self) -> tuple[int, ...]:
        """Features."""
        return self.shape

    @property
    def words(self) -> str:
        """What it does, in a few words."""
        texts = [column.name for column in self.columns if column.categories]
        told = f" ({', '.join(texts[:_TOLD])}{' ...' if len(texts) > _TOLD else ''})"
        numbers = len(self.columns) - len(texts)
        return f"columns: {numbers} of numbers, {len(texts)} of categories{told if texts else ''}"

    def layers(self) -> tuple[Any, keras.KerasTensor]:
        """Return a Keras input for each column by name, and the features of a row."""
        given, parts = {}, []
        for number, column in enumerate(self.columns):
            kind = _TEXT if column.categories else "float32"
            given[column.name] = keras.Input((1,), dtype=kind, name=column.name)
            parts += _encoded(column, f"column_{number}", given[column.name])
        return given, keras.ops.nan_to_num(keras.layers.Concatenate(name="row")(parts))

    def to_json(self) -> dict[str, Any]:
        """Return the columns, with how many categories each has."""
        columns = [
            {"name": each.name, "categories": len(each.categories)}
            if each.categories
            else {
                "name": each.name,
                "mean": each.mean,
                "variance": each.variance,
                "pieces": each.pieces,
            }
            for each in self.columns
        ]
        return {"kind": self.kind, "columns": columns}


def _encoded(column: Column, place: str, given: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Return what a child sees of a column."""
    layers = keras.layers
    if column.categories:
        look_up = layers.StringLookup(
            vocabulary=list(column.categories), output_mode="one_hot", name=f"{place}_category"
        )
        return [look_up(given)]
    normalize = layers.Normalization(
        axis=None, mean=column.mean, variance=column.variance, name=f"{place}_normalized"
    )
    if not column.pieces:
        return [normalize(given)]
    least, widths = column.edges[:-1], np.diff(column.edges)
    x = layers.RepeatVector(column.pieces, name=f"{place}_repeated")(given)
    x = layers.Flatten(name=f"{place}_flat")(x)
    x = layers.Normalization(
        mean=list(least), variance=[float(each) ** 2 for each in widths], name=f"{place}_pieces"
    )(x)
    return [normalize(given), layers.ReLU(max_value=1.0, name=f"{place}_reached")(x)]


def prepared(inputs: Inputs, raw: Raw) -> np.ndarray[Any, Any]:
    """Return raw examples as a child is trained on them, by the layers of the exported model.

    Args:
        inputs: What stands in front of a child.
        raw: Raw examples.
    """
    given, features = inputs.layers()
    model = keras.Model(given, features)
    pieces = [
        keras.ops.convert_to_numpy(model(given_to(part), training=False)) for part in _pieces(raw)
    ]
    kind = np.int32 if inputs.kind == "text" else np.float32
    return np.concatenate(pieces).astype(kind)


def given_to(raw: Raw) -> Any:
    """Return raw examples as tensors, which a Keras model takes: texts are of TensorFlow."""
    if isinstance(raw, Mapping):
        return {name: given_to(column) for name, column in raw.items()}
    if np.asarray(raw).dtype.kind in "OU":
        import tensorflow as tf

        return tf.constant(np.asarray(raw).tolist(), dtype=tf.string, shape=np.shape(raw))
    return keras.ops.convert_to_tensor(raw)


def chosen(raw: Raw, places: Any) -> Raw:
    """Return some of the raw examples.

    Args:
        raw: Raw examples.
        places: Their numbers, or a slice.
    """
    if isinstance(raw, Mapping):
        return {name: column[places] for name, column in raw.items()}
    return raw[places]


def count(raw: Raw) -> int:
    """Return the number of raw examples."""
    return len(next(iter(raw.values())) if isinstance(raw, Mapping) else raw)


def _pieces(raw: Raw) -> Sequence[Raw]:
    return [chosen(raw, slice(k, k + _AT_ONCE)) for k in range(0, count(raw), _AT_ONCE)]
