"""The search loop with children that cost nothing: what is committed, and what a crash leaves."""

import hashlib
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from stored import META

from rlnas.children.data import Data
from rlnas.config import make_config
from rlnas.controllers import make_controller
from rlnas.errors import NoValidChildError, StorageError
from rlnas.evaluation import InlineExecutor, child_seed
from rlnas.objectives import Failure, Metrics
from rlnas.search.contenders import Contenders
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF
from rlnas.search.loop import Observer, SearchLoop
from rlnas.search.progress import Silence, best_of
from rlnas.search.setup import Setup
from rlnas.spaces import ImageSpace

FEW = {
    f"{kind}.{field}": [value]
    for kind in ("conv", "sepconv")
    for field, value in (("filters", 16), ("kernel", 3), ("activation", "relu"))
}
SPACE = ImageSpace((8, 8, 1), 10, max_layers=3, min_layers=1, choices=FEW)
NOTHING = np.zeros((0, 8, 8, 1))
NO_DATA = Data(
    "none", NOTHING, np.zeros(0, int), NOTHING, np.zeros(0, int), NOTHING, np.zeros(0, int),
    tuple("0123456789"), 1.0, "0" * 16,
)  # fmt: skip


class Hashed:
    """Accuracy is a hash of the key and seed; every child with five in its hash fails."""

    def __init__(self):
        self.seen = []

    def evaluate(self, architecture, recipe, seed, folder=None):
        key = SPACE.key(architecture)
        self.seen.append(key)
        digest = hashlib.sha256(f"{key}{seed}".encode()).digest()
        if digest[1] % 7 == 5:
            return Failure("unlucky")
        return Metrics(val_accuracy=(digest[0] / 255,))


class Bad:
    def evaluate(self, architecture, recipe, seed, folder=None):
        return Failure("the loss became NaN in epoch 1")


def loop(folder, journal, evaluator, controller="random", **budget):
    config = make_config(
        {"seed": 3, "controller": {"name": controller}, "budget": budget or {"trials": 12}}
    )
    setup = Setup(config, NO_DATA, SPACE)
    made = make_controller(SPACE, config.controller, config.seed)
    return SearchLoop(
        setup, folder, journal, made, InlineExecutor(evaluator), Observer(), Silence()
    )


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path, "run")


def timeless(trials):
    return [replace(trial, started=0.0, ended=None) for trial in trials]


def test_budget_counts_different_architectures(folder):
    journal, evaluator = folder.create(make_config({}), META), Hashed()
    loop(folder, journal, evaluator, trials=40).run()
    trials = journal.trials()
    assert len(trials) == len({trial.key for trial in trials}) == 40
    assert evaluator.seen == [trial.key for trial in trials]
    assert [trial.id for trial in trials] == list(range(1, 41))


def test_proposals_that_repeat_are_counted_but_not_trained(folder):
    journal, evaluator = folder.create(make_config({}), META), Hashed()
    loop(folder, journal, evaluator, trials=60).run()
    assert journal.trials()[-1].proposals > 60
    assert len(evaluator.seen) == 60


def test_each_child_has_the_seed_of_its_key(folder):
    journal = folder.create(make_config({}), META)
    loop(folder, journal, Hashed(), trials=5).run()
    assert [t.seed for t in journal.trials()] == [child_seed(3, t.key) for t in journal.trials()]


def test_failed_children_are_recorded_and_the_search_goes_on(folder):
    journal = folder.create(make_config({}), META)
    loop(folder, journal, Hashed(), trials=40).run()
    trials = journal.trials()
    again = [Hashed().evaluate(SPACE.architecture(t.tokens), None, t.seed) for t in trials]
    assert [trial.outcome for trial in trials] == again
    assert len(again) == 40
    assert {t.reason for t in trials if t.state == "failed"} == {"unlucky"}


def test_search_without_one_valid_child_says_so(folder):
    journal = folder.create(make_config({}), META)
    with pytest.raises(NoValidChildError, match=r"not one of 4 children .* NaN in epoch 1"):
        loop(folder, journal, Bad(), trials=4).run()


def test_time_limit_ends_the_search(folder):
    journal = folder.create(make_config({}), META)
    with pytest.raises(NoValidChildError, match="not one of 0 children"):
        loop(folder, journal, Hashed(), trials=1000, time_limit=1e-9).run()
    assert journal.trials() == []


def test_budget_of_time_alone_has_no_end_of_trials(folder, monkeypatch):
    journal = folder.create(make_config({}), META)
    searching = loop(folder, journal, Hashed(), time_limit=1000)
    monkeypatch.setattr(searching, "_seconds", lambda: 10.0 * searching._ended)
    searching.run()
    assert len(journal.trials()) == 100


def test_child_that_ends_its_process_five_times_fails_and_the_search_goes_on(folder):
    class Fatal(Hashed):
        def evaluate(self, architecture, recipe, seed, folder=None):
            if SPACE.key(architecture) == deadly:
                raise Crash
            return super().evaluate(architecture, recipe, seed, folder)

    whole = RunFolder(folder.root, "whole").create(make_config({}), META)
    loop(folder, whole, Hashed()).run()
    deadly = whole.trials()[3].key
    folder.create(make_config({}), META).close()
    for _ in range(5):
        with closing(folder.open()) as journal, pytest.raises(Crash):
            loop(folder, journal, Fatal()).run()
    journal = folder.open()
    loop(folder, journal, Fatal()).run()
    assert journal.trials()[3].reason == "its process died 5 times while it trained"
    assert journal.starts().count("trial-4") == 5
    assert [t.tokens for t in journal.trials()] == [t.tokens for t in whole.trials()]


def test_reference_that_ends_its_process_five_times_fails_too(folder):
    journal = folder.create(make_config({}), META)
    for _ in range(5):
        journal.log_start("reference/brief")
    setup = Setup(make_config({}), NO_DATA, SPACE)
    Contenders(setup, folder, journal, Silence()).brief(InlineExecutor(Hashed()))
    (reference,) = journal.contenders(BRIEF)
    assert reference.reason == "its process died 5 times while it trained"
    assert len(journal.starts()) == 5


def test_best_is_the_earliest_of_equals(folder):
    journal = folder.create(make_config({}), META)
    loop(folder, journal, Hashed(), trials=10).run()
    first = journal.trials()[0]
    equal = [replace(first, id=number, reward=0.5) for number in (3, 1, 2)]
    assert best_of(equal).id == 1
    assert best_of([]) is None


class Crash(Exception):
    """The process dies here."""


def crashing(journal, method, count):
    """Let the count-th call of a method of the journal be the last thing that is tried."""
    real, calls = getattr(journal, method), []

    def call(*args):
        calls.append(None)
        if len(calls) == count:
            raise Crash
        return real(*args)

    setattr(journal, method, call)


@pytest.mark.parametrize("controller", ["random", "reinforce"])
@pytest.mark.parametrize(
    ("method", "count"),
    [("propose", 1), ("propose", 9), ("log_start", 4), ("finish", 1), ("finish", 8)],
)
def test_run_that_crashes_anywhere_resumes_to_the_same_trials(tmp_path, controller, method, count):
    whole = RunFolder(tmp_path, "whole")
    journal = whole.create(make_config({}), META)
    loop(whole, journal, Hashed(), controller).run()

    broken, evaluator = RunFolder(tmp_path, "broken"), Hashed()
    crashed = broken.create(make_config({}), META)
    crashing(crashed, method, count)
    with pytest.raises(Crash):
        loop(broken, crashed, evaluator, controller).run()
    crashed.close()
    again = broken.open()
    loop(broken, again, evaluator, controller).run()

    assert timeless(again.trials()) == timeless(journal.trials())
    ended, expected = again.state()["controller"], journal.state()["controller"]
    np.testing.assert_equal(ended, expected)
    assert len(evaluator.seen) <= 13  # at most one child more than there are trials


def test_disk_that_is_full_stops_the_run_and_loses_nothing(folder):
    journal = folder.create(make_config({}), META)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StorageError, match="then resume the run"):
        loop(folder, journal, Hashed(), trials=500).run()
    before = len(journal.trials())
    journal.close()
    again = folder.open()
    assert len(again.trials()) == before > 0
    loop(folder, again, Hashed(), trials=before + 5).run()
    assert len(again.trials()) == before + 5


def test_used_up_space_ends_the_search(folder):
    tiny = ImageSpace((1, 1, 1), 2, max_layers=1, choices={"conv.filters": [8], "conv.kernel": [1],
        "conv.activation": ["relu"], "sepconv.filters": [8], "sepconv.kernel": [1],
        "sepconv.activation": ["relu"], "dropout.rate": [0.0]})  # fmt: skip
    config = make_config({"controller": {"name": "random"}, "budget": {"trials": 500}})
    journal = folder.create(config, META)

    class Half:
        def evaluate(self, architecture, recipe, seed, folder=None):
            return Metrics(val_accuracy=(0.5,))

    made = make_controller(tiny, config.controller, 0)
    setup = Setup(config, NO_DATA, tiny)
    SearchLoop(setup, folder, journal, made, InlineExecutor(Half()), Observer(), Silence()).run()
    assert len(journal.trials()) == 2  # with and without batch normalisation
