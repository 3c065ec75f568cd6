"""A run that stops at an awkward instant and goes on equals one that never stopped."""

import hashlib
import io
import json
import zipfile
from collections import Counter

import h5py
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import rlnas
from rlnas.errors import InterruptedRunError, StorageError
from rlnas.search import recorder
from rlnas.search.folder import RunFolder
from rlnas.search.journal import Journal

CONFIG = {
    "seed": 4,
    "space": {"max_layers": 2, "choices": {"conv.filters": [4, 8], "sepconv.filters": [4, 8]}},
    "controller": {"name": "reinforce", "batch_size": 2},
    "budget": {"trials": 3},
    "final": {"top_k": 2, "epochs": 1},
}
INSTANTS = {
    "result committed, not shown": (Journal, "finish", 2, "after"),
    "best not exported": (recorder, "export", 1, "before"),
    "half of the retraining": (Journal, "store", 3, "before"),
    "result not exported": (recorder.Recorder, "export_final", 1, "before"),
    "result exported, run not ended": (recorder.Recorder, "export_final", 1, "after"),
}


class Crash(BaseException):
    """The process ends here."""


def stop_at(monkeypatch, owner, name, count, when):
    """Let the count-th call of a function be the last thing that happens."""
    real, calls = getattr(owner, name), []

    def call(*args, **options):
        calls.append(None)
        if len(calls) == count and when == "before":
            raise Crash
        found = real(*args, **options)
        if len(calls) == count:
            raise Crash
        return found

    monkeypatch.setattr(owner, name, call)


def trained(model, data, seed):
    """An evaluator without training: weights and accuracy come from the seed."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.1, variable.shape))
    return rlnas.Metrics(val_accuracy=(rng.random(),), seconds=1.0, peak_memory=1.0)


def search(root):
    return rlnas.Search("digits", evaluator=trained, config=CONFIG | {"name": "run"}, root=root)


@pytest.mark.slow
def test_search_with_a_surrogate_goes_on_as_if_it_had_never_stopped(tmp_path):
    def stopped(model, data, seed):
        stopped.calls += 1
        if stopped.calls == 25:  # the reference child and 23 trials were before; screened by now
            raise KeyboardInterrupt
        return trained(model, data, seed)

    stopped.calls = 0
    config = {**CONFIG, "controller": {"name": "ppo"}, "budget": {"trials": 28}, "name": "run"}
    whole = rlnas.Search("digits", evaluator=trained, config=config, root=tmp_path / "a").run()
    with pytest.raises(InterruptedRunError):
        rlnas.Search("digits", evaluator=stopped, config=config, root=tmp_path / "b").run()
    again = rlnas.Search("digits", evaluator=trained, config=config, root=tmp_path / "b")
    found = again.resume("run")
    assert [t.tokens for t in found.trials] == [t.tokens for t in whole.trials]
    assert [t.learned for t in found.trials] == [t.learned for t in whole.trials]


def outcome(root):
    """All of a run that must be equal."""
    folder = RunFolder(root, "run")
    journal = folder.open()
    state = journal.state()
    state["counters"].pop("seconds")
    fields = ("id", "key", "tokens", "log_probs", "seed", "state", "reward", "metrics", "learned")
    found = {
        "trials": [[getattr(t, name) for name in (*fields, "policy")] for t in journal.trials()],
        "retrained": journal.contenders("long"),
        "controller": digests(state),
        "exported": {path.name: content(path) for path in sorted(folder.best.iterdir())},
        "shown": shown(folder.tensorboard),
    }
    journal.close()
    return found


def digests(tree):
    if isinstance(tree, dict):
        return {name: digests(value) for name, value in tree.items()}
    return hashlib.sha256(tree.tobytes()).hexdigest() if isinstance(tree, np.ndarray) else tree


def content(path):
    """The bytes of a file; of a Keras archive, which holds the time, its weights."""
    if path.suffix != ".keras":
        return path.read_bytes()
    weights = {}

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            weights[name] = node[()].tobytes()

    with zipfile.ZipFile(path) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data) as file:
        file.visititems(visit)
    return weights


def shown(tensorboard):
    """How often each tag has each step."""
    return Counter(
        (value.tag, event.step)
        for path in tensorboard.glob("events*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    search(root).run()
    return outcome(root)


def test_whole_run_has_all_that_is_compared(whole):
    assert [trial[5] for trial in whole["trials"]] == ["done"] * 3
    assert json.loads(whole["exported"]["report.json"])["trial"] in (1, 2, 3)
    assert sum(entry.test_accuracy is not None for entry in whole["retrained"]) == 2
    assert "architecture.json" in whole["exported"]
    assert set(whole["shown"].values()) == {1}
    assert {("search/reward", 3), ("controller/policy_loss", 2)} < whole["shown"].keys()


@pytest.mark.parametrize("instant", INSTANTS.values(), ids=INSTANTS)
def test_run_that_stops_and_goes_on_equals_one_that_never_stopped(
    instant, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        stop_at(patched, *instant)
        with pytest.raises(Crash):
            search(tmp_path).run()
    assert search(tmp_path).resume("run").status == "done"
    found = outcome(tmp_path)
    for part in whole:
        assert found[part] == whole[part], part


def test_weights_of_a_retrained_model_that_are_missing_or_damaged(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_at(patched, *INSTANTS["result not exported"])
        with pytest.raises(Crash):
            search(tmp_path).run()
    weights = sorted((tmp_path / "run" / "contenders").glob("trial-*/*.weights.h5"))
    assert len(weights) == 2
    for path in weights:
        path.write_bytes(b"no weights")
    with pytest.raises(StorageError, match=r"cannot read the weights .* delete the file"):
        search(tmp_path).resume("run")
    for path in weights:
        path.unlink()
    assert search(tmp_path).resume("run").status == "done"
    assert outcome(tmp_path) == whole
