"""The search loop with several children under way, whose results come in any order."""

import random
from dataclasses import replace

import numpy as np
import pytest
from stored import META
from test_loop import NO_DATA, SPACE, Crash, Hashed, crashing

from rlnas.config import make_config
from rlnas.controllers import make_controller
from rlnas.evaluation import InlineExecutor, child_seed
from rlnas.search.folder import RunFolder
from rlnas.search.loop import Observer, SearchLoop
from rlnas.search.progress import Silence
from rlnas.search.setup import Setup

WORKERS = 4


class Crew(InlineExecutor):
    """Some workers that end in an order of chance, now one, now two at a time.

    Attributes:
        most: How many jobs were under way at most.
    """

    def __init__(self, seed, evaluator=None):
        super().__init__(evaluator or Hashed())
        self._chance = random.Random(seed)
        self.most = 0

    @property
    def workers(self):
        return WORKERS

    def completed(self):
        self.most = max(self.most, len(self._waiting))
        self._chance.shuffle(self._waiting)
        results = super().completed()
        return results + super().completed() if self._chance.random() < 0.5 else results


def search(folder, journal, executor, controller="evolution", trials=40, **options):
    config = make_config(
        {"seed": 3, "controller": {"name": controller}, "budget": {"trials": trials}}
    )
    setup = Setup(config, NO_DATA, SPACE)
    made = make_controller(SPACE, config.controller, config.seed, trials=trials)
    loop = SearchLoop(setup, folder, journal, made, executor, Observer(), Silence(), **options)
    loop.run()


def new(root, name):
    folder = RunFolder(root, name)
    return folder, folder.create(make_config({}), META)


def timeless(journal):
    return [replace(trial, started=0.0, ended=None) for trial in journal.trials()]


@pytest.mark.parametrize("controller", ["ppo", "dqn", "evolution", "local"])
def test_all_workers_are_busy_and_each_trial_is_there_once(tmp_path, controller):
    folder, journal = new(tmp_path, "a")
    executor = Crew(0)
    search(folder, journal, executor, controller)
    trials = journal.trials()
    assert executor.most == WORKERS
    assert sorted(trial.id for trial in trials) == list(range(1, 41))
    assert [trial.step for trial in trials] == list(range(1, 41))
    assert [trial.id for trial in trials] != list(range(1, 41))  # in the order of the results
    assert len({trial.key for trial in trials}) == 40
    assert {trial.state for trial in trials} == {"done", "failed"}
    for trial in trials:
        assert trial.seed == child_seed(3, trial.key)
        assert len(trial.log_probs) == len(trial.tokens)


@pytest.mark.parametrize(
    ("method", "count"), [("propose", 2), ("propose", 17), ("finish", 5), ("finish", 12)]
)
def test_crash_with_children_under_way_loses_none_and_trains_none_twice(tmp_path, method, count):
    folder, journal = new(tmp_path, "a")
    first = Hashed()
    crashing(journal, method, count)
    with pytest.raises(Crash):
        search(folder, journal, Crew(0, first))
    under_way = [trial for trial in journal.trials() if trial.state == "running"]
    ended = [trial for trial in journal.trials() if trial.state != "running"]
    journal.close()
    again, second = folder.open(), Hashed()
    search(folder, again, Crew(1, second))
    trials = {trial.id: trial for trial in again.trials()}
    assert sorted(trials) == list(range(1, 41))
    assert all(trials[trial.id].tokens == trial.tokens for trial in under_way)
    assert all(replace(trials[trial.id]) == trial for trial in ended)
    assert not {trial.key for trial in ended} & set(second.seen)
    assert len(second.seen) == 40 - len(ended)


def test_ordered_results_do_not_depend_on_which_child_was_faster(tmp_path):
    found, states = [], []
    for seed in (0, 1):
        folder, journal = new(tmp_path, str(seed))
        search(folder, journal, Crew(seed), in_flight=6, ordered=True)
        found.append(timeless(journal))
        states.append(journal.state()["controller"])
    assert found[0] == found[1]
    np.testing.assert_equal(*states)


def test_ordered_run_does_not_depend_on_the_number_of_workers(tmp_path):
    found = []
    for name, executor in (("four", Crew(0)), ("one", InlineExecutor(Hashed()))):
        folder, journal = new(tmp_path, name)
        search(folder, journal, executor, in_flight=6, ordered=True)
        found.append(timeless(journal))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("method", "count"), [("propose", 3), ("propose", 20), ("finish", 4), ("finish", 11)]
)
def test_ordered_run_that_crashes_resumes_to_the_same_trials(tmp_path, method, count):
    whole_folder, whole = new(tmp_path, "whole")
    search(whole_folder, whole, Crew(0), "evolution", in_flight=5, ordered=True)
    folder, journal = new(tmp_path, "broken")
    crashing(journal, method, count)
    with pytest.raises(Crash):
        search(folder, journal, Crew(1), "evolution", in_flight=5, ordered=True)
    journal.close()
    again = folder.open()
    search(folder, again, Crew(2), "evolution", in_flight=5, ordered=True)
    assert timeless(again) == timeless(whole)
    np.testing.assert_equal(again.state()["controller"], whole.state()["controller"])


def test_deaths_of_the_search_are_not_those_of_children_in_processes_of_their_own(tmp_path):
    class Dies(Crew):
        def completed(self):
            raise Crash

    folder, journal = new(tmp_path, "a")
    for _ in range(6):
        with pytest.raises(Crash):
            search(folder, journal, Dies(0))
        journal.close()
        journal = folder.open()
    search(folder, journal, Crew(1))
    assert {trial.reason for trial in journal.trials()} <= {None, "unlucky"}


def test_child_that_waited_when_the_process_died_was_not_the_cause(tmp_path):
    class Dies(Hashed):
        def evaluate(self, *arguments):
            raise Crash

    folder, journal = new(tmp_path, "a")
    for _ in range(5):
        with pytest.raises(Crash):
            search(folder, journal, InlineExecutor(Dies()), in_flight=6, ordered=True)
        journal.close()
        journal = folder.open()
    search(folder, journal, InlineExecutor(Hashed()), in_flight=6, ordered=True)
    died = [trial.id for trial in journal.trials() if "died 5 times" in (trial.reason or "")]
    assert died == [1]
