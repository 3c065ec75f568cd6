"""The texts in TensorBoard, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from rlnas.cost import describe, head_cost, layer_costs
from rlnas.search.monitor.records import FinalRecord, TrialRecord
from rlnas.spaces import Architecture


def architecture_text(record: TrialRecord) -> str:
    """Return a trial's layers with the shape behind each and its parameters."""
    reward = "none" if record.reward is None else f"{record.reward:.4f}"
    tokens = " ".join(str(token) for token in record.tokens)
    head = [f"**Trial {record.number}**, reward {reward}", f"Tokens: `{tokens}`"]
    table = _table(["", "layer", "shape", "parameters"], _layer_rows(record.architecture))
    return "\n\n".join([*head, table])


def comparison_text(records: Sequence[FinalRecord]) -> str:
    """Return the retrained networks side by side: brief reward beside the long accuracies."""
    columns = ["", "brief reward", "validation accuracy", "test accuracy", "parameters", "layers"]
    rows = [
        [
            f"**{record.name}** (chosen)" if record.chosen else record.name,
            _figure(record.reward),
            _figure(record.val_accuracy),
            _figure(record.test_accuracy),
            f"{record.params:,}",
            record.layers,
        ]
        for record in records
    ]
    return _table(columns, rows)


def config_text(config: Mapping[str, Any]) -> str:
    """Return the config as YAML in a code block."""
    return f"```\n{yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)}```"


def _layer_rows(architecture: Architecture) -> list[list[str]]:
    if architecture.is_named:
        return [["", architecture.describe(), "", ""]]
    shape, classes = architecture.input_shape, architecture.classes
    rows = [["0", "input", _shape(shape), ""]]
    costs = layer_costs(architecture.layers, shape)
    for number, (layer, (shape, cost)) in enumerate(
        zip(architecture.layers, costs, strict=True), 1
    ):
        rows.append([str(number), describe(layer), _shape(shape), f"{cost.params:,}"])
    head = f"head, dense {classes} softmax"
    rows.append(["", head, _shape((classes,)), f"{head_cost(shape, classes).params:,}"])
    return [*rows, ["", "**total**", "", f"**{architecture.cost.params:,}**"]]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
