import json

import pytest

from rlnas.objectives import Cost, Metrics, Objective


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


SPENT = Metrics((0.8,), params=300, flops=50, latency=4.0, size=0.5)


@pytest.mark.parametrize(
    ("cost", "reward"),
    [
        (Cost("params", 300), 0.8),  # just within
        (Cost("params", 600), 0.8),
        (Cost("params", 100), 0.8 / 3),
        (Cost("latency", 2.0, "soft", 0.5), 0.8 / 2**0.5),
        (Cost("latency", 16.0, "soft", 0.5), 0.8 * 2),
        (Cost("size", 0.25, "absolute", 0.1), 0.8 - 0.1 * 1.0),
        (Cost("flops", 200, "absolute", 0.1), 0.8 - 0.1 * 0.75),
    ],
)
def test_cost_weighs_the_reward(cost, reward):
    assert Objective(cost=cost).reward(SPENT) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("objective", "spent"),
    [
        (Objective(), None),
        (Objective(exponent=2, cost=Cost("params", 100)), (0.64, 3.0)),
        (Objective(cost=Cost("latency", 8.0, "soft")), (0.8, 0.5)),
    ],
)
def test_what_was_spent_is_told_apart_from_the_reward(objective, spent):
    assert objective.spent(SPENT) == (None if spent is None else pytest.approx(spent))
    assert (objective.weigh is None) == (spent is None)
    if spent is not None:
        assert objective.weigh(*spent) == pytest.approx(objective.reward(SPENT))


@pytest.mark.parametrize(("latency", "reward"), [(0.0, 0.8), (float("inf"), 0.0)])
def test_child_that_spent_nothing_or_all_tells_nothing_apart(latency, reward):
    objective, metrics = Objective(cost=Cost("latency", 8.0)), Metrics((0.8,), latency=latency)
    assert objective.spent(metrics) is None
    assert objective.reward(metrics) == reward


@pytest.mark.parametrize("form", ["soft", "absolute"])
@pytest.mark.parametrize("latency", [1e-9, 4.0, 1e9, float("inf")])
@pytest.mark.parametrize("value", [0.0, 0.8])
def test_huge_weight_of_a_cost_earns_a_finite_reward(form, latency, value):
    objective = Objective(cost=Cost("latency", 8.0, form, weight=1e6))
    assert abs(objective.reward(Metrics((value,), latency=latency))) <= 1e15


def test_target_is_met_up_to_itself():
    assert [Cost("params", target).met_by(SPENT) for target in (299, 300)] == [False, True]


def test_power_comes_before_the_cost():
    found = Objective(exponent=2, cost=Cost("params", 100)).reward(SPENT)
    assert found == pytest.approx(0.64 / 3)


@pytest.mark.parametrize(("metric", "reward"), [("auc", 0.9), ("log_loss", -0.9)])
def test_another_metric_is_rewarded_and_losses_count_negative(metric, reward):
    metrics = Metrics((0.1, 0.2), extra={metric: 0.9})
    assert Objective(metric=metric).reward(metrics) == reward


def test_metrics_survive_json():
    metrics = Metrics((0.1, 0.2), (1.0, 0.9), (2.0, 1.5), 10, 20, 0.5, 99.0, {"f1": 0.3})
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json()))) == metrics


def test_lasting_part_leaves_out_what_another_machine_changes():
    slow = Metrics((0.5,), params=3, seconds=9.0, peak_memory=900.0)
    quick = Metrics((0.5,), params=3, seconds=1.0, peak_memory=100.0)
    assert slow != quick
    assert slow.lasting() == quick.lasting()
