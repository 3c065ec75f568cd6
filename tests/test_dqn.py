"""Deep Q-learning: targets, schedule, and that it learns."""

import numpy as np
import pytest

from rlnas.controllers.dqn import DQNController, DQNSettings, epsilon
from rlnas.controllers.qnetwork import backward_targets
from rlnas.evaluation import Table
from rlnas.evaluation.table import Row
from rlnas.search.benchmark import play
from rlnas.spaces import TableSpace

WORDS = [f"{n:04d}" for n in range(10_000) if set(f"{n:04d}") <= set("0123")]


def test_epsilon_is_one_for_half_and_ends_at_a_tenth():
    shares = [epsilon(passed) for passed in np.linspace(0, 1.2, 1201)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1.0, 0.1)
    assert 0.5 < np.mean(np.array(shares[:1000]) == 1.0) < 0.6


def test_targets_run_backward_from_the_reward():
    """Two episodes of two and three tokens among two choices each, V = 2 for brevity."""
    online = np.array([[[0.0, 0.0], [0.2, 0.9], [0.0, 0.0]], [[0, 0], [0.3, 0.1], [0.6, 0.5]]])
    older = np.array([[[0.0, 0.0], [0.4, 0.7], [0.0, 0.0]], [[0, 0], [0.8, 0.2], [0.1, 0.2]]])
    batch = {
        "action": np.array([[0, 0, 0], [1, 0, 1]]),
        "mask": np.ones((2, 3, 2), dtype=np.int8),
        "weight": np.array([[1, 1, 0], [1, 1, 1]], dtype=np.float32),
    }
    targets = backward_targets(online, older, batch, np.array([0.5, 1.0]))
    # First episode: token 0 at its last step earned 0.5, the learning network thinks token 1 is
    # worth 0.9, which the older one values 0.7. Second: the token that was chosen at the last
    # step is the best there, with the reward 1 itself, and so is the one before it.
    assert targets.tolist() == [pytest.approx([0.7, 0.5, 0.0]), pytest.approx([1.0, 1.0, 1.0])]


def test_masked_tokens_are_never_the_best_behind():
    batch = {
        "action": np.array([[0, 0]]),
        "mask": np.array([[[1, 1], [1, 0]]], dtype=np.int8),
        "weight": np.ones((1, 2), dtype=np.float32),
    }
    online = np.array([[[0.0, 0.0], [0.0, 99.0]]])
    targets = backward_targets(online, online, batch, np.array([0.25]))
    assert targets.tolist() == [[0.25, 0.25]]


def test_it_ends_better_than_it_began_and_proposes_nothing_twice():
    space = TableSpace(WORDS)
    rows = {word: Row(float(sum(map(int, word))), float(sum(map(int, word)))) for word in WORDS}
    controller = DQNController(space, DQNSettings(budget=90), 0)
    seen = []
    learn = controller.learn
    controller.learn = lambda each: (seen.extend(t.reward for t in each), learn(each))[1]
    played = play(Table(space, rows), controller, 90, ())
    assert played.trials == len(seen) == 90
    assert np.mean(seen[-20:]) > np.mean(seen[:45]) + 1.0
