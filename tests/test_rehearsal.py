"""Limits that no child can keep are told before anything starts."""

from contextlib import closing
from dataclasses import replace

import pytest

import rlnas
from rlnas.cli import main
from rlnas.config import make_config
from rlnas.errors import ConfigError
from rlnas.search.folder import find_run
from rlnas.search.result import read_result

SMALL = {
    "budget": {"trials": 1},
    "recipe": {"epochs": 1},
    "space": {"max_layers": 2},
    "final": {"top_k": 1, "epochs": 1},
    "data": {"train_samples": 100, "final_samples": 100},
}


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"child_time_limit": "0.01s"}, "stopped after 0.01 s, the time limit"),
        ({"child_memory": "1MB"}, "more than 1 MB, the memory limit"),
    ],
)
def test_a_limit_below_one_step_ends_the_run_before_it_begins(tmp_path, limit, reason):
    config = make_config({**SMALL, "engine": {"executor": "process", "workers": 1, **limit}})
    with pytest.raises(ConfigError, match=f"not even one step of the reference.*{reason}"):
        rlnas.Search(config=config, root=tmp_path).run()
    assert not list(tmp_path.iterdir())


def test_a_limit_that_children_keep_changes_nothing(tmp_path):
    engine = {"executor": "process", "workers": 1, "child_time_limit": "5m"}
    config = make_config({**SMALL, "engine": engine})
    found = rlnas.Search(config=config, root=tmp_path).run()
    assert [trial.state for trial in found.trials] == ["done"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has ended, and its root."""
    root = tmp_path_factory.mktemp("run")
    engine = {"executor": "process", "workers": 1}
    config = make_config({**SMALL, "name": "a", "engine": engine})
    return rlnas.Search(config=config, root=root).run(), root


@pytest.mark.parametrize("words", [["resume", "a", "--trials", "2"], ["retrain", "a"]])
def test_a_limit_below_one_step_leaves_a_run_that_goes_on_as_it_was(run, words, capsys):
    found, root = run
    limit = ["--child-time-limit", "0.01s", "--root", str(root)]
    assert main([*words, *limit]) == 2
    assert "not even one step of the reference child" in capsys.readouterr().err
    again = read_result(find_run(root, "a"))
    assert (again.status, again.best, again.retrained) == ("done", found.best, found.retrained)


def test_retraining_has_as_much_more_time_as_it_has_more_to_do(run):
    config = make_config(
        {
            **SMALL,
            "recipe": {"epochs": 2},
            "final": {"epochs": 6},
            "data": {"train_samples": 100, "final_samples": 500},
            "engine": {"executor": "process", "workers": 1, "child_time_limit": 10},
        }
    )
    setup = rlnas.Search(config=config)._setup
    assert setup._time_limit(long=False) == 10.0
    assert setup._time_limit(long=True) == pytest.approx(10.0 * 3 * 5)


def test_models_that_failed_in_the_retraining_are_tried_again(run):
    found, root = run
    folder = find_run(root, "a")
    with closing(folder.open()) as journal:
        for entry in journal.contenders("long"):
            failed = replace(entry, state="failed", metrics=None, reason="too slow")
            journal.store(failed)
        journal.set_meta({"status": "retraining"})
    assert main(["resume", "a", "--root", str(root)]) == 0
    again = read_result(folder)
    assert again.status == "done"
    assert again.best.test_accuracy == found.best.test_accuracy
