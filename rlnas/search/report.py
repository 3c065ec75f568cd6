"""The report of a best architecture: all that is needed to know it and to make it again.

It holds nothing that differs between two equal runs: no times, no memory, and no paths but
those the user gave for data and baseline.
"""

from typing import Any

from rlnas.search.contenders import is_refitted
from rlnas.search.journal import BRIEF, LONG, Contender, Journal, Trial
from rlnas.search.setup import Setup, versions
from rlnas.spaces import fingerprint


def make_report(setup: Setup, run: str, trial: Trial, journal: Journal) -> dict[str, Any]:
    """Return the report of a trial as JSON.

    Args:
        setup: What the run is made of.
        run: Name of the run.
        trial: The trial, finished.
        journal: The journal; contenders and the stored versions are read from it.
    """
    brief = {contender.name: contender for contender in journal.contenders(BRIEF)}
    long = {contender.name: contender for contender in journal.contenders(LONG)}
    retrained = long.get(f"trial-{trial.id}")
    architecture = setup.space.architecture(trial.tokens)
    return {
        "run": run,
        "trial": trial.id,
        "tokens": list(trial.tokens),
        "key": trial.key,
        "architecture": architecture.describe(),
        "layers": architecture.to_json()["layers"],
        "seed": setup.config.seed,
        "child_seed": trial.seed,
        "reward": trial.reward,
        "metrics": trial.metrics.lasting() if trial.metrics else None,
        "retrained": _contender(retrained),
        "on_all_data": retrained is not None and is_refitted(retrained, journal, setup.objective),
        "reference": _reference(setup, brief.get("reference"), long.get("reference")),
        "baseline": _pair(brief.get("baseline"), long.get("baseline")),
        "class_names": list(setup.data.class_names),
        "input": {
            "shape": list(setup.data.input_shape),
            "scale": setup.data.scale,
            **({} if setup.data.inputs is None else setup.data.inputs.to_json()),
        },
        "data": {
            "name": setup.data.name,
            "fingerprint": setup.data.fingerprint,
            "train": len(setup.data.x_train),
            "validation": len(setup.data.x_val),
            "test": len(setup.data.x_test),
        },
        "space": {"fingerprint": fingerprint(setup.space), **setup.space.to_json()},
        "threads": setup.crew.threads,
        "versions": versions(),
        "config": journal.meta()["config"],  # as the user wrote it, nothing filled in
    }


def _contender(contender: Contender | None) -> dict[str, Any] | None:
    if contender is None:
        return None
    return {
        "seed": contender.seed,
        "state": contender.state,
        "reason": contender.reason,
        "metrics": contender.metrics.lasting() if contender.metrics else None,
        "val_accuracy": contender.val_accuracy,
        "test_accuracy": contender.test_accuracy,
    }


def _reference(
    setup: Setup, brief: Contender | None, long: Contender | None
) -> dict[str, Any] | None:
    pair, architecture = _pair(brief, long), setup.space.reference()
    if pair is None:
        return None
    return {
        "tokens": list(architecture.tokens),
        "architecture": architecture.describe(),
        "layers": architecture.to_json()["layers"],
        **pair,
    }


def _pair(brief: Contender | None, long: Contender | None) -> dict[str, Any] | None:
    if brief is None and long is None:
        return None
    return {"brief": _contender(brief), "long": _contender(long)}
