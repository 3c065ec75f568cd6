"""The HParams table: one row per trial, each in a folder of its own, as TensorBoard wants it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from rlnas.config import RecipeConfig
from rlnas.search.monitor.events import EventFile, remove_folder
from rlnas.search.monitor.records import TrialRecord
from rlnas.search.monitor.tags import METRICS, find, of_kind
from rlnas.spaces import Architecture

Value = float | str
_POOLS = ("maxpool", "avgpool", "globalpool")
# TensorBoard sorts columns by name and shows the first five; words spoil its plots, so they
# sort last.
_WORDS = "types/sequence"
_RECIPE = "recipe/"
_COUNTED = ("conv", "sepconv", "dropout", "dense")


def hyperparameters(architecture: Architecture) -> dict[str, Value]:
    """Return the columns of the table for one architecture, by declared tag; and of its recipe."""
    if architecture.is_named:
        return {"layers": 0, "params": 0, "flops": 0, _WORDS: architecture.describe()}
    kinds = [layer.kind for layer in architecture.layers]
    normed = [layer.batch_norm for layer in architecture.layers if hasattr(layer, "batch_norm")]
    cost = architecture.cost
    return {
        "layers": len(kinds),
        "params": cost.params,
        "flops": cost.flops,
        "types/pool": sum(kind in _POOLS for kind in kinds),
        "types/batch_norm": sum(normed) / max(len(normed), 1),
        **{f"types/{kind}": kinds.count(kind) for kind in _COUNTED},
        _WORDS: architecture.describe(),
        **{f"{_RECIPE}{name}": value for name, value in architecture.recipe},
    }


def kept(rewards: Mapping[int, float | None], cap: int) -> set[int]:
    """Return the trials that have a row: the newest half of the cap, and the best of the others.

    Args:
        rewards: Reward by number of the trial; None for a failed child, which ranks last.
        cap: Most rows.
    """
    numbers = sorted(rewards)
    newest = numbers[max(len(numbers) - cap // 2, 0) :]
    older = numbers[: len(numbers) - len(newest)]
    best = sorted(older, key=lambda number: (_rank(rewards[number]), -number), reverse=True)
    return {*newest, *best[: cap - len(newest)]}


def experiment(wall_time: float, recipe: Sequence[str] = ()) -> Any:
    """Return the summary that names the columns and the metrics of the table.

    Args:
        wall_time: When it is written, in seconds since 1970.
        recipe: Fields of the recipe that are searched; each has a column of its own.
    """
    columns = [
        api_pb2.HParamInfo(
            name=tag.name,
            description=tag.description,
            type=api_pb2.DATA_TYPE_STRING if tag.name == _WORDS else api_pb2.DATA_TYPE_FLOAT64,
        )
        for tag in of_kind("hparam")
    ]
    columns += [_recipe_column(name) for name in recipe]
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=name), description=find(name, "scalar").description
        )
        for name in METRICS
    ]
    content = api_pb2.Experiment(
        hparam_infos=columns, metric_infos=metrics, time_created_secs=wall_time
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=content))


def write_row(folder: Path, record: TrialRecord, group: str) -> None:
    """Write the row of one trial, whole and closed, in place of an earlier one.

    Args:
        folder: The trial's own folder.
        record: The trial.
        group: A name that no other trial below the same log directory has.

    Raises:
        StorageError: The disk refuses.
    """
    remove_folder(folder)
    file = EventFile(folder, record.wall_time)
    file.summary(0, record.wall_time, _start(record, group))
    values = record.scalars()
    metrics = {name: values[name] for name in METRICS if name in values}
    file.scalars(record.step, record.wall_time, metrics)
    file.summary(0, record.wall_time, _end(record))
    file.close()


def _recipe_column(name: str) -> Any:
    field = RecipeConfig.model_fields[name]
    words = isinstance(field.default, str)
    return api_pb2.HParamInfo(
        name=f"{_RECIPE}{name}",
        description=field.description,
        type=api_pb2.DATA_TYPE_STRING if words else api_pb2.DATA_TYPE_FLOAT64,
    )


def _start(record: TrialRecord, group: str) -> Any:
    seconds = record.metrics.seconds if record.metrics else 0.0
    info = plugin_data_pb2.SessionStartInfo(
        group_name=group, start_time_secs=record.wall_time - seconds
    )
    for name, value in hyperparameters(record.architecture).items():
        column = info.hparams[name]
        if isinstance(value, str):
            column.string_value = value
        else:
            column.number_value = value
    return _summary(
        metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info)
    )


def _end(record: TrialRecord) -> Any:
    status = api_pb2.STATUS_SUCCESS if record.state == "done" else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=record.wall_time)
    return _summary(
        metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )


def _summary(tag: str, content: Any) -> Any:
    value = summary_pb2.Summary.Value(
        tag=tag, tensor=metadata.NULL_TENSOR, metadata=metadata.create_summary_metadata(content)
    )
    return summary_pb2.Summary(value=[value])


def _rank(reward: float | None) -> float:
    return float("-inf") if reward is None else reward
