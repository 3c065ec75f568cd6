"""The run folder: who may read and write it, how it begins, and what a stop leaves of it."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from stored import META

from rlnas.cli import main
from rlnas.config import make_config
from rlnas.errors import ConfigError, RunError, StorageError
from rlnas.search import folder as folders
from rlnas.search.folder import RunFolder, create_next, run_folders
from rlnas.search.journal import Journal

NOBODY = 65534


@pytest.fixture
def root():
    """A root that other users can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory() as held:
        Path(held).chmod(0o755)
        yield Path(held)


@pytest.fixture
def run(root):
    """A run with a journal that nobody holds open."""
    run = RunFolder(root, "run")
    run.create(make_config({}), META).close()
    return run


@contextmanager
def plain_user():
    """Be a user whom permissions bind, which they do not do with root."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def locked(folder, mode):
    """Let a folder and its files be what others may not change, or not even read."""
    folder.chmod(mode)
    try:
        with plain_user():
            yield
    finally:
        folder.chmod(0o755)


def test_run_that_cannot_be_written_can_be_read(run, capsys):
    commands = (["show", "run", "--root", str(run.root)], ["list", "--root", str(run.root)])
    for words in commands:  # all modules are loaded before there is another user: his are locked
        assert main(words) == 0
    files = sorted(run.path.iterdir())
    with locked(run.path, 0o555):
        for words in commands:
            assert main(words) == 0
    assert "damaged" not in capsys.readouterr().out
    assert sorted(run.path.iterdir()) == files


def test_reader_who_cannot_write_sees_commits_that_wait_beside_the_file(run):
    with closing(run.open()) as writer:
        writer.set_meta({"status": "retraining"})
        with locked(run.path, 0o555), closing(run.open()) as reader:
            assert reader.meta()["status"] == "retraining"
            writer.set_meta({"status": "done"})
            assert reader.meta()["status"] == "done"


def test_run_that_cannot_be_written_is_not_gone_on_with(run):
    refused = pytest.raises(RunError, match=r"cannot use .*Permission denied")
    with locked(run.path, 0o555), refused, run.writing():
        pass


def test_root_that_cannot_be_entered_is_one_sentence(root, capsys):
    inner = root / "locked"
    inner.mkdir()
    with locked(inner, 0o000):
        for words in (["search", "--name", "x"], ["show", "x"], ["list"]):
            assert main([*words, "--root", str(inner / "deeper")]) == 2
            assert "Permission denied; make room" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "CREATE TABLE meta (a, b)", "CREATE TABLE people (name)"])
def test_journal_that_is_empty_or_foreign_is_damaged(text, run, capsys):
    run.journal.unlink()
    with closing(sqlite3.connect(run.journal)) as foreign:
        foreign.executescript(text)
    for command in ("show", "resume", "retrain"):
        assert main([command, "run", "--root", str(run.root)]) == 2
        assert "is damaged: no such" in capsys.readouterr().err


def test_reading_a_journal_changes_nothing_of_it(run):
    run.journal.write_bytes(b"")
    with pytest.raises(RunError, match="is damaged"):
        run.open()
    assert run.journal.read_bytes() == b""


def test_journal_that_is_refused_is_closed(run, monkeypatch):
    with closing(run.open()) as journal:
        journal.set_meta({"format": 99})
    closed, close = [], Journal.close
    monkeypatch.setattr(Journal, "close", lambda self: closed.append(close(self)))
    with pytest.raises(RunError, match="format 99"):
        run.open()
    assert len(closed) == 1


def test_run_that_cannot_begin_leaves_nothing(root):
    with pytest.raises(RunError):
        RunFolder(root, "a").create(make_config({}), {"status": object()})
    assert list(root.iterdir()) == []


def test_two_that_begin_at_once_get_two_names(root, monkeypatch):
    real, calls = folders.dump_config, []

    def dump(*args, **kwargs):
        calls.append(None)
        if len(calls) == 1:  # the other one begins and ends while this one is about to begin
            create_next(root, "run", make_config({}), {**META, "who": "other"})[1].close()
        return real(*args, **kwargs)

    monkeypatch.setattr(folders, "dump_config", dump)
    mine, journal = create_next(root, "run", make_config({}), {**META, "who": "me"})
    with closing(journal), closing(RunFolder(root, "run-1").open()) as other:
        assert (mine.name, journal.meta()["who"], other.meta()["who"]) == ("run-2", "me", "other")
    assert sorted(path.name for path in root.iterdir()) == ["run-1", "run-2"]


def test_name_that_is_taken_meanwhile_offers_resume(root, monkeypatch):
    real, calls = folders.dump_config, []

    def dump(*args, **kwargs):
        calls.append(None)
        if len(calls) == 1:
            RunFolder(root, "run").create(make_config({}), {}).close()
        return real(*args, **kwargs)

    monkeypatch.setattr(folders, "dump_config", dump)
    with pytest.raises(RunError, match="exists already; continue it with: rlnas resume run"):
        RunFolder(root, "run").create(make_config({}), {})


def test_what_a_dead_beginner_left_is_no_run(run):
    shutil.copytree(run.path, run.root / ".run-2.0123abcd.new")
    assert [each.name for each in run_folders(run.root)] == ["run"]


def test_config_that_counts_is_the_journals(run):
    config = make_config({"budget": {"trials": 200}})
    with closing(run.open()) as journal:
        journal.set_meta({"config": config.model_dump(mode="json")})
    run.config.write_text("")
    assert run.read_config() == config
    run.write_config(config)
    assert "trials: 200" in run.config.read_text()


def test_page_of_settings_is_written_whole_or_not_at_all(run, monkeypatch):
    before = run.config.read_text()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    run.write_config(make_config({}))  # it is so already
    with pytest.raises(StorageError, match="No space left on device; make room"):
        run.write_config(make_config({"seed": 5}))
    assert run.config.read_text() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DELETE FROM meta WHERE name = 'data'", "it has no data"),
        ("DELETE FROM meta WHERE name = 'config'", "it has no config"),
        ("UPDATE meta SET value = '\"done\"' WHERE name = 'status'", "is not there"),
        (
            "INSERT INTO contenders VALUES ('x', 'brief', 0, 1, '', 0, '', '[]', '', 0, 0)",
            "expected metrics, got []",
        ),
    ],
)
def test_journal_with_damaged_rows_is_one_sentence_and_the_list_goes_on(
    change, sentence, run, capsys
):
    RunFolder(run.root, "whole").create(make_config({}), META).close()
    with closing(sqlite3.connect(run.journal)) as db, db:
        db.execute(change)
    assert main(["show", "run", "--root", str(run.root)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the journal") and sentence in error
    assert main(["list", "--root", str(run.root)]) == 0
    assert "whole" in capsys.readouterr().out


def test_file_in_the_place_of_best_is_found_before_anything_is_trained(run):
    run.best.write_text("")
    with pytest.raises(RunError, match="is a file, expected a folder"), run.writing():
        pass


def test_config_of_another_version_is_one_sentence(run):
    with closing(run.open()) as journal:
        journal.set_meta({"config": {"recipe": {"epoch": 1}}})
    with pytest.raises(ConfigError, match="did you mean epochs"):
        run.read_config()


def test_line_that_resumes_can_be_pasted(tmp_path):
    line = RunFolder(tmp_path / "my runs", "a").resume_line()
    assert line == f"rlnas resume a --root '{tmp_path}/my runs'"
