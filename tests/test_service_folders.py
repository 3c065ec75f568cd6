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
    with pytest.raises(RunError, match="exists already"):
        folder.create(make_config({}), {})
    other, journal = create_next(tmp_path, "digits-random", make_config({}), {})
    journal.close()
    assert other.name == "digits-random-2"
    with closing(folder.create(make_config({}), {"own": "yes"}, reserved=True)) as journal:
        assert journal.meta()["own"] == "yes"


def test_name_that_a_kill_left_reserved_can_be_taken(tmp_path, jobs):
    (tmp_path / "a").mkdir()
    assert jobs.add("a", "a", {}, "process")[1]


def test_damaged_entry_can_be_deleted_and_harms_no_other(tmp_path, jobs):
    for name in ("good", "bad"):
        jobs.add(name, name, {}, "process")
    with jobs._db.writing() as db:
        db.execute("UPDATE searches SET config = '{' WHERE name = 'bad'")
    bad, good = sorted(jobs.entries(), key=lambda each: each.name)
    assert good.failed is None
    assert "damaged" in bad.failed
    jobs.delete("bad")
    assert jobs.names() == ["good"]
