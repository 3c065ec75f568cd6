"""Effects of choices: those that were planted are found, and none that was not."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

import rlnas
from rlnas.cli import main
from rlnas.controllers import uniform
from rlnas.errors import RunError
from rlnas.search.explain import explain
from rlnas.spaces import ImageSpace, TableSpace

PLACES, CHOICES = 5, 3
STRINGS = ["".join(row) for row in itertools.product("012", repeat=PLACES)]
SPACE = TableSpace(STRINGS)
PAIR = ("position 2", "position 4")


def planted(seed, *, interaction):
    """Effects that sum to 0 at each position, tokens of 120 trials and their noisy rewards."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(PLACES, CHOICES))
    effects -= effects.mean(axis=1, keepdims=True)
    together = rng.normal(size=(CHOICES, CHOICES)) * interaction
    together -= together.mean(axis=0)
    together -= together.mean(axis=1, keepdims=True)
    trials = [tuple(map(int, STRINGS[row])) for row in rng.permutation(len(STRINGS))[:120]]
    rewards = [
        sum(effects[place, token] for place, token in enumerate(tokens))
        + together[tokens[1], tokens[3]]
        + rng.normal(0, 0.3)
        for tokens in trials
    ]
    return effects, trials, rewards


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["additive", "interacting"])
def explained(request):
    """Six tables with their planted effects, and what was explained of each."""
    found = []
    for seed in range(6):
        effects, trials, rewards = planted(seed, interaction=request.param)
        found.append((effects, explain(SPACE, trials, rewards)))
    return request.param, found


def test_planted_effects_are_found_with_their_signs_and_ranks(explained):
    for effects, found in explained[1]:
        told = [effect.effect for effect in found.effects]
        assert spearmanr(told, effects.ravel()).statistic > 0.9
        large = np.abs(effects.ravel()) > 0.2
        assert np.array_equal(np.sign(told)[large], np.sign(effects.ravel())[large])


def test_intervals_hold_what_was_planted(explained):
    held = [
        effect.low <= true <= effect.high
        for effects, found in explained[1]
        for effect, true in zip(found.effects, effects.ravel(), strict=True)
    ]
    assert np.mean(held) >= 0.9


def test_planted_interaction_is_named_and_no_other(explained):
    strength, found = explained
    named = [{each.decisions for each in one.interactions} for _, one in found]
    assert named == [{PAIR} if strength else set()] * len(found)


def test_policy_stands_beside_the_effects():
    _, trials, rewards = planted(0, interaction=0.0)
    policy = {"position 1": [0.2, 0.7, 0.1]}
    found = explain(SPACE, trials, rewards, policy).effects
    assert [effect.policy for effect in found[:4]] == [0.2, 0.7, 0.1, None]


def test_decision_that_is_made_often_counts_by_its_share():
    space, rng = ImageSpace((8, 8, 1), 10), np.random.default_rng(0)
    trials, rewards = [], []
    for _ in range(150):
        tokens = []
        while space.decision(tokens) is not None:
            tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
        layers = [layer for layer in space.architecture(tokens).layers if layer.kind == "conv"]
        trials.append(tokens)
        rewards.append(np.mean([layer.kernel == 5 for layer in layers]) + rng.normal(0, 0.05))
    effects = {
        (each.decision, each.choice): each for each in explain(space, trials, rewards).effects
    }
    assert effects["conv.kernel", "5"].effect == pytest.approx(0.5, abs=0.05)
    assert effects["conv.kernel", "3"].effect == pytest.approx(-0.5, abs=0.05)


def test_noise_is_not_explained_and_effects_are():
    rng = np.random.default_rng(0)
    for seed in range(3):
        _, trials, rewards = planted(seed, interaction=0.0)
        assert explain(SPACE, trials, rewards).explained > 0.9
        assert explain(SPACE, trials[:30], rng.normal(size=30)).explained < 0.2


def test_more_columns_than_trials_make_no_certainty():
    space, far = ImageSpace((8, 8, 1), 10), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        trials = [uniform(space, rng) for _ in range(14)]
        share = [np.mean(np.equal(tokens, 1)) for tokens in trials]
        rewards = np.array(share) / np.std(share) + rng.normal(0, 0.3, 14)
        found = explain(space, trials, rewards)
        assert found.explained < 0.995
        far += [effect.high - effect.low for effect in found.effects]
    assert min(far) > 0.05


@pytest.mark.parametrize("rewards", [[0.5] * 20, [0.1, 0.2]])
def test_too_little_to_explain_is_told(rewards):
    trials = [(0, 0, 0, 0, 0)] * len(rewards)
    with pytest.raises(RunError, match="expected at least 10 trials with different rewards"):
        explain(SPACE, trials, rewards)


def test_run_is_explained_on_the_command_line(tmp_path, capsys):
    digits = load_digits()
    rlnas.Search(
        (digits.images[:120], digits.target[:120]),
        root=tmp_path,
        name="a",
        controller="random",
        trials=12,
        top_k=1,
        executor="inline",
        config={"space": {"max_layers": 2}},
        evaluator=lambda model, data, seed: 1 / (1 + model.count_params() / 1e5),
    ).run()
    capsys.readouterr()
    words = ["explain", "a", "--root", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 12
    assert (tmp_path / "a" / "explain.png").stat().st_size > 0
    assert {effect["decision"] for effect in found["effects"]} >= {"layer", "conv.filters"}
    assert main(words) == 0
    assert "from 12 trials" in capsys.readouterr().out
