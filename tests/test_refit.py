"""The last training of what is kept: on training and validation data together."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from test_resume_exactly import Crash, stop_at

import rlnas
from rlnas.children.data import joined
from rlnas.children.datasets import load_data
from rlnas.config import DataConfig, make_config
from rlnas.objectives import Metrics, Objective
from rlnas.search.contenders import is_refitted
from rlnas.search.folder import RunFolder
from rlnas.search.journal import DONE, FAILED, LONG, REFIT, Contender, Journal
from rlnas.search.setup import Setup
from rlnas.spaces import ImageSpace

FEW = load_data(None, DataConfig(), 0).sampled(200, 0)
SPACE = ImageSpace(FEW.input_shape, FEW.classes, max_layers=4)
CONFIG = {
    "name": "run",
    "recipe": {"epochs": 1},
    "engine": {"executor": "inline"},
    "budget": {"trials": 2},
    "final": {"top_k": 1, "epochs": 8},
}


def search(root, **final):
    config = {**CONFIG, "final": {**CONFIG["final"], **final}}
    return rlnas.Search(FEW, space=SPACE, config=config, root=root)


def exported(root):
    """The weights of the model that was taken away, and its accuracy on the test part."""
    model = keras.models.load_model(root / "run" / "best" / "model.keras")
    right = model.predict(FEW.x_test, verbose=0).argmax(axis=1) == FEW.y_test
    return model.get_weights(), right.mean()


def weights(root, folder):
    (path,) = (root / "run" / "contenders" / folder).glob("*.weights.h5")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    return root, search(root).run()


def test_the_joined_data_has_all_examples_but_those_of_the_test():
    data = joined(FEW)
    assert len(data.x_train) == len(data.y_train) == len(FEW.x_train) + len(FEW.x_val)
    assert (data.x_train[-len(FEW.x_val) :] == FEW.x_val).all()
    assert (data.x_test == FEW.x_test).all()
    assert data.fingerprint != FEW.fingerprint


def test_what_is_taken_away_has_learned_from_all_data(whole):
    root, found = whole
    name = f"trial-{found.best.trial}"
    journal = RunFolder(root, "run").open()
    again = journal.contenders(REFIT)
    journal.close()
    assert [entry.name for entry in again] == [name, "reference"]
    assert weights(root, name) != weights(root, f"{name}-refit")
    _, accuracy = exported(root)
    assert found.best.test_accuracy == pytest.approx(accuracy, abs=1e-6)
    report = json.loads((root / "run" / "best" / "report.json").read_text())
    assert report["on_all_data"] is True
    # What is told of the validation part is of the model that has not seen it.
    (long,) = [entry for entry in found.retrained if entry.name == name]
    assert report["retrained"]["val_accuracy"] == found.best.val_accuracy == long.val_accuracy


def test_without_it_the_model_of_the_long_training_is_taken_away(whole, tmp_path):
    found = search(tmp_path, refit=False).run()
    name = f"trial-{found.best.trial}"
    assert not (tmp_path / "run" / "contenders" / f"{name}-refit").exists()
    assert weights(tmp_path, name) == weights(whole[0], name)
    mine, theirs = exported(tmp_path)[0], exported(whole[0])[0]
    assert any((one != other).any() for one, other in zip(mine, theirs, strict=True))
    report = json.loads((tmp_path / "run" / "best" / "report.json").read_text())
    assert report["on_all_data"] is False


def test_a_stop_between_both_changes_nothing(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_at(patched, Journal, "store", 5, "before")  # behind reference, two long ones, the best
        with pytest.raises(Crash):
            search(tmp_path).run()
    found = search(tmp_path).resume("run")
    assert found.best == replace(whole[1].best, architecture=found.best.architecture)
    mine, theirs = exported(tmp_path)[0], exported(whole[0])[0]
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("accuracy", "kept"), [(0.9, True), (0.8, True), (0.79, False), (None, False)]
)
def test_a_training_that_went_astray_is_not_taken(accuracy, kept, tmp_path):
    journal = RunFolder(tmp_path, "run").create(make_config({"name": "run"}), {})
    before = Contender("trial-1", LONG, 1, 1, "key", 1, DONE, Metrics(val_accuracy=(0.8,)))
    metrics = None if accuracy is None else Metrics(val_accuracy=(accuracy,))
    state = FAILED if metrics is None else DONE
    journal.store(replace(before, phase=REFIT, state=state, metrics=metrics))
    assert is_refitted(before, journal, Objective()) is kept
    journal.close()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"final": {"refit": False}}, False),
        ({"data": {"final_samples": 50}}, False),
        ({"data": {"final_samples": 5000}}, True),
    ],
)
def test_it_is_done_where_it_brings_more_examples(config, expected):
    setup = Setup(make_config(config), FEW, SPACE)
    assert (setup.refit_evaluator() is not None) is expected
