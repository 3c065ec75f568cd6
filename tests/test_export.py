"""The exported files: complete, loadable without rlnas, and never half replaced."""

import functools
import json
import os
import resource
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from PIL import Image

from rlnas.children.backend import keras
from rlnas.children.datasets import load_data
from rlnas.children.decoder import decode
from rlnas.children.recipes import batch_norm_momentum, class_weights, make_optimizer
from rlnas.config import OPTIMIZERS, SCHEDULES, DataConfig, RecipeConfig
from rlnas.cost import AveragePool, Conv, Dense, Dropout, Flatten, MaxPool, SeparableConv
from rlnas.errors import RlnasError, RunError, StorageError
from rlnas.search import export as exporting
from rlnas.search.export import EXPORTED, copy_export, export, summary
from rlnas.search.source import model_source
from rlnas.spaces import Architecture, ImageSpace

DIGITS = load_data(None, DataConfig(), 3)
RECIPE = RecipeConfig(epochs=2)
ARCHITECTURE = Architecture(
    (1, 2),
    (
        Conv(4, 3, 1, "relu", True),
        SeparableConv(6, 3, 2, "silu", False),
        MaxPool(2),
        AveragePool(3),
        Dropout(0.2),
        Flatten(),
        Dense(5, "elu"),
    ),
    (8, 8, 1),
    10,
)
REPORT = {"run": "digits-1", "trial": 7, "seed": 3, "tokens": [2, 1], "metrics": {"f1": 0.5}}


@functools.cache
def child(seed=0, architecture=ARCHITECTURE):
    """A compiled child with weights that are not its first ones."""
    keras.utils.set_random_seed(seed)
    model = decode(architecture, scale=DIGITS.scale, batch_norm_momentum=0.75)
    model.compile(make_optimizer(RECIPE, 100), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(seed)
    model.set_weights(
        [weight + rng.uniform(0, 0.1, weight.shape) for weight in model.get_weights()]
    )
    return model


def export_to(folder, model=None, *, data=DIGITS, report=REPORT, recipe=RECIPE, **options):
    export(model or child(), ARCHITECTURE, report, folder, data=data, recipe=recipe, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def texts(folder):
    return {name: (folder / name).read_bytes() for name in EXPORTED if name != "model.keras"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "best"
    export_to(folder)
    return folder


# --- the files ---


def test_export_writes_its_files_and_nothing_else(exported):
    assert names(exported) == sorted(EXPORTED)
    assert names(exported.parent) == ["best"]


def test_json_and_archive_load_back_to_the_same_outputs(exported):
    model, images = child(), DIGITS.x_val[:50]
    stored = keras.models.load_model(exported / "model.keras")
    rebuilt = keras.models.model_from_json((exported / "architecture.json").read_text())
    rebuilt.set_weights(stored.get_weights())
    expected = keras.ops.convert_to_numpy(model(images))
    assert np.ptp(expected, axis=0).max() > 1e-3  # it tells images apart
    for loaded in (stored, rebuilt):
        np.testing.assert_allclose(loaded.predict_on_batch(images), expected, atol=1e-6)


def test_archive_holds_no_training_state(exported):
    assert not keras.models.load_model(exported / "model.keras").compiled
    weights = sum(weight.nbytes for weight in child().get_weights())
    with zipfile.ZipFile(exported / "model.keras") as archive:
        assert b"optimizer" not in archive.read("model.weights.h5")
    assert (exported / "model.keras").stat().st_size < weights + 60_000


def test_same_model_gives_the_same_bytes_on_any_terminal(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    export_to(tmp_path / "other")
    assert texts(tmp_path / "other") == texts(exported)
    for text in texts(exported).values():
        assert text.endswith(b"\n") and b"\x1b" not in text


def test_report_is_sorted_json_without_nan(tmp_path):
    report = {"b": [3, 1], "a": {"z": float("nan"), "y": (float("inf"), 0.5)}, "seed": 1}
    export_to(tmp_path / "best", report=report)
    text = (tmp_path / "best" / "report.json").read_text()
    assert json.loads(text) == {"a": {"y": [None, 0.5], "z": None}, "b": [3, 1], "seed": 1}
    assert text.index('"a"') < text.index('"b"') < text.index('"seed"')
    assert text.startswith('{\n  "a": {\n    "y"')


def test_summary_counts_every_layer_in_80_columns():
    text = summary(decode(Architecture((), (Conv(4, 3, 1, "relu", True),), (8, 8, 1), 10)))
    assert max(map(len, text.splitlines())) == 80
    rows = [line.split() for line in text.splitlines()]
    assert ["conv_1", "(Conv2D)", "(None,", "8,", "8,", "4)", "36"] in rows  # 3 * 3 * 1 * 4
    assert ["conv_1_norm", "(BatchNormalization)", "(None,", "8,", "8,", "4)", "16"] in rows
    assert rows[-3:] == [
        ["Total", "parameters:", "102"],  # and a head of 4 * 10 + 10
        ["Trainable", "parameters:", "94"],
        ["Not", "trainable", "parameters:", "8"],  # mean and variance of 4 filters
    ]


def test_diagram_is_titled_with_run_and_trial(exported):
    assert "digits-1, trial 7" in (exported / "diagram.svg").read_text()


def test_script_has_the_momentum_of_the_model_not_of_the_whole_data(exported):
    assert batch_norm_momentum(RECIPE, len(DIGITS.x_train)) != 0.75
    assert "NORM_MOMENTUM = 0.75\n" in (exported / "model.py").read_text()


# --- replacing an earlier export ---


def test_earlier_export_is_replaced_and_the_users_trained_model_stays(tmp_path):
    folder = tmp_path / "best"
    export_to(folder)
    (folder / "trained.keras").write_text("by model.py")
    (folder / "__pycache__").mkdir()
    export_to(folder, report={**REPORT, "trial": 8})
    assert json.loads((folder / "report.json").read_text())["trial"] == 8
    assert (folder / "trained.keras").read_text() == "by model.py"
    assert names(folder) == sorted([*EXPORTED, "trained.keras", "__pycache__"])
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("killed", [False, True], ids=["", "between the renames before"])
def test_export_that_keeps_others_leaves_them_in_their_folder(tmp_path, killed):
    folder = tmp_path / "best"
    export_to(folder)
    (folder / ".DS_Store").write_text("of the file manager")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "a.ipynb").write_text("of Jupyter")
    if killed:
        folder.rename(tmp_path / "best.old")
    export_to(folder, report={**REPORT, "trial": 8}, keep_others=True)
    assert json.loads((folder / "report.json").read_text())["trial"] == 8
    assert (folder / ".DS_Store").read_text() == "of the file manager"
    assert (folder / ".ipynb_checkpoints" / "a.ipynb").read_text() == "of Jupyter"
    assert names(folder) == sorted([*EXPORTED, ".DS_Store", ".ipynb_checkpoints"])
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("foreign", ["thesis.txt", "model.py"])
def test_folder_with_other_files_is_refused_and_left_alone(tmp_path, foreign):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / foreign).write_text("years of work")
    with pytest.raises(RunError, match=f"mine holds {foreign}, which is no export of rlnas; move"):
        export_to(folder)
    assert (folder / foreign).read_text() == "years of work"
    assert names(tmp_path) == ["mine"]


def test_target_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is a file; name a folder"):
        export_to(tmp_path / "file")


def test_other_files_beside_the_target_are_not_taken_for_leftovers(tmp_path):
    (tmp_path / "best.old").mkdir()
    (tmp_path / "best.old" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"best\.old holds thesis\.txt"):
        export_to(tmp_path / "best")
    assert (tmp_path / "best.old" / "thesis.txt").is_file()


@pytest.mark.parametrize("killed", ["while writing", "between the renames", "while tidying up"])
def test_next_export_mends_what_a_killed_one_left(tmp_path, killed):
    best, new, old = (tmp_path / name for name in ("best", "best.new", "best.old"))
    export_to(best)
    if killed == "while writing":
        new.mkdir()
        (new / "architecture.json").write_text('{"mod')
        (new / "tmpx3f").write_text("of Keras")
    elif killed == "between the renames":
        export_to(new)
        best.rename(old)
        (old / "trained.keras").write_text("by model.py")
    else:
        export_to(old)
        (old / "report.json").unlink()
    export_to(best, report={**REPORT, "trial": 8})
    assert names(tmp_path) == ["best"]
    assert json.loads((best / "report.json").read_text())["trial"] == 8
    assert (best / "trained.keras").exists() == (killed == "between the renames")


def test_failed_check_keeps_the_earlier_export(tmp_path, monkeypatch):
    export_to(tmp_path / "best")
    before = texts(tmp_path / "best")
    monkeypatch.setattr(exporting, "plain_model", lambda model: child(seed=1))
    with pytest.raises(RlnasError, match=r"best failed, model\.keras differs from the trained"):
        export_to(tmp_path / "best", report={"trial": 8})
    assert texts(tmp_path / "best") == before
    assert names(tmp_path) == ["best"]


def test_full_disk_keeps_the_earlier_export(tmp_path):
    export_to(tmp_path / "best")
    before = texts(tmp_path / "best")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # model.keras is larger
        with pytest.raises(StorageError, match=f"cannot write the export to {tmp_path}/best: File"):
            export_to(tmp_path / "best", report={"trial": 8})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert texts(tmp_path / "best") == before
    assert names(tmp_path) == ["best"]


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/best: Not a directory"):
        export_to(tmp_path / "file" / "best")


# --- copies ---


def test_copy_holds_the_same_and_may_be_made_over_an_earlier_one(exported, tmp_path):
    target = tmp_path / "out"
    assert copy_export(exported, target) == list(EXPORTED)
    place = target.stat().st_ino
    (target / "report.json").write_text("old")
    copy_export(exported, target)
    assert target.stat().st_ino == place  # the same folder: it may be mounted
    assert names(target) == sorted(EXPORTED)
    assert all((target / name).read_bytes() == (exported / name).read_bytes() for name in EXPORTED)


def test_copy_refuses_a_folder_with_other_files(exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"holds thesis\.txt"):
        copy_export(exported, tmp_path)
    assert names(tmp_path) == ["thesis.txt"]


def test_copy_of_a_damaged_export_is_refused(exported, tmp_path):
    copy_export(exported, tmp_path / "a")
    archive = (tmp_path / "a" / "model.keras").read_bytes()
    (tmp_path / "a" / "model.keras").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(RunError, match=r"model\.keras cannot be loaded: .*; make it anew with"):
        copy_export(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "model.keras").unlink()
    with pytest.raises(RunError, match=r"is no whole export, it lacks model\.keras"):
        copy_export(tmp_path / "a", tmp_path / "b")


def test_copy_whose_json_does_not_fit_its_weights_is_refused(exported, tmp_path):
    copy_export(exported, tmp_path / "a")
    text = (tmp_path / "a" / "architecture.json").read_text()
    (tmp_path / "a" / "architecture.json").write_text(text.replace('"silu"', '"elu"'))
    with pytest.raises(RlnasError, match=r"architecture\.json differs from the trained model"):
        copy_export(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "architecture.json").write_text(text[:99])
    with pytest.raises(RlnasError, match="cannot be loaded back: "):
        copy_export(tmp_path / "a", tmp_path / "b")


# --- the script ---


def source(architecture=ARCHITECTURE, data_name="digits", recipe=RECIPE, **changed):
    options = {
        "scale": 1 / 16,
        "batch_norm_momentum": 0.8641,
        "class_names": tuple("0123456789"),
        "seed": 3,
    }
    return model_source(architecture, recipe, data_name, **(options | changed))


def executed(text):
    """Return the names that a script defines."""
    namespace = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), namespace)
    return namespace


def random_architecture(shape, seed):
    space, rng, tokens = ImageSpace(shape, 10), np.random.default_rng(seed), []
    while space.decision(tokens) is not None:
        tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
    return space.architecture(tokens)


RANDOM = [
    random_architecture(shape, seed)
    for shape in ((8, 8, 1), (9, 5, 3), (32, 32, 3))
    for seed in range(11)
]


@pytest.mark.parametrize("scale", [1 / 255, 1 / 16, 1.0, 0.0123])
def test_script_builds_what_the_decoder_builds(scale):
    for architecture in [ARCHITECTURE, *RANDOM] if scale == 1 / 255 else RANDOM[:1]:
        built = executed(source(architecture, scale=scale))["build_model"]()
        decoded = decode(architecture, scale=scale, batch_norm_momentum=0.8641)
        assert built.to_json() == decoded.to_json()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_script_has_the_optimizer_of_the_recipe(name, schedule):
    recipe = RecipeConfig(
        epochs=3, batch_size=4, optimizer=name, schedule=schedule, learning_rate=0.125
    )
    made = executed(source(recipe=recipe))["make_optimizer"]
    steps = (9,) if schedule in ("cosine", "exponential", "step") else ()  # of 10 examples
    mine, ours = made(*steps).get_config(), make_optimizer(recipe, 10).get_config()
    assert {**mine, "name": ""} == {**ours, "name": ""}  # Keras numbers the names


PARTS = [
    *({"schedule": schedule} for schedule in SCHEDULES),
    {"rate_per_layer": 0.5},
    {"class_weight": 0.5, "schedule": "plateau"},
    {"class_weight": 1.0},
    {"rate_per_layer": 0.5, "schedule": "gradient", "optimizer": "sgd"},
    {"l1": 1e-4, "l2": 1e-3, "dropout": 0.25, "batch_norm": True, "label_smoothing": 0.1},
    {"augment": "flip,rotation,zoom,shift", "augment_strength": 0.2, "schedule": "plateau"},
]


@pytest.mark.parametrize("part", [{"schedule": "step"}, *PARTS[-4:]], ids=str)
def test_script_trains_by_the_recipe(part, tmp_path, monkeypatch, capsys):
    names, built = executed(source(recipe=RecipeConfig(batch_size=128, **part))), []
    build = names["build_model"]
    names["build_model"] = lambda: built.append(build()) or built[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["model.py", "--epochs", "2"])
    names["main"]()
    assert "test accuracy 0." in capsys.readouterr().out
    assert (tmp_path / "trained.keras").is_file()


def test_script_weighs_classes_as_the_search_does():
    recipe, y = RecipeConfig(class_weight=0.5), np.repeat(np.arange(10), np.arange(1, 11))
    found = executed(source(recipe=recipe))["class_weights"](y)
    assert list(found.values()) == pytest.approx(class_weights(recipe, y, 10).tolist())


def test_script_makes_the_steps_of_the_recipe():
    recipe = RecipeConfig(
        optimizer="sgd", learning_rate=0.5, schedule="gradient", rate_per_layer=0.5
    )
    names = executed(source(recipe=recipe))
    moved = []
    for make in (names["make_optimizer"], lambda model: make_optimizer(recipe, 10, model)):
        keras.utils.set_random_seed(0)
        model = names["build_model"]()
        before, optimizer = model.get_weights(), make(model)
        for size in (1e-4, 1.0):
            gradients = [size * keras.ops.ones(each.shape) for each in model.trainable_variables]
            optimizer.apply(gradients, model.trainable_variables)
        moved.append([b - a for b, a in zip(before, model.get_weights(), strict=True)])
    for mine, ours in zip(*moved, strict=True):
        np.testing.assert_allclose(mine, ours, rtol=1e-6)
    assert np.abs(moved[0][0]).max() < np.abs(moved[0][-1]).max()


def test_script_builds_the_dropout_and_the_penalties_of_the_recipe():
    recipe = RecipeConfig(l1=1e-4, l2=1e-3, dropout=0.25, batch_norm=True)
    for architecture in RANDOM[:5]:
        built = executed(source(architecture, recipe=recipe))["build_model"]()
        decoded = decode(
            architecture,
            scale=1 / 16,
            batch_norm_momentum=0.8641,
            dropout=recipe.dropout,
            batch_norm=True,
            penalties=(recipe.l1, recipe.l2),
        )
        assert built.to_json() == decoded.to_json()


def test_scripts_are_laid_out_as_ruff_would(tmp_path, root):
    long = [f'class "{number}"' if number % 2 else f"it's {number}" for number in range(12)]
    scripts = [source(architecture) for architecture in RANDOM]
    scripts += [source(data_name=name) for name in ("cifar10", "data.npz", str(tmp_path))]
    scripts += [source(RANDOM[-1], recipe=RecipeConfig(**part)) for part in PARTS]
    scripts += [
        source(recipe=RecipeConfig(schedule="fixed"), data_name="data.npz"),
        source(class_names=[f"class-{number}" for number in range(100)]),
        source(class_names=long),
        source(class_names=["a"] * 14),
        source(Architecture((), (), (8, 8, 1), 10)),
    ]
    folder = tmp_path / "scripts"
    folder.mkdir()
    for number, script in enumerate(scripts):
        (folder / f"model_{number}.py").write_text(script)
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--select", "E,W,F,I,UP,B,D", "--ignore", "D203,D213,D407"]
    for words in (["format", "--diff"], ["check", "--line-length", "88", *rules]):
        done = subprocess.run([*ruff, *words, "--isolated", folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_of_classes_survive_the_script():
    names = ['a "b"', "it's", "both \" and '", "back\\slash", "new\nline", "Übung", "\udcff"]
    for written in (names, [f"x{number}" for number in range(50)], names * 9):
        script = source(class_names=written)
        assert executed(script)["CLASS_NAMES"] == written
        script.encode()


def test_script_splits_digits_as_the_search_did():
    x, y, x_test, y_test = executed(source(test_share=0.2))["load_data"]()
    assert np.array_equal(x_test, DIGITS.x_test) and np.array_equal(y_test, DIGITS.y_test)
    assert len(x) == len(y) == len(DIGITS.x_train) + len(DIGITS.x_val)


def test_script_of_a_known_data_set_adds_the_channels(monkeypatch):
    images, labels = np.zeros((6, 28, 28), "uint8"), np.arange(6)[:, None]
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((images, labels), (images[:2], labels[:2]))
    )
    architecture = Architecture((), (), (28, 28, 1), 10)
    parts = executed(source(architecture, "mnist"))["load_data"]()
    assert [part.shape for part in parts] == [(6, 28, 28, 1), (6,), (2, 28, 28, 1), (2,)]


@pytest.mark.parametrize("given", [True, False], ids=["with test part", "without"])
def test_script_reads_a_npz_file_as_the_search_did(tmp_path, given):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (60, 4, 4), "uint8"),
        "y_train": np.array(["dog", "ant", "cat"] * 20)[:, None],
    }
    if given:
        arrays |= {"x_test": arrays["x_train"][:9], "y_test": arrays["y_train"][:9]}
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    data = load_data(path, DataConfig(), 3)
    architecture = Architecture((), (), (4, 4, 1), 3)
    script = executed(source(architecture, str(path), class_names=data.class_names))
    x, y, x_test, y_test = script["load_data"](path)
    assert np.array_equal(x_test, data.x_test) and np.array_equal(y_test, data.y_test)
    assert len(x) == len(y) == (60 if given else 48)
    assert [data.class_names[label] for label in y[:3]] == ["dog", "ant", "cat"] or not given


@pytest.mark.parametrize("arrays", [{"x_train": np.zeros((4, 4, 4))}, {"y_train": np.arange(2)}])
def test_script_says_what_a_npz_file_lacks(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(SystemExit, match="needs x_train and y_train, it holds"):
        executed(source(data_name=str(path)))["load_data"](path)


@pytest.mark.parametrize("parts", [("train", "test"), ("train",), ("",)])
@pytest.mark.parametrize("channels", [1, 3])
def test_script_reads_a_folder_of_images_as_the_search_did(tmp_path, parts, channels):
    rng = np.random.default_rng(0)
    for part in parts:
        for name in ("b", "a b", "c"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(10):
                pixels = rng.integers(0, 256, (5, 4, channels), "uint8")
                image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
                image.save(tmp_path / part / name / f"{number}.png")
            (tmp_path / part / name / "notes.txt").write_text("no image")
    data = load_data(tmp_path, DataConfig(), 3)
    architecture = Architecture((), (), (5, 4, channels), 3)
    script = executed(source(architecture, str(tmp_path), class_names=data.class_names))
    x, y, x_test, y_test = script["load_data"](tmp_path)
    assert np.array_equal(x_test, data.x_test) and np.array_equal(y_test, data.y_test)
    assert x.dtype == np.uint8 and len(x) == len(y) == len(data.x_train) + len(data.x_val)


WITHOUT_RLNAS = textwrap.dedent("""
    import runpy, sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("rlnas", "envs"):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())
    folder, npz = sys.argv[1:]
    for argv in (
        [f"{folder}/digits.py", "--epochs", "1"],
        [f"{folder}/npz.py", npz, "--epochs", "1"],
    ):
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")

    import keras
    model = keras.models.load_model(f"{folder}/best/model.keras")
    with open(f"{folder}/best/architecture.json") as file:
        keras.models.model_from_json(file.read()).set_weights(model.get_weights())
    trained = keras.models.load_model("trained.keras")
    print("outputs", model.output_shape, trained.output_shape)
    assert not [name for name in sys.modules if name.split(".")[0] in ("rlnas", "envs")]
""")


def test_scripts_and_models_work_where_rlnas_is_not_installed(tmp_path, exported):
    copy_export(exported, tmp_path / "best")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x_train=rng.random((30, 4, 4)), y_train=np.arange(30) % 3)
    (tmp_path / "digits.py").write_text((exported / "model.py").read_text())
    architecture = Architecture((), (Dropout(0.1),), (4, 4, 1), 3)
    (tmp_path / "npz.py").write_text(source(architecture, "a.npz", class_names="012"))
    (tmp_path / "cwd").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_RLNAS, tmp_path, tmp_path / "a.npz"],
        cwd=tmp_path / "cwd",
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy 0.") == 2
    assert "outputs (None, 10) (None, 3)" in done.stdout
    assert names(tmp_path / "cwd") == ["trained.keras"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["--epochs", "0"], "--epochs must be at least 1"), (["none.npz"], "none.npz is not there")],
)
def test_script_refuses_wrong_arguments(monkeypatch, capsys, words, complaint):
    given = ["none.npz", *words] if words[0].startswith("-") else words
    monkeypatch.setattr(sys, "argv", ["model.py", *given])
    with pytest.raises(SystemExit):
        executed(source(data_name="a.npz"))["main"]()
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("module", ["sklearn.datasets", "sklearn.model_selection"])
def test_script_says_that_scikit_learn_is_missing(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        executed(source())["load_data"]()
