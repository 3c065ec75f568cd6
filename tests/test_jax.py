"""Children, controllers and searches with JAX below Keras, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax", reason="JAX is not installed: rlnas[jax]")

HERE = Path(__file__).parent


def run(*words, **environment):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTEST_ADDOPTS": "", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param("equals_fit or class_weight", id="some"),
        pytest.param("", id="all", marks=pytest.mark.slow),
    ],
)
def test_trainer_computes_what_fit_computes(chosen):
    told = run("pytest", "-q", "-p", "no:cacheprovider", HERE / "jax_training.py", "-k", chosen)
    assert "passed" in told
    assert "skipped" not in told


@pytest.mark.slow
def test_search_runs_in_worker_processes(tmp_path):
    words = ["--trials", 2, "--epochs", 1, "--max-layers", 3, "--train-samples", 100]
    words += ["--top-k", 1, "--final-epochs", 1, "--workers", 1]
    run(*("rlnas", "search", "--root", tmp_path, *words), RLNAS_EXECUTOR="process")
    shown = json.loads(
        run("rlnas", "show", next(tmp_path.iterdir()).name, "--root", tmp_path, "--json")
    )
    assert shown["trials"] == 2
