"""ppo begins with what the reference child earned."""

from contextlib import closing

import numpy as np
import pytest
from sklearn.datasets import load_digits

import rlnas
from rlnas.config import ControllerConfig
from rlnas.controllers import Trajectory, make_controller, propose
from rlnas.controllers.features import Encoder, distances
from rlnas.errors import ConfigError, InterruptedRunError
from rlnas.search.folder import RunFolder
from rlnas.search.progress import Silence
from rlnas.spaces import ImageSpace

SPACE = ImageSpace((28, 28, 1), 10)
REFERENCE = SPACE.reference().tokens
KEY = SPACE.key(SPACE.reference())
DIGITS = load_digits()
DATA = DIGITS.images[:120], DIGITS.target[:120]


def ppo(seed=0, space=SPACE):
    return make_controller(space, ControllerConfig(), seed)


def proposals(controller, count, reward=0.1):
    """Propose and learn; return the architectures."""
    found = []
    for _ in range(count):
        tokens, log_probs = propose(controller, SPACE)
        found.append(tokens)
        controller.learn([Trajectory(tokens, log_probs, reward)])
    return found


def differences(architectures):
    """Return in how many decisions each differs from the reference child."""
    encoder = Encoder(SPACE)
    rows = [
        encoder.features([encoder.row(each) for each in part])
        for part in (architectures, [REFERENCE])
    ]
    return distances(*rows)[0][:, 0]


def test_every_second_proposal_is_an_edit_of_the_best_until_enough_is_known():
    edits, others = [], []
    for seed in range(3):
        controller = ppo(seed)
        controller.begin_with(REFERENCE, 0.9)
        found = differences(proposals(controller, 8))
        edits += found[1::2].tolist()
        others += found[0::2].tolist()
    assert np.median(edits) < 15 < 20 < np.median(others)


def test_edits_put_layers_in_as_well_as_take_them_out():
    longer = []
    for seed in range(6):
        controller = ppo(seed)
        controller.begin_with(REFERENCE, 0.9)
        longer += [len(tokens) - len(REFERENCE) for tokens in proposals(controller, 8)[1::2]]
    assert min(sum(each > 0 for each in longer), sum(each < 0 for each in longer)) >= 6


def test_without_it_nobody_edits_what_is_not_known_to_be_good():
    assert np.median(differences(proposals(ppo(), 8))) > 20


def test_the_reference_is_never_proposed_and_counts_as_a_result():
    controller = ppo()
    controller.begin_with(REFERENCE, 0.9)
    found = proposals(controller, 30)
    assert KEY not in {SPACE.key(SPACE.architecture(tokens)) for tokens in found}
    assert controller.believed() == REFERENCE


def test_state_goes_on_with_the_edits():
    first, second = ppo(), ppo()
    first.begin_with(REFERENCE, 0.9)
    proposals(first, 3)
    second.load(first.state())
    assert proposals(second, 6) == proposals(first, 6)


def by_size(model, data, seed):
    """An evaluator that trains nothing: small networks are good."""
    return 1 / (1 + model.count_params() / 1e5)


def search(root, evaluator=by_size, name="run", space=None, progress=None, **controller):
    config = {"space": space or {"max_layers": 6}, "controller": controller}
    options = {"trials": 4, "top_k": 1, "final_epochs": 1, "progress": progress}
    return rlnas.Search(DATA, root=root, config=config, name=name, evaluator=evaluator, **options)


def fails_once():
    """Return such an evaluator whose first child, the reference, fails."""
    calls = []

    def evaluate(model, data, seed):
        calls.append(seed)
        if len(calls) == 1:
            raise ValueError("too much")
        return by_size(model, data, seed)

    return evaluate


class Notes(Silence):
    """Keeps what is noted."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def learned(root, name="run"):
    """Return the rewards that the controller of a run knows, from the first on."""
    with closing(RunFolder(root, name).open()) as journal:
        return np.array(journal.state()["controller"]["history"]["rewards"]).tolist()


def test_search_tells_ppo_what_the_reference_earned(tmp_path):
    found = search(tmp_path).run()
    beside = next(each for each in found.brief if each.name == "reference")
    assert len(learned(tmp_path)) == 4 + 1
    assert learned(tmp_path)[0] == pytest.approx(beside.metrics.val_accuracy[-1])


@pytest.mark.parametrize(
    ("controller", "space", "evaluator", "reason"),
    [
        ({"from_reference": False}, None, by_size, None),
        ({}, {"max_layers": 6, "max_params": 2000}, by_size, "token"),  # the reference has more
        ({}, None, fails_once, "too much"),
    ],
    ids=["switched off", "beyond the caps", "failed"],
)
def test_search_leaves_it_out_and_says_so(controller, space, evaluator, reason, tmp_path):
    heard = Notes()
    make = evaluator() if evaluator is fails_once else evaluator
    search(tmp_path, make, space=space, progress=heard, **controller).run()
    assert len(learned(tmp_path)) == 4
    said = [note for note in heard.notes if "without the reference child" in note]
    assert len(said) == (reason is not None)
    assert all(reason in note for note in said)


def test_stopped_search_goes_on_as_if_it_was_not(tmp_path):
    whole = search(tmp_path, name="whole").run()
    calls = []

    def stopped(model, data, seed):
        calls.append(seed)
        if len(calls) == 2:  # the first trial, behind the reference child
            raise KeyboardInterrupt
        return by_size(model, data, seed)

    with pytest.raises(InterruptedRunError):
        search(tmp_path, stopped).run()
    found = search(tmp_path).resume("run")
    assert [t.tokens for t in found.trials] == [t.tokens for t in whole.trials]
    assert learned(tmp_path) == learned(tmp_path, "whole")


def test_setting_of_another_controller_is_refused():
    with pytest.raises(ConfigError, match="from_reference False is a setting of ppo"):
        rlnas.Search(DATA, config={"controller": {"name": "random", "from_reference": False}})
