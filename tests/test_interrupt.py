"""Stopping a real search with a signal, and going on."""

import json
import os
import signal
import subprocess
import sys

import pytest

WORDS = ["search", "--name", "a", "--trials", "5", "--epochs", "1", "--train-samples", "120"]
WORDS += ["--controller", "random", "--top-k", "1", "--final-epochs", "1", "--threads", "1"]


def start(root, *words):
    command = [sys.executable, "-m", "rlnas", *words, "--root", str(root)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        preexec_fn=heed_interrupts,
    )


def heed_interrupts():
    """A shell starts its background jobs with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def history(root):
    out, _ = start(root, "show", "a", "--json").communicate()
    return [(row["tokens"], row["seed"], row["reward"]) for row in json.loads(out)["history"]]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_prints_the_line_that_resumes(tmp_path, stop):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole_run = start(whole, *WORDS)
    whole_run.communicate()
    assert whole_run.returncode == 0
    process = start(stopped, *WORDS)
    while not process.stdout.readline().startswith("trial 2 of 5"):
        pass
    process.send_signal(stop)
    _, err = process.communicate()
    assert process.returncode == 130
    assert f"continue with: rlnas resume a --root {stopped}" in err
    assert "Traceback" not in err
    resumed = start(stopped, "resume", "a", "--json")
    out, _ = resumed.communicate()
    assert resumed.returncode == 0
    assert json.loads(out)["trials"] == 5
    assert history(stopped) == history(whole)
