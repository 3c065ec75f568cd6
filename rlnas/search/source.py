"""The script of a best architecture: plain Keras that builds and trains the network anew.

What it builds is what `rlnas.children.decoder` builds, with the same names; how it trains
is what `rlnas.children.recipes` says. It is laid out as ruff would format it.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rlnas.children.datasets.files import SUFFIXES
from rlnas.config import DATASETS, DataConfig, RecipeConfig
from rlnas.cost import (
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    SeparableConv,
    layer_cost,
)
from rlnas.search.source_training import (
    main_function,
    main_with_data,
    training_constants,
    training_functions,
)
from rlnas.search.templates import LOADERS, SPLIT
from rlnas.spaces import Architecture

_WIDTH = 88
"""Columns of a line, as ruff breaks them unless told otherwise."""

_IN_MEMORY = ("arrays", "dataset")
"""Names of data that came from Python and has no path."""

_MANY = 20
"""More names than this are written as one text if they are single words (chosen)."""

_Call = tuple[str, list[str]]
"""A Keras layer and its arguments, as text."""


def model_source(
    architecture: Architecture,
    recipe: RecipeConfig,
    data_name: str,
    *,
    scale: float,
    batch_norm_momentum: float,
    class_names: Sequence[str],
    seed: int,
    test_share: float | None = None,
) -> str:
    """Return a Keras script that needs no rlnas.

    Args:
        architecture: The network.
        recipe: How it is trained.
        data_name: A known data set, or the path of a folder of images; for all else the
            script reads a ``.npz`` file.
        scale: Factor of the `Rescaling` layer.
        batch_norm_momentum: Momentum of batch normalisation.
        class_names: Name of each class.
        seed: Seed of the training, and of the split where the data has no test part.
        test_share: Share that is split off then; None for the config's default.
    """
    kind = _kind(data_name)
    loader = LOADERS.get(kind, LOADERS["keras"]).replace("<name>", kind)
    constants = {
        "INPUT_SHAPE": repr(tuple(int(size) for size in architecture.input_shape)),
        "CLASS_NAMES": _names(class_names),
        "SEED": repr(int(seed)),
        **training_constants(recipe),
        "TEST_SHARE": repr(DataConfig().test if test_share is None else test_share),
        "NORM_MOMENTUM": repr(float(batch_norm_momentum)),
        "SUFFIXES": _brackets("SUFFIXES = {", [_quoted(each) for each in SUFFIXES], "}")[11:],
    }
    main = main_function(recipe)
    functions = [
        _build_model(architecture, scale, recipe),
        loader,
        *([SPLIT] if "split(" in loader else []),
        *training_functions(recipe),
        main if kind in DATASETS else main_with_data(main, folder=kind == "folder"),
    ]
    code = "\n\n".join(function.lstrip("\n") for function in functions)
    used = [name for name in constants if name in code or name == "CLASS_NAMES"]
    defined = "\n".join(f"{name} = {constants[name]}" for name in used)
    return f"{_head(architecture, kind, code)}\n{defined}\n\n\n{code}"


def _kind(data_name: str) -> str:
    """Return a known data set's name, ``folder`` or ``npz``."""
    if data_name in DATASETS:
        return data_name
    if data_name not in _IN_MEMORY and Path(data_name).expanduser().is_dir():
        return "folder"
    return "npz"


def _head(architecture: Architecture, kind: str, code: str) -> str:
    described = textwrap.wrap(
        architecture.describe(), _WIDTH - 4, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(
        [
            '"""Trains a network that rlnas found, with Keras alone; saves it as trained.keras.',
            "",
            f"Data: {_DESCRIPTIONS.get(kind, kind)}.",
            "Layers before the head:",
            "",
            *(f"    {line}" for line in described),
            "",
            f"Run it with: python model.py {_ARGUMENTS.get(kind, '')}[--epochs N]",
            '"""',
            "",
            "import argparse",
            *(["import math"] if "math." in code else []),
            *(["from pathlib import Path"] if "Path" in code else []),
            "",
            "import keras",
            *(["import numpy as np"] if "np." in code else []),
            "from keras import layers",
            "",
            'keras.config.set_image_data_format("channels_last")',
            "",
        ]
    )


_ARGUMENTS = {"npz": "DATA.npz ", "folder": "FOLDER "}
_DESCRIPTIONS = {
    "npz": "a .npz file with x_train and y_train, maybe x_test and y_test",
    "folder": "a folder with one folder of images per class, maybe below train/ and test/",
}


def _names(class_names: Sequence[str]) -> str:
    plain = all(re.fullmatch(r"[\w./-]+", name) for name in class_names)
    if plain and len(class_names) > _MANY:
        filled = textwrap.fill(
            " ".join(class_names), _WIDTH, break_long_words=False, break_on_hyphens=False
        )
        return f'"""\n{filled}\n""".split()'
    return _brackets("CLASS_NAMES = [", [_quoted(name) for name in class_names], "]")[14:]


def _quoted(text: str) -> str:
    """Return a text as Python writes it, in double quotes where that needs no escape."""
    written = repr(text)
    return f'"{written[1:-1]}"' if '"' not in text and "'" not in text else written


def _build_model(architecture: Architecture, scale: float, recipe: RecipeConfig) -> str:
    lines = [
        "def build_model():",
        '    """Return the untrained network, from raw inputs to class probabilities."""',
        '    inputs = keras.Input(INPUT_SHAPE, name="input")',
        f'    x = layers.Rescaling({_factor(scale)}, name="rescaling")(inputs)',
    ]
    shape = architecture.input_shape
    for number, layer in enumerate(architecture.layers, 1):
        shape, _ = layer_cost(layer, shape)
        for call in _calls(layer, f"{layer.kind}_{number}"):
            lines.append(_line("x", _penalised(call, recipe)))
    if len(shape) == 3:
        lines.append(_line("x", ("GlobalAveragePooling2D", ['name="head_pool"'])))
    if recipe.dropout:
        lines.append(_line("x", ("Dropout", ["DROPOUT", 'name="head_dropout"'])))
    head = [repr(int(architecture.classes)), 'activation="softmax"', 'name="head"']
    lines.append(_line("outputs", _penalised(("Dense", head), recipe)))
    lines.append('    return keras.Model(inputs, outputs, name="child")')
    return "\n".join(lines) + "\n"


def _calls(layer: Layer, name: str) -> list[_Call]:
    """Return the Keras layers that the decoder makes of a layer."""
    named = f'name="{name}"'
    match layer:
        case Conv() | SeparableConv():
            return _convolution(layer, name)
        case MaxPool():
            return [("MaxPooling2D", [repr(int(layer.size)), *_POOLING, named])]
        case AveragePool():
            return [("AveragePooling2D", [repr(int(layer.size)), *_POOLING, named])]
        case Dropout():
            return [("Dropout", [repr(float(layer.rate)), named])]
        case Flatten():
            return [("Flatten", [named])]
        case GlobalPool():
            return [("GlobalAveragePooling2D", [named])]
        case Dense():
            return [("Dense", [repr(int(layer.units)), f'activation="{layer.activation}"', named])]


_POOLING = ("strides=2", 'padding="same"')


def _convolution(layer: Conv | SeparableConv, name: str) -> list[_Call]:
    kind = "Conv2D" if isinstance(layer, Conv) else "SeparableConv2D"
    options = [repr(int(layer.filters)), repr(int(layer.kernel))]
    if layer.stride != 1:
        options.append(f"strides={int(layer.stride)}")
    options.append('padding="same"')
    if layer.batch_norm:
        options.append("use_bias=False")
    norm = ["momentum=NORM_MOMENTUM", f'name="{name}_norm"']
    activation = [f'"{layer.activation}"', f'name="{name}_{layer.activation}"']
    calls = [(kind, [*options, f'name="{name}"']), ("BatchNormalization", norm)]
    return [*calls[: 1 + bool(layer.batch_norm)], ("Activation", activation)]


def _penalised(call: _Call, recipe: RecipeConfig) -> _Call:
    """Return a layer whose kernels cost what the recipe says."""
    kind, options = call
    if not recipe.l1 and not recipe.l2:
        return call
    penalties = [f"{name}_regularizer=PENALTY" for name in _KERNELS.get(kind, ())]
    return kind, [*options[:-1], *penalties, options[-1]]


_KERNELS = {
    "Conv2D": ("kernel",),
    "SeparableConv2D": ("depthwise", "pointwise"),
    "Dense": ("kernel",),
}
"""What weights are called whose size the penalties are about."""


def _factor(scale: float) -> str:
    """Return ``1 / 255`` rather than its digits."""
    whole = round(1 / scale)
    return f"1 / {whole}" if whole > 1 and 1 / whole == scale else repr(float(scale))


def _line(target: str, call: _Call) -> str:
    return _brackets(f"    {target} = layers.{call[0]}(", call[1], ")(x)")


def _brackets(before: str, items: Sequence[str], behind: str) -> str:
    """Return a bracket with its items on one line, else on one of their own, else one each."""
    indent = before[: len(before) - len(before.lstrip())]
    joined = ", ".join(items)
    flat = f"{before}{joined}{behind}"
    if len(flat) <= _WIDTH:
        return flat
    # A line that is full at the bracket of "(x)" is broken there, unless a comma forbids it.
    forbid = behind.endswith("(x)") and len(flat) - len("x)") <= _WIDTH
    if len(indent) + 4 + len(joined) <= _WIDTH and not forbid:
        return f"{before}\n{indent}    {joined}\n{indent}{behind}"
    each = "".join(f"{indent}    {item},\n" for item in items)
    return f"{before}\n{each}{indent}{behind}"
