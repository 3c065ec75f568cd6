"""Two runs side by side, and the control run that is asked for with a run."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rlnas
from rlnas.cli import main
from rlnas.errors import ConfigError, InterruptedRunError, RunError
from rlnas.search.comparison import best_so_far, compare, mean_gap
from rlnas.search.folder import RunFolder, find_run
from rlnas.search.result import read_result

DIGITS = load_digits()
DATA = DIGITS.images[:120], DIGITS.target[:120]
NAN = float("nan")


class BySize:
    """An evaluator that trains nothing: small networks are good. Ctrl-C comes at one call."""

    def __init__(self, stopped_at=None):
        self.calls, self.stopped_at = 0, stopped_at

    def __call__(self, model, data, seed):
        self.calls += 1
        if self.calls == self.stopped_at:
            raise KeyboardInterrupt
        return 1 / (1 + model.count_params() / 1e5)


def search(root, evaluator=None, **options):
    """A search of four architectures by evolution, with its control."""
    brief = {"controller": "evolution", "control": "random", "trials": 4, "top_k": 1, "name": "a"}
    return rlnas.Search(
        DATA,
        root=root,
        evaluator=evaluator or BySize(),
        config={"space": {"max_layers": 3}},
        **{**brief, **options},
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run with its control, and its root."""
    root = tmp_path_factory.mktemp("pair")
    return search(root).run(), root


def test_control_is_the_same_run_but_for_its_controller(pair):
    found, root = pair
    control = found.control
    assert (control.run, control.controller, control.status) == ("a-control", "random", "done")
    config, other = (
        json.loads(RunFolder(root, name).read_config().model_dump_json())
        for name in ("a", "a-control")
    )
    differing = {name for name, value in config.items() if other[name] != value}
    assert differing == {"name", "control", "controller"}
    assert compare(found, control).differing == ()


def test_show_prints_the_gap(pair, capsys):
    found, root = pair
    assert main(["show", "a", "--root", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["control"]
    best = [max(t.reward for t in each.trials) for each in (found, found.control)]
    assert told["runs"] == ["a", "a-control"]
    assert told["best_reward"]["gap"] == pytest.approx(best[0] - best[1])
    assert told["mean_reward"]["low"] < told["mean_reward"]["gap"] < told["mean_reward"]["high"]
    assert main(["show", "a", "--root", str(root)]) == 0
    assert "a and a-control after 4 trials" in capsys.readouterr().out


def test_tensorboard_has_the_gap_over_the_trials(pair):
    found, _ = pair
    events = EventAccumulator(str(found.folder / "tb" / "control"))
    events.Reload()
    steps = [event.step for event in events.Tensors("control/best_gap")]
    last = events.Tensors("control/mean_gap")[-1].tensor_proto.float_val[0]
    means = [np.mean([t.reward for t in each.trials]) for each in (found, found.control)]
    assert steps == [1, 2, 3, 4]
    assert last == pytest.approx(means[0] - means[1], rel=1e-5)


def test_control_that_was_stopped_goes_on_with_its_run(pair, tmp_path):
    with pytest.raises(InterruptedRunError) as stopped:
        search(tmp_path, BySize(stopped_at=10)).run()  # 4 + reference + 2 long, 3 of the control
    assert str(stopped.value).endswith("continue with: rlnas.Search(...).resume('a')")
    assert read_result(RunFolder(tmp_path, "a")).status == "done"
    found = search(tmp_path).resume("a")
    assert [t.tokens for t in found.control.trials] == [t.tokens for t in pair[0].control.trials]
    assert found.control.status == "done"


@pytest.mark.slow
def test_larger_budget_and_retraining_are_those_of_the_control_too(tmp_path):
    search(tmp_path, trials=2).run()
    found = search(tmp_path, trials=3).resume("a")
    assert (len(found.trials), len(found.control.trials)) == (3, 3)
    found = search(tmp_path, top_k=2).retrain("a")
    assert sum(bool(entry.rank) for entry in found.control.retrained) == 2


def test_control_of_random_is_refused(capsys, tmp_path):
    words = ["search", "--controller", "random", "--control", "random", "--root", str(tmp_path)]
    assert main(words) == 2
    assert "error: control random is the controller itself" in capsys.readouterr().err


def test_gap_of_rewards_that_are_alike_warns_of_nothing():
    rewards = np.array([0.9, 0.9 + 1e-16, np.nextafter(0.9, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mean_gap(rewards, rewards).gap == 0.0


def test_runs_can_be_named_by_their_folders(pair, tmp_path):
    assert find_run(tmp_path, "a").path == tmp_path / "a"
    assert find_run(Path("elsewhere"), str(tmp_path / "a")).path == tmp_path / "a"
    with pytest.raises(RunError, match="expected the name or the folder of a run"):
        find_run(tmp_path, "")


def test_name_of_the_control_must_be_free(pair, tmp_path):
    search(tmp_path, name="a-control", control=None, trials=1).run()
    with pytest.raises(RunError, match="a-control exists already"):
        search(tmp_path).run()
    assert not (tmp_path / "a").exists()


def test_compare_prints_and_plots_two_runs(pair, tmp_path, capsys):
    _, root = pair
    words = ["compare", "a", "a-control", "--root", str(root)]
    assert main(words) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert (root / "a" / "compare-a-control.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json", "--plot", str(tmp_path / "p.png")]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 4
    assert main([*words, "--plot", str(tmp_path / "no" / "p.png")]) == 1
    assert "cannot write the plot" in capsys.readouterr().err


def test_runs_are_compared_at_as_many_trials_as_the_shorter_has(pair):
    found, control = pair[0], pair[0].control
    short = replace(control, trials=control.trials[:2])
    compared = compare(found, short)
    assert compared.trials == 2
    assert compared.best_reward.first == max(t.reward for t in found.trials[:2])
    assert "trials: 4 and 2" in compared.differing


def test_what_makes_a_comparison_unfair_is_named(pair):
    found, control = pair[0], pair[0].control
    other = replace(control, conditions={**control.conditions, "recipe.epochs": 7})
    assert compare(found, other).differing == ("recipe.epochs: 5 and 7",)


def test_run_without_a_reward_cannot_be_compared(pair):
    found = pair[0]
    with pytest.raises(RunError, match="a-control has no trial with a reward yet"):
        compare(found, replace(found.control, trials=()))


def test_best_so_far_looks_over_failed_children():
    rewards = np.array([NAN, 0.2, NAN, 0.1, 0.3])
    assert np.array_equal(best_so_far(rewards), [NAN, 0.2, 0.2, 0.2, 0.3], equal_nan=True)


def test_mean_gap_has_welchs_interval():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.9, 0.1, 12), rng.normal(0.8, 0.3, 9)
    gap = mean_gap(np.append(first, NAN), second)
    errors = first.var(ddof=1) / 12, second.var(ddof=1) / 9
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 11 + errors[1] ** 2 / 8)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(errors))
    middle = first.mean() - second.mean()
    assert (gap.low, gap.gap, gap.high) == pytest.approx((middle - half, middle, middle + half))


@pytest.mark.parametrize("second", [[0.5], [0.5, 0.5, NAN]])
def test_mean_gap_without_spread_has_no_interval(second):
    gap = mean_gap(np.array([0.7, 0.7]), np.array(second))
    assert (gap.gap, gap.low, gap.high) == (pytest.approx(0.2), None, None)


def test_name_without_room_for_the_control_is_refused_before_anything(tmp_path):
    with pytest.raises(ConfigError, match="more than 100 characters"):
        search(tmp_path, name="a" * 93).run()
    assert list(tmp_path.iterdir()) == []
