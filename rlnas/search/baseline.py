"""A user's own model beside a search: read, checked, and made anew with fresh weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.children.data import Data
from rlnas.errors import ConfigError, first_line

_NAMED = ("name", "keras_history", "input_layers", "output_layers")
"""Keys of a model's JSON under which names of layers stand."""

_EXAMPLES, _TOLERANCE = 8, 1e-2
"""Examples a baseline is tried on, and how far from 1 their sums may be in float16 (chosen)."""


def load_baseline(source: str | Path | keras.Model | None, data: Data) -> keras.Model | None:
    """Return a user's own model, to be trained from new weights.

    Its layers stay as the user set them, the momentum of batch normalisation included; a
    model that is briefly trained wants one near 0.9 rather than Keras's 0.99.

    Args:
        source: A ``.keras`` file, a ``.json`` of an architecture, a model, or None.
        data: The data set whose examples it must take.

    Returns:
        The model as a functional one, its layers shared, or None.

    Raises:
        ConfigError: It cannot be read or copied, or does not fit the data.
    """
    if source is None:
        return None
    given = _read_model(Path(source)) if isinstance(source, str | Path) else source
    model = _functional(given)
    got, classes = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    if got != data.input_shape or classes != (data.classes,):
        raise ConfigError(
            f"baseline (--baseline): expected a model from {data.input_shape} to {data.classes} "
            f"class probabilities, got one from {got} to {classes}"
        )
    _check_probabilities(model, data)
    return model


def fresh_copy(baseline: keras.Model) -> keras.Model:
    """Return a copy with new weights, drawn with Keras's global seed.

    Layers that training leaves alone keep what they hold: frozen ones, and what
    ``Normalization.adapt`` has learned from the data.
    """
    copy = keras.models.clone_model(baseline)
    for old, new in zip(_plain_layers(baseline), _plain_layers(copy), strict=True):
        moving = isinstance(old, keras.layers.BatchNormalization) and old.trainable
        if not old.trainable_weights and not moving:
            state: dict[str, Any] = {}
            old.save_own_variables(state)
            new.load_own_variables(state)
    return copy


def _plain_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _plain_layers(layer)
        else:
            yield layer


def model_fingerprint(model: keras.Model) -> str:
    """Return sixteen hexadecimal digits that differ when the architectures do.

    Names do not count: Keras numbers those it gives by what was built before.
    """
    record = json.loads(model.to_json())
    names: dict[str, str] = {}
    for name in _names(record):
        names.setdefault(name, f"#{len(names)}")
    text = json.dumps(_renamed(record, names), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(record: Any) -> Iterator[str]:
    """Yield the names of a model, of its layers and of models in it, in their order."""
    if isinstance(record, dict):
        if isinstance(record.get("name"), str):
            yield record["name"]
        record = list(record.values())
    if isinstance(record, list):
        for part in record:
            yield from _names(part)


def _renamed(record: Any, names: Mapping[str, str], place: str = "") -> Any:
    """Return a record with names replaced where Keras writes names, `place` being its key."""
    if isinstance(record, dict):
        return {key: _renamed(value, names, key) for key, value in record.items()}
    if isinstance(record, list):
        return [_renamed(value, names, place) for value in record]
    return names.get(record, record) if isinstance(record, str) and place in _NAMED else record


def _functional(model: Any) -> keras.Model:
    try:
        (inputs,), (outputs,) = model.inputs, model.outputs
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            "baseline (--baseline): expected a functional or sequential Keras model with one "
            f"input, whose shape it knows, and one output, got {type(model).__name__}"
        ) from None
    functional = keras.Model(inputs, outputs, name=model.name)
    try:
        fresh_copy(functional).to_json()
    except Exception as error:  # layers of the user's own raise whatever they like
        raise ConfigError(
            f"baseline (--baseline): the model cannot be copied: {first_line(error)}; give its "
            "own layers a get_config"
        ) from error
    return functional


def _check_probabilities(model: keras.Model, data: Data) -> None:
    """Check that the outputs are what the loss expects."""
    try:
        answer = model(data.x_train[:_EXAMPLES], training=False)
    except Exception as error:
        raise ConfigError(
            f"baseline (--baseline): the model cannot take an example: {first_line(error)}; "
            "mend it and try again"
        ) from error
    outputs = np.asarray(keras.ops.convert_to_numpy(answer), dtype=float)
    sums = outputs.sum(axis=1)
    if not (outputs.min() >= 0 and np.allclose(sums, 1, atol=_TOLERANCE)):
        raise ConfigError(
            "baseline (--baseline): expected class probabilities, that sum to 1, got outputs from "
            f"{outputs.min():.4g} to {outputs.max():.4g} with a sum of {sums[0]:.4g}; let the "
            "model end with a softmax"
        )


def _read_model(path: Path) -> keras.Model:
    if not path.is_file():
        raise ConfigError(f"baseline (--baseline): {path} does not exist; check the path")
    try:
        if path.suffix == ".json":
            return keras.models.model_from_json(path.read_text(encoding="utf-8"))
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ConfigError(
            f"baseline (--baseline): {path} is not a Keras model that can be read: "
            f"{first_line(error)}"
        ) from error
