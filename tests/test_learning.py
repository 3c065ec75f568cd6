"""The controllers learn: against random on known rewards, and on a bandit with a known optimum."""

import numpy as np
import pytest
from scipy.stats import binomtest

from rlnas.config import ControllerConfig
from rlnas.controllers import Trajectory, make_controller
from rlnas.cost import Dense
from rlnas.spaces import Architecture, Decision, check_tokens, observation
from rlnas.testing import KnownRewards, ending, small_space

SEEDS = range(20)
TRIALS = 100


def wins(controller, space, **options):
    """Search on a landscape per seed; return in how many pairs each measure beats random's."""
    random = make_controller(space, ControllerConfig(name="random"), 0)
    last = best = 0
    for seed in SEEDS:
        rewards = KnownRewards(space, seed)
        ends = []
        for one, config in ((controller, options), (random, {"name": "random"})):
            # A fresh state in the same object: nothing is traced anew.
            one.load(
                make_controller(
                    space, ControllerConfig(**{"name": "reinforce", **config}), seed
                ).state()
            )
            ends.append(ending(one, space, rewards, TRIALS))
        last += ends[0].last > ends[1].last
        best += ends[0].best > ends[1].best
    return last, best


@pytest.mark.slow
def test_reinforce_ends_better_than_random_within_100_trials():
    space = small_space()
    last, best = wins(make_controller(space, ControllerConfig(name="reinforce"), 0), space)
    assert binomtest(last, len(SEEDS), 0.5, alternative="greater").pvalue < 0.01
    assert binomtest(best, len(SEEDS), 0.5, alternative="greater").pvalue < 0.05


ARMS = Decision("arm", (8, 16, 32, 64, 128))


class Bandit:
    """One decision with five choices: the simplest space there is."""

    name = "bandit"
    decisions = (ARMS,)
    max_tokens = 1

    def decision(self, prefix):
        return None if len(prefix) else ARMS

    def mask(self, prefix):
        return np.full(5, not len(prefix), dtype=np.int8)

    def architecture(self, tokens):
        check_tokens(self, tokens)
        return Architecture(tuple(tokens), (Dense(ARMS.choices[tokens[0]], "relu"),), (4,), 2)

    def key(self, architecture):
        return architecture.describe()

    def reference(self):
        return self.architecture((0,))

    def to_json(self):
        return {"type": self.name}


@pytest.mark.parametrize("best", [0, 3])
@pytest.mark.parametrize("preset", ["default", "zoph"])
def test_policy_finds_the_best_arm_of_a_bandit(preset, best):
    """Also with the published rates, if not within 100 trials: their gradient is right."""
    space = Bandit()
    controller = make_controller(
        space, ControllerConfig(name="reinforce", preset=preset, learning_rate=0.02), 0
    )
    observed, mask = observation((), 1)[None], space.mask(())[None]
    start = controller.probabilities(observed, mask)[0]
    noise = np.random.default_rng(0)
    for _ in range(400):
        action = controller.act(observed, mask)
        token = int(action.tokens[0])
        reward = float(0.5 + 0.2 * (token == best) + 0.1 * noise.normal())
        controller.learn([Trajectory((token,), (float(action.log_probs[0]),), reward)])
    assert start == pytest.approx(0.2, abs=0.03)
    assert controller.probabilities(observed, mask)[0, best] > 0.9
