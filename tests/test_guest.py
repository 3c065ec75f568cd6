"""A controller of the user's own: found by name, and each of its mistakes named."""

import importlib
import json
import re
from contextlib import closing

import numpy as np
import pytest

from rlnas.cli.app import main
from rlnas.controllers import Trajectory
from rlnas.controllers.guest import find_class, make_guest
from rlnas.errors import ConfigError, ControllerError
from rlnas.search.folder import RunFolder
from rlnas.search.state import pack
from rlnas.spaces import TableSpace, observation
from rlnas.testing import check_controller

SPACE = TableSpace([f"{a}{b}{c}" for a in "01" for b in "012" for c in "01"])

OWN = """
import numpy as np
from rlnas.controllers import Action

TOKEN, LOG_PROB, FIGURE = {token}, {log_prob}, {figure}

class Mine:
    def __init__(self, space, seed):
        self.rng, self.learned = np.random.default_rng(seed), 0
        self.mark = repr(space.to_json())[:40]
    def probabilities(self, observation, mask):
        mask = mask.astype(float)
        return mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    def act(self, observation, mask):
        policy = self.probabilities(observation, mask)
        tokens = [self.rng.choice(len(row), p=row) if row.any() else 0 for row in policy]
        if TOKEN is not None and self.learned >= 2:
            tokens = [TOKEN for _ in tokens]
        chosen = [policy[row, token] for row, token in enumerate(tokens)] if TOKEN is None else 1
        log_probs = np.log(np.where(policy.any(axis=1), chosen, 1.0))
        if LOG_PROB is not None and self.learned >= 2:
            log_probs = log_probs + LOG_PROB
        return Action(np.array(tokens), log_probs)
    def learn(self, trajectories):
        self.learned += len(trajectories)
        return {{"controller/mine": FIGURE}}
    def state(self):
        return {{"rng": self.rng.bit_generator.state, "learned": self.learned}}
    def load(self, state):
        from rlnas.errors import RunError
        if "rng" not in state:
            raise RunError("not mine")
        self.rng.bit_generator.state, self.learned = state["rng"], state["learned"]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of this name with such a class into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, token=None, log_prob=None, figure=1.0):
        text = OWN.format(token=token, log_prob=log_prob, figure=figure)
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:Mine"

    return write


def test_own_controller_is_made_and_keeps_the_contract(module):
    name = module("kept")
    check_controller(lambda seed: make_guest(name, SPACE, seed), SPACE)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("masked", {"token": 9}, "expected an allowed token for position 1, one of"),
        ("nan", {"log_prob": "float('nan')"}, "expected a finite log-probability of at most 0"),
        ("positive", {"log_prob": "5.0"}, "of at most 0 for position 1, got"),
        ("figure", {"figure": "float('nan')"}, r"learn\(\) returned nan for 'controller/mine'"),
    ],
)
def test_mistake_is_named(module, name, options, sentence):
    guest = make_guest(module(name, **options), SPACE, 0)
    known = [Trajectory((0, 0, 0), (-1.0, -1.0, -1.0), 0.5)] * 2
    observed, mask = observation((), 3)[None], SPACE.mask(())[None]
    guest.act(observed, mask)
    with pytest.raises(ControllerError, match=sentence):
        guest.learn(known)
        guest.act(observed, mask)


def test_run_is_saved_before_a_mistake_is_told(module, tmp_path, capsys):
    words = ["search", "--controller", module("mistaken", token=9), "--root", str(tmp_path)]
    words += ["--name", "a", "--trials", "3", "--epochs", "1", "--train-samples", "120"]
    assert main([*words, "--top-k", "1", "--final-epochs", "1"]) == 2
    err = capsys.readouterr().err
    assert "controller mistaken:Mine: expected an allowed token" in err
    assert "Traceback" not in err
    assert main(["show", "a", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    module("mistaken")
    importlib.reload(importlib.import_module("mistaken"))
    assert main(["resume", "a", "--root", str(tmp_path)]) == 0
    assert main(["show", "a", "--root", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["controller"], found["trials"]) == ("mistaken:Mine", 3)


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("x = 1", "own1:Mine", "module own1 has no Mine"),
        ("1 / 0", "own2:Mine", "module own2 cannot be imported: division by zero"),
        ("class Mine:\n    pass", "own3:Mine", "it lacks act, probabilities, learn, state, load"),
        ("", "absent_module:Mine", "module absent_module cannot be imported"),
    ],
)
def test_class_that_cannot_be_had_is_one_sentence(tmp_path, monkeypatch, text, name, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name.split(':')[0]}.py").write_text(text) if text else None
    with pytest.raises(ConfigError, match=sentence):
        find_class(name)


def test_class_that_cannot_be_made_is_one_sentence(module, tmp_path):
    name = module("unmade")
    (tmp_path / "unmade.py").write_text(
        (tmp_path / "unmade.py")
        .read_text()
        .replace("def __init__(self, space, seed):", "def __init__(self):")
    )
    with pytest.raises(ConfigError, match=r"Mine\(space, seed\) failed: .*argument"):
        make_guest(name, SPACE, 0)


@pytest.mark.parametrize("answer", ["None", "Action(np.zeros(9), np.zeros(9))"])
def test_answer_of_another_shape_is_one_sentence(module, tmp_path, answer):
    name = module("shaped" + str(len(answer)))
    path = tmp_path / f"{name.split(':')[0]}.py"
    path.write_text(
        path.read_text().replace("return Action(np.array(tokens), log_probs)", f"return {answer}")
    )
    with pytest.raises(ControllerError, match="must return an Action of 2 tokens"):
        make_guest(name, SPACE, 0).act(
            np.zeros((2, 3), dtype=np.int64), np.ones((2, 3), dtype=np.int8)
        )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'return {"controller/mine": FIGURE}',
            "return 5",
            r"must return a dict .* got 5",
        ),
        ("FIGURE}", "10**400}", r"learn\(\) returned 1000"),
        ('return {"controller/mine": FIGURE}', "raise SystemExit(7)", r"learn\(\) failed: 7"),
    ],
    ids=["no dict", "too large", "exit"],
)
def test_figures_that_are_none_are_one_sentence(module, tmp_path, request, old, new, sentence):
    name = module("figures_" + request.node.callspec.id.replace(" ", "_"))
    path = tmp_path / f"{name.split(':')[0]}.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ControllerError, match=sentence):
        make_guest(name, SPACE, 0).learn([Trajectory((0, 0, 0), (-1.0, -1.0, -1.0), 0.5)])


def test_module_that_exits_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exits.py").write_text("import sys; sys.exit(4)")
    with pytest.raises(ConfigError, match="module exits cannot be imported: 4"):
        find_class("exits:Mine")


@pytest.mark.parametrize(
    ("kind", "tokens"), [("floats", "policy[:, 0]"), ("nan", "np.full(len(policy), np.nan)")]
)
def test_tokens_that_are_no_whole_numbers_are_one_sentence(module, tmp_path, kind, tokens):
    name = module("tokens_" + kind)
    path = tmp_path / f"{name.split(':')[0]}.py"
    path.write_text(path.read_text().replace("Action(np.array(tokens)", f"Action({tokens}"))
    with pytest.raises(ControllerError, match="must return an Action of 1 tokens"):
        make_guest(name, SPACE, 0).act(observation((), 3)[None], SPACE.mask(())[None])


def test_state_that_is_none_is_one_sentence(module, tmp_path):
    name = module("stateless")
    path = tmp_path / "stateless.py"
    path.write_text(path.read_text().replace('return {"rng"', 'return None and {"rng"'))
    with pytest.raises(ControllerError, match=r"state\(\) must return a dict .* got None"):
        make_guest(name, SPACE, 0).state()


@pytest.mark.parametrize("value", [{1, 2}, np.array([object()]), 1j], ids=["set", "objects", "1j"])
def test_state_that_cannot_be_saved_is_one_sentence(value):
    with pytest.raises(ControllerError, match=r"state\(\) of the controller cannot be saved"):
        pack({"controller": {"kept": [value]}})


@pytest.mark.parametrize(("file", "key"), [("one", "3"), ("two", "(1, 2)"), ("three", "None")])
def test_key_that_would_come_back_as_a_text_is_one_sentence(module, tmp_path, file, key):
    name = module(f"keyed_{file}")
    path = tmp_path / f"keyed_{file}.py"
    odd = f'return {{"a": [{{{key}: 1}}], "rng"'
    path.write_text(path.read_text().replace('return {"rng"', odd))
    sentence = rf"the keys of dicts in state\(\) must be texts, got {re.escape(key)}; take str"
    with pytest.raises(ControllerError, match=sentence):
        make_guest(name, SPACE, 0).state()


def test_child_is_not_lost_by_a_mistake_in_learning(module, tmp_path, capsys):
    name = module("forgetful")
    path = tmp_path / "forgetful.py"
    text = path.read_text()
    path.write_text(
        text.replace("self.learned += len", "1 / (self.learned < 1)\n        self.learned += len")
    )
    words = ["search", "--controller", name, "--root", str(tmp_path), "--name", "a"]
    words += ["--trials", "3", "--epochs", "1", "--train-samples", "120"]
    assert main([*words, "--top-k", "1", "--final-epochs", "1"]) == 2
    assert "continue with: rlnas resume a" in capsys.readouterr().err
    trained = run_trials(tmp_path, capsys)
    assert len(trained) == 2
    assert main(["resume", "a", "--root", str(tmp_path)]) == 2  # the mistake is still there
    path.write_text(text)
    importlib.reload(importlib.import_module("forgetful"))
    assert main(["resume", "a", "--root", str(tmp_path)]) == 0
    capsys.readouterr()
    again = run_trials(tmp_path, capsys)
    assert (len(again), again[:2]) == (3, trained)
    with closing(RunFolder(tmp_path, "a").open()) as journal:
        assert journal.state()["controller"]["learned"] == 3
        assert "owed" not in journal.state()


def run_trials(root, capsys):
    """Return the ended trials of run a, as the journal tells them."""
    capsys.readouterr()
    with closing(RunFolder(root, "a").open()) as journal:
        return [trial for trial in journal.trials() if trial.ended is not None]
