"""Children in worker processes: how they are spread, and what becomes of those that go wrong."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rlnas.config import RecipeConfig
from rlnas.errors import ConfigError, StorageError
from rlnas.evaluation import Job
from rlnas.evaluation.process import LOG, ProcessExecutor, ProcessSettings, forking
from rlnas.objectives import Failure, Metrics
from rlnas.spaces import Architecture

NOTHING = Architecture((), (), (8, 8, 1), 10)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells memory of processes")


class Doing:
    """Does what the key of a job says; the jobs of a test share a folder."""

    def __init__(self, folder, data=None):
        self.folder, self.data = Path(folder), data

    def evaluate(self, architecture, recipe, seed, folder=None):
        deed, *words = architecture.tokens
        return getattr(self, deed)(*words) or Metrics((float(os.getpid()),))

    def nothing(self):
        pass

    def meet(self, me, other):
        (self.folder / me).touch()
        self.wait_for(other)

    def wait_for(self, name):
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def first_time(self, name, deed):
        if not (self.folder / name).exists():
            (self.folder / name).touch()
            getattr(self, deed)()

    def crash(self):
        ctypes.string_at(0)

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self):
        os._exit(3)

    def hang(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        ctypes.PyDLL(None).sleep(600)  # and lets no other thread run

    def begin(self, name, deed):
        """Start a process that does nothing, leave its number, and go on."""
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self.folder / name).write_text(str(started.pid))
        getattr(self, deed)()

    def begin_eater(self):
        program = "import time; kept = bytearray(10 ** 9); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", program])
        time.sleep(600)

    def eat(self):
        kept = []
        while True:
            kept.append(np.ones(10**6))
            time.sleep(0.01)

    def print(self, text):
        print(text, flush=True)
        os.write(2, b"from a library\n")

    def tell(self, name, others):
        told = self.folder / "told"
        told.mkdir(exist_ok=True)
        (told / os.environ[name]).touch()
        deadline = time.monotonic() + 60
        while len(list(told.iterdir())) < int(others):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def full(self):
        raise StorageError("the disk is full")

    def look(self):
        assert not self.data.flags.writeable
        return Metrics((float(self.data.sum()),))


def made(tmp_path, *deeds, data=None, **settings):
    executor = ProcessExecutor(Doing(tmp_path, data), ProcessSettings(**settings))
    for number, deed in enumerate(deeds, 1):
        tokens = tuple(deed.split())
        folder = tmp_path / "trials" / str(number) if tokens[0] == "print" else None
        architecture = Architecture(tokens, (), (8, 8, 1), 10)
        executor.submit(Job(number, deed, architecture, RecipeConfig(), 0, folder))
    return executor


def finished(executor):
    """Return all outcomes by number of the job, and close."""
    outcomes = {}
    try:
        while results := executor.completed():
            for result in results:
                assert result.job.id not in outcomes
                outcomes[result.job.id] = result.outcome
    finally:
        executor.close()
    return outcomes


def pids(outcomes):
    return [int(outcomes[number].val_accuracy[0]) for number in sorted(outcomes)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def ended(pids, seconds):
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_two_workers_train_at_the_same_time(tmp_path):
    outcomes = finished(made(tmp_path, "meet a b", "meet b a", workers=2))
    first, second = pids(outcomes)
    assert first != second
    assert os.getpid() not in (first, second)


def test_worker_is_warm_and_replaced_after_some_children(tmp_path):
    found = pids(finished(made(tmp_path, *["nothing"] * 7, children=3)))
    assert found[0] == found[1] == found[2] != found[3]
    assert found[3] == found[4] == found[5] != found[6]


def test_isolated_children_share_no_process(tmp_path):
    found = pids(finished(made(tmp_path, *["nothing"] * 5, workers=2, children=1)))
    assert len(set(found)) == 5


def test_data_is_mapped_and_not_copied(tmp_path):
    data = np.arange(1e6)
    outcomes = finished(made(tmp_path, "look", "look", workers=2, data=data))
    assert {outcome.val_accuracy[0] for outcome in outcomes.values()} == {data.sum()}


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("crash", "its process was ended by SIGSEGV, 2 times"),
        ("kill", "its process was ended by SIGKILL, 2 times"),
        ("leave", "its process ended with exit code 3, 2 times"),
    ],
)
def test_child_that_ends_its_process_twice_fails_alone(tmp_path, deed, reason):
    outcomes = finished(made(tmp_path, "nothing", deed, "nothing", workers=2))
    assert outcomes[2] == Failure(reason)
    assert isinstance(outcomes[1], Metrics)
    assert isinstance(outcomes[3], Metrics)


def test_child_that_ends_its_process_once_is_tried_again(tmp_path):
    outcomes = finished(made(tmp_path, "first_time x crash", "nothing"))
    assert isinstance(outcomes[1], Metrics)


def test_child_that_hangs_is_stopped_from_outside(tmp_path):
    outcomes = finished(made(tmp_path, "hang", "nothing", time_limit=1.0))
    assert outcomes[1] == Failure("it was stopped after 1 s, the time limit of a child")
    assert isinstance(outcomes[2], Metrics)


@linux
def test_child_that_takes_too_much_memory_is_stopped(tmp_path):
    outcomes = finished(made(tmp_path, "nothing", "eat", "nothing", memory_limit=200.0))
    assert outcomes[2] == Failure("it took more than 200 MB, the memory limit of a child")
    assert isinstance(outcomes[3], Metrics)


def test_what_a_child_prints_is_in_its_own_log(tmp_path, capfd):
    finished(made(tmp_path, "print one", "print two"))
    logs = [(tmp_path / "trials" / name / LOG).read_text() for name in "12"]
    assert logs == ["one\nfrom a library\n", "two\nfrom a library\n"]
    assert capfd.readouterr() == ("", "")


def test_full_disk_of_a_worker_is_told_when_it_stays_full(tmp_path):
    executor = made(tmp_path, "full", "nothing")
    assert [result.job.id for result in executor.completed()] == [2]
    with pytest.raises(StorageError, match="the disk is full"):
        executor.completed()
    assert finished(executor) == {}


def test_child_is_trained_again_when_there_is_room_again(tmp_path):
    outcomes = finished(made(tmp_path, "first_time full_once full"))
    assert isinstance(outcomes[1], Metrics)


def test_cancel_ends_what_is_under_way(tmp_path):
    executor = made(tmp_path, "meet a b", "nothing")
    deadline = time.monotonic() + 60
    while not (tmp_path / "a").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    executor.cancel()
    assert executor.completed() == []
    executor.submit(Job(9, "", Architecture(("nothing",), (), (8, 8, 1), 10), RecipeConfig(), 0))
    assert list(finished(executor)) == [9]


@linux
def test_close_leaves_no_worker(tmp_path):
    executor = made(tmp_path, "nothing", "nothing", "nothing")
    found = []
    while results := executor.completed():
        found += [int(result.outcome.val_accuracy[0]) for result in results]
    assert alive(found[-1])
    executor.close()
    assert ended(found, 20.0)


@linux
def test_fork_server_that_dies_costs_no_child(tmp_path):
    executor = made(tmp_path, "meet a b", "nothing", "nothing", children=1)
    Doing(tmp_path).wait_for("a")
    (server,) = [each for each in forking._servers.values() if each is executor._server]
    server._process.kill()
    server._process.wait()
    (tmp_path / "b").touch()
    assert sorted(finished(executor)) == [1, 2, 3]
    assert executor._server is not server


@linux
def test_fork_server_that_dies_again_and_again_fails_no_child(tmp_path):
    executor = made(tmp_path, "meet a b")
    for _ in range(3):
        Doing(tmp_path).wait_for("a")
        server = executor._server
        server._process.kill()
        server._process.wait()
        (tmp_path / "a").unlink()
        while executor._server is server:
            executor._listen()
        executor._dispatch()
    (tmp_path / "b").touch()
    assert isinstance(finished(executor)[1], Metrics)


def test_evaluator_that_cannot_be_handed_over_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be handed to worker processes: .*generator"):
        ProcessExecutor(Doing(tmp_path, data=(x for x in "ab")), ProcessSettings())


class Broken:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.read_text, (self.folder / "absent",)


def test_worker_that_cannot_start_is_one_sentence(tmp_path):
    executor = ProcessExecutor(Broken(tmp_path), ProcessSettings())
    executor.submit(Job(1, "", NOTHING, RecipeConfig(), 0))
    with pytest.raises(ConfigError, match=r"a worker cannot start: FileNotFoundError: .*absent"):
        finished(executor)


@linux
@pytest.mark.parametrize("server_too", [False, True], ids=["search", "fork server and search"])
def test_workers_end_by_themselves_after_their_searchs_kill(tmp_path, server_too):
    program = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_process_executor import made
folder = Path(sys.argv[2])
executor = made(folder, "nothing", "nothing", "meet a b", "hang", workers=2, children=9)
found = [result.outcome.val_accuracy[0] for _ in range(2) for result in executor.completed()]
server = executor._server._process.pid
(folder / "pids").write_text(" ".join(str(int(each)) for each in [*found, server]))
executor.completed()
"""
    words = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(words) as search:
        Doing(tmp_path).wait_for("pids")
        Doing(tmp_path).wait_for("a")
        *workers, server = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, workers))
        time.sleep(0.2)  # the other worker hangs by then, and none of its threads can run
        search.send_signal(signal.SIGSTOP)
        if server_too:
            os.kill(server, signal.SIGKILL)
        search.kill()
        search.wait()
    assert ended([*workers, server], 20.0)  # a fraction of a second where nothing else runs


def test_each_worker_has_its_own_variables(tmp_path):
    """Workers are as many as jobs, and each waits for the other, so that both are at work."""
    environments = ({"RLNAS_GPU": "a"}, {"RLNAS_GPU": "b"})
    executor = made(
        tmp_path, "tell RLNAS_GPU 2", "tell RLNAS_GPU 2", workers=2, environments=environments
    )
    assert all(isinstance(outcome, Metrics) for outcome in finished(executor).values())
    assert sorted(path.name for path in (tmp_path / "told").iterdir()) == ["a", "b"]


@linux
@pytest.mark.parametrize("deed", ["hang", "kill", "leave", "nothing"])
def test_what_a_child_started_ends_with_its_worker(tmp_path, deed):
    limits = {"time_limit": 1.0} if deed == "hang" else {}
    finished(made(tmp_path, f"begin mine {deed}", **limits))
    assert ended([int((tmp_path / "mine").read_text())], 5)


@linux
def test_memory_of_what_a_child_started_is_its_own(tmp_path):
    outcomes = finished(made(tmp_path, "begin_eater", memory_limit=300.0))
    assert outcomes[1] == Failure("it took more than 300 MB, the memory limit of a child")
