import json

import pytest

from rlnas.objectives import Metrics, Objective


def test_reward_is_the_best_accuracy_of_the_last_epochs():
    metrics = Metrics(val_accuracy=(0.9, 0.5, 0.7, 0.6))
    assert Objective(last_epochs=3).reward(metrics) == 0.7
    assert Objective(last_epochs=9).reward(metrics) == 0.9


def test_exponent_is_applied_to_the_accuracy():
    metrics = Metrics(val_accuracy=(0.5,))
    assert Objective(exponent=3).reward(metrics) == pytest.approx(0.125)
    assert Objective(exponent=3).accuracy(metrics) == 0.5


def test_figure_below_zero_keeps_its_sign_and_order():
    rewards = [Objective(exponent=0.5).reward(Metrics((value,))) for value in (-4.0, -1.0, 0.25)]
    assert rewards == [-2.0, -1.0, 0.5]


@pytest.mark.parametrize(("value", "reward"), [(-1e150, -1e15), (1e150, 1e15), (1e6, 1e15)])
def test_figure_whose_power_is_huge_earns_a_finite_reward(value, reward):
    assert Objective(exponent=3).reward(Metrics((value,))) == reward


@pytest.mark.parametrize("values", [(), (float("nan"),), (float("inf"), float("nan"))])
def test_child_without_a_finite_accuracy_earns_nothing(values):
    assert Objective().reward(Metrics(val_accuracy=values)) == 0.0


def test_metrics_survive_json():
    metrics = Metrics((0.1, 0.2), (1.0, 0.9), (2.0, 1.5), 10, 20, 0.5, 99.0, {"f1": 0.3})
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json()))) == metrics


def test_lasting_part_leaves_out_what_another_machine_changes():
    slow = Metrics((0.5,), params=3, seconds=9.0, peak_memory=900.0)
    quick = Metrics((0.5,), params=3, seconds=1.0, peak_memory=100.0)
    assert slow != quick
    assert slow.lasting() == quick.lasting()
