"""The command line as a user meets it: one small real run, and what bad input gives."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rlnas.children.machine import available_cores
from rlnas.cli import main
from rlnas.config import config_flags
from rlnas.objectives import Metrics
from rlnas.search.folder import RunFolder

SMALL = ["--trials", "4", "--epochs", "1", "--train-samples", "150", "--top-k", "2"]
SMALL += ["--final-epochs", "1", "--seed", "3"]


def run(capsys, *words):
    """Return exit code, standard output and standard error of a command."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with one finished run, called small."""
    root = tmp_path_factory.mktemp("root")
    assert main(["search", "--name", "small", "--root", str(root), *SMALL]) == 0
    return root


def shown(capsys, root, run_name="small"):
    code, out, _ = run(capsys, "show", run_name, "--root", root, "--json")
    assert code == 0
    return json.loads(out)


def test_search_prints_one_json_object_and_nothing_else(tmp_path, capsys):
    words = ("search", "--root", tmp_path, "--controller", "random", *SMALL, "--json")
    code, out, err = run(capsys, *words)
    found = json.loads(out)
    assert code == 0
    assert found["run"] == "digits-random-1"
    assert (found["controller"], found["seed"], found["trials"]) == ("random", 3, 4)
    assert found["seconds"] > 0
    assert {"trial", "tokens", "val_accuracy", "test_accuracy", "params"} <= set(found["best"])
    assert Path(found["best"]["architecture"]).is_file()
    assert "trial 4 of 4" in err


def test_search_says_what_it_found(tmp_path, capsys):
    _, out, _ = run(capsys, "search", "--root", tmp_path, *SMALL)
    lines = out.splitlines()
    assert sum(line.startswith("trial ") for line in lines) == 4
    assert any(line.startswith("best architecture (trial ") for line in lines)
    assert any("test accuracy 0." in line and "reference child 0." in line for line in lines)


def test_show_has_the_history(root, capsys):
    found = shown(capsys, root)
    assert [row["trial"] for row in found["history"]] == [1, 2, 3, 4]
    assert {"trial", "tokens", "seed", "state", "reward"} <= set(found["history"][0])
    assert found["status"] == "done"
    assert found["reference"]["test_accuracy"] > 0


def test_show_prints_trials_and_comparison(root, capsys):
    code, out, _ = run(capsys, "show", "small", "--root", root)
    assert code == 0
    assert "small: done, ppo on digits, seed 3, 4 trials" in out
    assert "reference" in out


@pytest.mark.parametrize("report", [None, "", "[]", '{"trial": 1}'])
def test_runs_are_shown_without_a_whole_report(report, root, tmp_path, capsys):
    shutil.copytree(root / "small", tmp_path / "small")
    path = tmp_path / "small" / "best" / "report.json"
    layers = json.loads(path.read_text())["architecture"]
    path.unlink() if report is None else path.write_text(report)
    assert shown(capsys, tmp_path)["best"]["layers"] == layers
    assert run(capsys, "list", "--root", tmp_path)[0] == 0


def test_best_of_a_search_under_way_has_the_accuracy_it_was_rewarded_for(root, tmp_path, capsys):
    shutil.copytree(root / "small", tmp_path / "small")
    with closing(RunFolder(tmp_path, "small").open()) as journal:
        journal.set_meta({"status": "searching"})
        first = journal.trials()[0]
        better = Metrics(val_accuracy=(1.0, 0.97, 0.96, 0.95, 0.99, 0.98), params=1)
        journal.finish(replace(first, metrics=better, reward=0.99, state="done"), {})
        journal.drop_contenders("long", {})
    found = shown(capsys, tmp_path)["best"]
    assert (found["trial"], found["val_accuracy"]) == (1, 0.99)


def test_list_names_each_run_and_marks_a_damaged_one(root, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.sqlite").write_text("nonsense " * 1000)
    (tmp_path / "small").symlink_to(root / "small")
    code, out, _ = run(capsys, "list", "--root", tmp_path, "--json")
    rows = {row["run"]: row for row in json.loads(out)["runs"]}
    assert code == 0
    assert rows["small"]["trials"] == 4
    assert rows["broken"]["status"] == "damaged"
    assert "small" in run(capsys, "list", "--root", tmp_path)[1]


def test_a_run_says_whether_anybody_goes_on_with_it(root, tmp_path, capsys):
    def told(command):
        return " ".join(run(capsys, *command, "--root", tmp_path)[1].split())

    shutil.copytree(root / "small", tmp_path / "small")
    assert "stopped" not in told(["list"]) + told(["show", "small"])
    folder = RunFolder(tmp_path, "small")
    with closing(folder.open()) as journal:
        journal.set_meta({"status": "searching"})
    for command in (["list"], ["show", "small"]):
        assert "searching, stopped" in told(command)
        with folder.writing():
            assert "searching, stopped" not in told(command)


def test_list_of_an_empty_root_says_how_to_start(tmp_path, capsys):
    assert "start one with: rlnas search" in run(capsys, "list", "--root", tmp_path)[1]


def test_resume_of_an_ended_run_prints_its_result(root, capsys):
    before = shown(capsys, root)
    code, out, _ = run(capsys, "resume", "small", "--root", root, "--json")
    assert code == 0
    assert json.loads(out)["best"] == before["best"]
    assert shown(capsys, root) == before


def test_budget_that_is_spent_already_is_said_to_be(root, capsys):
    before = shown(capsys, root)
    code, out, _ = run(capsys, "resume", "small", "--time-limit", "9h", "--root", root)
    assert code == 0
    assert "this budget is spent already" in out
    assert shown(capsys, root) == before


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="one core has no second thread")
def test_inline_children_have_the_threads_that_were_asked_for(tmp_path):
    rows = [f"{k % 7},{'ab'[k % 2]},{'yn'[k % 2]}" for k in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["size,kind,label", *rows]))
    words = [sys.executable, "-m", "rlnas", "search", "--dataset", str(tmp_path / "x.csv")]
    words += ["--executor", "inline", "--threads", "1", "--trials", "1", "--epochs", "1"]
    words += ["--top-k", "1", "--final-epochs", "1", "--no-refit", "--root", str(tmp_path)]
    done = subprocess.run([*words, "--json"], stdout=subprocess.PIPE, check=True)
    best = tmp_path / json.loads(done.stdout)["run"] / "best"
    assert json.loads((best / "report.json").read_text())["threads"] == 1


def test_sample_draws_legal_architectures_and_changes_nothing(root, capsys):
    before = shown(capsys, root)
    words = ("sample", "small", "-n", "5", "--root", root, "--json")
    drawn = json.loads(run(capsys, *words)[1])["architectures"]
    assert len(drawn) == 5
    assert all(row["log_prob"] < 0 and row["layers"] for row in drawn)
    assert json.loads(run(capsys, *words)[1])["architectures"] == drawn
    assert shown(capsys, root) == before
    assert "log-probability" in run(capsys, "sample", "small", "--root", root)[1]


@pytest.mark.slow
def test_sample_of_evolution_tells_its_next_proposals(tmp_path, capsys):
    words = ["--root", tmp_path, "--name", "evolved", "--controller", "evolution"]
    assert run(capsys, "search", *words, *SMALL, "--population", "2", "--tournament", "2")[0] == 0
    rows = [
        json.loads(run(capsys, "sample", "evolved", "--root", tmp_path, "-n", "4", "--json")[1])
        for _ in range(2)
    ]
    assert rows[0] == rows[1]
    assert {row["log_prob"] for row in rows[0]["architectures"]} == {None}
    known = [tuple(row["tokens"]) for row in shown(capsys, tmp_path, "evolved")["history"]]
    assert all(  # a child of evolution is near a known network: it begins as one of them does
        any(tuple(row["tokens"])[:1] == tokens[:1] for tokens in known)
        for row in rows[0]["architectures"]
    )
    assert run(capsys, "sample", "evolved", "--root", tmp_path)[0] == 0


def test_export_copies_the_best_and_refuses_a_folder_with_other_files(root, tmp_path, capsys):
    code, out, _ = run(capsys, "export", "small", "--to", tmp_path / "out", "--root", root)
    assert code == 0
    assert "loaded back and compared" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"architecture.json", "model.keras", "model.py", "report.json"} <= names
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, err = run(capsys, "export", "small", "--to", tmp_path / "mine", "--root", root)
    assert code == 2
    assert "thesis.txt" in err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_any_trial_is_exported_and_the_whole_front(root, tmp_path, capsys):
    words = ("--root", root, "--json")
    code, out, _ = run(capsys, "export", "small", "--to", tmp_path, "--trial", "2", *words)
    assert code == 0
    assert json.loads(out)["folders"] == [str(tmp_path / "trial-2")]
    report = json.loads((tmp_path / "trial-2" / "report.json").read_text())
    history = {row["trial"]: row for row in shown(capsys, root)["history"]}
    assert report["tokens"] == history[2]["tokens"]
    code, out, _ = run(capsys, "pareto", "small", "--export", tmp_path / "front", *words)
    assert code == 0
    found = json.loads(out)
    front = [each["trial"] for each in found["trials"] if each["front"]]
    assert [Path(folder).name for folder in found["folders"]] == [f"trial-{n}" for n in front]
    from rlnas.children.backend import keras

    for number in front:
        model = keras.models.load_model(tmp_path / "front" / f"trial-{number}" / "model.keras")
        assert model.count_params() == history[number]["metrics"]["params"]
    code, _, err = run(capsys, "export", "small", "--to", tmp_path, "--trial", "77", *words[:2])
    assert code == 2
    assert "small has no trial 77 that ended well" in err


@pytest.mark.slow
def test_retrain_and_a_larger_budget_go_on_from_an_ended_run(tmp_path, capsys):
    words = ("--root", tmp_path, "--json")
    small = [*SMALL[:-2], "--seed", "5", "--controller", "random"]
    run(capsys, "search", "--name", "a", *small, *words)
    first = shown(capsys, tmp_path, "a")
    anew = ("--top-k", "1", "--final-epochs", "2")
    crew = ("--executor", "process", "--workers", "1", "--threads", "2")
    code, out, err = run(capsys, "retrain", "a", *anew, *crew, *words)
    assert code == 0
    assert "1 worker with 2 threads" in err
    assert len(json.loads(out)["retrained"]) == 1
    settings = tmp_path / "a" / "config.yaml"
    settings.write_text("")  # as a kill or a full disk may leave a file
    code, out, _ = run(capsys, "resume", "a", "--trials", "6", *words)
    assert code == 0
    values = yaml.safe_load(settings.read_text())
    assert (values["budget"]["trials"], values["final"]["top_k"], values["seed"]) == (6, 1, 5)
    history = shown(capsys, tmp_path, "a")["history"]
    assert len(history) == 6
    assert [r["tokens"] for r in history[:4]] == [r["tokens"] for r in first["history"]]
    assert json.loads(out)["status"] == "done"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "digit"], "did you mean digits"),
        (["--controller", "reinforc"], "did you mean reinforce"),
        (["--epochs", "many"], "recipe.epochs (--epochs): expected a whole number, got 'many'"),
        (["--trials", "0"], "budget.trials (--trials): expected more than 0, got '0'"),
        (["--time-limit", "soon"], "expected a time such as"),
        (["--learning-rate", "nan"], "expected a finite number"),
        (["--name", "../x"], "name (--name): expected a name"),
        (["--dataset", "absent.npz"], "absent.npz"),
        (["--config", "absent.yaml"], "cannot read the config absent.yaml"),
        (["--baseline", "absent.keras"], "absent.keras does not exist"),
        (["--max-params", "3"], "no network fits below max_params=3"),
        (["--bogus", "3"], "No such option"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_2_and_leaves_nothing(
    words, sentence, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "search", *words)
    assert code == 2
    assert sentence in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_bad_config_file_names_the_field(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("recipe:\n  epoch: 3\n")
    code, _, err = run(capsys, "search", "--config", tmp_path / "c.yaml", "--root", tmp_path / "r")
    assert code == 2
    assert "unknown field in recipe 'epoch': did you mean epochs" in err


def test_name_that_is_taken_offers_resume(root, capsys):
    code, _, err = run(capsys, "search", "--name", "small", "--root", root, *SMALL)
    assert code == 2
    assert "exists already; continue it with: rlnas resume small" in err


@pytest.mark.parametrize("command", ["resume", "show", "sample", "retrain"])
def test_unknown_run_names_the_nearest(command, root, capsys):
    code, _, err = run(capsys, command, "smal", "--root", root)
    assert code == 2
    assert "did you mean small" in err


@pytest.mark.parametrize("command", [["retrain"], ["resume", "--trials", "9"]])
def test_run_that_another_process_writes_is_left_alone(command, root, capsys):
    before = shown(capsys, root)
    with RunFolder(root, "small").writing():
        code, _, err = run(capsys, command[0], "small", *command[1:], "--root", root)
    assert code == 2
    assert "is being written by another process" in err
    assert shown(capsys, root) == before


def test_run_of_another_space_is_refused(root, tmp_path, capsys):
    shutil.copytree(root / "small", tmp_path / "small")
    with closing(RunFolder(tmp_path, "small").open()) as journal:
        journal.set_meta({"space_fingerprint": "another"})
    code, _, err = run(capsys, "resume", "small", "--trials", "9", "--root", tmp_path)
    assert code == 2
    assert "was written for space" in err
    assert "start a new run or pass the old config" in err


def test_print_config_writes_yaml_that_reads_back(tmp_path, capsys):
    code, out, _ = run(capsys, "search", "--print-config", "--epochs", "7")
    assert code == 0
    assert yaml.safe_load(out)["recipe"]["epochs"] == 7
    (tmp_path / "c.yaml").write_text(out)
    again = run(capsys, "search", "--config", tmp_path / "c.yaml", "--print-config")[1]
    assert again == out


def test_help_of_search_names_every_flag(capsys):
    code, out, _ = run(capsys, "search", "--help")
    assert code == 0
    assert all(flag.flag in out for flag in config_flags())


def test_help_of_each_command_teaches(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("search", "resume", "list", "show", "sample", "retrain", "export"):
        assert command in out
        assert "--root" in run(capsys, command, "--help")[1]


def test_unknown_command_is_refused(capsys):
    code, _, err = run(capsys, "serach")
    assert code == 2
    assert "No such command" in err


def test_resume_leaves_the_config_as_it_was_written(root, tmp_path, capsys):
    shutil.copytree(root / "small", tmp_path / "small")
    folder = RunFolder(tmp_path, "small")
    with closing(folder.open()) as journal:
        before = journal.meta()["config"]
        journal.drop_contenders("long", {"status": "retraining"})
    assert run(capsys, "resume", "small", "--root", tmp_path)[0] == 0
    with closing(folder.open()) as journal:
        assert journal.meta()["config"] == before
    report = json.loads((folder.best / "report.json").read_text())
    assert report == json.loads((root / "small" / "best" / "report.json").read_text())


@pytest.mark.parametrize("backend", ["jax", "no_such_backend"])
def test_backend_that_cannot_start_is_one_sentence(backend, tmp_path):
    words = [sys.executable, "-m", "rlnas", "search", "--root", str(tmp_path)]
    blocked = tmp_path / "sitecustomize.py"
    blocked.write_text("import sys\nsys.modules['jax'] = None\n")
    surroundings = {**os.environ, "KERAS_BACKEND": backend}
    surroundings["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: Keras cannot start with the backend {backend}: ")
    assert done.stderr.count("\n") == 1
