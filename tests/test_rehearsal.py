"""Limits that no child can keep are told before anything starts."""

import pytest

import rlnas
from rlnas.config import make_config
from rlnas.errors import ConfigError

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
