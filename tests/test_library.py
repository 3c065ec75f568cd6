"""`rlnas.Search` as a library; children are only trained where training is the point."""

import json
import re
import shutil

import numpy as np
import pytest
from sklearn.datasets import load_digits

import rlnas
from rlnas.children.backend import keras
from rlnas.cli import main
from rlnas.errors import (
    ConfigError,
    DataError,
    InterruptedRunError,
    NoValidChildError,
    RunError,
)
from rlnas.search.baseline import model_fingerprint
from rlnas.search.journal import Trial
from rlnas.search.progress import Silence

DIGITS = load_digits()
X, Y = DIGITS.images[:120], DIGITS.target[:120]
REFERENCE_CALLS = 1  # the evaluator is called for the reference child first


TINY = {"space": {"max_layers": 2}, "data": {"train_samples": 60, "final_samples": 60}}


def by_size(model, data, seed):
    """An evaluator that trains nothing: small networks are good."""
    return 1 / (1 + model.count_params() / 1e5)


def search(tmp_path, data=(X, Y), **options):
    """A search of two random architectures without training, in a root of its own."""
    brief = {"evaluator": by_size, "controller": "random", "trials": 2, "top_k": 1, "seed": 1}
    return rlnas.Search(data=data, root=tmp_path, **{**brief, **options})


def report(found):
    return json.loads((found.folder / "best" / "report.json").read_text())


def ranked(found):
    return [entry for entry in found.retrained if entry.rank]


def dense(shape=(8, 8, 1), classes=10):
    """A user's own model, untrained."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(shape), *layers], name="mine")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A search with real training."""
    root = tmp_path_factory.mktemp("trained")
    small = {"space": {"max_layers": 2}}
    brief = {"evaluator": None, "epochs": 1, "final_epochs": 1, "controller": "reinforce"}
    return search(root, config=small, **brief).run()


def test_arrays_are_searched_with_real_training(trained):
    assert (trained.run, trained.status, trained.seed) == ("arrays-reinforce-1", "done", 1)
    assert 0 < trained.best.test_accuracy <= 1
    assert trained.best.tokens in [trial.tokens for trial in trained.trials]
    assert trained.best.architecture.is_file()


def test_report_names_the_reference_child_by_tokens_and_layers(trained):
    found = report(trained)
    space = rlnas.ImageSpace((8, 8, 1), 10, max_layers=2)
    reference = found["reference"]
    assert tuple(reference["tokens"]) == space.reference().tokens
    assert reference["architecture"] == space.reference().describe()
    assert len(reference["layers"]) == reference["architecture"].count(">") + 1
    assert reference["long"]["test_accuracy"] > 0


def test_trials_are_records(trained):
    assert [trial.id for trial in trained.trials] == [1, 2]
    for trial in trained.trials:
        assert isinstance(trial, Trial)
        assert isinstance(trial.metrics, rlnas.Metrics)
        assert trial.reward == trial.metrics.val_accuracy[-1]
    assert trained.to_json(history=True)["history"][1]["tokens"] == list(trained.trials[1].tokens)


def test_ended_run_of_python_searches_on_and_is_retrained_in_python(tmp_path):
    search(tmp_path, name="own").run()
    larger = search(tmp_path, trials=4).resume("own")
    assert (len(larger.trials), len(ranked(larger))) == (4, 1)
    assert len(ranked(search(tmp_path, top_k=3).retrain("own"))) == 3
    again = search(tmp_path, trials=4, top_k=2).resume("own")
    assert (len(again.trials), len(ranked(again))) == (4, 3)


def test_resume_on_the_command_line_shows_an_ended_run_of_python(tmp_path, capsys):
    search(tmp_path, name="own").run()
    assert main(["resume", "own", "--root", str(tmp_path)]) == 0
    assert "own" in capsys.readouterr().out
    assert main(["resume", "own", "--root", str(tmp_path), "--trials", "9"]) == 2
    assert "rlnas.Search(...).resume('own')" in capsys.readouterr().err


def test_data_named_by_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", x_train=X, y_train=Y)
    monkeypatch.chdir(tmp_path)
    search(tmp_path, data="mine.npz", evaluator=None, name="own", epochs=1, config=TINY).run()
    monkeypatch.chdir("/")
    assert main(["resume", "own", "--root", str(tmp_path), "--trials", "3"]) == 0
    found = search(tmp_path, data=tmp_path / "mine.npz", evaluator=None, epochs=1, config=TINY)
    assert len(found.resume("own").trials) == 3


def test_retrained_best_stays_until_the_next_retraining_ends(tmp_path):
    kept = search(tmp_path, name="own").run()
    before = report(kept)
    calls = []

    def better(model, data, seed):
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.999

    with pytest.raises(InterruptedRunError):
        search(tmp_path, trials=9, evaluator=better).resume("own")
    assert report(kept) == before
    assert report(search(tmp_path, trials=9, evaluator=better).resume("own")) != before


def test_model_predicts_raw_inputs(trained):
    rest = slice(120, 240)
    probabilities = trained.model.predict(DIGITS.images[rest], verbose=0)
    assert probabilities.shape == (120, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    scaled = trained.model.predict(DIGITS.images[rest] / 16, verbose=0)
    assert np.abs(scaled - probabilities).max() > 1e-4  # it does the scaling by itself


def test_given_test_arrays_are_the_test_part(tmp_path):
    heard = Heard()
    data = (X, Y, DIGITS.images[120:150], DIGITS.target[120:150])
    found = search(tmp_path, data, progress=heard).run()
    assert report(found)["data"]["test"] == 30
    assert report(found)["data"]["train"] + report(found)["data"]["validation"] == 120
    assert heard.trials == [(1, 1, 2), (2, 2, 2)]


class Heard(Silence):
    """Remembers what it is told."""

    def __init__(self):
        self.notes, self.trials = [], []

    def note(self, text):
        self.notes.append(text)

    def trial(self, trial, layers, standing):
        self.trials.append((trial.id, standing.trials, standing.budget))


def test_tf_data_set_is_the_same_data_as_its_arrays(tmp_path):
    tf = pytest.importorskip("tensorflow")
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(50)
    found = search(tmp_path, stream, trials=1).run()
    arrays = rlnas.load_data((X, Y), rlnas.SearchConfig().data, seed=1)
    assert report(found)["data"]["fingerprint"] == arrays.fingerprint
    assert found.dataset == "dataset"


def test_name_is_a_known_data_set_and_own_evaluator_gets_its_part_the_child_and_the_seed(tmp_path):
    seen = []

    def evaluator(model, data, seed):
        seen.append((model.count_params(), len(data.x_train), seed))
        return 0.5

    found = search(tmp_path, "digits", evaluator=evaluator).run()
    sizes = report(found)["data"]
    assert (found.run, found.dataset) == ("digits-random-1", "digits")
    assert sizes["train"] + sizes["validation"] + sizes["test"] == 1797
    assert seen[REFERENCE_CALLS : REFERENCE_CALLS + 2] == [
        (trial.metrics.params, sizes["train"], trial.seed) for trial in found.trials
    ]


class Script:
    """An evaluator that does something of its own at some of its calls, counted from 0."""

    def __init__(self, does, otherwise=by_size):
        self.count, self.does, self.otherwise = -1, does, otherwise

    def __call__(self, model, data, seed):
        self.count += 1
        return self.does.get(self.count, lambda: self.otherwise(model, data, seed))()


def no_memory():
    raise MemoryError("this child is too big\nand a second line")


ANSWERS = {
    "float": lambda: 0.25,
    "NumPy number": lambda: np.float32(0.25),
    "one per epoch": lambda: [0.1, 0.25],
    "mapping": lambda: {"val_accuracy": 0.25, "recall": 0.5},
    "Metrics": lambda: rlnas.Metrics(val_accuracy=(0.1, 0.25), val_loss=(2.0, 1.0)),
    "exception": no_memory,
    "failure": lambda: rlnas.Failure("not today"),
    "word": lambda: "good",
    "NaN": lambda: float("nan"),
    "no accuracy": lambda: {"loss": 1.0},
}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A run whose evaluator gave each of the answers in turn; trials by the answer's name.

    It fails for the reference child, which comes first.
    """
    answers = dict(enumerate(ANSWERS.values(), REFERENCE_CALLS))
    evaluator = Script({0: no_memory, **answers}, otherwise=lambda *_: 0.75)
    root = tmp_path_factory.mktemp("answered")
    found = search(root, evaluator=evaluator, trials=len(ANSWERS) + 1).run()
    return found, dict(zip([*ANSWERS, "better"], found.trials, strict=True))


@pytest.mark.parametrize("answer", ["float", "NumPy number", "one per epoch", "mapping", "Metrics"])
def test_own_evaluator_may_return(answer, answered):
    trial = answered[1][answer]
    assert (trial.state, trial.reward) == ("done", 0.25)
    assert all(type(value) is float for value in trial.metrics.val_accuracy)
    assert trial.metrics.extra == ({"recall": 0.5} if answer == "mapping" else {})
    assert trial.metrics.params > 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("exception", "training failed: MemoryError: this child is too big"),
        ("failure", "not today"),
        ("word", "the evaluator returned 'good': expected numbers"),
        ("NaN", "the evaluator returned val_accuracy (nan,): expected finite numbers"),
        ("no accuracy", "the evaluator returned no val_accuracy, only ['loss']"),
    ],
)
def test_evaluator_that_fails_makes_a_failed_trial_and_the_search_goes_on(answer, reason, answered):
    found, trials = answered
    failed = trials[answer]
    assert (failed.state, failed.reason) == ("failed", reason)
    assert (failed.reward, failed.metrics) == (None, None)
    assert trials["better"].state == "done"
    assert found.best.trial == trials["better"].id


@pytest.mark.parametrize("figure", [97.3, -0.3])
def test_own_figure_need_not_be_a_share(figure, tmp_path):
    found = search(tmp_path, evaluator=lambda model, data, seed: figure, trials=1).run()
    assert (found.status, found.best.val_accuracy) == ("done", figure)


def test_stray_file_in_best_ends_no_search(tmp_path):
    stray = tmp_path / "stray" / "best" / ".DS_Store"

    def evaluator(model, data, seed):
        if stray.parent.is_dir():
            stray.write_text("of the file manager")
        return by_size(model, data, seed)

    assert search(tmp_path, evaluator=evaluator, name="stray").run().status == "done"
    assert stray.is_file()


@pytest.mark.parametrize("part", ["train_samples", "final_samples"])
def test_part_without_all_classes_is_refused_before_anything_is_written(part, tmp_path):
    with pytest.raises(DataError, match="5 examples cannot hold all 10 classes"):
        search(tmp_path / "runs", config={"data": {part: 5}})
    assert not (tmp_path / "runs").exists()


def test_retraining_on_too_few_examples_leaves_the_run_as_it_was(tmp_path, capsys):
    found = search(tmp_path, "digits", evaluator=None, config=TINY, epochs=1, final_epochs=1).run()
    words = ["retrain", found.run, "--root", str(tmp_path), "--final-samples", "5"]
    assert main(words) == 2
    assert "5 examples cannot hold all 10 classes" in capsys.readouterr().err
    assert main(["show", found.run, "--root", str(tmp_path), "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert (kept["status"], kept["best"]) == ("done", found.best.to_json())


def test_reference_child_that_fails_does_not_end_the_search(answered):
    reference = answered[0].to_json()["reference"]
    assert reference["brief_val_accuracy"] is None
    assert reference["val_accuracy"] > 0


def test_search_in_which_no_child_can_be_trained_says_why(tmp_path):
    def evaluator(model, data, seed):
        raise ValueError("wrong optimizer")

    with pytest.raises(NoValidChildError, match=r"not one of 2 children .*: wrong optimizer"):
        search(tmp_path, evaluator=evaluator).run()


@pytest.mark.parametrize("form", ["object", "keras", "json"])
def test_baseline_stands_beside_the_best(form, tmp_path):
    baseline = mine = dense()
    if form == "keras":
        mine.save(baseline := tmp_path / "mine.keras")
    elif form == "json":
        (baseline := tmp_path / "mine.json").write_text(mine.to_json())
    weights = mine.get_weights()
    found = search(tmp_path / "runs", baseline=baseline, trials=1).run()
    beside = found.to_json()["baseline"]
    assert beside["params"] == 650
    assert beside["brief_val_accuracy"] == beside["val_accuracy"] == 1 / (1 + 0.0065)
    assert 0 <= beside["test_accuracy"] <= 1
    assert all(np.array_equal(a, b) for a, b in zip(weights, mine.get_weights(), strict=True))


def test_same_baseline_built_again_is_the_same(tmp_path):
    def unnamed(units):
        layers = [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Softmax()])

    assert model_fingerprint(unnamed(5)) == model_fingerprint(unnamed(5))
    assert model_fingerprint(unnamed(5)) != model_fingerprint(unnamed(6))


def with_fixed_layers(images):
    """A model whose normalisation knows the images, with a frozen layer and a trained one."""
    normal = keras.layers.Normalization(axis=None)
    normal.adapt(images)
    frozen = keras.layers.Conv2D(2, 3, trainable=False)
    inner = keras.Sequential([keras.Input((8, 8, 1)), frozen, keras.layers.BatchNormalization()])
    outer = [keras.Input((8, 8, 1)), normal, inner, keras.layers.Flatten()]
    return keras.Sequential([*outer, keras.layers.Dense(10, activation="softmax")], name="mine")


def test_baseline_keeps_what_training_would_not_change(tmp_path):
    mine, seen = with_fixed_layers(X), []
    _, inner, _, head = mine.layers
    inner.layers[1].moving_mean.assign([3.0, 4.0])

    def evaluator(model, data, seed):
        if model.name == "mine":
            seen.append([layer for layer in model.layers if layer.weights])
        return 0.5

    search(tmp_path, baseline=mine, evaluator=evaluator, trials=1).run()
    assert len(seen) == 2  # brief and long
    for normal, copied, dense_head in seen:
        assert float(np.ravel(normal.mean)[0]) == pytest.approx(X.mean(), rel=1e-5)
        assert np.array_equal(*(each.layers[0].get_weights()[0] for each in (copied, inner)))
        assert copied.layers[1].moving_mean.numpy().tolist() == [0, 0]  # training makes it anew
        assert not np.array_equal(dense_head.get_weights()[0], head.get_weights()[0])


def logits():
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def two_inputs():
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    return keras.Model(inputs, dense()(keras.layers.add(inputs)))


class Odd(keras.layers.Layer):
    """A layer that Keras cannot copy."""

    def __init__(self, needed):
        super().__init__()
        self.needed = needed

    def call(self, inputs):
        return inputs


def with_odd_layer():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, dense()(Odd(3)(inputs)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: dense((28, 28, 1)), r"from \(8, 8, 1\) to 10 .* got one from \(28, 28, 1\)"),
        (lambda: dense(classes=7), r"got one from \(8, 8, 1\) to \(7,\)"),
        (lambda: keras.Sequential([keras.layers.Dense(10)]), "got Sequential"),
        (two_inputs, "with one input"),
        (with_odd_layer, "cannot be copied"),
        (logits, r"probabilities, that sum to 1, got .*; let the model end with a softmax"),
        (lambda: 42, "expected a functional or sequential Keras model .* got int"),
        (lambda: "absent.keras", r"absent\.keras does not exist"),
    ],
    ids=[
        "input",
        "classes",
        "no shape",
        "two inputs",
        "own layer",
        "logits",
        "no model",
        "no file",
    ],
)
def test_unfit_baseline_is_refused_before_anything_is_written(make, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        search(tmp_path / "runs", baseline=make())
    assert not (tmp_path / "runs").exists()


def test_own_space_restricts_the_children(tmp_path):
    space = rlnas.ImageSpace((8, 8, 1), 10, max_layers=2, choices={"conv.filters": [8]})
    found = search(tmp_path, space=space).run()
    assert report(found)["space"]["choices"]["conv.filters"] == [8]
    for trial in found.trials:
        layers = space.architecture(trial.tokens).layers
        assert [layer.kind for layer in layers[2:]] in ([], ["flatten"])
        assert all(layer.filters == 8 for layer in layers if layer.kind == "conv")


@pytest.mark.parametrize(("shape", "classes"), [((28, 28, 1), 10), ((8, 8, 1), 7)])
def test_space_for_other_data_is_refused(shape, classes, tmp_path):
    with pytest.raises(ConfigError, match=r"space: expected one for examples of shape \(8, 8, 1\)"):
        search(tmp_path, space=rlnas.ImageSpace(shape, classes))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"evaluator": 0.5}, r"evaluator: expected a function \(model, data, seed\), got float"),
        ({"space": 42}, r"space: expected the name of a space or .*ImageSpace.*, got int"),
        ({"config": 3}, r"config: expected a SearchConfig or a mapping .*, got int"),
        ({"config": "my.yaml"}, "config: expected .*, got str"),
        ({"trails": 3}, "unknown setting 'trails': did you mean trials"),
        ({"trials": "many"}, "budget.trials .* expected a whole number, got 'many'"),
        ({"controller": "reinforc"}, "did you mean reinforce"),
        ({"space": "imagee"}, "unknown space 'imagee': did you mean image"),
        ({"config": {"recipe": {"epoch": 3}}}, "unknown field in recipe 'epoch'"),
        ({"config": {"recipe": 3}, "epochs": 2}, "recipe: expected a mapping"),
    ],
)
def test_wrong_settings_are_refused(options, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        search(tmp_path, **options)


def test_settings_go_before_the_config(tmp_path):
    config = rlnas.SearchConfig(recipe={"epochs": 7, "batch_size": 8}, budget={"trials": 9})
    made = search(tmp_path, config=config, epochs=3, trials=4).config
    assert (made.recipe.epochs, made.recipe.batch_size, made.budget.trials) == (3, 8, 4)


def ctrl_c():
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run of 5 trials that was stopped while the third child trained; its root and sentence."""
    root = tmp_path_factory.mktemp("interrupted")
    evaluator = Script({REFERENCE_CALLS + 2: ctrl_c})
    with pytest.raises(InterruptedRunError) as stopped:
        again(root, evaluator=evaluator).run()
    return root, str(stopped.value)


def again(root, **options):
    return search(root, **{"name": "stopped", "trials": 5, "controller": "reinforce", **options})


def test_interrupted_run_says_how_to_go_on(interrupted):
    assert interrupted[1].endswith("continue with: rlnas.Search(...).resume('stopped')")


def test_command_line_refuses_what_only_python_can_resume(interrupted, capsys):
    root, _ = interrupted
    code = main(["resume", "stopped", "--root", str(root)])
    sentence = (
        "error: stopped was started from Python with its own data, evaluator; "
        "continue it there with: rlnas.Search(...).resume('stopped')\n"
    )
    assert (code, capsys.readouterr().err) == (2, sentence)


def test_show_of_such_a_run_says_how_python_goes_on(interrupted, capsys):
    root, _ = interrupted
    assert main(["show", "stopped", "--root", str(root)]) == 0
    line = "continue with: rlnas.Search(...).resume('stopped')\n"
    assert capsys.readouterr().out.endswith(line)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 2}, "was started with seed 1, now it is 2"),
        ({"epochs": 9}, "was started with recipe.epochs 5, now it is 9"),
        ({"controller": "random"}, "controller.name reinforce, now it is random"),
        ({"evaluator": None}, "was started with evaluator function, now it is training"),
        ({"baseline": dense()}, "was started with baseline None, now it is"),
        ({"data": (X + 1, Y)}, "was written for data"),
        ({"space": rlnas.ImageSpace((8, 8, 1), 10, max_layers=2)}, "was written for space"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_resume_with_something_else_is_refused(interrupted, options, sentence):
    with pytest.raises(RunError, match=sentence):
        again(interrupted[0], **options).resume("stopped")


def test_resume_says_what_is_not_as_it_was(interrupted, monkeypatch):
    heard = Heard()
    # TensorFlow has run in this process and would keep its threads.
    monkeypatch.setattr("rlnas.search.run.prepare", lambda threads, **_: threads)
    other = again(interrupted[0], progress=heard, threads=7, evaluator=Script({0: ctrl_c}))
    with pytest.raises(InterruptedRunError):
        other.resume("stopped")
    assert re.search(r"bits may differ: threads 7 \(was \d+\)", heard.notes[0])


def test_resumed_run_has_the_trials_of_one_that_never_stopped(interrupted, tmp_path):
    whole = again(tmp_path).run()
    found = again(interrupted[0]).resume("stopped")
    for mine, expected in zip(found.trials, whole.trials, strict=True):
        assert mine.tokens == expected.tokens
        assert (mine.seed, mine.reward, mine.learned) == (
            expected.seed,
            expected.reward,
            expected.learned,
        )
    assert found.best.tokens == whole.best.tokens
    assert again(interrupted[0]).resume("stopped") == found  # an ended run gives its result


def marked(model, data, seed):
    """An evaluator whose training leaves its seed in the weights."""
    model.layers[-1].bias.assign(np.full(10, seed % 1000, float))
    return by_size(model, data, seed)


@pytest.fixture
def without_weights(tmp_path):
    """A run that stopped at its second trial, all weights removed by hand; its best before."""
    evaluator = Script({REFERENCE_CALLS + 1: ctrl_c}, marked)
    with pytest.raises(InterruptedRunError):
        again(tmp_path, evaluator=evaluator).run()
    best = keras.models.load_model(tmp_path / "stopped" / "best" / "model.keras")
    for folder in ("best", "trials"):
        shutil.rmtree(tmp_path / "stopped" / folder)
    return tmp_path, best


def test_best_child_whose_weights_were_removed_is_trained_again(without_weights):
    root, best = without_weights
    with pytest.raises(InterruptedRunError):
        again(root, evaluator=Script({1: ctrl_c}, marked)).resume("stopped")
    found = keras.models.load_model(root / "stopped" / "best" / "model.keras")
    assert all(map(np.array_equal, found.get_weights(), best.get_weights()))


def test_best_child_that_cannot_be_trained_again_is_named(without_weights):
    sentence = r"trials/1/model\.weights\.h5 is missing and .* this child is too big; bring"
    with pytest.raises(RunError, match=sentence):
        again(without_weights[0], evaluator=Script({0: no_memory})).resume("stopped")
