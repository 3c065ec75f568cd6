"""Fidelity: which children are stopped, what they are paid, and restarts at chance."""

from dataclasses import replace

import pytest
from stored import META
from test_loop import NO_DATA, SPACE, Crash, crashing
from test_training import FEW, RECIPE, SMALL

import rlnas
from rlnas.children.history import History
from rlnas.config import RecipeConfig, make_config
from rlnas.controllers import make_controller
from rlnas.errors import ConfigError
from rlnas.evaluation import InlineExecutor
from rlnas.evaluation.fidelity import Halving, MedianRule, make_fidelity
from rlnas.evaluation.training import TrainingEvaluator, TrainingSettings
from rlnas.objectives import Failure, Metrics
from rlnas.search.folder import RunFolder
from rlnas.search.loop import Observer, SearchLoop
from rlnas.search.progress import Silence
from rlnas.search.setup import Setup

NINE = [[0.1 * place, 0.1 * place + 0.05] for place in range(1, 10)]


def test_median_is_of_the_running_means_once_ten_were_measured():
    rule = MedianRule(3)
    assert rule.floors(NINE) == (0.0, 0.0)
    assert rule.floors([*NINE, [0.95]]) == (pytest.approx(0.55), 0.0)
    first, second = rule.floors([*NINE, [0.0, 0.3, 0.9], [0.95]])
    assert first == pytest.approx(0.5)
    assert second == pytest.approx((0.425 + 0.525) / 2)


@pytest.mark.parametrize(("epochs", "first"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_median_counts_from_a_third_of_the_epochs_on(epochs, first):
    floors = MedianRule(epochs).floors([[0.5] * epochs] * 10)
    assert floors == (*[0.0] * (first - 1), *[0.5] * (epochs - first))


@pytest.mark.parametrize(
    ("epochs", "rungs"), [(1, []), (2, [1]), (3, [1]), (5, [1, 2]), (9, [1, 3]), (27, [3, 9])]
)
def test_rungs_lie_after_a_ninth_and_a_third(epochs, rungs):
    assert Halving(epochs).rungs == rungs


def test_best_third_of_a_rung_goes_on():
    floors = Halving(9).floors([[0.1], [0.3], [0.9, 0.1, 0.95], [0.6, 0.7, 0.5], [0.4]])
    assert len(floors) == 3
    assert floors[1:] == (0.0, 0.0)  # two on the second rung are too few to compare with
    assert [value for value in (0.1, 0.3, 0.4, 0.6, 0.9) if value >= floors[0]] == [0.6, 0.9]


def test_all_go_on_where_the_fidelity_is_full():
    assert make_fidelity("full", 5).floors(NINE * 3) == ()


class Scripted:
    """A trainer that has its results in its pocket, and notes what it was asked for."""

    def __init__(self, *histories):
        self.histories, self.asked = list(histories), []

    def train(self, model, recipe, seed, *, flops=0, floors=()):
        self.asked.append((recipe.learning_rate, floors, model.get_weights()))
        for variable in model.trainable_variables:
            variable.assign(variable + 1.0)
        return self.histories.pop(0)


def measured(*accuracies, loss=1.0):
    return History((loss,) * len(accuracies), (1.0,) * len(accuracies), accuracies)


def evaluate(trainer, *, floors=(), **options):
    evaluator = TrainingEvaluator(FEW, settings=TrainingSettings(**options))
    evaluator.__dict__["_trainer"] = trainer
    return evaluator.evaluate(SMALL, RECIPE, 1, floors=floors)


def test_child_below_its_floor_is_paid_what_it_reached():
    metrics = evaluate(Scripted(measured(0.5)), floors=(0.6,))
    assert isinstance(metrics, Metrics)
    assert (metrics.val_accuracy, metrics.stopped, metrics.epochs) == ((0.5,), True, 1)
    assert not evaluate(Scripted(measured(0.7, 0.6)), floors=(0.6,)).stopped
    lost = evaluate(Scripted(measured(0.7)), floors=(0.6,))
    assert isinstance(lost, Failure)  # above its floor: something else ended it
    assert "NaN" in lost.reason


def test_child_at_chance_begins_anew_from_the_same_weights_at_lower_rates():
    largest = max((FEW.y_val == label).mean() for label in range(10))
    trainer = Scripted(measured(largest), measured(0.0, loss=float("nan")), measured(0.5, 0.6))
    metrics = evaluate(trainer, restarts=2)
    rates, floors, weights = zip(*trainer.asked, strict=True)
    assert rates == pytest.approx([0.002, 0.002 * 0.4, 0.002 * 0.16])
    assert floors[0][0] > largest
    for first, *others in zip(*weights, strict=True):
        assert all((each == first).all() for each in others)
    assert (metrics.restarts, metrics.epochs, metrics.stopped) == (2, 4, False)


def test_restarts_come_to_an_end():
    metrics = evaluate(Scripted(*[measured(0.05)] * 3), restarts=2)
    assert (metrics.restarts, metrics.stopped, metrics.epochs) == (2, True, 3)
    assert evaluate(Scripted(measured(0.05)), restarts=0).stopped
    assert isinstance(evaluate(Scripted(measured(0.1, loss=float("nan"))), restarts=0), Failure)
    assert not evaluate(Scripted(measured(0.05, 0.05))).stopped  # where nothing was asked for


def test_real_child_that_cannot_learn_is_stopped():
    slow = RecipeConfig(epochs=3, batch_size=64, optimizer="sgd", learning_rate=1e-12)
    metrics = TrainingEvaluator(FEW).evaluate(SMALL, slow, 0, floors=(0.0, 1.0))
    assert (metrics.stopped, len(metrics.val_accuracy)) == (True, 2)


class Curves:
    """Children whose accuracies come from their seed; stopped as a trainer stops them."""

    def __init__(self):
        self.floors = {}

    def evaluate(self, architecture, recipe, seed, folder=None, *, floors=()):
        self.floors[architecture.tokens] = floors
        accuracies = [seed % 97 / 97 * (epoch + 1) / 9 for epoch in range(9)]
        for epoch, floor in enumerate(floors, 1):
            if max(accuracies[:epoch]) < floor:
                return Metrics(val_accuracy=tuple(accuracies[:epoch]), stopped=True)
        return Metrics(val_accuracy=tuple(accuracies))


def search(folder, journal, evaluator):
    config = make_config(
        {
            "seed": 3,
            "controller": {"name": "evolution"},
            "budget": {"trials": 30},
            "recipe": {"epochs": 9},
            "fidelity": {"name": "halving"},
        }
    )
    setup = Setup(config, NO_DATA, SPACE)
    made = make_controller(SPACE, config.controller, config.seed, trials=30)
    executor = InlineExecutor(evaluator)
    loop = SearchLoop(setup, folder, journal, made, executor, Observer(), Silence(), in_flight=3)
    loop.run()


def test_search_stops_the_worse_and_goes_on_exactly_after_a_crash(tmp_path):
    whole, broken = RunFolder(tmp_path, "whole"), RunFolder(tmp_path, "broken")
    journal, first = whole.create(make_config({}), META), Curves()
    search(whole, journal, first)
    expected = {trial.tokens: trial.metrics for trial in journal.trials()}
    lengths = [len(metrics.val_accuracy) for metrics in expected.values()]
    assert set(lengths) == {1, 3, 9}
    assert lengths.count(9) < 20
    best = max(expected.values(), key=lambda metrics: max(metrics.val_accuracy))
    assert not best.stopped

    cut, second = broken.create(make_config({}), META), Curves()
    crashing(cut, "finish", 14)
    with pytest.raises(Crash):
        search(broken, cut, second)
    cut.close()
    again = broken.open()
    search(broken, again, second)
    assert {trial.tokens: trial.metrics for trial in again.trials()} == expected
    assert second.floors == first.floors


def test_what_cannot_be_stopped_is_said(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="fidelity halving stops children before their last"):
        make_config({"recipe": {"epochs": 1}, "fidelity": {"name": "halving"}})
    with pytest.raises(ConfigError, match="did you mean halving"):
        make_config({"fidelity": {"name": "half"}})
    monkeypatch.setenv("RLNAS_ROOT", str(tmp_path))
    with pytest.raises(ConfigError, match="an evaluator of your own trains by itself"):
        rlnas.Search(evaluator=lambda *_: 0.5, config={"fidelity": {"name": "median"}}).run()


def test_metrics_of_older_journals_can_be_read():
    record = Metrics(val_accuracy=(0.5,)).to_json()
    del record["stopped"], record["restarts"]
    assert Metrics.from_json(record) == replace(Metrics((0.5,)), stopped=False)
