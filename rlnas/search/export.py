"""Export: a best architecture as files that need Keras but not rlnas.

The files are written to a folder beside the target, loaded back and compared with the
model, and then take the target's place by two renames. So the target holds the earlier
export or the new one, whole; after a crash between the renames the next export mends it.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.children.data import Data, Target
from rlnas.children.decoder import decode
from rlnas.children.inputs import chosen, given_to
from rlnas.children.weights import plain_model
from rlnas.config import RecipeConfig
from rlnas.errors import RlnasError, RunError, StorageError, first_line
from rlnas.search.diagram import draw_svg
from rlnas.search.folder import (
    ARCHITECTURE,
    DIAGRAM,
    EXPORTED,
    MODEL,
    REPORT,
    SCRIPT,
    SUMMARY,
)
from rlnas.search.source import model_source
from rlnas.spaces import Architecture

_BY_PRODUCTS = ("trained.keras", "__pycache__")
"""What the exported script leaves behind when it is run or imported where it lies."""

_EXAMPLES = 32
"""Examples on which models are compared (chosen)."""

_HINT = (
    "try again; where it fails again, the disk is at fault or a layer, such as one of your own, "
    "does not keep all its state in its config and weights"
)

_TOLERANCE = 1e-6
"""Largest difference of two outputs that count as equal, in probability (chosen).

The weights must be equal bit for bit. Outputs come out equal too on the CPU, but Keras does
not promise it: a backend may add the same numbers in another order for another model object.
"""

_LINE = 80  # characters of a line of the summary
_COLUMNS = (38, 26)  # of them for the first two columns


def export(
    model: keras.Model,
    architecture: Architecture,
    report: dict[str, Any],
    folder: Path,
    *,
    data: Data,
    recipe: RecipeConfig,
    keep_others: bool = False,
) -> None:
    """Write a trained model to a folder, and check that it can be loaded back.

    All files but ``model.keras``, which holds the time, have the same bytes for the same
    arguments.

    Args:
        model: The trained model.
        architecture: The network it was decoded from.
        report: What is known about it, as JSON; ``report.json``.
        folder: Where to; made if it is not there, replaced if it is an earlier export.
        data: The data set: its name, scale and classes go into the script, and examples
            of its validation part are what models are compared on.
        recipe: How the model was trained.
        keep_others: Files of others stay in the folder; else a folder that holds some is
            refused.

    Raises:
        RunError: The folder holds files that an export does not write.
        StorageError: The disk refused.
        RlnasError: What was written gives other outputs than the model.
    """
    network = _whole(model, architecture, data, recipe)
    texts = {
        ARCHITECTURE: _json(json.loads(network.to_json())),
        SCRIPT: _script(network, architecture, report, data, recipe),
        SUMMARY: summary(network),
        DIAGRAM: draw_svg(architecture, _title(report)),
        REPORT: _json(report, sort_keys=True),
    }
    with _replacing(folder, keep_others) as new:
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        network.save(new / MODEL)
        _verified(new, model, data.x_val[:_EXAMPLES], _raw_examples(data), data.target)


def export_untrained(
    network: str | None, architecture: Architecture, report: dict[str, Any], folder: Path
) -> None:
    """Write a network whose weights are elsewhere to the folder of a run.

    Args:
        network: Its Keras JSON; None for a row of a table, of which only the report is written.
        architecture: The network.
        report: What is known about it, as JSON; ``report.json``.
        folder: Where to; made if it is not there, replaced if it is an earlier export.

    Raises:
        StorageError: The disk refused.
    """
    texts = {REPORT: _json(report, sort_keys=True)}
    if network is not None:
        texts |= {
            ARCHITECTURE: _json(json.loads(network)),
            SUMMARY: summary(keras.models.model_from_json(network)),
            DIAGRAM: draw_svg(architecture, _title(report)),
        }
    with _replacing(folder, keep_others=True) as new:
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")


def _whole(
    model: keras.Model, architecture: Architecture, data: Data, recipe: RecipeConfig
) -> keras.Model:
    """Return the trained network, layers and weights shared or equal, from raw examples."""
    if data.inputs is None and data.target is None:
        return plain_model(model)
    whole = decode(
        architecture,
        scale=data.scale if data.inputs is None else None,
        batch_norm_momentum=_momentum(model),
        dropout=recipe.dropout,
        batch_norm=recipe.batch_norm,
        penalties=(recipe.l1, recipe.l2),
        inputs=data.inputs,
        target=data.target,
    )
    for layer in model.layers:
        if layer.weights:
            whole.get_layer(layer.name).set_weights(layer.get_weights())
    return whole


def _raw_examples(data: Data) -> Any:
    """Return raw examples of the validation part."""
    if data.inputs is None:
        return data.x_val[:_EXAMPLES]
    return given_to(chosen(data.raw, slice(0, _EXAMPLES)))


def _momentum(network: keras.Model) -> float:
    # The search may have trained on a part of the data, so only the model knows its momentum.
    norms = [each for each in network.layers if isinstance(each, keras.layers.BatchNormalization)]
    return float(norms[0].momentum) if norms else 0.99


def copy_untrained(source: Path, target: Path) -> list[str]:
    """Copy an export without weights to another folder; see `export_untrained`.

    Returns:
        The names of the files.

    Raises:
        RunError: The target holds other files.
        StorageError: The disk refused.
    """
    with _disk_errors(target):
        _check_ours(target)
        target.mkdir(parents=True, exist_ok=True)
        names = [name for name in EXPORTED if (source / name).is_file()]
        for name in names:
            shutil.copyfile(source / name, target / name)
    return names


def copy_export(source: Path, target: Path) -> list[str]:
    """Copy an export to another folder, and check that the copy can be loaded.

    The target stays the folder it is, for it may be a mounted one or somebody's current one.

    Args:
        source: The folder of an export.
        target: Where to; made if it is not there, overwritten if it is an earlier export.

    Returns:
        The names of the files.

    Raises:
        RunError: The source is no whole export, or the target holds other files.
        StorageError: The disk refused.
        RlnasError: The copy gives other outputs than the source.
    """
    original = _original(source)
    with _disk_errors(target):
        _check_ours(target)
        target.mkdir(parents=True, exist_ok=True)
        for name in EXPORTED:
            shutil.copyfile(source / name, target / f"{name}.new")
            (target / f"{name}.new").replace(target / name)
        noise = _noise(original)
        _verified(target, original, noise, noise)
    return list(EXPORTED)


def summary(model: keras.Model) -> str:
    """Return the layers of a functional model as a table, 80 characters wide.

    It is laid out here, not by Keras, whose table depends on the terminal.
    """
    rows = [
        (f"{layer.name} ({type(layer).__name__})", layer.output.shape, layer.count_params())
        for layer in model.layers
    ]
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    totals = {"Total": model.count_params(), "Trainable": trained}
    totals["Not trainable"] = totals["Total"] - trained
    return "\n".join(
        [
            f'Model: "{model.name}"',
            "=" * _LINE,
            _columns("Layer (type)", "Output shape", "Parameters"),
            "=" * _LINE,
            *(_columns(name, str(shape), f"{count:,}") for name, shape, count in rows),
            "=" * _LINE,
            *(f"{name} parameters: {count:,}" for name, count in totals.items()),
            "",
        ]
    )


def _columns(first: str, second: str, third: str) -> str:
    left = f"{first:<{_COLUMNS[0]}} {second:<{_COLUMNS[1]}}"
    return f"{left} {third:>{_LINE - len(left) - 1}}"


def _json(value: Any, *, sort_keys: bool = False) -> str:
    return json.dumps(_finite(value), indent=2, sort_keys=sort_keys, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return a tree with null for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _title(report: dict[str, Any]) -> str:
    parts = [str(report["run"])] if "run" in report else []
    return ", ".join([*parts, f"trial {report['trial']}"] if "trial" in report else parts)


def _script(
    network: keras.Model,
    architecture: Architecture,
    report: dict[str, Any],
    data: Data,
    recipe: RecipeConfig,
) -> str:
    return model_source(
        architecture,
        recipe,
        data.name,
        scale=data.scale,
        inputs=data.inputs,
        columns=report.get("config", {}).get("data", {}),
        batch_norm_momentum=_momentum(network),
        class_names=data.class_names,
        target=data.target,
        seed=report.get("seed", 0),
        test_share=report.get("config", {}).get("data", {}).get("test"),
    )


def _original(source: Path) -> keras.Model:
    missing = [name for name in EXPORTED if not (source / name).is_file()]
    if missing:
        raise RunError(
            f"{source} is no whole export, it lacks {', '.join(missing)}; "
            "make it anew with: rlnas retrain"
        )
    try:
        return keras.models.load_model(source / MODEL)
    except Exception as error:  # Keras, h5py and zipfile raise many kinds for damaged bytes
        raise RunError(
            f"{source / MODEL} cannot be loaded: {first_line(error)}; "
            "make it anew with: rlnas retrain"
        ) from error


def _noise(model: keras.Model) -> Any:
    """Return random examples from the range that the model's `Rescaling` takes to 0..1.

    Where it takes texts, they are words that it hardly knows.
    """
    scales = [each.scale for each in model.layers if isinstance(each, keras.layers.Rescaling)]
    rng, scale = np.random.default_rng(0), np.float32(scales[0] if scales else 1)

    def noise(given: keras.KerasTensor) -> Any:
        shape = (_EXAMPLES, *given.shape[1:])
        if given.dtype == "string":
            return given_to(rng.integers(0, 1000, shape).astype(str).astype(object))
        return given_to(rng.random(shape, dtype=np.float32) / scale)

    return keras.tree.map_structure(noise, model.input)


def _verified(
    folder: Path, model: keras.Model, examples: Any, raw: Any, target: Target | None = None
) -> Path:
    """Return the folder of an export if what it holds does what the model does.

    Args:
        folder: Where the export lies.
        model: What it was made from.
        examples: Examples as this model takes them.
        raw: The same as the exported one does.
        target: What takes the model's numbers to the scale of the exported one's; None for
            classes.

    Raises:
        RlnasError: It cannot be loaded, or weights or outputs differ.
        OSError: It cannot be read.
    """
    where = str(folder).removesuffix(".new")
    try:
        stored = keras.models.load_model(folder / MODEL)
        text = (folder / ARCHITECTURE).read_text(encoding="utf-8")
        rebuilt = keras.models.model_from_json(text)
        rebuilt.set_weights(stored.get_weights())
    except OSError:
        raise
    except Exception as error:
        raise RlnasError(
            f"the export to {where} failed, it cannot be loaded back: {first_line(error)}; {_HINT}"
        ) from error
    expected = _outputs(model, examples)
    for name, loaded in ((MODEL, stored), (ARCHITECTURE, rebuilt)):
        outputs = _outputs(loaded, raw)
        if target is not None:
            outputs = (outputs - target.mean) / target.scale
        difference = _difference(outputs, expected)
        if difference > _TOLERANCE or not _same_weights(loaded, model):
            raise RlnasError(
                f"the export to {where} failed, {name} differs from the trained model (outputs "
                f"by up to {difference:g}); {_HINT}"
            )
    return folder


def _outputs(model: keras.Model, examples: Any) -> npt.NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(model(examples, training=False)))


def _difference(outputs: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    if outputs.shape != expected.shape or (np.isnan(outputs) != np.isnan(expected)).any():
        return math.inf
    return float(np.nanmax(np.abs(outputs - expected), initial=0.0))


def _same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(mine, theirs, equal_nan=True) for mine, theirs in pairs)


@contextmanager
def _replacing(folder: Path, keep_others: bool) -> Iterator[Path]:
    """Give a new folder to write to, which takes the place of `folder` if all goes well."""
    with _disk_errors(folder):
        target = folder.resolve()  # a link stays a link
        new, old = (target.parent / f"{target.name}.{end}" for end in ("new", "old"))
        for each in () if keep_others else (target, new, old):
            _check_ours(each)
        _clean_up(target, new, old)
        new.mkdir(parents=True)
        try:
            yield new
            if target.exists():
                target.rename(old)
            new.rename(target)
        finally:
            with suppress(OSError):  # what remains is cleaned up by the next export
                _clean_up(target, new, old)


def _clean_up(target: Path, new: Path, old: Path) -> None:
    """Leave the target alone, be the last export finished or cut off at any point."""
    if old.exists() and not target.exists():
        old.rename(target)
    if old.exists():
        for path in sorted(old.iterdir()):
            ours = path.name.removesuffix(".new") in EXPORTED
            if not ours and not (target / path.name).exists():
                path.rename(target / path.name)
        shutil.rmtree(old)
    if new.exists():
        shutil.rmtree(new)


def _check_ours(folder: Path) -> None:
    """Check that a folder is not there, is empty, or holds an export and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder} is a file; name a folder to export to")
    held = sorted(folder.iterdir())
    foreign = [path.name for path in held if not _may_hold(path)]
    if held and not any(path.name.startswith(ARCHITECTURE) for path in held):
        foreign = [path.name for path in held]  # such as somebody's own model.py
    if foreign:
        raise RunError(
            f"{folder} holds {_listed(foreign)}, which is no export of rlnas; move it away or "
            "name another folder"
        )


def _may_hold(path: Path) -> bool:
    if path.name in _BY_PRODUCTS:
        return True
    if path.parent.suffix == ".new" and path.name.startswith("tmp"):
        return True  # Keras writes there when memory is short, and was killed
    return path.name.removesuffix(".new") in EXPORTED and path.is_file()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the export to {folder}: {error.strerror or first_line(error)}; make "
            "room or mend its permissions"
        ) from error
