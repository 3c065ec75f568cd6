"""The script of a best architecture: plain Keras that builds and trains the network anew.

What it builds is what `rlnas.children.decoder` builds, with the same names; how it trains
is what `rlnas.children.recipes` says. It is laid out as ruff would format it.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnas.children.data import Target
from rlnas.children.datasets.files import SUFFIXES
from rlnas.children.datasets.rows import is_table
from rlnas.children.inputs import Inputs, TableInputs
from rlnas.config import DATASETS, DataConfig, RecipeConfig
from rlnas.cost import (
    GRU,
    LSTM,
    Attention,
    AveragePool,
    Conv,
    Conv1D,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Frames,
    GlobalMaxPool,
    GlobalPool,
    Join,
    KerasLayer,
    Layer,
    MaxPool,
    MaxPool1D,
    ResidualDense,
    SeparableConv,
    Shape,
    layer_costs,
)
from rlnas.search.source_inputs import first_layers, input_constants, input_loader
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
    inputs: Inputs | None = None,
    columns: Mapping[str, Any] | None = None,
    batch_norm_momentum: float,
    class_names: Sequence[str],
    seed: int,
    test_share: float | None = None,
    target: Target | None = None,
) -> str:
    """Return a Keras script that needs no rlnas.

    Args:
        architecture: The network.
        recipe: How it is trained.
        data_name: A known data set, or the path of a folder of images; for all else the
            script reads a ``.npz`` file.
        scale: Factor of the `Rescaling` layer.
        inputs: What stands in front of the network; None for images.
        columns: The settings of the data: which columns of a file hold what.
        batch_norm_momentum: Momentum of batch normalisation.
        class_names: Name of each class.
        seed: Seed of the training, and of the split where the data has no test part.
        test_share: Share that is split off then; None for the config's default.
        target: What is predicted where that is a number; None for classes.
    """
    kind = _kind(data_name)
    loaders = [LOADERS.get(kind, LOADERS["keras"]).replace("<name>", kind)]
    if inputs is not None:
        loaders = input_loader(inputs, kind, numbers=target is not None)
    split = any("split(" in loader for loader in loaders)
    split_function = SPLIT if target is None else SPLIT.replace(", stratify=y", "")
    constants = {
        "INPUT_SHAPE": repr(tuple(int(size) for size in architecture.input_shape)),
        "CLASS_NAMES": _names(class_names),
        "SEED": repr(int(seed)),
        **training_constants(recipe),
        "TEST_SHARE": repr(DataConfig().test if test_share is None else test_share),
        "NORM_MOMENTUM": repr(float(batch_norm_momentum)),
        "SUFFIXES": _brackets("SUFFIXES = {", [_quoted(each) for each in SUFFIXES], "}")[11:],
        **({} if inputs is None else input_constants(inputs, dict(columns or {}))),
        **(
            {}
            if target is None
            else {"TARGET_MEAN": repr(target.mean), "TARGET_SCALE": repr(target.scale)}
        ),
    }
    main = main_function(recipe, table=isinstance(inputs, TableInputs), numbers=target is not None)
    functions = [
        _build_model(architecture, scale, recipe, inputs, target),
        *loaders,
        *([split_function] if split else []),
        *training_functions(recipe, numbers=target is not None),
        main if kind in DATASETS else main_with_data(main, kind),
    ]
    code = "\n\n".join(function.lstrip("\n") for function in functions)
    named = target is None
    used = [name for name in constants if name in code or (name == "CLASS_NAMES" and named)]
    defined = "\n".join(f"{name} = {constants[name]}" for name in used)
    what = "image" if inputs is None else inputs.kind
    return f"{_head(architecture, kind, code, what)}\n{defined}\n\n\n{code}"


def _kind(data_name: str) -> str:
    """Return a known data set's name, ``folder`` or ``npz``."""
    if data_name in DATASETS:
        return data_name
    if data_name in _IN_MEMORY:
        return "npz"
    path = Path(data_name).expanduser()
    if is_table(path):
        return "rows"
    return "folder" if path.is_dir() else "npz"


def _head(architecture: Architecture, kind: str, code: str, what: str) -> str:
    described = textwrap.wrap(
        architecture.describe(), _WIDTH - 4, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(
        [
            '"""Trains a network that rlnas found, with Keras alone; saves it as trained.keras.',
            "",
            f"Data: {_DESCRIPTIONS.get(kind, kind).replace('images', _FILES[what])}.",
            "Layers before the head:",
            "",
            *(f"    {line}" for line in described),
            "",
            f"Run it with: python model.py {_ARGUMENTS.get(kind, '')}[--epochs N]",
            '"""',
            "",
            "import argparse",
            *(["import csv"] if "csv." in code else []),
            *(["import gzip"] if "gzip." in code else []),
            *(["import math"] if "math." in code else []),
            *(["import wave"] if "wave." in code else []),
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


_ARGUMENTS = {"npz": "DATA.npz ", "folder": "FOLDER ", "rows": "FILE [--test-data FILE] "}
_FILES = {"image": "images", "text": "texts", "audio": "recordings", "tabular": "rows"}
_DESCRIPTIONS = {
    "npz": "a .npz file with x_train and y_train, maybe x_test and y_test",
    "rows": "a CSV or TSV file with a header, maybe with .gz behind its name",
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


def _build_model(
    architecture: Architecture,
    scale: float,
    recipe: RecipeConfig,
    inputs: Inputs | None,
    target: Target | None,
) -> str:
    outputs = "class probabilities" if target is None else "a number"
    lines = [
        "def build_model():",
        f'    """Return the untrained network, from raw inputs to {outputs}."""',
    ]
    if inputs is None:
        lines += [
            '    inputs = keras.Input(INPUT_SHAPE, name="input")',
            f'    x = layers.Rescaling({_factor(scale)}, name="rescaling")(inputs)',
        ]
    else:
        lines.append(first_layers(inputs).rstrip())
    shape = architecture.input_shape
    costs = layer_costs(architecture.layers, shape)
    shapes = [behind for behind, _ in costs]
    taken = {number for layer in architecture.layers for number in getattr(layer, "of", ())}
    for number, (layer, behind) in enumerate(zip(architecture.layers, shapes, strict=True), 1):
        name = f"{layer.kind}_{number}"
        if isinstance(layer, Join):
            lines += _join_lines(layer, name, shapes)
        else:
            lines += _layer_lines(layer, name, shape, recipe)
        if number in taken:
            lines.append(f"    x_{number} = x")
        shape = behind
    if len(shape) > 1:
        pooling = f"GlobalAveragePooling{len(shape) - 1}D"
        lines.append(_line("x", (pooling, ['name="head_pool"'])))
    if recipe.batch_norm:
        options = ["momentum=NORM_MOMENTUM", 'name="head_norm"']
        lines.append(_line("x", ("BatchNormalization", options)))
    if recipe.dropout:
        lines.append(_line("x", ("Dropout", ["DROPOUT", 'name="head_dropout"'])))
    activation = ['activation="softmax"'] if target is None else []
    head = [repr(int(architecture.classes)), *activation, 'name="head"']
    lines.append(_line("outputs" if target is None else "x", _penalised(("Dense", head), recipe)))
    if target is not None:
        scaled = ["TARGET_SCALE", "TARGET_MEAN", 'name="target"']
        lines.append(_line("outputs", ("Rescaling", scaled)))
    lines.append('    return keras.Model(inputs, outputs, name="child")')
    return "\n".join(lines) + "\n"


def _join_lines(layer: Join, name: str, shapes: Sequence[Shape]) -> list[str]:
    """Return the lines that put the outputs of earlier layers side by side."""
    if len(layer.of) == 1:
        return [f"    x = x_{layer.of[0]}"]
    sides = [max(shapes[number - 1][axis] for number in layer.of) for axis in (0, 1)]
    lines, given = [], []
    for place, number in enumerate(layer.of, 1):
        gaps = [side - shapes[number - 1][axis] for axis, side in enumerate(sides)]
        given.append(f"x_{number}")
        if any(gaps):
            around = repr(tuple((gap // 2, gap - gap // 2) for gap in gaps))
            options = [around, f'name="{name}_pad_{place}"']
            given[-1] = f"padded_{place}"
            lines.append(
                _brackets(f"    padded_{place} = layers.ZeroPadding2D(", options, f")(x_{number})")
            )
    joined = f'    x = layers.Concatenate(name="{name}")('
    return [*lines, f"{joined}[{', '.join(given)}])"]


def _layer_lines(layer: Layer, name: str, shape: Shape, recipe: RecipeConfig) -> list[str]:
    """Return the lines that put a layer behind `x`."""
    if isinstance(layer, Attention):
        heads = int(layer.heads)
        options = [repr(heads), repr(max(1, int(shape[-1]) // heads)), f'name="{name}"']
        _, options = _penalised(("MultiHeadAttention", options), recipe)
        return [
            _line("normalised", ("LayerNormalization", [f'name="{name}_norm"'])),
            _brackets(
                "    attended = layers.MultiHeadAttention(", options, ")(normalised, normalised)"
            ),
            f'    x = layers.Add(name="{name}_sum")([x, attended])',
        ]
    calls = [_penalised(call, recipe) for call in _calls(layer, name, shape, recipe)]
    lines = [_line("x", call) for call in calls]
    if isinstance(layer, ResidualDense):
        return [
            "    before = x",
            *lines,
            f'    x = layers.Add(name="{name}_sum")([before, x])',
        ]
    return lines


def _calls(layer: Layer, name: str, shape: Shape, recipe: RecipeConfig) -> list[_Call]:
    """Return the Keras layers that the decoder makes of a layer."""
    named = f'name="{name}"'
    match layer:
        case Conv() | SeparableConv() | Conv1D():
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
            return [(f"GlobalAveragePooling{len(shape) - 1}D", [named])]
        case GlobalMaxPool():
            return [("GlobalMaxPooling1D", [named])]
        case MaxPool1D():
            return [("MaxPooling1D", [repr(int(layer.size)), *_POOLING, named])]
        case Embed():
            return [("Embedding", [repr(int(shape[-1])), repr(int(layer.units)), named])]
        case Frames():
            return [("Reshape", [repr((int(shape[0]), int(shape[1] * shape[2]))), named])]
        case LSTM() | GRU():
            return [_recurrent(layer, name, recipe)]
        case Dense():
            return [("Dense", [repr(int(layer.units)), f'activation="{layer.activation}"', named])]
        case ResidualDense():
            return _block(layer, name, int(shape[-1]))
        case KerasLayer():
            return [_stock(layer, name, recipe)]
    raise NotImplementedError(layer.kind)


def _stock(layer: KerasLayer, name: str, recipe: RecipeConfig) -> _Call:
    options = []
    for option, value in layer.options:
        if isinstance(value, KerasLayer):
            kind, inner = _penalised(_stock(value, f"{name}_forward", recipe), recipe)
            options.append(f"{option}=layers.{kind}({', '.join(inner)})")
        else:
            options.append(f"{option}={_quoted(value) if isinstance(value, str) else repr(value)}")
    if layer.name == "BatchNormalization" and "momentum" not in dict(layer.options):
        options.insert(0, "momentum=NORM_MOMENTUM")
    return layer.name, [*options, f'name="{name}"']


def _recurrent(layer: LSTM | GRU, name: str, recipe: RecipeConfig) -> _Call:
    kind = type(layer).__name__
    options = [repr(int(layer.units)), "return_sequences=True"]
    if not layer.bidirectional:
        return kind, [*options, f'name="{name}"']
    _, inner = _penalised((kind, [*options, f'name="{name}_forward"']), recipe)
    return "Bidirectional", [f"layers.{kind}({', '.join(inner)})", f'name="{name}"']


def _block(layer: ResidualDense, name: str, width: int) -> list[_Call]:
    dropout = [("Dropout", [repr(float(layer.rate)), f'name="{name}_dropout"'])]
    inner = [repr(int(layer.units)), f'activation="{layer.activation}"', f'name="{name}_inner"']
    return [
        ("BatchNormalization", ["momentum=NORM_MOMENTUM", f'name="{name}_norm"']),
        ("Dense", inner),
        *(dropout if layer.rate else []),
        ("Dense", [repr(width), f'name="{name}_outer"']),
    ]


_POOLING = ("strides=2", 'padding="same"')


def _convolution(layer: Conv | SeparableConv | Conv1D, name: str) -> list[_Call]:
    kinds = {Conv: "Conv2D", SeparableConv: "SeparableConv2D", Conv1D: "Conv1D"}
    kind = kinds[type(layer)]
    options = [repr(int(layer.filters)), repr(int(layer.kernel))]
    if not isinstance(layer, Conv1D) and layer.stride != 1:
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
    "DepthwiseConv2D": ("depthwise",),
    "DepthwiseConv1D": ("depthwise",),
    "SeparableConv1D": ("depthwise", "pointwise"),
    "SimpleRNN": ("kernel",),
    "Conv2D": ("kernel",),
    "SeparableConv2D": ("depthwise", "pointwise"),
    "Dense": ("kernel",),
    "Conv1D": ("kernel",),
    "LSTM": ("kernel",),
    "GRU": ("kernel",),
    "MultiHeadAttention": ("kernel",),
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
