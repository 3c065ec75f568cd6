"""Numbers that are to be predicted, from the file to the figures."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score
from test_kinds import numbers_file, write_rows

import rlnas
from rlnas.children.datasets import load_data
from rlnas.children.inputs import chosen, given_to
from rlnas.children.training import score
from rlnas.config import DataConfig, RecipeConfig, SearchConfig
from rlnas.errors import ConfigError, DataError
from rlnas.evaluation.training import TrainingEvaluator, TrainingSettings
from rlnas.objectives import Cost, Metrics, Objective
from rlnas.search.export import export
from rlnas.spaces import TabularSpace

PRICE = DataConfig(label_column="price")
RECIPE = RecipeConfig(epochs=8, batch_size=16, learning_rate=0.01)


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    return load_data(numbers_file(tmp_path_factory.mktemp("houses")), PRICE, 0)


def trained(data, tmp_path, metric="accuracy"):
    evaluator = TrainingEvaluator(data, settings=TrainingSettings(metric=metric))
    network = TabularSpace(data.input_shape, data.classes).reference()
    model = evaluator.build(network, RECIPE, 1)
    return network, model, evaluator.evaluate_model(model, RECIPE, 1)


def test_fractions_make_a_regression_and_the_config_may_say_so(tmp_path, houses):
    assert houses.target is not None
    assert houses.classes == 1
    assert abs(float(np.mean(houses.y_train))) < 1e-5
    path = write_rows(tmp_path / "w.csv", ["a", "label"], [[k, k % 5] for k in range(50)])
    assert load_data(path, DataConfig(), 0).classes == 5
    numbers = load_data(path, DataConfig(task="regression"), 0)
    assert numbers.target.mean == pytest.approx(2, abs=0.3)
    classes = load_data(numbers_file(tmp_path, rows=20), PRICE.model_copy(), 0)
    assert classes.target is not None
    x = np.random.default_rng(0).normal(size=(40, 3))
    assert load_data((x, x[:, 0]), DataConfig(), 0).target is not None


def test_children_predict_and_the_score_is_r2(houses, tmp_path):
    _, model, found = trained(houses, tmp_path, "mae")
    predicted = model.predict(houses.x_val, verbose=0)[:, 0]
    assert found.val_accuracy[-1] == pytest.approx(r2_score(houses.y_val, predicted), abs=1e-4)
    assert found.val_accuracy[-1] > 0.8
    assert found.val_loss[-1] == pytest.approx(np.mean((predicted - houses.y_val) ** 2), rel=1e-4)
    error = mean_absolute_error(houses.y_val, predicted) * houses.target.scale
    assert found.extra["mae"] == pytest.approx(error, rel=1e-4)
    assert score(model, houses.x_test, houses.y_test) == pytest.approx(
        r2_score(houses.y_test, model.predict(houses.x_test, verbose=0)[:, 0]), abs=1e-5
    )


def test_exported_models_answer_on_the_scale_of_the_file(houses, tmp_path):
    network, model, _ = trained(houses, tmp_path)
    export(model, network, {}, tmp_path / "best", data=houses, recipe=RECIPE)
    from rlnas.children.backend import keras

    stored = keras.models.load_model(tmp_path / "best" / "model.keras")
    raw = given_to(chosen(houses.raw, slice(0, 16)))
    prices = houses.y_val[:16] * houses.target.scale + houses.target.mean
    answers = np.asarray(stored(raw))[:, 0]
    assert r2_score(prices, answers) > 0.8
    assert 900 < answers.mean() < 3000


def test_r2_is_rewarded_as_it_is_and_an_error_counts_negative():
    metrics = Metrics(val_accuracy=(0.2, 0.7), params=200, extra={"mae": 3.5})
    assert Objective().reward(metrics) == 0.7
    assert Objective(metric="mae").reward(metrics) == -3.5


def test_a_cost_makes_a_negative_score_worse():
    cost = Cost("params", 100, "hard")
    assert Objective(cost=cost).reward(Metrics((0.5,), params=200)) == 0.25
    assert Objective(cost=cost).reward(Metrics((-0.5,), params=200)) == -1.0


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"objective": {"metric": "f1_macro"}}, "f1_macro is of classes, got data in which a nu"),
        ({"recipe": {"label_smoothing": 0.1}}, "label_smoothing.*is of classes"),
        ({"space": {"search_recipe": "l2,label_smoothing"}}, "label_smoothing is of classes"),
    ],
)
def test_what_is_of_classes_is_refused_for_numbers(houses, section, sentence):
    with pytest.raises(ConfigError, match=sentence):
        rlnas.Search(houses, config=section)


def test_what_is_of_numbers_is_refused_for_classes():
    with pytest.raises(ConfigError, match="r2 is of numbers, got data in which a class"):
        rlnas.Search(config={"objective": {"metric": "r2"}})
    parts = rlnas.Search(config={"space": {"search_recipe": "all"}})._setup.space.parts
    assert "label_smoothing" in parts


@pytest.mark.parametrize(
    ("labels", "config", "sentence"),
    [
        (["1.5", "2.5", "inf"] * 9, {}, r"x\.csv, line 4: label is 'inf'; expected a finite"),
        (["1.5", "2.5", "many"] * 9, {"task": "regression"}, r"line 4: label is 'many'"),
        (["1.5"] * 27, {}, "all labels of the training part are 1.5"),
        (["1.5", "2.5"] * 2, {}, "both need at least 2"),
    ],
)
def test_wrong_numbers_are_refused_with_their_line(labels, config, sentence, tmp_path):
    rows = [[k, label] for k, label in enumerate(labels)]
    path = write_rows(tmp_path / "x.csv", ["a", "label"], rows)
    with pytest.raises(DataError, match=sentence):
        load_data(path, DataConfig(**config), 0)


def test_the_best_of_numbers_is_the_one_with_the_highest_r2(houses, tmp_path):
    config = SearchConfig.model_validate(
        {
            "recipe": {"epochs": 2},
            "engine": {"executor": "inline"},
            "objective": {"metric": "r2"},
            "budget": {"trials": 3},
            "final": {"top_k": 2, "epochs": 4},
        }
    )
    found = rlnas.Search(houses, config=config, root=tmp_path).run()
    ranked = [entry for entry in found.retrained if entry.rank]
    best = max(ranked, key=lambda entry: (entry.val_accuracy, -entry.rank))
    assert found.best.trial == best.trial
    assert found.score == "r2"
