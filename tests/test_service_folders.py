"""Tests of the folders of the service's searches: names that wait, the trash, lost databases."""

from contextlib import closing

import pytest

from rlnas.config import make_config
from rlnas.errors import RunError
from rlnas.search.folder import RunFolder, create_next
from rlnas.service.jobs import Jobs, TakenError
from rlnas.service.trash import TrashFolder


@pytest.fixture
def jobs(tmp_path):
    with_root = Jobs(tmp_path)
    yield with_root
    with_root.close()


def fill(root, name, text):
    """Write what a search has: its run, and what its runner wrote."""
    for folder in (root / name, root / ".service" / "jobs" / name):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text(text)


def contents(root, name):
    places = (root / name / "file", root / ".service" / "jobs" / name / "file")
    return [place.read_text() if place.is_file() else None for place in places]


@pytest.mark.parametrize("by_the_service", [True, False])
def test_refused_restore_moves_nothing(tmp_path, jobs, by_the_service):
    if by_the_service:
        jobs.add("a", "a", {}, "process")
        fill(tmp_path, "a", "old")
    else:  # begun by the command line: there is nothing of a runner
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "file").write_text("old")
    thrown = jobs.delete("a")
    jobs.add("a", "a", {}, "process")
    fill(tmp_path, "a", "new")
    with pytest.raises(TakenError, match="there is a search called a now"):
        jobs.restore(thrown.id)
    jobs.recover()
    assert contents(tmp_path, "a") == ["new", "new"]
    jobs.delete("a")
    assert jobs.restore(thrown.id) == "a"
    assert contents(tmp_path, "a") == ["old", "old" if by_the_service else None]


def test_trash_of_a_lost_database_is_found_again(tmp_path):
    jobs = Jobs(tmp_path)
    jobs.add("a", "a", {"seed": 3}, "process")
    fill(tmp_path, "a", "all")
    thrown = jobs.delete("a")
    jobs.close()
    for path in (tmp_path / ".service").glob("service.sqlite*"):
        path.unlink()
    foreign = tmp_path / ".trash" / "abc"
    foreign.mkdir()
    (foreign / "notes").write_text("mine")

    jobs = Jobs(tmp_path)
    jobs.recover()
    assert jobs.trash() == [thrown]
    assert jobs.restore(thrown.id) == "a"
    assert (contents(tmp_path, "a"), jobs.entry("a").config["seed"]) == (["all", "all"], 3)
    assert (foreign / "notes").read_text() == "mine"
    jobs.close()


def test_removal_that_a_kill_cut_off_is_finished(tmp_path, jobs, monkeypatch):
    jobs.add("a", "a", {}, "process")
    fill(tmp_path, "a", "all")
    thrown = jobs.delete("a")

    def killed(self, number):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrashFolder, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        jobs.purge(thrown.id)
    monkeypatch.undo()
    assert jobs.trash() == []
    jobs.recover()
    assert list((tmp_path / ".trash").iterdir()) == []


def test_name_of_a_search_that_waits_is_for_no_run(tmp_path, jobs):
    entry, _ = jobs.add(None, "digits-random", {}, "process")
    assert entry.name == "digits-random-1"
    folder = RunFolder(tmp_path, entry.name)
    with pytest.raises(RunError, match="reserved for a search that waits"):
        folder.create(make_config({}), {})
    other, journal = create_next(tmp_path, "digits-random", make_config({}), {})
    journal.close()
    assert other.name == "digits-random-2"
    with closing(folder.create(make_config({}), {"own": "yes"}, reserved=True)) as journal:
        assert journal.meta()["own"] == "yes"


def test_name_that_a_kill_left_reserved_is_free_again(tmp_path, jobs):
    RunFolder(tmp_path, "a-control").reserve()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "reserved").write_text("a file of somebody's")
    (tmp_path / "mine" / "more").touch()
    jobs.recover()
    assert not (tmp_path / "a-control").exists()
    assert (tmp_path / "mine" / "reserved").is_file()
    jobs.add("a", "a", {"control": "random"}, "process")
    with pytest.raises(RunError):
        RunFolder(tmp_path, "a").reserve()


def test_name_of_a_search_without_a_folder_is_reserved_at_the_start(tmp_path, jobs):
    jobs.add("a", "a", {}, "process")
    RunFolder(tmp_path, "a").release()
    jobs.recover()
    assert RunFolder(tmp_path, "a").is_reserved()
    thrown = jobs.delete("a")
    assert jobs.restore(thrown.id) == "a"
    assert RunFolder(tmp_path, "a").is_reserved()


def test_of_two_that_take_one_name_at_once_one_gets_it(tmp_path, jobs, monkeypatch):
    folder, take = RunFolder(tmp_path, "a"), RunFolder._take

    def late(self, wanted):
        monkeypatch.setattr(RunFolder, "_take", take)
        jobs.add("a", "a", {}, "process")  # while the command line is at its last step
        take(self, wanted)

    monkeypatch.setattr(RunFolder, "_take", late)
    with pytest.raises(RunError, match="reserved"):
        folder.create(make_config({}), {})
    assert folder.is_reserved()


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("0" * 16, '{"name": ["x"], "deleted": 1, "entry": {"a": 1}}'),
        ("0" * 16, '{"name": "../up", "deleted": 1, "entry": null}'),
        ("0" * 16, "[1"),
        ("other", '{"name": "a", "deleted": 1, "entry": null}'),
    ],
)
def test_what_is_no_search_in_the_trash_is_left_alone(tmp_path, jobs, name, record):
    (tmp_path / ".trash" / name / "run").mkdir(parents=True)
    (tmp_path / ".trash" / name / "search.json").write_text(record)
    jobs.recover()
    assert jobs.trash() == []
    assert (tmp_path / ".trash" / name / "search.json").read_text() == record


@pytest.mark.parametrize("config", ["{", "[]", '{"engine": 3}'])
def test_damaged_entry_can_be_deleted_and_harms_no_other(jobs, config):
    for name in ("good", "bad"):
        jobs.add(name, name, {}, "process")
    with jobs._db.writing() as db:
        db.execute("UPDATE searches SET config = ? WHERE name = 'bad'", [config])
    bad, good = sorted(jobs.entries(), key=lambda each: each.name)
    assert good.failed is None
    assert "damaged" in bad.failed
    jobs.delete("bad")
    assert jobs.names() == ["good"]
