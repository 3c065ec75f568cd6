"""The surrogate screen: distances, predictors, candidates, and when the screen is trusted."""

import numpy as np
import pytest
from scipy.linalg.lapack import dpotrf
from threadpoolctl import threadpool_info, threadpool_limits

from rlnas.controllers import surrogate
from rlnas.controllers.candidates import Candidates
from rlnas.controllers.features import Encoder, distances
from rlnas.controllers.history import History
from rlnas.controllers.known import Known
from rlnas.controllers.screen import MOST_KNOWN, Screen
from rlnas.controllers.surrogate import (
    COUNTS_LENGTHS,
    LENGTHS,
    Forest,
    GaussianProcess,
    Kernel,
    rank_normalised,
)
from rlnas.controllers.variation import cross, mutant, uniform
from rlnas.spaces import ImageSpace, TableSpace

IMAGE = ImageSpace((16, 16, 1), 10, max_layers=5)
WORDS = [f"{n:04d}" for n in range(10_000) if set(f"{n:04d}") <= set("0123")]
TABLE = TableSpace(WORDS)


def reward(tokens):
    return sum(tokens) + 2.0 * (tokens[0] == tokens[1])


def table_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    return [tuple(row) for row in rng.permutation(4**4)[:count, None] // [64, 16, 4, 1] % 4]


def encoded(space, sequences):
    encoder = Encoder(space)
    return encoder.features([encoder.row(tokens) for tokens in sequences])


def test_distance_counts_decisions_and_choices():
    features = encoded(TABLE, [(0, 1, 2, 3), (0, 1, 2, 2), (3, 2, 1, 0)])
    decided, contained = distances(features, features)
    assert decided.tolist() == [[0, 1, 4], [1, 0, 4], [4, 4, 0]]
    # 0123 and 3210 hold the same choices; 0122 has a 2 where they have a 3.
    assert contained.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_what_is_absent_is_a_choice_of_its_own():
    rng = np.random.default_rng(0)
    *_, short, long = sorted({uniform(IMAGE, rng) for _ in range(50)}, key=len)[::40]
    features = encoded(IMAGE, [long, short])
    assert features.contained.sum(axis=1).tolist() == [len(long), len(short)]
    decided, _ = distances(features, features)
    assert decided[0, 1] >= len(long) - len(short)


def test_features_of_other_widths_can_be_compared():
    encoder = Encoder(IMAGE)
    rng = np.random.default_rng(1)
    first, *_, second = sorted((uniform(IMAGE, rng) for _ in range(9)), key=len)
    narrow = encoder.features([encoder.row(first)])
    wide = encoder.features([encoder.row(first), encoder.row(second)])
    assert wide.decided.shape[1] > narrow.decided.shape[1]
    decided, _ = distances(wide, narrow)
    assert decided[0, 0] == 0
    assert decided[1, 0] > 0


def test_systems_are_solved_on_one_thread(monkeypatch):
    """More wait for each other wherever the cores are busy."""
    threads = []

    def watched(*args, **options):
        threads.extend(
            each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"
        )
        return dpotrf(*args, **options)

    monkeypatch.setattr(surrogate, "dpotrf", watched)
    known = encoded(TABLE, table_rows(20))
    with threadpool_limits(2, user_api="blas"):
        GaussianProcess().fit(known, np.arange(20.0), 20)
    assert set(threads) == {1}


def test_equal_rewards_have_equal_targets():
    targets = rank_normalised(np.array([3.0, 1.0, 3.0, -np.inf]))
    assert targets[0] == targets[2] > targets[1] > targets[3]
    assert np.isfinite(targets).all()


def test_kernel_is_the_sum_of_its_exponentials():
    rng = np.random.default_rng(0)
    weights = rng.random(len(LENGTHS) + len(COUNTS_LENGTHS))
    decided, contained = rng.integers(0, 80, (2, 5, 7)) / 2
    placed, counted = np.split(weights, [len(LENGTHS)])
    both = (decided + contained)[..., None]
    expected = np.exp(-both / LENGTHS) @ placed
    expected += np.exp(-contained[..., None] / COUNTS_LENGTHS) @ counted
    kernel = Kernel(weights, 0.0)
    assert kernel.likeness(decided, contained) == pytest.approx(expected)
    singles = kernel.likeness(decided.astype(np.float32), contained.astype(np.float32))
    assert singles.dtype == np.float32
    assert singles == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [GaussianProcess, lambda: Forest(0)], ids=["gp", "forest"])
def test_surrogate_ranks_what_it_has_not_seen(make):
    rows = table_rows(140)
    known, unseen = rows[:60], rows[60:]
    encoder = Encoder(TABLE)
    surrogate = make()
    features = encoder.features([encoder.row(tokens) for tokens in known])
    surrogate.fit(features, rank_normalised(np.array([reward(t) for t in known])), 60)
    mean, deviation = surrogate.predict(encoder.features([encoder.row(t) for t in unseen]))
    truth = np.array([reward(tokens) for tokens in unseen])
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    assert (deviation > 0).all()


def test_fit_on_what_was_added_has_the_bits_of_a_fit_on_all():
    rows = table_rows(90)
    rewards = rank_normalised(np.array([reward(tokens) for tokens in rows]))
    grown, fresh = GaussianProcess(), GaussianProcess()
    for count in range(20, 61):
        grown.fit(encoded(TABLE, rows[:count]), rewards[:count], count)
        fresh.load(grown.state())
        fresh.fit(encoded(TABLE, rows[:count]), rewards[:count], count)
        unseen = encoded(TABLE, rows[60:])
        np.testing.assert_array_equal(grown.predict(unseen), fresh.predict(unseen))


def test_process_is_surer_near_what_it_knows():
    encoder = Encoder(TABLE)
    known = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (1, 0, 0, 0)]
    surrogate = GaussianProcess()
    features = encoder.features([encoder.row(tokens) for tokens in known])
    surrogate.fit(features, rank_normalised(np.array([0.0, 1.0, 2.0, 3.0])), 4)
    asked = encoder.features([encoder.row(t) for t in [(0, 0, 0, 0), (0, 0, 0, 2), (3, 3, 3, 3)]])
    _, deviation = surrogate.predict(asked)
    assert deviation[0] < deviation[1] < deviation[2]


def kernel_of(rewards, rows):
    surrogate = GaussianProcess()
    surrogate.fit(encoded(TABLE, rows), rank_normalised(np.array(rewards)), len(rows))
    return surrogate.state()


def test_kernel_stays_open_while_little_is_known():
    rows = table_rows(150)
    few = kernel_of([reward(tokens) for tokens in rows[:10]], rows[:10])
    many = kernel_of([reward(tokens) for tokens in rows], rows)
    assert sum(few["weights"]) == pytest.approx(1.0)
    assert sum(many["weights"]) == pytest.approx(1.0)
    assert max(few["weights"]) < 0.5 < max(many["weights"])
    assert many["noise"] < few["noise"]


def test_kernel_takes_chance_for_noise():
    rows, rng = table_rows(100), np.random.default_rng(0)
    chance = kernel_of(rng.standard_normal(100), rows)
    assert chance["noise"] > 10 * kernel_of([reward(tokens) for tokens in rows], rows)["noise"]


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_leaving_out_hopeless_settings_changes_nothing(monkeypatch, chance):
    known = table_rows(150)
    features = encoded(TABLE, known)
    rewards = [reward(tokens) for tokens in known]
    targets = rank_normalised(np.array(rewards) + np.random.default_rng(0).normal(0, chance, 150))
    solved, worked_out = surrogate._solved, []

    def counted(*given):
        worked_out.append(given)
        return solved(*given)

    monkeypatch.setattr(surrogate, "_solved", counted)
    kernels = {}
    for hopeless in (surrogate._HOPELESS, np.inf):
        monkeypatch.setattr(surrogate, "_HOPELESS", hopeless)
        worked_out.clear()
        kernel = surrogate._mean_kernel(*distances(features, features), targets)
        kernels[len(worked_out)] = [*kernel.weights, kernel.noise]
    few, all_of_them = kernels.items()
    assert few[0] < all_of_them[0] == len(surrogate._grid()) * len(surrogate.NOISES)
    assert few[1] == pytest.approx(all_of_them[1], abs=1e-10)


def test_a_second_fit_on_the_same_changes_nothing():
    rows = table_rows(40)
    features, targets = encoded(TABLE, rows), rank_normalised(np.array([reward(t) for t in rows]))
    surrogate = GaussianProcess()
    for trials in (30, 40, 40):
        surrogate.fit(features, targets, trials)
    again = GaussianProcess()
    again.load(surrogate.state())
    again.fit(features, targets, 40)
    assert again.state() == surrogate.state()
    for one, other in zip(again.predict(features), surrogate.predict(features), strict=True):
        assert one.tolist() == other.tolist()


class Oracle:
    """A surrogate that knows, or knows the opposite."""

    def __init__(self, sign):
        self.sign, self.fitted_on, self.trials, self.predicted = sign, [], [], []

    def fit(self, known, targets, trials, noise=None):
        self.fitted_on.append(len(known))
        self.trials.append(trials)

    def predict(self, candidates):
        self.predicted.append(len(candidates))
        bits = np.arange(candidates.decided.shape[1])
        total = candidates.decided @ np.maximum(
            bits % 5 - 1, 0
        )  # of four decisions of four choices
        return self.sign * total, np.zeros(len(candidates))

    def state(self):
        return {}

    def load(self, state):
        pass


def taught(screen, history, rows):
    for tokens in rows:
        screen.watch(tokens)
        history.add(tokens, float(sum(tokens)))
        screen.observe(tokens, float(sum(tokens)))


def test_screen_turns_off_when_it_predicts_badly_and_on_again():
    history, oracle = History(10), Oracle(-1)
    screen = Screen(TABLE, oracle, history, 0)
    rows = table_rows(200)
    taught(screen, history, rows[:20])
    assert screen.on  # nothing was predicted before there was enough to fit on
    taught(screen, history, rows[20:60])
    assert (screen.on, screen.correlation) == (False, pytest.approx(-1.0))
    oracle.sign = 1
    taught(screen, history, rows[60:75])
    assert not screen.on
    taught(screen, history, rows[75:110])
    assert (screen.on, screen.correlation) == (True, pytest.approx(1.0))


def test_screen_picks_what_is_predicted_best_and_proposes_none_twice():
    history = History(10)
    screen = Screen(TABLE, Oracle(1), history, 0)
    rows, rng = table_rows(30), np.random.default_rng(0)
    taught(screen, history, rows)
    known = Known(TABLE)
    for tokens in rows:
        known.add(tokens)
    candidates = Candidates(TABLE, lambda: uniform(TABLE, rng), (2, 20, 10), 25)
    candidates.refresh(history.elite(), known, rng)
    listed = candidates.tokens()
    assert not set(listed) & set(rows)
    picked = screen.pick(candidates)
    assert sum(picked) == max(map(sum, listed))
    assert len(candidates.tokens()) == min(len(listed), 25)
    assert set(candidates.tokens()) <= set(listed)
    assert min(map(sum, candidates.tokens())) >= min(map(sum, listed))


def test_nothing_to_pick_from_is_nothing():
    history = History(10)
    screen = Screen(TABLE, Oracle(1), history, 0)
    taught(screen, history, table_rows(20))
    empty = Candidates(TABLE, lambda: (0, 0, 0, 0), (0, 0, 0), 5)
    assert screen.pick(empty) is None


def test_fit_is_on_the_best_and_the_newest_when_there_are_many():
    history, oracle = History(10), Oracle(1)
    screen = Screen(IMAGE, oracle, history, 0)
    rng = np.random.default_rng(3)
    sequences = list(dict.fromkeys(uniform(IMAGE, rng) for _ in range(2 * MOST_KNOWN)))
    for number, tokens in enumerate(sequences):
        history.add(tokens, float(number == 7))
    screen.predict(sequences[:1])
    assert oracle.fitted_on == [MOST_KNOWN]
    assert oracle.trials == [len(sequences)]
    chosen = screen._chosen(history.rewards())
    assert 7 in chosen
    assert set(range(len(sequences) - MOST_KNOWN // 3, len(sequences))) <= set(chosen)


def test_fits_are_rarer_when_much_is_known_and_a_loaded_screen_goes_on_from_the_last_one():
    rng, history = np.random.default_rng(4), History(10)
    screen = Screen(IMAGE, GaussianProcess(), history, 0)
    sequences = list(dict.fromkeys(uniform(IMAGE, rng) for _ in range(4 * MOST_KNOWN)))
    probe, known = sequences[:20], sequences[20 : 20 + 3 * MOST_KNOWN]
    for tokens in known[:-5]:
        history.add(tokens, float(rng.random()))
    fitted, _ = screen.predict(probe)
    for tokens in known[-5:-1]:
        history.add(tokens, float(rng.random()))
        assert np.array_equal(screen.predict(probe)[0], fitted)
    loaded = Screen(IMAGE, GaussianProcess(), history, 0)
    loaded.load(screen.state())
    assert np.array_equal(loaded.predict(probe)[0], fitted)
    history.add(known[-1], float(rng.random()))
    anew, _ = screen.predict(probe)
    assert not np.array_equal(anew, fitted)
    assert np.array_equal(loaded.predict(probe)[0], anew)


def test_what_was_predicted_since_the_last_fit_is_not_predicted_again():
    history, oracle = History(10), Oracle(1)
    screen = Screen(TABLE, oracle, history, 0)
    rows = table_rows(60)
    for tokens in rows[:20]:
        history.add(tokens, float(sum(tokens)))
    first, _ = screen.predict(rows[20:40])
    both, _ = screen.predict([*rows[50:55], *rows[20:40]])
    assert oracle.predicted == [20, 5]
    assert both.tolist() == [*screen.predict(rows[50:55])[0], *first]
    loaded = Screen(TABLE, oracle, history, 0)
    loaded.load(screen.state())
    assert loaded.predict([*rows[50:55], *rows[20:40]])[0].tolist() == both.tolist()
    assert oracle.predicted == [20, 5]
    oracle.sign = -1
    history.add(rows[20], float(sum(rows[20])))
    assert screen.predict(rows[20:40])[0].tolist() == (-first).tolist()


def test_best_known_looks_through_noise():
    believed, lucky = [], []
    for seed in range(10):
        rng, history = np.random.default_rng(seed), History(10)
        screen = Screen(TABLE, GaussianProcess(), history, 0)
        for tokens in table_rows(100, seed):
            history.add(tokens, sum(tokens) + 3.0 * rng.standard_normal())
        believed.append(sum(screen.best_known()))
        lucky.append(sum(history.elite()[0]))
    assert np.mean(believed) > np.mean(lucky)


@pytest.mark.parametrize("space", [IMAGE, TABLE], ids=["image", "table"])
def test_variations_are_legal_and_near(space):
    rng = np.random.default_rng(5)
    changed = 0
    for _ in range(150):
        parent, other = uniform(space, rng), uniform(space, rng)
        for child in (mutant(space, parent, rng), cross(space, parent, other, rng)):
            space.architecture(child)  # raises if it is not legal
        decided, _ = (d[0, 1] for d in distances(*[encoded(space, [parent, child])] * 2))
        changed += parent != mutant(space, parent, rng)
    assert changed > 140
    assert decided <= len(parent) + len(child)


def test_mutant_of_a_table_is_one_token_away():
    rng = np.random.default_rng(6)
    for _ in range(50):
        parent = uniform(TABLE, rng)
        child = mutant(TABLE, parent, rng)
        assert sum(a != b for a, b in zip(parent, child, strict=True)) == 1


def test_mutants_of_a_chain_put_layers_in_and_take_them_out():
    rng = np.random.default_rng(7)
    lengths = {
        len(IMAGE.architecture(mutant(IMAGE, parent, rng)).layers)
        - len(IMAGE.architecture(parent).layers)
        for parent in [uniform(IMAGE, rng)]
        for _ in range(100)
    }
    assert {-1, 0, 1} <= lengths


def test_mutants_of_a_chain_often_repeat_a_layer():
    rng = np.random.default_rng(8)
    space = ImageSpace((28, 28, 1), 10)
    parent = space.reference().tokens
    layers = space.architecture(parent).layers
    repeats = [[*layers[: at + 1], *layers[at:]] for at in range(len(layers))]
    children = [space.architecture(mutant(space, parent, rng)).layers for _ in range(120)]
    inserted = [child for child in children if len(child) > len(layers)]
    repeating = [child for child in inserted if list(child) in repeats]
    assert 0.2 < len(repeating) / len(inserted) < 0.7
