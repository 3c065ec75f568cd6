"""Where a cost counts in the reward, ppo foretells it apart from how good a network is."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from test_pareto import search

from rlnas.config import ControllerConfig
from rlnas.controllers import Trajectory, make_controller, propose
from rlnas.controllers.candidates import Candidates
from rlnas.controllers.features import Encoder
from rlnas.controllers.history import History
from rlnas.controllers.screen import KAPPAS, Screen
from rlnas.controllers.spending import Spending
from rlnas.controllers.surrogate import GaussianProcess
from rlnas.controllers.variation import uniform
from rlnas.objectives import Cost, Metrics, Objective
from rlnas.search.journal import Journal
from rlnas.spaces import ImageSpace, RecipeSpace

SPACE = ImageSpace((28, 28, 1), 10)


def measured(architecture):
    """Metrics of a child that is not trained: deeper is better, and each layer takes its time."""
    layers, flops = len(architecture.layers), architecture.cost.flops
    accuracy = 1.0 - 0.5 * math.exp(-layers / 4)
    return Metrics((accuracy,), latency=0.03 * layers + flops / 1e8)


def draws(count, seed=0):
    rng = np.random.default_rng(seed)
    return [uniform(SPACE, rng) for _ in range(count)]


def test_a_cost_is_foretold_beyond_what_was_tried():
    latency = [(measured(SPACE.architecture(tokens)).latency, tokens) for tokens in draws(60)]
    ordered = sorted(latency)
    small, large = ordered[:20], ordered[20:]
    encoder = Encoder(SPACE)
    spending = Spending(SPACE, encoder)

    def described(pairs):
        return np.stack([spending.described(tokens, encoder.row(tokens)) for _, tokens in pairs])

    spending.fit(described(large), np.array([cost for cost, _ in large]))
    foretold = spending.predict(described(small))
    truly = np.array([cost for cost, _ in small])
    assert spearmanr(foretold, truly)[0] > 0.8
    assert np.median(foretold) < large[0][0]  # no surrogate of likeness goes below what it knows


class Offered(Candidates):
    """Candidates that were written before."""

    def __init__(self, tokens):
        self.offered = tokens

    def tokens(self):
        return self.offered

    def keep(self, scores):
        assert len(scores) == len(self.offered)


def picks(known, offered, *, apart):
    """Return what a screen picks, once with each optimism."""
    objective = Objective(cost=Cost("latency", 0.05))
    history = History(10)
    for tokens in known:
        metrics = measured(SPACE.architecture(tokens))
        history.add(tokens, objective.reward(metrics), 0.0, objective.spent(metrics))
    weigh = objective.weigh if apart else None
    screen = Screen(SPACE, GaussianProcess(), history, 0, weigh)
    return [screen.pick(Offered(offered)) for _ in KAPPAS]


def test_screen_picks_what_is_cheaper_than_all_that_is_known():
    places = {True: [], False: []}
    for seed in range(4):
        tokens = draws(60, seed)
        ordered = sorted(tokens, key=lambda each: measured(SPACE.architecture(each)).latency)
        for apart, found in places.items():
            picked = picks(ordered[30:], ordered[:30], apart=apart)
            found += [ordered.index(each) for each in picked]  # 0 is the cheapest of the 30
    assert np.mean(places[True]) < 0.5 * np.mean(places[False])


@pytest.mark.parametrize("space", [SPACE, RecipeSpace(SPACE)], ids=["network", "recipe"])
def test_a_state_goes_on_as_if_never_stopped(space):
    objective = Objective(cost=Cost("params", 20_000))
    controllers = [
        make_controller(space, ControllerConfig(), 3, weigh=objective.weigh) for _ in range(2)
    ]

    def go_on(controller, count):
        found = []
        for number in range(count):
            tokens, log_probs = propose(controller, space)
            cost = space.architecture(tokens).cost
            metrics = Metrics((0.5 + len(tokens) / 100,), params=cost.params)
            failed = number % 7 == 6
            reward = None if failed else objective.reward(metrics)
            spent = None if failed else objective.spent(metrics)
            controller.learn([Trajectory(tokens, log_probs, reward, spent=spent)])
            found.append(tokens)
        return found

    first, second = controllers
    go_on(first, 18)
    second.load(first.state())
    assert go_on(first, 8) == go_on(second, 8)


@pytest.mark.parametrize("reward", [None, 0.5])
def test_what_spent_nothing_that_is_known_is_judged_by_its_reward(reward):
    history = History(10)
    objective = Objective(cost=Cost("params", 20_000))
    screen = Screen(SPACE, GaussianProcess(), history, 0, objective.weigh)
    for number, tokens in enumerate(draws(12)):
        history.add(tokens, reward if number else 0.7)
    mean, deviation = screen.predict(draws(3, seed=1))
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
    screen.watch(draws(1, seed=2)[0])


def test_a_search_tells_what_each_child_spent(tmp_path):
    objective = {"metric": "auc", "cost": "latency", "target": 2.5}
    search(tmp_path, objective, controller="ppo").run()
    journal = Journal(tmp_path / "a" / "journal.sqlite")
    history = journal.state()["controller"]["history"]
    journal.close()
    assert history["spent"].tolist() == [[0.7, 2.0], [0.6, 0.8], [0.3, 0.4], [0.55, 0.8]]
