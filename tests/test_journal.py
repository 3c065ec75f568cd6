import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from stored import META

from rlnas.config import make_config, read_config
from rlnas.errors import ControllerError, RunError, StorageError
from rlnas.objectives import Failure, Metrics
from rlnas.search.folder import RunFolder, free_name, run_folders
from rlnas.search.journal import BRIEF, DONE, FAILED, LONG, REFIT, Contender, Journal, Trial
from rlnas.search.state import pack, unpack

STATE = {"controller": {"w": np.arange(6.0).reshape(2, 3)}, "n": 2**100, "none": None}
TRIAL = Trial(
    id=1, key="flatten", tokens=(5, 8), log_probs=(-0.1, -0.25), seed=11, proposals=3, started=1.5
)
METRICS = Metrics(val_accuracy=(0.5, 0.75), loss=(1.0, 0.5), params=10, extra={"f1": 0.4})


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "root", "run-1")


@pytest.fixture
def journal(folder):
    journal = folder.create(make_config({}), META)
    yield journal
    journal.close()


def test_state_comes_back_bit_for_bit():
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    back = unpack(pack({"a": [{"b": array}, 2**100, -1.5, None, True, "text"]}))
    assert back["a"][1:] == [2**100, -1.5, None, True, "text"]
    assert back["a"][0]["b"].dtype == np.float32
    assert back["a"][0]["b"].tobytes() == array.tobytes()


@pytest.mark.parametrize("depth", [100, 450, 900])
def test_state_nested_deeply_comes_back(depth):
    state = {}
    for _ in range(depth):
        state = {"a": state}
    back = unpack(pack(state))
    for _ in range(depth):
        (back,) = back.values()
    assert back == {}


def test_state_nested_too_deeply_is_refused():
    state = {}
    for _ in range(10_000):
        state = {"a": state}
    with pytest.raises(ControllerError, match="cannot be saved"):
        pack(state)


def test_damaged_state_is_one_sentence():
    with pytest.raises(RunError, match="stored state of the run is damaged"):
        unpack(pack({"a": 1})[:-30])


def test_proposal_is_committed_as_running_with_its_state(folder, journal):
    journal.propose(TRIAL, STATE)
    other = Journal(folder.journal)
    (read,) = other.trials()
    assert read == TRIAL
    assert read.outcome is None
    assert other.state()["controller"]["w"].tolist() == STATE["controller"]["w"].tolist()


def test_result_is_committed_together_with_the_new_state(folder, journal):
    journal.propose(TRIAL, {"n": 1})
    done = replace(
        TRIAL,
        state=DONE,
        reward=0.75,
        metrics=METRICS,
        learned={"a/b": 0.5},
        policy={"layer": [0.25, 0.75]},
        proposals=4,
        ended=2.5,
    )
    journal.finish(done, {"n": 2})
    other = Journal(folder.journal)
    (read,) = other.trials()
    assert read == done
    assert read.outcome == METRICS
    assert other.state() == {"n": 2}


def test_failed_commit_leaves_trial_and_state_as_they_were(journal):
    journal.propose(TRIAL, {"n": 1})
    with pytest.raises(ControllerError, match="cannot be saved"):
        journal.finish(replace(TRIAL, state=DONE, reward=0.5), {"n": object()})
    assert journal.trials()[0].state == "running"
    assert journal.state() == {"n": 1}


def test_failed_trial_keeps_its_reason_and_has_no_reward(journal):
    journal.propose(TRIAL, {})
    journal.finish(replace(TRIAL, state=FAILED, reason="out of memory"), {})
    (read,) = journal.trials()
    assert read.outcome == Failure("out of memory")
    assert read.reward is None


def test_the_same_key_cannot_be_two_trials(journal):
    journal.propose(TRIAL, {})
    with pytest.raises(RunError, match="UNIQUE"):
        journal.propose(replace(TRIAL, id=2), {})


def test_contenders_come_by_rank_then_reference_then_baseline(journal):
    for name, rank in (("baseline", 0), ("trial-4", 2), ("reference", 0), ("trial-9", 1)):
        journal.store(Contender(name, LONG, rank, None, "key", 1, DONE, METRICS))
    journal.store(Contender("reference", BRIEF, 0, None, "key", 1, DONE, METRICS))
    names = [contender.name for contender in journal.contenders(LONG)]
    assert names == ["trial-9", "trial-4", "reference", "baseline"]
    assert journal.contenders(LONG)[0].val_accuracy == 0.75
    journal.store(Contender("trial-9", REFIT, 1, 9, "key", 1, DONE, METRICS))
    journal.log_start("trial-9/long")
    journal.log_start("trial-9/refit")
    journal.log_start("reference/brief")
    journal.drop_contenders((LONG, REFIT), {"status": "retraining"})
    assert journal.meta()["status"] == "retraining"
    assert journal.starts() == ["reference/brief"]
    assert [contender.name for contender in journal.contenders(BRIEF)] == ["reference"]
    assert journal.contenders(LONG) == journal.contenders(REFIT) == []


def test_starts_are_logged_in_order(journal):
    for child in ("trial-1", "trial-2", "trial-1"):
        journal.log_start(child)
    assert journal.starts() == ["trial-1", "trial-2", "trial-1"]


def test_damaged_journal_is_one_sentence(folder, journal):
    journal.close()
    folder.journal.write_bytes(b"this is not a database, it is a text of some length" * 100)
    with pytest.raises(RunError, match="is damaged: file is not a database; restore it"):
        folder.open()


def test_journal_of_another_format_is_refused(folder, journal):
    journal.set_meta({"format": 99})
    with pytest.raises(RunError, match="is of format 99, this rlnas writes format 2"):
        folder.open()


def test_full_disk_is_one_sentence_and_loses_nothing(folder, journal):
    journal.propose(TRIAL, {"n": 1})
    journal._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="free the disk"):
        journal.finish(replace(TRIAL, state=DONE), {"big": np.zeros(200_000)})
    assert Journal(folder.journal).state() == {"n": 1}


def test_reader_sees_the_last_commit_while_another_writes(folder, journal):
    journal.propose(TRIAL, {"n": 1})
    writer = sqlite3.connect(folder.journal, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert len(Journal(folder.journal).trials()) == 1
    writer.execute("ROLLBACK")
    writer.close()


def test_run_that_exists_is_refused_with_the_line_that_resumes_it(folder, journal):
    with pytest.raises(
        RunError, match=r"exists already; continue it with: rlnas resume run-1 --root"
    ):
        folder.create(make_config({}), META)


def test_unknown_run_names_the_nearest(folder, journal):
    with pytest.raises(RunError, match="did you mean run-1"):
        RunFolder(folder.root, "run-2").open()


def test_folder_without_journal_is_not_a_run(folder):
    folder.path.mkdir(parents=True)
    with pytest.raises(RunError, match="is not the folder of a run"):
        folder.open()


def test_unwritable_root_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another --root"):
        RunFolder(tmp_path / "file" / "root", "a").create(make_config({}), META)


def test_config_comes_back_from_the_folder(tmp_path):
    config = make_config({"seed": 5, "budget": {"trials": 7}})
    folder = RunFolder(tmp_path, "a")
    folder.create(config, META).close()
    assert folder.read_config() == config
    assert make_config(read_config(folder.config)) == config


def test_child_is_given_up_after_five_deaths_but_not_after_stops(journal):
    for _ in range(4):
        journal.log_start("trial-1")
    for _ in range(5):
        journal.log_start("trial-1")
        journal.log_stop()
    assert journal.given_up("trial-1") is None
    journal.log_start("trial-1")
    assert journal.given_up("trial-1") == Failure("its process died 5 times while it trained")
    assert journal.given_up("trial-2") is None


def test_only_one_process_writes(folder, journal):
    refused = pytest.raises(RunError, match="written by another process")
    with folder.writing(), refused, folder.writing():
        pass
    with folder.writing():
        pass


def test_runs_are_listed_and_names_are_free(folder, journal):
    (folder.root / "notes").mkdir()
    assert [run.name for run in run_folders(folder.root)] == ["run-1"]
    assert free_name(folder.root, "run") == "run-2"
    assert run_folders(folder.root / "absent") == []
