"""Tests of searches whose children are trained elsewhere: book of leases, executor, search."""

import itertools
import json
import threading
import time
from contextlib import closing

import pytest

from rlnas.config import make_config
from rlnas.errors import ConfigError, InterruptedRunError, RunError
from rlnas.evaluation.leases import MOST_GRANTS, Answer, LeaseBook
from rlnas.objectives import Failure, Metrics
from rlnas.search.external import ExternalSearch, make_external_space
from rlnas.search.folder import RunFolder
from rlnas.search.progress import Silence
from rlnas.search.result import read_result
from rlnas.search.resuming import export_run, export_trials, resume_run, start_run

GOOD = Metrics(val_accuracy=(0.9,))


@pytest.fixture
def book(tmp_path):
    with closing(LeaseBook(tmp_path / "leases.sqlite")) as book:
        book.put("trial-1", {"trial": 1, "floors": [0.5, 0.6]})
        book.put("trial-2", {"trial": 2, "time_limit": 100.0})
        yield book


class Worker(threading.Thread):
    """Trains nothing: tells for each trial what a function makes of its payload."""

    def __init__(self, folder, outcome, most=10_000):
        super().__init__(daemon=True)
        self.folder, self.outcome, self.most = folder, outcome, most
        self.told = []
        self.done = threading.Event()

    def run(self):
        while not self.folder.leases.is_file():
            if self.done.wait(0.01):
                return
        with closing(LeaseBook(self.folder.leases)) as book:
            while not self.done.is_set() and len(self.told) < self.most:
                for lease in book.ask(1, "test", 60.0, time.time()):
                    book.tell(lease.token, self.outcome(lease.payload), time.time())
                    self.told.append(lease.name)
                time.sleep(0.001)


def by_tokens(payload):
    return Metrics(val_accuracy=(sum(payload["tokens"]) / 20,))


def table(folder):
    rows = ["".join(row) for row in itertools.product("012", repeat=4)]
    path = folder / "table.csv"
    path.write_text("arch\n" + "\n".join(rows) + "\n")
    return path


def config(space, **more):
    engine = {"executor": "external", "workers": 4}
    return make_config({"name": "run", "engine": engine, "space": space, **more})


def searched(tmp_path, given, outcome=by_tokens):
    worker = Worker(RunFolder(tmp_path / "runs", "run"), outcome)
    worker.start()
    try:
        return start_run(given, tmp_path / "runs", Silence()), worker.told
    finally:
        worker.done.set()
        worker.join()


def test_each_job_goes_to_one_worker(book):
    first = book.ask(5, "a", 10, now=0)
    assert [lease.name for lease in first] == ["trial-1", "trial-2"]
    assert first[0].payload["trial"] == 1
    assert book.ask(5, "b", 10, now=9.9) == []
    assert book.counts(9.9) == {"queued": 0, "leased": 2, "expired": 0, "told": 0}


def test_lease_that_ends_unkept_goes_to_the_next_asker(book):
    lost, _ = book.ask(2, "a", 10, now=0)
    (lease,) = book.ask(1, "b", 10, now=10)
    assert (lease.name, lease.worker) == ("trial-1", "b")
    assert book.tell(lost.token, GOOD, now=11) is Answer.LOST
    assert book.beat(lost.token, 10, now=11).answer is Answer.LOST
    assert book.tell(lease.token, GOOD, now=12) is Answer.TAKEN
    assert book.told_after(0) == [(1, "trial-1", GOOD)]


def test_kept_lease_stays(book):
    lease = book.ask(1, "a", 10, now=0)[0]
    assert book.beat(lease.token, 10, now=9).expires == 19
    assert [each.name for each in book.ask(5, "b", 10, now=15)] == ["trial-2"]


def test_late_outcome_counts_while_nobody_else_has_the_trial(book):
    lease = book.ask(1, "a", 10, now=0)[0]
    assert book.tell(lease.token, GOOD, now=1000) is Answer.TAKEN


def test_outcome_told_twice_counts_once_and_another_is_refused(book):
    lease = book.ask(1, "a", 10, now=0)[0]
    assert book.tell(lease.token, GOOD, now=1) is Answer.TAKEN
    assert book.tell(lease.token, GOOD, now=2) is Answer.REPEATED
    assert book.tell(lease.token, Failure("no"), now=3) is Answer.CONTRADICTED
    assert book.told_after(0) == [(1, "trial-1", GOOD)]
    assert book.told_after(1) == []


def test_unknown_lease_is_told_so(book):
    assert book.tell("nothing", GOOD, now=0) is Answer.UNKNOWN
    assert book.beat("nothing", 10, now=0).answer is Answer.UNKNOWN
    assert book.payload("nothing") is None


def test_repeated_request_gives_the_same_leases(book):
    first = book.ask(1, "a", 10, now=0, request="one")
    assert book.ask(1, "a", 10, now=1, request="one") == first
    assert book.ask(1, "b", 10, now=1, request="one")[0].name == "trial-2"


def test_withdrawn_job_is_stopped_and_can_be_offered_anew(book):
    lease = book.ask(1, "a", 10, now=0)[0]
    book.withdraw(["trial-1"])
    beat = book.beat(lease.token, 10, now=1)
    assert (beat.answer, beat.reason) == (Answer.WITHDRAWN, "the search no longer wants it")
    assert book.tell(lease.token, GOOD, now=2) is Answer.WITHDRAWN
    book.put("trial-1", {"trial": 1})
    assert book.ask(1, "b", 10, now=3)[0].name == "trial-1"


def test_child_that_is_behind_the_others_is_stopped(book):
    lease = book.ask(1, "a", 10, now=0)[0]
    assert book.beat(lease.token, 10, 1, [0.5]).reason is None
    assert book.beat(lease.token, 10, 2, [0.5, 0.55]).reason == (
        "after 2 epochs it has 0.55, others had 0.6"
    )
    assert book.holders(3)[0]["epochs"] == [0.5, 0.55]


def test_child_beyond_its_time_fails(book):
    lease = book.ask(2, "a", 10, now=0)[1]
    assert book.beat(lease.token, 10, now=99).reason is None
    assert "time limit" in book.beat(lease.token, 10, now=101).reason
    ((_, name, outcome),) = book.told_after(0)
    assert (name, "100 s" in outcome.reason) == ("trial-2", True)


def test_job_that_ends_all_its_workers_fails(book):
    for turn in range(MOST_GRANTS):
        assert book.ask(1, f"w{turn}", 1, now=10 * turn)[0].name == "trial-1"
    assert [each.name for each in book.ask(5, "z", 1, now=1000)] == ["trial-2"]
    ((_, name, outcome),) = book.told_after(0)
    assert (name, isinstance(outcome, Failure)) == ("trial-1", True)


def test_two_that_ask_at_once_get_different_jobs(tmp_path):
    path = tmp_path / "leases.sqlite"
    with closing(LeaseBook(path)) as book:
        for number in range(60):
            book.put(f"trial-{number}", {})

    def asking(found):
        with closing(LeaseBook(path)) as mine:
            while leases := mine.ask(1, "w", 60, time.time()):
                found.append(leases[0].name)

    lists = [[], [], []]
    threads = [threading.Thread(target=asking, args=(each,)) for each in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for each in lists for name in each]
    assert len(names) == len(set(names)) == 60


@pytest.mark.slow
def test_search_of_a_table_learns_from_what_is_told(tmp_path):
    given = config({"name": str(table(tmp_path))}, budget={"trials": 30})
    found, told = searched(tmp_path, given)
    assert found.status == "done"
    assert sorted(told) == sorted(f"trial-{trial.id}" for trial in found.trials)
    assert len(found.trials) == 30
    for trial in found.trials:
        assert trial.reward == pytest.approx(sum(trial.tokens) / 20)
    assert found.best.val_accuracy == max(trial.reward for trial in found.trials)
    report = json.loads((found.folder / "best" / "report.json").read_text())
    assert report["trial"] == found.best.trial


def test_network_is_told_as_keras_json_and_exported(tmp_path):
    import keras

    seen = []

    def outcome(payload):
        seen.append(payload)
        return Failure("no memory") if payload["trial"] == 2 else by_tokens(payload)

    space = {"input_shape": [8, 8, 1], "classes": 3, "search_recipe": "optimizer,batch_size"}
    controller = {"name": "random"}
    given = config(space, budget={"trials": 4}, controller=controller)
    found, _ = searched(tmp_path, given, outcome)
    model = keras.models.model_from_json(json.dumps(seen[0]["architecture"]))
    assert model.input_shape == (None, 8, 8, 1)
    assert model.output_shape == (None, 3)
    assert model.count_params() == seen[0]["params"]
    assert seen[0]["recipe"]["optimizer"] in seen[0]["description"]
    assert {trial.reason for trial in found.trials} == {None, "no memory"}
    files = export_run(RunFolder(tmp_path / "runs", "run"), tmp_path / "taken")
    assert "architecture.json" in files
    text = (tmp_path / "taken" / "architecture.json").read_text()
    assert keras.models.model_from_json(text).output_shape == (None, 3)


def test_stopped_search_goes_on_with_what_was_told_meanwhile(tmp_path):
    given = config({"name": str(table(tmp_path))}, budget={"trials": 20})
    folder = RunFolder(tmp_path / "runs", "run")

    class Stop(Silence):
        def trial(self, trial, layers, standing):
            if standing.trials == 7:
                raise KeyboardInterrupt

    worker = Worker(folder, by_tokens)
    worker.start()
    with pytest.raises(InterruptedRunError, match="rlnas resume run"):
        start_run(given, tmp_path / "runs", Stop())
    while any(LeaseBook(folder.leases).counts(time.time())[name] for name in ("queued", "leased")):
        time.sleep(0.01)
    (tmp_path / "table.csv").unlink()  # the run has its own
    found = resume_run(folder, {}, Silence())
    worker.done.set()
    worker.join()
    assert found.status == "done"
    assert len(found.trials) == 20
    assert sorted(worker.told) == sorted(f"trial-{trial.id}" for trial in found.trials)


def test_ended_search_goes_on_with_a_larger_budget(tmp_path):
    given = config({"name": str(table(tmp_path))}, budget={"trials": 5})
    found, _ = searched(tmp_path, given)
    folder = RunFolder(tmp_path / "runs", "run")
    worker = Worker(folder, by_tokens)
    worker.start()
    found = resume_run(folder, {("budget", "trials"): 9}, Silence())
    worker.done.set()
    worker.join()
    assert (found.status, len(found.trials)) == ("done", 9)
    with pytest.raises(RunError, match="trained elsewhere"):
        export_trials(folder, [1], tmp_path / "to")
    assert read_result(folder).best.test_accuracy is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"space.input_shape is missing"),
        ({"input_shape": [8, 8, 1]}, "space.classes is missing"),
        ({"name": "gone.csv"}, "gone.csv cannot be read"),
        ({"name": "gone.yaml", "input_shape": [8, 8, 1], "classes": 2}, "gone.yaml"),
    ],
)
def test_space_that_cannot_be_had_is_one_sentence(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_external_space(config(given))


def test_table_without_networks_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("name,reward\na,1\n")
    with pytest.raises(ConfigError, match="expected a column 'arch'"):
        make_external_space(config({"name": str(tmp_path / "table.csv")}))


@pytest.mark.parametrize(
    "more",
    [
        {"control": "random"},
        {"evaluation": {"folds": 3}},
        {"engine": {"executor": "external", "isolate": True}},
        {"engine": {"executor": "external", "gpus": "0"}},
        {"engine": {"executor": "external", "mixed_precision": True}},
        {"engine": {"executor": "process"}, "space": {"classes": 3}},
        {"engine": {"executor": "process"}, "space": {"name": "table.csv"}},
    ],
)
def test_settings_of_children_trained_here_are_refused(more):
    with pytest.raises(ConfigError, match="executor"):
        make_config({"engine": {"executor": "external"}, **more})


def test_search_that_trains_here_says_where_to_go(tmp_path):
    import rlnas

    with pytest.raises(ConfigError, match=r"rlnas\.ExternalSearch"):
        rlnas.Search("digits", executor="external", root=tmp_path)
    with pytest.raises(ConfigError, match="use rlnas"):
        ExternalSearch({"engine": {"executor": "inline"}})
