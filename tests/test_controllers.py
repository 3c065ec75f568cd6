"""The controllers: their contract, their parts, and the gradient they follow."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import product

import h5py
import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.runtime import prepare
from rlnas.config import ControllerConfig
from rlnas.controllers import Trajectory, make_controller
from rlnas.controllers.baseline import Baseline
from rlnas.controllers.losses import (
    clipped_policy_gradient_loss,
    entropy_bonus,
    masked_log_softmax,
    policy_entropy,
    policy_gradient_loss,
)
from rlnas.controllers.network import PolicyNetwork
from rlnas.controllers.presets import PRESETS, settings
from rlnas.controllers.reading import no_memory, read
from rlnas.controllers.sampling import draw, masked_softmax
from rlnas.controllers.vocabulary import Vocabulary
from rlnas.errors import ConfigError, RunError
from rlnas.spaces import ImageSpace, TableSpace, observation
from rlnas.testing import check_controller, small_space

SPACE = small_space()
STEM = (0, 0, 0, 0, 0, 0)  # conv 16 1x1 relu
PLAIN = (*STEM, 8)
OTHER = (0, 1, 0, 0, 0, 0, 8)  # conv 64 1x1 relu
FIRST = (0,)  # a network begins with a convolution; the first real decision is its filters

TABLE = TableSpace([f"{a}{b}{c}{d}" for a in "012" for b in "012" for c in "012" for d in "012"])


@pytest.fixture(scope="module", autouse=True)
def repeatable():
    """The settings of a search, without which TensorFlow does not promise the same bits."""
    prepare(None)


def reinforce(seed=0, space=SPACE, **options):
    return make_controller(space, ControllerConfig(**{"name": "reinforce", **options}), seed)


def policy(controller, prefix=FIRST, space=SPACE):
    observed = observation(prefix, space.max_tokens)
    return controller.probabilities(observed[None], space.mask(prefix)[None])[0]


def propose(controller, space=SPACE):
    tokens, log_probs = [], []
    while space.decision(tokens) is not None:
        observed = observation(tokens, space.max_tokens)
        action = controller.act(observed[None], space.mask(tokens)[None])
        tokens.append(int(action.tokens[0]))
        log_probs.append(float(action.log_probs[0]))
    return tuple(tokens), tuple(log_probs)


def tried(reward, tokens=PLAIN, *, repeated=False):
    return Trajectory(tokens, tuple(-1.0 for _ in tokens), reward, repeated)


# --- making one ---


def test_unknown_controller_is_refused_with_the_nearest_name():
    config = ControllerConfig.model_construct(name="reinfroce")
    with pytest.raises(ConfigError, match="did you mean reinforce"):
        make_controller(SPACE, config, 0)


def test_keras_is_loaded_only_for_a_network():
    code = (
        "import sys; from rlnas.controllers import make_controller;"
        "from rlnas.config import ControllerConfig; from rlnas.spaces import ImageSpace;"
        "make_controller(ImageSpace((8, 8, 1), 2), ControllerConfig(name='random'), 0);"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_config_overrides_the_preset():
    config = ControllerConfig(name="reinforce", preset="zoph", batch_size=3, entropy=0.5)
    made = settings(config)
    assert (made.batch_size, made.entropy) == (3, 0.5)
    assert (made.learning_rate, made.repeat_advantage) == (0.0006, None)
    assert settings(ControllerConfig()) == PRESETS["default"]


# --- the contract ---


@pytest.mark.parametrize(
    ("options", "space"),
    [
        ({"name": "random"}, ImageSpace((28, 28, 1), 10)),
        ({"preset": "default"}, ImageSpace((28, 28, 1), 10)),
        ({"preset": "zoph"}, SPACE),
        ({"preset": "enas"}, SPACE),
        ({"preset": "nats"}, ImageSpace((28, 28, 1), 10)),
        ({"name": "dqn"}, TABLE),
        ({"name": "evolution"}, ImageSpace((28, 28, 1), 10)),
        ({"name": "genetic"}, ImageSpace((28, 28, 1), 10)),
        ({"name": "local"}, ImageSpace((28, 28, 1), 10)),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_controller_keeps_the_contract(options, space):
    check_controller(lambda seed: reinforce(seed, space, **options), space, trajectories=19)


@pytest.mark.parametrize(
    ("surrogate", "space"),
    [
        ("gp", ImageSpace((28, 28, 1), 10)),
        ("gp", TABLE),
        pytest.param("forest", TABLE, marks=pytest.mark.slow),
        ("none", TABLE),
    ],
    ids=["gp, variable length", "gp", "forest", "none"],
)
def test_ppo_keeps_the_contract_while_it_is_screened(surrogate, space):
    def make(seed):
        return reinforce(seed, space, name="ppo", surrogate=surrogate)

    check_controller(make, space, trajectories=32, in_flight=8)


@pytest.mark.parametrize(("ours", "theirs"), [("gp", "none"), ("none", "gp"), ("gp", "forest")])
def test_ppo_goes_on_only_from_a_state_of_the_same_surrogate(ours, theirs):
    state = reinforce(0, TABLE, name="ppo", surrogate=theirs).state()
    with pytest.raises(RunError, match=f"got ppo with surrogate {theirs}"):
        reinforce(0, TABLE, name="ppo", surrogate=ours).load(state)


def test_ppo_keeps_the_contract_while_it_imitates_the_best():
    def make(seed):
        return reinforce(seed, TABLE, name="ppo", surrogate="none", imitation=0.5)

    check_controller(make, TABLE, trajectories=32)


@pytest.mark.parametrize("surrogate", ["gp", "none"])
def test_ppo_proposes_nothing_twice_and_finds_all_of_a_small_space(surrogate):
    controller = reinforce(0, TABLE, name="ppo", surrogate=surrogate)
    seen = []
    for _ in range(70):
        tokens, log_probs = propose(controller, space=TABLE)
        seen.append(tokens)
        controller.learn([Trajectory(tokens, log_probs, float(sum(tokens)))])
    assert len(set(seen)) == 70


@pytest.mark.parametrize("surrogate", ["gp", "none"])
def test_ppo_learns(surrogate):
    digits = "0123"
    space = TableSpace(
        [a + b + c + d for a in digits for b in digits for c in digits for d in digits]
    )
    for seed in (0, 1):
        controller = reinforce(seed, space, name="ppo", surrogate=surrogate)
        sums = []
        for _ in range(80):
            tokens, log_probs = propose(controller, space=space)
            sums.append(sum(tokens))
            controller.learn([Trajectory(tokens, log_probs, float(sums[-1]))])
        assert max(sums[:40]) == 12  # chance finds the best of 256 that soon in 16 % of runs
        if surrogate == "none":  # the screen uses up the best, and what is left teaches otherwise
            assert policy(controller, (), space)[3] > 0.5


def test_ppo_without_a_surrogate_draws_and_then_edits_the_best_until_it_stagnates():
    digits = ["".join(each) for each in product("0123", repeat=6)]
    space = TableSpace(digits)
    controller = reinforce(0, space, name="ppo", surrogate="none")
    elite, edits = [], []  # the ten best, the best first; which of them each proposal edits
    for trial in range(110):
        tokens, log_probs = propose(controller, space=space)
        apart = [sum(ours != its for ours, its in zip(tokens, each, strict=True)) for each in elite]
        edits.append([place for place, each in enumerate(apart) if each == 1])
        if trial < 20:  # each of the draws is better than the one before, and nothing after them
            elite = [tokens, *elite][:10]
        controller.learn([Trajectory(tokens, log_probs, float(trial) if trial < 20 else -1.0)])
    drawn, edited, stagnant = edits[10:20], edits[20:50], edits[50:]
    # A uniform draw of the 4096 is an edit of one of ten with a probability of 0.04.
    assert np.mean([bool(each) for each in drawn]) <= 0.2
    assert np.mean([bool(each) for each in edited]) == pytest.approx(0.8, abs=0.1)  # four of five
    assert np.mean([bool(each) for each in stagnant]) == pytest.approx(0.4, abs=0.1)  # two
    lower = [np.mean([min(each) >= 5 for each in part if each]) for part in (edited, stagnant)]
    assert lower[0] < 0.3 < 0.4 < lower[1]  # mostly the very best, and then any of the ten


def test_random_is_uniform_over_what_is_allowed():
    mask = np.array([[1, 0, 1, 1, 0]], dtype=np.int8)
    controller = reinforce(name="random")
    assert policy(controller).tolist() == (SPACE.mask(FIRST) / SPACE.mask(FIRST).sum()).tolist()
    counts = np.zeros(5)
    for _ in range(3000):
        counts[controller.act(np.zeros((1, 4), dtype=np.int64), mask).tokens] += 1
    assert counts[[1, 4]].sum() == 0
    # Standard deviation of each count: sqrt(3000 * 1/3 * 2/3) = 26.
    assert np.abs(counts[[0, 2, 3]] - 1000).max() < 4 * 26


def test_finished_episode_gets_an_action_to_ignore():
    for options in ({"name": "random"}, {}):
        controller = reinforce(**options)
        observed = np.stack([observation(PLAIN, SPACE.max_tokens)])
        action = controller.act(observed, SPACE.mask(PLAIN)[None])
        assert (action.tokens.tolist(), action.log_probs.tolist()) == ([0], [0.0])


# --- sampling ---


def test_masked_softmax_is_that_of_the_allowed_logits():
    logits = np.array([1.0, 9.0, 2.0])
    got = masked_softmax(logits, np.array([1, 0, 1], dtype=np.int8))
    assert got == pytest.approx([1 / (1 + np.e), 0.0, np.e / (1 + np.e)])


def test_draw_follows_the_probabilities_and_skips_zeros():
    rng = np.random.default_rng(0)
    counts = np.bincount([draw(np.array([0.0, 0.25, 0.0, 0.75, 0.0]), rng) for _ in range(4000)])
    assert counts.tolist()[::2] == [0, 0]
    assert abs(counts[1] - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)


# --- the vocabulary ---


def test_vocabulary_numbers_all_choices_once():
    vocabulary = Vocabulary(SPACE)
    assert vocabulary.size == 1 + sum(len(decision.choices) for decision in SPACE.decisions)
    layer, filters = SPACE.decisions[:2]
    assert vocabulary.entries(()) == slice(1, 1 + len(layer.choices))
    assert vocabulary.entries((0,)).start == 1 + len(layer.choices)
    assert vocabulary.entry((0, 1), 1) == 1 + len(layer.choices) + 1
    wide = vocabulary.mask((0,))
    assert wide.sum() == len(filters.choices) and wide[vocabulary.entries((0,))].all()
    assert not vocabulary.mask(PLAIN).any()


# --- the baseline ---


def test_baseline_is_the_average_of_the_rewards_before():
    baseline = Baseline(0.9)
    assert baseline.advantage(0.5) == 0.0
    assert baseline.advantage(0.7) == pytest.approx(0.7 - 0.5)
    assert baseline.value == pytest.approx(0.9 * 0.5 + 0.1 * 0.7)
    assert baseline.scale == pytest.approx(0.2)
    assert baseline.advantage(0.4) == pytest.approx(0.4 - 0.52)
    squares = 0.9 * 0.2**2 + 0.12**2
    assert baseline.scale == pytest.approx(np.sqrt(squares / 1.9))


def test_failed_child_ranks_below_the_lowest_and_moves_nothing():
    baseline = Baseline(0.9)
    assert baseline.advantage(None) is None
    for reward in (-0.5, -0.9, -0.3):
        baseline.advantage(reward)
    before = baseline.state()
    assert baseline.advantage(None) == pytest.approx(-0.9 - baseline.scale - baseline.value)
    assert baseline.state() == before


# --- the loss, against NumPy by hand ---


def example():
    """Logits, mask, actions, advantages and weights of two trajectories of 2 and 3 steps."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 3, 4)).astype(np.float32)
    mask = np.array(
        [[[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]],
        dtype=np.int8,
    )
    action = np.array([[1, 2, 0], [0, 3, 2]], dtype=np.int32)
    weight = np.array([[1, 1, 0], [1, 1, 1]], dtype=np.float32)
    return logits, mask, action, np.array([0.5, -2.0], dtype=np.float32), weight


def by_hand(logits, mask):
    """Probabilities of each step in float64; zeros where nothing is allowed."""
    weights = np.exp(logits.astype(np.float64)) * mask
    return weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)


def loss_of(logits, mask, action, advantage, weight):
    log_p_t = masked_log_softmax(keras.ops.convert_to_tensor(logits), mask)
    return float(policy_gradient_loss(log_p_t, action, advantage, weight))


def test_policy_gradient_loss_is_that_of_the_paper():
    logits, mask, action, advantage, weight = example()
    p = by_hand(logits, mask)
    first = 0.5 * (np.log(p[0, 0, 1]) + np.log(p[0, 1, 2]))
    second = -2.0 * (np.log(p[1, 0, 0]) + np.log(p[1, 1, 3]) + np.log(p[1, 2, 2]))
    got = loss_of(logits, mask, action, advantage, weight)
    assert got == pytest.approx(-(first + second) / 2, rel=1e-5)


def test_finite_differences_of_the_loss_are_the_policy_gradient():
    logits, mask, action, advantage, weight = example()
    chosen = np.eye(4)[action]
    expected = (
        (-advantage[:, None, None] / 2) * weight[..., None] * (chosen - by_hand(logits, mask))
    )
    found = np.zeros_like(expected)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 0.01
        high = loss_of(logits + step, mask, action, advantage, weight)
        low = loss_of(logits - step, mask, action, advantage, weight)
        found[place] = (high - low) / 0.02
    assert found == pytest.approx(expected, abs=1e-3)


def test_entropy_is_that_of_the_allowed_choices():
    logits, mask, _, _, weight = example()
    entropy_t = policy_entropy(masked_log_softmax(keras.ops.convert_to_tensor(logits), mask))
    p = by_hand(logits, mask)
    expected = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
    got = keras.ops.convert_to_numpy(entropy_t)
    assert got[weight == 1] == pytest.approx(expected[weight == 1], abs=1e-5)
    total = (expected * weight).sum() / 2
    assert float(entropy_bonus(entropy_t, weight)) == pytest.approx(total, abs=1e-5)


def test_clipped_loss_is_that_of_ppo():
    logits, mask, action, advantage, weight = example()
    log_p = np.array(masked_log_softmax(logits, mask))
    chosen = np.take_along_axis(log_p, action[..., None], axis=-1)[..., 0]
    steps = np.array([[0.1, -0.3, 0.0], [0.5, -0.1, 3.0]], dtype=np.float32)  # new less old
    loss = clipped_policy_gradient_loss(log_p, action, chosen - steps, advantage, weight, clip=0.2)
    good = np.exp(0.1) + np.exp(-0.3)  # within 1.2, and below 0.8 where PPO does not clip
    bad = np.exp(0.5) + np.exp(-0.1) + np.exp(2.0)  # not clipped above either, but held at e^2
    assert float(loss) == pytest.approx(-(0.5 * good - 2.0 * bad) / 2, rel=1e-5)
    steps[0] = 1.0, -1.0, 0.0
    steps[1] = 0.0, -1.0, 0.0
    loss = clipped_policy_gradient_loss(log_p, action, chosen - steps, advantage, weight, clip=0.2)
    good, bad = 1.2 + np.exp(-1.0), 1.0 + 0.8 + 1.0
    assert float(loss) == pytest.approx(-(0.5 * good - 2.0 * bad) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("part", "weight", "likelier"),
    [("advantage", 1.0, True), ("advantage", -1.0, False), ("imitation", 1.0, True)],
)
def test_ppo_makes_likelier_what_was_good_or_is_imitated(part, weight, likelier):
    controller = make_controller(SPACE, ControllerConfig(name="ppo", surrogate="none"), 0)
    tokens, log_probs = propose(controller)
    before = controller._log_prob(tokens)
    assert before == pytest.approx(sum(log_probs))
    batch = controller._padded([tokens], 0.0)
    batch["log_prob"][0, : len(tokens)] = log_probs
    batch[part][0] = weight
    controller._policy.update(batch, epochs=4)
    after = controller._log_prob(tokens)
    assert (after > before) is likelier
    assert abs(after - before) > 0.05


def test_steps_in_one_call_are_those_of_several_calls():
    controllers = [
        make_controller(SPACE, ControllerConfig(name="ppo", surrogate="none"), 0) for _ in range(2)
    ]
    tokens, log_probs = propose(controllers[0])
    batch = controllers[0]._padded([tokens], 0.1)
    batch["log_prob"][0, : len(tokens)], batch["advantage"][0] = log_probs, 1.0
    together, one_by_one = (each._policy for each in controllers)
    figures = together.update(batch, epochs=3)
    for _ in range(3):
        last = one_by_one.update(batch, epochs=1)
    assert figures == last
    expected = one_by_one.state()
    for path, value in together.state().items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


def test_losses_refuse_wrong_ranks():
    logits, mask, action, _, weight = example()
    with pytest.raises(ValueError, match=r"advantage must have rank 1, got shape \(2, 3\)"):
        policy_gradient_loss(logits, action, weight, weight)
    with pytest.raises(ValueError, match="mask_t must have rank 3"):
        masked_log_softmax(logits, mask[0])
    with pytest.raises(ValueError, match="entropy_t must have rank 2"):
        entropy_bonus(logits, weight)
    with pytest.raises(ValueError, match="log_p_t must have rank 3"):
        policy_entropy(weight)


# --- the network ---


@cache
def made_network(**changed):
    plain = replace(PRESETS["zoph"], **changed)
    made = PolicyNetwork(5, 3, plain, np.random.default_rng(2))
    return made, made.state()


def network(**changed):
    """A fresh network; the same object again where possible, so that it is traced only once."""
    made, start = made_network(**changed)
    made.load(start)
    return made


def batch(temperature=(1.0, 1.0)):
    _, mask, action, advantage, weight = example()
    wide = np.concatenate([np.zeros((2, 3, 1), dtype=np.int8), mask], axis=-1)
    entry = np.array([[0, 2, 0], [0, 1, 4]], dtype=np.int32)
    return {
        "entry": entry,
        "action": action + 1,
        "mask": wide,
        "weight": weight,
        "advantage": advantage,
        "temperature": np.array(temperature, dtype=np.float32),
    }


def test_weights_start_uniform_in_the_published_range():
    weights = [
        value.ravel() for path, value in network().state().items() if not path.startswith("adam")
    ]
    drawn = np.concatenate(weights)
    assert np.abs(drawn).max() <= 0.08
    assert drawn.std() == pytest.approx(0.08 / np.sqrt(3), rel=0.02)
    assert drawn.mean() == pytest.approx(0.0, abs=0.002)


@pytest.mark.parametrize("temperature", [(1.0, 1.0), (1.0, 2.5)], ids=["cold", "heated"])
def test_step_by_step_is_the_whole_sequence(temperature):
    """The loss the learner computes is that of the logits the actor saw."""
    policy_network, arrays = network(), batch(temperature)
    weights = policy_network.weights()
    logits = np.zeros((2, 3, 5), dtype=np.float32)
    for row in range(2):
        memory = no_memory(weights)
        for t in range(3):
            seen, memory = read(weights, arrays["entry"][row, t], memory)
            logits[row, t] = seen / temperature[row]
    expected = loss_of(
        logits, arrays["mask"], arrays["action"], arrays["advantage"], arrays["weight"]
    )
    assert policy_network.update(arrays)["policy_loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [(1.0, 1.0), (1.0, 2.5)], ids=["cold", "heated"])
def test_gradient_norm_is_the_slope_of_the_loss_along_the_gradient(temperature):
    policy_network, arrays = network(), batch(temperature)
    start = policy_network.state()
    norm = policy_network.update(arrays)["gradient_norm"]
    # Adam's first moment starts at 0, so behind one step it is (1 - beta_1) times the gradient.
    names = [path for path in start if not path.startswith("adam")]
    moments = policy_network.state()
    gradient = {
        name: moments[f"adam/{name.replace('/', '_')}_momentum"] / (1 - 0.9) for name in names
    }
    length = np.sqrt(sum(np.sum(part**2) for part in gradient.values()))
    assert norm == pytest.approx(length, rel=1e-4)

    def loss_at(distance):
        moved = {name: start[name] + distance * gradient[name] / length for name in names}
        policy_network.load({**start, **moved})
        return policy_network.update(arrays)["policy_loss"]

    assert (loss_at(0.02) - loss_at(-0.02)) / 0.04 == pytest.approx(length, rel=1e-3)


def test_gradient_norm_is_logged_before_clipping():
    free, clipped = network().update(batch()), network(clip_norm=0.01).update(batch())
    assert free["gradient_norm"] == clipped["gradient_norm"] > 0.01
    state = made_network(clip_norm=0.01)[0].state()
    moments = [value for path, value in state.items() if path.endswith("_momentum")]
    length = np.sqrt(sum(np.sum((value / 0.1) ** 2) for value in moments))
    assert length == pytest.approx(0.01, rel=1e-3)


def test_entropy_bonus_raises_the_entropy():
    entropies = {}
    for weight in (0.0, 10.0):
        policy_network = network(entropy=weight, learning_rate=0.05)
        for _ in range(20):
            entropies[weight] = policy_network.update(batch())["entropy"]
    assert entropies[10.0] > entropies[0.0] + 0.05


def test_state_of_another_network_is_refused():
    state = network().state()
    state["softmaxes/bias"] = np.zeros(7)
    with pytest.raises(RunError, match=r"softmaxes/bias has shape \(7,\), expected \(5,\)"):
        network().load(state)


# --- the controller ---


def test_episodes_interleave_without_changing_a_bit():
    """A prefix read in one go gives the bits of one read token by token among others."""
    one, other = reinforce(), reinforce()
    tokens, _ = propose(reinforce(seed=5))
    for length in range(len(tokens)):
        policy(one, tokens[:length])
        policy(one, STEM[: length % 6])
    last = tokens[:-1]
    rows = np.stack([observation(prefix, SPACE.max_tokens) for prefix in (STEM, last, ())])
    masks = np.stack([SPACE.mask(prefix) for prefix in (STEM, last, ())])
    assert (other.probabilities(rows, masks)[1] == policy(one, last)).all()


def test_a_full_cache_changes_no_bit(monkeypatch):
    tokens, log_probs = propose(reinforce())
    monkeypatch.setattr("rlnas.controllers.reader._CACHE_SIZE", 2)
    assert propose(reinforce()) == (tokens, log_probs)


def test_learning_forgets_what_was_read_with_the_old_weights():
    controller = reinforce(batch_size=2)
    before = policy(controller, STEM)
    controller.learn([tried(0.2), tried(0.9)])
    after = policy(controller, STEM)
    fresh = reinforce(seed=3)
    fresh.load(controller.state())
    assert (after != before).any()
    assert (policy(fresh, STEM) == after).all()


def test_making_and_using_it_leaves_global_randomness_alone():
    def drawn():
        return [random.random(), float(np.random.random()), float(keras.random.uniform(()))]

    keras.utils.set_random_seed(11)
    undisturbed = drawn()
    keras.utils.set_random_seed(11)
    controller = reinforce(batch_size=2)
    proposals = [propose(controller) for _ in range(2)]
    controller.learn([Trajectory(*proposal, reward=0.5) for proposal in proposals])
    assert drawn() == undisturbed
    keras.utils.set_random_seed(12)
    assert [propose(reinforce(batch_size=2)) for _ in range(1)] == proposals[:1]


def test_clearing_the_session_between_children_changes_nothing():
    def run(clear):
        controller = reinforce(batch_size=2)
        for reward in (0.1, 0.4, 0.3, 0.8):
            tokens, log_probs = propose(controller)
            if clear and reward in (0.1, 0.3):
                keras.utils.clear_session()
            controller.learn([Trajectory(tokens, log_probs, reward)])
        return propose(controller)

    assert run(clear=True) == run(clear=False)


def test_figures_of_an_update_come_only_with_one():
    always = {"controller/baseline", "controller/temperature"}
    update = {
        "controller/advantage",
        "controller/entropy",
        "controller/policy_loss",
        "controller/gradient_norm",
    }
    controller = reinforce(batch_size=3)
    assert set(controller.learn([tried(0.5)])) == always
    assert set(controller.learn([tried(None)])) == always
    figures = controller.learn([tried(0.8)])
    assert set(figures) == always | update
    assert figures["controller/baseline"] == pytest.approx(0.9 * 0.5 + 0.1 * 0.8)
    # 0 for the first; the failure has no typical distance to lie below 0.5 yet; 0.8 - 0.5.
    assert figures["controller/advantage"] == pytest.approx((0 + 0 + 0.3) / 3)


def test_a_better_reward_makes_its_tokens_likelier_and_a_failure_rarer():
    controller = reinforce(batch_size=4)
    likely = [policy(controller)[token] for token in (0, 1)]
    controller.learn([tried(0.4), tried(0.9), tried(0.6), tried(None, OTHER)])
    assert policy(controller)[0] > likely[0]
    assert policy(controller)[1] < likely[1]


def test_repeats_heat_the_sampling_and_a_new_one_cools_it():
    controller = reinforce(batch_size=1000)
    cold = policy(controller)
    heating = PRESETS["default"].heating
    for power in (1, 2, 3):
        figures = controller.learn([tried(0.5, repeated=True)])
        assert figures["controller/temperature"] == pytest.approx(heating**power)
    hot = policy(controller)
    allowed = SPACE.mask(FIRST) == 1
    expected = cold[allowed] ** heating**-3
    assert hot[allowed] == pytest.approx(expected / expected.sum())
    controller.learn([tried(0.5, repeated=True)] * 200)
    assert policy(controller)[allowed] == pytest.approx(1 / allowed.sum(), abs=1e-4)
    assert controller.learn([tried(0.5)])["controller/temperature"] == 1.0
    assert (policy(controller) == cold).all()


def test_loss_is_that_of_the_probabilities_the_tokens_were_drawn_with():
    """Also of tokens drawn while heated, and with a half-filled batch that was stored."""
    controller, fresh = reinforce(batch_size=3), reinforce(batch_size=3, seed=1)
    controller.learn([tried(0.5), tried(0.5, repeated=True)])  # both of advantage 0, at 1
    drawn_cold = controller.state()["batch"]
    tokens, log_probs = propose(controller)
    fresh.load(controller.state())
    hot = fresh.learn([Trajectory(tokens, log_probs, 0.9)])
    assert [temperature for _, _, temperature in drawn_cold] == [1.0, 1.0]
    # The advantage 0.4 is the only one so far, so it is 1 in its own typical size.
    assert hot["controller/policy_loss"] == pytest.approx(-1.0 * sum(log_probs) / 3, rel=1e-5)


def test_published_settings_never_heat():
    controller = reinforce(preset="zoph")
    cold = policy(controller)
    figures = controller.learn([tried(0.5), *[tried(0.5, repeated=True)] * 3])
    assert figures["controller/temperature"] == 1.0
    assert (policy(controller) == cold).all()


def test_repeats_push_the_default_policy_away():
    controller = reinforce(batch_size=4)
    controller.learn([tried(0.4), tried(0.6)])
    before = policy(controller)[0]
    controller.learn([tried(0.9, repeated=True), tried(0.9, repeated=True)])
    controller.learn([tried(0.5, OTHER)])
    assert policy(controller)[0] < before


def test_state_is_json_but_for_its_arrays():
    controller = reinforce(batch_size=5)
    controller.learn([tried(0.5), tried(None), tried(0.7)])
    state = controller.state()
    text = json.dumps(state, default=lambda array: array.tolist())
    assert len(json.loads(text)["batch"]) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"name": "random"},
        {"space": ImageSpace((28, 28, 1), 10)},
    ],
)
def test_state_of_another_controller_or_space_is_refused(other):
    with pytest.raises(RunError, match=r"only from a state of reinforce on space [0-9a-f]{12}"):
        reinforce().load(reinforce(**other).state())


def test_saved_weights_are_the_policy(tmp_path):
    controller = reinforce()
    path = tmp_path / "controller.weights.h5"
    controller.save_weights(path)
    with h5py.File(path) as file:
        stored = []
        file.visititems(
            lambda _, node: stored.append(node[()]) if isinstance(node, h5py.Dataset) else None
        )
    expected = [
        value
        for name, value in controller.state()["network"].items()
        if not name.startswith("adam")
    ]

    def order(arrays):
        return sorted(array.tobytes() for array in arrays)

    assert order(stored) == order(expected)
