"""The front of a run between its metric and its cost, and searches that reward both."""

import json
from contextlib import closing

import pytest
from PIL import Image
from sklearn.datasets import load_digits

import rlnas
from rlnas.cli import main
from rlnas.errors import ConfigError, NoValidChildError
from rlnas.search.folder import RunFolder, find_run
from rlnas.search.pareto import Point, beyond_target, brief_pareto, pareto, plot_pareto
from rlnas.search.result import read_best, read_result
from rlnas.search.summary import space_of

DIGITS = load_digits()
DATA = DIGITS.images[:120], DIGITS.target[:120]
LATENCIES = (0.0, 5.0, 2.0, 1.0, 2.0)
VALUES = (0.5, 0.7, 0.6, 0.3, 0.55)
"""Of the reference child, then of four trials: the third is slower than the second's equal."""


class Told:
    """An evaluator that trains nothing and tells prepared figures."""

    def __init__(self):
        self.calls = 0

    def __call__(self, model, data, seed):
        place = self.calls % len(VALUES)
        self.calls += 1
        return rlnas.Metrics((0.1,), latency=LATENCIES[place], extra={"auc": VALUES[place]})


def search(root, objective, **options):
    brief = {"controller": "random", "trials": 4, "top_k": 4, "executor": "inline"}
    return rlnas.Search(
        DATA,
        root=root,
        config={"space": {"max_layers": 2}, "objective": objective},
        **{"evaluator": Told(), "name": "a", **brief, **options},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that rewards the AUC within 3 ms, and its root."""
    root = tmp_path_factory.mktemp("pareto")
    return search(root, {"metric": "auc", "cost": "latency", "target": 2.5}).run(), root


def test_reward_is_the_metric_within_the_target_and_less_above_it(run):
    rewards = [trial.reward for trial in run[0].trials]
    assert rewards == pytest.approx([0.7 * 2.5 / 5, 0.6, 0.3, 0.55])


def test_model_that_is_kept_is_the_best_within_the_target(run):
    long = {entry.trial: entry.metrics.extra["auc"] for entry in run[0].retrained if entry.rank}
    within = [entry.trial for entry in run[0].retrained if entry.metrics.latency <= 2.5]
    assert run[0].best.trial == max((t for t in within if t in long), key=long.get)


def test_front_is_what_no_other_trial_beats(run, capsys):
    picture = run[1] / "front.png"
    words = ["pareto", "a", "--cost", "latency", "--root", str(run[1]), "--plot", str(picture)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["trials"]
    told = [(each["trial"], each["cost"], each["value"], each["front"]) for each in found]
    assert told == [
        (3, 1.0, 0.3, True),
        (2, 2.0, 0.6, True),
        (4, 2.0, 0.55, False),
        (1, 5.0, 0.7, True),
    ]
    with Image.open(picture) as opened:
        assert opened.size == (960, 600)
    assert main(words) == 0
    assert "3 of 4 trials" in capsys.readouterr().out


def test_front_read_by_itself_is_that_of_the_result(run):
    folder = find_run(run[1], "a")
    whole = pareto(run[0], "latency")
    with closing(folder.open()) as journal:
        rule, (first, step) = journal.meta()["config"]["objective"], journal.measured()
        assert (len(first), step, journal.measured(step)) == (4, 4, ([], 4))
        assert journal.measured(1)[0] == first[1:]
        assert brief_pareto("a", rule, first, "latency", 100) == ("auc", whole)
        few = brief_pareto("a", rule, first, "latency", 0)[1]
        assert few == [point for point in whole if point.front]
        best = read_best(folder, journal, space_of(journal))
    assert best == run[0].best


def test_cost_that_was_not_measured_is_told(run, capsys):
    assert main(["pareto", "a", "--cost", "size", "--root", str(run[1])]) == 2
    assert "no trial of a has a measured size; search with --cost size" in capsys.readouterr().err


def test_trials_are_not_exported_into_the_run(run, capsys):
    target = run[1] / "a" / "best"
    assert main(["pareto", "a", "--root", str(run[1]), "--export", str(target)]) > 0
    assert "belongs to the run a; choose a folder outside of it" in capsys.readouterr().err


def test_plot_that_cannot_be_written_is_told(run, capsys):
    words = ["pareto", "a", "--root", str(run[1]), "--plot", str(run[1] / "no" / "such.png")]
    assert main(words) == 1
    assert "cannot write the plot" in capsys.readouterr().err


def test_evaluator_without_the_metric_makes_failed_trials(tmp_path):
    with pytest.raises(NoValidChildError, match="returned no f1_macro, which is to be rew"):
        search(tmp_path, {"metric": "f1_macro"}).run()


def test_real_children_are_rewarded_by_another_metric_and_their_size(tmp_path, capsys):
    objective = {"metric": "f1_macro", "cost": "size", "target": 0.05, "form": "absolute"}
    found = search(
        tmp_path, objective, evaluator=None, epochs=1, final_epochs=1, trials=2, top_k=1
    ).run()
    for trial in found.trials:
        value, size = trial.metrics.extra["f1_macro"], trial.metrics.size
        assert 4 * trial.metrics.params / 1e6 < size < 4 * trial.metrics.params / 1e6 + 0.2
        assert trial.reward == pytest.approx(value - 0.07 * abs(size / 0.05 - 1))
    best = next(entry for entry in found.retrained if entry.rank)
    assert 0 <= best.metrics.extra["test_f1_macro"] <= 1
    assert found.best.test_metric == best.metrics.extra["test_f1_macro"]
    assert found.best.cost == best.metrics.size
    assert main(["show", "a", "--root", str(tmp_path)]) == 0
    assert f"test f1 macro {found.best.test_metric:.4f}, reference child" in capsys.readouterr().out


@pytest.mark.parametrize(("target", "told"), [(2.5, True), (3.0, False)])
def test_model_beyond_the_target_is_told(tmp_path, capsys, target, told):
    metrics = rlnas.Metrics((0.1,), latency=3.0, extra={"auc": 0.5})
    objective = {"metric": "auc", "cost": "latency", "target": target}
    search(tmp_path, objective, evaluator=lambda model, data, seed: metrics).run()
    assert main(["show", "a", "--root", str(tmp_path)]) == 0
    assert ("no model that was retrained keeps to the target" in capsys.readouterr().out) == told
    found = read_result(RunFolder(tmp_path, "a"))
    assert ("takes 3 ms, the target is 2.5;" in str(beyond_target(found))) == told


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        ({"metric": "f1"}, r"f1 is of two classes, got data with 10; take f1_macro"),
        ({"cost": "params"}, "got --cost params without --cost-target"),
        ({"target": 3}, "got --cost-target 3 without --cost"),
        ({"form": "soft"}, "got --cost-form soft without --cost"),
        ({"weight": 0.5}, "got --cost-weight 0.5 without --cost"),
        ({"metric": "log_loss", "cost": "params", "target": 3}, "take --cost-form absolute"),
        ({"metric": "log_loss", "exponent": 3}, "has no power, got --reward-exponent 3"),
        ({"metric": "f11"}, "unknown metric 'f11': did you mean f1"),
    ],
)
def test_objective_that_makes_no_sense_is_refused(objective, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        search(tmp_path, objective)


def test_latency_in_a_run_that_is_to_be_repeatable_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="latency differs from run to run"):
        search(tmp_path, {"cost": "latency", "target": 1}, deterministic=True)


def test_plot_shows_what_the_table_shows_and_says_what_is_negative(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("rlnas.search.pareto.save_plot", lambda figure, path: drawn.append(figure))
    points = [Point(1, -0.5, 10.0, True, "a"), Point(2, -0.7, 20.0, False, "b")]
    plot_pareto(points, "mae", "params", tmp_path / "plot.png")
    plot_pareto(points, "r2", "params", tmp_path / "plot.png")
    axes = [figure.axes[0] for figure in drawn]
    assert [[line.get_ydata().tolist() for line in each.lines] for each in axes] == [
        [[-0.7], [-0.5]],
        [[-0.7], [-0.5]],
    ]
    assert [each.texts[0].xy for each in axes] == [(10.0, -0.5)] * 2
    assert [each.get_ylabel() for each in axes] == [
        "validation mae, as a negative number",
        "validation r2",
    ]
