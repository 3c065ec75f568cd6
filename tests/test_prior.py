"""A warm start of ppo: from an earlier run, and from what networks cost."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import rlnas
from rlnas.config import ControllerConfig
from rlnas.controllers import Trajectory, make_controller, propose, uniform
from rlnas.cost import network_cost
from rlnas.errors import InterruptedRunError, RunError
from rlnas.search.prior import by_cost, read_prior
from rlnas.spaces import TableSpace, observation

DIGITS = load_digits()
DATA = DIGITS.images[:120], DIGITS.target[:120]
ROWS = [f"{first}{second}{third}" for first in "01" for second in "012" for third in "0123"]
SPACE = TableSpace(ROWS)
SMALL = {"space": {"max_layers": 3}}


def by_size(model, data, seed):
    """An evaluator that trains nothing: small networks are good."""
    return 1 / (1 + model.count_params() / 1e5)


def search(root, config=None, **options):
    return rlnas.Search(
        DATA,
        root=root,
        config={**SMALL, "controller": {"name": "ppo"}, **(config or {})},
        **{"evaluator": by_size, "trials": 4, "top_k": 1, "final_epochs": 1, **options},
    )


def warm(source):
    return {"controller": {"name": "ppo", "warm_start": source}}


def ppo(space=SPACE):
    return make_controller(space, ControllerConfig(name="ppo", surrogate="none"), 0)


def first_token(controller):
    observed = observation((), SPACE.max_tokens)[None]
    return controller.probabilities(observed, SPACE.mask(())[None])[0]


def entropy(controller):
    policy = first_token(controller)[:2]
    return -float(policy @ np.log(policy))


def test_search_without_a_surrogate_begins_uniformly_whatever_its_prior_says():
    known = [(SPACE._tokens(row), float(row[0] == "1")) for row in ROWS]
    begun = 0
    for seed in range(6):
        controller = make_controller(SPACE, ControllerConfig(name="ppo", surrogate="none"), seed)
        controller.warm_start(known)
        for _ in range(12):
            tokens, log_probs = propose(controller, SPACE)
            controller.learn([Trajectory(tokens, log_probs, 0.5)])
            begun += tokens[0]
    assert 22 <= begun <= 50  # of 72; the policy would give about 58


@pytest.mark.parametrize("good", [0, 1])
def test_policy_learns_what_was_good_and_stays_open_to_the_rest(good):
    controller = ppo()
    controller.warm_start([(SPACE._tokens(row), float(row[0] == str(good))) for row in ROWS])
    policy = first_token(controller)
    assert policy[good] > 0.6
    assert policy[1 - good] > 0.05


def test_only_the_order_of_the_scores_counts():
    known = [(SPACE._tokens(row), float(place)) for place, row in enumerate(ROWS)]
    first, second = ppo(), ppo()
    first.warm_start(known)
    second.warm_start([(tokens, np.exp(score) - 7) for tokens, score in known])
    assert np.array_equal(first_token(first), first_token(second))


def test_earlier_run_gives_its_rewarded_trials(tmp_path):
    def fails_first(model, data, seed):
        fails_first.calls += 1
        if fails_first.calls == 2:  # the reference child comes before it
            raise MemoryError("too big")
        return by_size(model, data, seed)

    fails_first.calls = 0
    found = search(tmp_path, name="old", evaluator=fails_first).run()
    space = rlnas.ImageSpace((8, 8, 1), 10, max_layers=3)
    expected = [(t.tokens, t.reward) for t in found.trials if t.reward is not None]
    assert len(expected) == 3
    assert read_prior("old", tmp_path, space, 0) == expected
    assert read_prior(str(tmp_path / "old"), tmp_path / "elsewhere", space, 0) == expected


def test_tokens_that_the_caps_forbid_are_left_out(tmp_path):
    search(tmp_path, name="old", trials=6).run()
    space = rlnas.ImageSpace((8, 8, 1), 10, max_layers=3)
    found = [space.architecture(tokens) for tokens, _ in read_prior("old", tmp_path, space, 0)]
    sizes = sorted(network_cost(f.layers, f.input_shape, f.classes).params for f in found)
    capped = rlnas.ImageSpace((8, 8, 1), 10, max_layers=3, max_params=sizes[3])
    assert 2 <= len(read_prior("old", tmp_path, capped, 0)) <= 4


def test_cost_says_that_larger_networks_are_better():
    space = rlnas.ImageSpace((8, 8, 1), 10, max_layers=4)
    scored = by_cost(space, seed=1)
    flops = []
    for tokens, _ in scored:
        found = space.architecture(tokens)
        flops.append(network_cost(found.layers, found.input_shape, found.classes).flops)
    assert np.array_equal(np.argsort(flops), np.argsort([score for _, score in scored]))
    assert scored == by_cost(space, seed=1)


@pytest.mark.slow
def test_search_begins_where_an_earlier_one_ended(tmp_path):
    cold = search(tmp_path, name="cold").run()
    found = search(tmp_path, warm("cold"), name="warm").run()
    assert found.trials[0].log_probs != cold.trials[0].log_probs
    again = search(tmp_path, warm("cold"), name="again").run()
    assert [t.log_probs for t in again.trials] == [t.log_probs for t in found.trials]


@pytest.mark.slow
def test_warm_search_that_was_stopped_goes_on_without_the_earlier_run(tmp_path):
    search(tmp_path, name="cold").run()
    whole = search(tmp_path, warm("cold"), name="whole").run()
    calls = []

    def stopped(model, data, seed):
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return by_size(model, data, seed)

    with pytest.raises(InterruptedRunError):
        search(tmp_path, warm("cold"), name="warm", evaluator=stopped).run()
    (tmp_path / "cold").rename(tmp_path / ".gone")
    found = search(tmp_path, warm("cold"), name="warm").resume("warm")
    assert [t.tokens for t in found.trials] == [t.tokens for t in whole.trials]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("other", "was written in a space with other decisions or choices"),
        ("one", "expected trials with at least two different rewards"),
        ("nothing", "does not exist"),
    ],
)
def test_unfit_run_is_refused_before_anything_is_written(source, sentence, tmp_path):
    narrow = {"space": {"max_layers": 3, "choices": {"conv.filters": [8]}}}
    search(tmp_path, narrow, name="other").run()
    search(tmp_path, name="one", trials=1).run()
    with pytest.raises(RunError, match=sentence):
        search(tmp_path, warm(source), name="new").run()
    assert not (tmp_path / "new").exists()


def test_rows_of_a_table_have_no_cost():
    with pytest.raises(RunError, match="needs networks of layers"):
        read_prior("flops", None, SPACE, 0)


def test_uniform_is_part_of_the_library():
    assert SPACE.architecture(uniform(SPACE, np.random.default_rng(0))).text in ROWS
