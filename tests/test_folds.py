"""Children that are trained several times: on folds of the data, and from several seeds."""

import numpy as np
import pytest
from test_regression import houses  # noqa: F401 - a fixture

import rlnas
from rlnas.children.datasets import load_data
from rlnas.children.folds import folds_of
from rlnas.config import DataConfig, RecipeConfig, make_config
from rlnas.controllers import uniform
from rlnas.controllers.features import Encoder
from rlnas.controllers.history import History
from rlnas.controllers.surrogate import Forest, GaussianProcess
from rlnas.errors import ConfigError, DataError
from rlnas.evaluation.repeated import RepeatedEvaluator, mean_metrics
from rlnas.evaluation.training import WEIGHTS, TrainingEvaluator
from rlnas.objectives import Failure, Metrics
from rlnas.spaces import ImageSpace

FEW = load_data(None, DataConfig(), 0).sampled(128, 0)
RECIPE = RecipeConfig(epochs=2)
SPACE = ImageSpace(FEW.input_shape, FEW.classes, max_layers=4)


def pooled(data):
    return sorted(np.concatenate([data.y_train, data.y_val]).tolist())


# --- folds ---


def test_each_example_is_validated_on_once_and_the_test_part_stays():
    folds = folds_of(FEW, 4, seed=1)
    seen = np.concatenate([fold.x_val for fold in folds])
    everything = np.concatenate([FEW.x_train, FEW.x_val])
    assert sorted(map(bytes, seen)) == sorted(map(bytes, everything))
    for fold in folds:
        assert pooled(fold) == pooled(FEW)
        shares = np.bincount(fold.y_val, minlength=FEW.classes) * 4
        assert np.abs(shares - np.bincount(pooled(FEW), minlength=FEW.classes)).max() <= 4
        assert (fold.x_test == FEW.x_test).all()
    assert len({fold.fingerprint for fold in folds}) == 4


def test_numbers_have_folds_too(houses):  # noqa: F811
    folds = folds_of(houses, 3, seed=1)
    assert sum(len(fold.y_val) for fold in folds) == len(houses.y_train) + len(houses.y_val)


def test_too_many_folds_are_refused():
    rarest = min(np.bincount(pooled(FEW)))
    with pytest.raises(DataError, match=rf"{rarest + 1} folds need at least .* has {rarest}"):
        folds_of(FEW, rarest + 1, seed=0)
    with pytest.raises(DataError, match="folds need at least"):
        rlnas.Search(FEW, config={"evaluation": {"folds": 50}})


# --- trainings ---


def test_what_is_measured_is_the_mean_of_all_trainings(tmp_path):
    folds = folds_of(FEW, 2, seed=1)
    network = SPACE.reference()
    found = RepeatedEvaluator(folds, 2).evaluate(network, RECIPE, 7, tmp_path)
    first = TrainingEvaluator(folds[0]).evaluate(network, RECIPE, 7, tmp_path / "alone")
    assert found.trainings == 4
    assert found.epochs == 8
    assert found.spread > 0
    assert found.error == pytest.approx(found.spread / 2)
    assert found.val_accuracy != first.val_accuracy
    assert (tmp_path / WEIGHTS).read_bytes() == (tmp_path / "alone" / WEIGHTS).read_bytes()
    assert RepeatedEvaluator(folds, 2).evaluate(network, RECIPE, 7).lasting() == found.lasting()


def test_one_training_is_what_it_is_alone():
    network = SPACE.reference()
    alone = TrainingEvaluator(FEW).evaluate(network, RECIPE, 7)
    assert RepeatedEvaluator([FEW], 1).evaluate(network, RECIPE, 7).lasting() == alone.lasting()


def test_means_and_spread_by_hand():
    found = mean_metrics(
        [
            Metrics((0.5, 0.6), (1.0, 0.8), extra={"f1": 0.2}, seconds=1, peak_memory=5, latency=1),
            Metrics((0.7, 0.8), (0.6, 0.4), extra={"f1": 0.4}, seconds=2, peak_memory=7, latency=3),
        ]
    )
    assert found.val_accuracy == pytest.approx((0.6, 0.7))
    assert found.val_loss == pytest.approx((0.8, 0.6))
    assert found.extra["f1"] == pytest.approx(0.3)
    assert (found.seconds, found.peak_memory, found.latency) == (3, 7, 2)
    assert found.spread == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert mean_metrics([found, found], "f1").spread == 0


def test_spread_is_that_of_the_epoch_that_is_rewarded():
    found = mean_metrics([Metrics((0.5, 0.9, 0.6)), Metrics((0.7, 0.8, 0.6))])
    assert found.spread == pytest.approx(np.std([0.9, 0.8], ddof=1))


def test_a_failure_in_one_training_is_told():
    calls = []

    def failing(model, data, seed):
        calls.append(seed)
        return Failure("it fell") if len(calls) == 3 else 0.5

    found = RepeatedEvaluator([FEW], 4, failing).evaluate(SPACE.reference(), RECIPE, 7)
    assert found == Failure("in training 3 of 4: it fell")
    assert len(set(calls)) == 3


def test_trainings_that_may_be_cut_short_are_refused():
    for fidelity in ({"name": "median"}, {"chance_restarts": 1}):
        with pytest.raises(ConfigError, match="trained whole each time, got --folds"):
            make_config({"evaluation": {"repeats": 2}, "fidelity": fidelity})


@pytest.mark.slow
def test_whole_search_with_folds_logs_the_spread(tmp_path):
    config = {
        "evaluation": {"folds": 2, "repeats": 2},
        "recipe": {"epochs": 1},
        "engine": {"executor": "process", "workers": 2},
        "budget": {"trials": 3},
        "final": {"top_k": 1, "epochs": 1},
    }
    found = rlnas.Search(FEW, space=SPACE, config=config, root=tmp_path).run()
    assert [trial.metrics.trainings for trial in found.trials] == [4, 4, 4]
    assert all(entry.metrics.trainings == 4 for entry in found.retrained)
    assert found.best.test_accuracy is not None
    record = found.to_json(history=True)["history"][0]["metrics"]
    assert record["spread"] > 0


# --- the spread as noise ---


def test_history_keeps_errors():
    history, again = History(3), History(3)
    history.add((1, 2), 0.5, 0.1)
    history.add((3,), None)
    again.load(history.state())
    assert again.errors().tolist() == [0.1, 0.0]
    plain = History(3)
    plain.add((1, 2), 0.5)
    assert "errors" not in plain.state()


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    encoder = Encoder(SPACE)
    rows = [encoder.row(uniform(SPACE, rng)) for _ in range(30)]
    return encoder.features(rows), rng.normal(size=30)


def test_equal_noise_changes_nothing(known):
    features, targets = known
    one, other = GaussianProcess(), GaussianProcess()
    one.fit(features, targets, 30)
    other.fit(features, targets, 30, np.ones(30))
    assert (one.predict(features)[0] == other.predict(features)[0]).all()


@pytest.mark.parametrize("make", [GaussianProcess, lambda: Forest(0)], ids=["gp", "forest"])
def test_what_is_sure_counts_more(make, known):
    features, targets = known
    noise = np.where(np.arange(30) % 2, 4.0, 0.25)
    surrogate = make()
    surrogate.fit(features, targets, 30, noise)
    apart = np.abs(surrogate.predict(features)[0] - targets)
    assert apart[::2].mean() < apart[1::2].mean()
