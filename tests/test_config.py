import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rlnas.config import (
    AUGMENTATIONS,
    CONTROLLERS,
    DATASETS,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    SPACES,
    SURROGATES,
    config_flags,
    default_root,
    dump_config,
    make_config,
    read_config,
    with_flags,
)
from rlnas.config.docs import config_page
from rlnas.errors import ConfigError

FLAGS = config_flags()


def refusal(values):
    with pytest.raises(ConfigError) as caught:
        make_config(values)
    return str(caught.value)


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_flag_stands_for_one_field():
    flags = [flag.flag for flag in FLAGS if flag.flag]
    assert len(set(flags)) == len(flags)
    assert all(re.fullmatch(r"--[a-z][a-z0-9]*(-[a-z]+)*", flag) for flag in flags)


def test_no_flag_takes_the_name_of_another_option():
    others = {"--config", "--print-config", "--root", "--json", "--help", "--to"}
    assert not others & {flag.flag for flag in FLAGS}


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.field)
def test_each_meaning_ends_with_the_source_or_the_reason_of_its_default(flag):
    source = r"(\(chosen\)|\([^()]*\b(19|20)\d\d\b[^()]*\)|Default: .+|\([^()]*benchmarks/[^()]*\))"
    assert re.search(rf"{source}\.$", flag.text), flag.text


def test_defaults_are_a_whole_config():
    config = make_config({})
    assert (config.data.dataset, config.controller.name) == ("digits", "ppo")
    assert config == make_config(config.model_dump())


def test_known_names_are_accepted():
    for section, field, names in (
        ("data", "dataset", DATASETS),
        ("space", "name", SPACES),
        ("controller", "name", CONTROLLERS),
        ("recipe", "optimizer", OPTIMIZERS),
        ("recipe", "schedule", SCHEDULES),
        ("recipe", "augment", (*AUGMENTATIONS, "none")),
    ):
        for name in names:
            assert getattr(getattr(make_config({section: {field: name}}), section), field) == name
    for preset in PRESETS:
        config = make_config({"controller": {"name": "reinforce", "preset": preset}})
        assert config.controller.preset == preset
    for surrogate in SURROGATES:
        config = make_config({"controller": {"name": "ppo", "surrogate": surrogate}})
        assert config.controller.surrogate == surrogate
    own = make_config({"controller": {"name": "my.module:MyController"}})
    assert own.controller.name == "my.module:MyController"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"name": "ppo", "preset": "zoph"},
            "preset zoph is a setting of reinforce, got it for the controller ppo",
        ),
        ({"name": "dqn", "surrogate": "none"}, "surrogate none is a setting of ppo, got it for"),
        ({"name": "local", "population": 9}, "population 9 is a setting of evolution and genetic"),
        ({"name": "random", "entropy": 0.0}, "entropy 0.0 is a setting of ppo and reinforce"),
        (
            {"name": "evolution", "tournament": 21},
            "a tournament of 21 is larger than the population of 20",
        ),
    ],
)
def test_setting_of_another_controller_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        make_config({"controller": settings})


CHANGED = {
    "name": "1e3",
    "seed": 7,
    "baseline": "my models/ä: # [x].keras",
    "data": {"dataset": "/data/" + "a long name with spaces and epochs: " * 8 + "\n\nseed"},
    "space": {"choices": {"conv.filters": [8, 16], "conv.batch_norm": [True], "name": [0.5]}},
    "controller": {"learning_rate": 1e-5, "entropy": 0},
    "budget": {"trials": "12", "time_limit": "1h30m"},
}


@pytest.mark.parametrize("values", [{}, CHANGED], ids=["defaults", "changed"])
@pytest.mark.parametrize("comments", [False, True])
def test_config_survives_yaml(tmp_path, values, comments):
    config = make_config(values)
    path = written(tmp_path, dump_config(config, comments=comments))
    assert make_config(read_config(path)) == config


def test_comments_give_the_meaning_of_each_field():
    text = dump_config(make_config({}), comments=True)
    comments = re.sub(r"\n *# ", " ", text)
    assert all(flag.text in comments for flag in FLAGS)


def test_numbers_come_as_text_from_flags():
    config = make_config({"recipe": {"epochs": "3", "learning_rate": "1e-3"}, "seed": "5"})
    assert (config.recipe.epochs, config.recipe.learning_rate, config.seed) == (3, 0.001, 5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400)],
)
def test_times_are_read_with_units(text, seconds):
    assert make_config({"budget": {"time_limit": text}}).budget.time_limit == seconds


@pytest.mark.parametrize(
    ("budget", "most"),
    [({}, 60), ({"time_limit": 9}, None), ({"trials": 8}, 8), ({"trials": 8, "time_limit": 9}, 8)],
)
def test_trials_are_limited_unless_the_time_is(budget, most):
    assert make_config({"budget": budget}).budget.most_trials == most


TIME = 'a time such as "90s", "20m" or "1h30m"'


@pytest.mark.parametrize(
    ("section", "field", "flag", "value", "expected"),
    [
        ("recipe", "epochs", "--epochs", 0, "more than 0"),
        ("recipe", "epochs", "--epochs", -3, "more than 0"),
        ("recipe", "epochs", "--epochs", 2.5, "a whole number"),
        ("recipe", "epochs", "--epochs", "many", "a whole number"),
        ("recipe", "epochs", "--epochs", "", "a whole number"),
        ("recipe", "epochs", "--epochs", None, "a whole number"),
        ("recipe", "epochs", "--epochs", [1], "a whole number"),
        ("recipe", "epochs", "--epochs", {"a": 1}, "a whole number"),
        ("recipe", "epochs", "--epochs", True, "a whole number"),
        ("recipe", "epochs", "--epochs", float("nan"), "a finite number"),
        ("recipe", "learning_rate", "--learning-rate", float("inf"), "a finite number"),
        ("recipe", "learning_rate", "--learning-rate", float("nan"), "a finite number"),
        ("recipe", "learning_rate", "--learning-rate", 0, "more than 0"),
        ("recipe", "learning_rate", "--learning-rate", True, "a number"),
        ("recipe", "learning_rate", "--learning-rate", "fast", "a number"),
        ("data", "validation", "--validation", 1, "less than 1"),
        ("data", "validation", "--validation", float("nan"), "a finite number"),
        ("data", "test", "--test-share", False, "a number"),
        ("data", "train_samples", "--train-samples", 0, "more than 0"),
        ("data", "dataset", "--dataset", 5, "a text"),
        ("data", "dataset", "--dataset", ["digits"], "a text"),
        ("space", "max_layers", "--max-layers", 101, "at most 100"),
        ("space", "max_layers", "--max-layers", True, "a whole number"),
        ("controller", "name", "--controller", ["random"], "a text"),
        ("controller", "name", "--controller", {"a": 1}, "a text"),
        ("controller", "entropy", "--entropy", -0.1, "at least 0"),
        ("controller", "baseline_decay", "--baseline-decay", 1, "less than 1"),
        ("budget", "time_limit", "--time-limit", "1.2.3s", TIME),
        ("budget", "time_limit", "--time-limit", "1h30", TIME),
        ("budget", "time_limit", "--time-limit", "...m", TIME),
        ("budget", "time_limit", "--time-limit", "-5", TIME),
        ("budget", "time_limit", "--time-limit", True, "a number"),
    ],
)
def test_bad_value_is_named_with_its_flag_what_was_expected_and_what_came(
    section, field, flag, value, expected
):
    sentence = refusal({section: {field: value}})
    assert sentence == f"{section}.{field} ({flag}): expected {expected}, got {value!r}"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"seed": -1}, "seed (--seed): expected at least 0, got -1"),
        ({"seed": 2**31}, "seed (--seed): expected less than 2147483648, got 2147483648"),
        ({"threads": 10**6}, "threads (--threads): expected at most 1024, got 1000000"),
        ({"recipe": 5}, "recipe: expected a mapping, got 5"),
        ({"recipe": None}, "recipe: expected a mapping, got None"),
        ({5: 1}, "5: expected a text as its name, got 5"),
        ({"space": {"choices": {"a": 5}}}, "space.choices.a: expected a list, got 5"),
        ({"space": {"choices": {5: [1]}}}, "space.choices.5: expected a text, got 5"),
    ],
)
def test_bad_tree_gives_one_sentence(values, sentence):
    assert refusal(values) == sentence


@pytest.mark.parametrize("value", [None, [1], {"b": 2}])
def test_choices_must_be_plain_values(value):
    assert "expected lists of numbers, texts, true or false" in refusal(
        {"space": {"choices": {"conv.filters": [8, value]}}}
    )


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", ".x", "a b", "a\n", "a" * 101])
def test_run_name_that_is_no_plain_folder_name_is_refused(name):
    assert refusal({"name": name}).startswith("name (--name): expected a name of up to 100")


def test_unknown_choice_of_a_name_gives_the_nearest():
    assert refusal({"recipe": {"optimizer": "admaw"}}) == (
        "recipe.optimizer (--optimizer): unknown optimizer 'admaw': did you mean adamw or adam or "
        "adagrad? known are adagrad, adam, adamw, momentum, nesterov, rmsprop, sgd"
    )


def test_unknown_section_and_field_give_the_nearest():
    assert "unknown field in the config 'recpie': did you mean recipe" in refusal({"recpie": {}})
    assert "unknown field in recipe 'epoch': did you mean epochs?" in refusal(
        {"recipe": {"epoch": 1}}
    )


def test_all_mistakes_are_named_at_once():
    sentence = refusal({"recipe": {"epochs": 0, "epoch": 1}, "seed": -1})
    assert all(part in sentence for part in ("(--seed)", "(--epochs)", "'epoch'"))


def test_very_long_value_is_shortened():
    assert len(refusal({"recipe": {"epochs": list(range(10_000))}})) < 200


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: *b", "a: !!python/name:os.system", "day: 2020-13-45", "? [1]\n: 2", "[" * 3000],
)
def test_broken_yaml_gives_one_sentence(tmp_path, text):
    with pytest.raises(ConfigError, match=r"the config .* is not valid YAML: \S[^\n]*$"):
        read_config(written(tmp_path, text))


def test_section_that_stands_twice_in_yaml_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'recipe' stands there twice .*line 3"):
        read_config(written(tmp_path, "recipe:\n  epochs: 1\nrecipe:\n  batch_size: 8\n"))


def test_yaml_that_is_no_mapping_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be a mapping, got list"):
        read_config(written(tmp_path, "- 1"))


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the config .*no\.yaml: No such file"):
        read_config(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(tmp_path)


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_config(path)


def test_empty_file_means_the_defaults(tmp_path):
    assert read_config(written(tmp_path, "# nothing yet\n")) == {}


def test_flags_go_before_the_file_and_leave_it_as_it_was():
    stored = {"recipe": {"epochs": 3, "batch_size": 8}}
    merged = with_flags(stored, {("recipe", "epochs"): 9, ("budget", "trials"): 2})
    assert merged == {"recipe": {"epochs": 9, "batch_size": 8}, "budget": {"trials": 2}}
    assert stored == {"recipe": {"epochs": 3, "batch_size": 8}}


def test_flag_of_a_broken_section_is_refused():
    with pytest.raises(ConfigError, match="recipe: expected a mapping, got 5"):
        with_flags({"recipe": 5}, {("recipe", "epochs"): 9})


def test_root_comes_from_the_environment(monkeypatch):
    assert default_root() == Path("checkpoints")
    monkeypatch.setenv("RLNAS_ROOT", "elsewhere")
    assert default_root() == Path("elsewhere")


def test_page_of_settings_is_up_to_date(root):
    page = (root / "docs" / "config.md").read_text("utf-8")
    assert page == config_page(), "run: python -m rlnas.config.docs > docs/config.md"


def test_dumped_config_is_yaml_that_others_can_read():
    tree = yaml.safe_load(dump_config(make_config(CHANGED)))
    assert tree["budget"] == {"trials": 12, "time_limit": 5400.0}


@pytest.mark.parametrize(
    ("given", "gpus"),
    [(0, "0"), ([0, 1], "0,1"), ("0, 1", "0,1"), ("all", "all"), ("none", "none"), (None, None)],
)
def test_gpus_are_numbers_or_a_word(given, gpus):
    engine = {"executor": "process", "gpus": given}
    assert make_config({"engine": engine}).engine.gpus == gpus


def test_empty_address_is_refused():
    for address in (" ", "10.0.0.1:99999", "10.0.0.1:0"):
        with pytest.raises(ConfigError, match='"auto" or an address such as'):
            make_config({"engine": {"executor": "ray", "ray_address": address}})
    engine = {"executor": "ray", "ray_address": " "}
    assert 'expected "auto" or an address such as "10.0.0.1:6379"' in refusal({"engine": engine})


@pytest.mark.parametrize("given", [True, -1, "first", "0,", "0 1", [True], [], 1.5])
def test_other_gpus_are_refused(given):
    assert 'expected "all", "none" or numbers such as "0,1"' in refusal({"engine": {"gpus": given}})


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ({"executor": "ray", "gpus": 0}, "Ray chooses GPUs itself, got --gpus 0"),
        ({"executor": "inline", "gpus": "all"}, "the inline executor .* got --gpus all"),
        ({"executor": "inline", "children_per_gpu": 2}, "got --children-per-gpu"),
        ({"gpus": "none", "children_per_gpu": 2}, "with --gpus none"),
    ],
)
def test_gpus_that_fit_nothing_else_are_refused(engine, sentence):
    assert re.search(sentence, refusal({"engine": {"executor": "process", **engine}}))


def test_variable_that_names_no_executor_is_one_sentence(monkeypatch):
    monkeypatch.setenv("RLNAS_EXECUTOR", "foo")
    with pytest.raises(ConfigError, match="unknown executor 'foo'"):
        make_config({})
    code = "from rlnas.cli import main; raise SystemExit(main(['search', '--print-config']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: unknown executor 'foo'")
    code = "from rlnas.cli import main; raise SystemExit(main(['search', '--help']))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
