"""The service as processes: what survives, the command line, and trainers elsewhere."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import rlnas
from rlnas.client import RefusedError, ServerError
from rlnas.errors import UsageError
from rlnas.search.folder import RunFolder
from rlnas.search.result import read_result
from rlnas.service.job_folder import JobFolder


class Server:
    """A server in a process of its own, that can be killed and started again."""

    def __init__(self, root, *words):
        self.root, self.words, self.port = root, words, 0
        self.start()

    def start(self):
        words = [sys.executable, "-m", "rlnas", "serve", "--root", str(self.root)]
        words += ["--port", str(self.port), *self.words]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[-1].rstrip("/")
        self.port = int(self.address.rpartition(":")[2])

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path):
    (tmp_path / "data").mkdir()
    rows = ["".join(row) for row in itertools.product("0123", repeat=4)]
    (tmp_path / "data" / "table.csv").write_text("arch\n" + "\n".join(rows) + "\n")
    server = Server(tmp_path / "runs", "--data", str(tmp_path / "data"))
    yield server
    with rlnas.Client(server.address, patience=5) as client:
        for search in client.searches():
            if search["state"] not in ("done", "failed"):
                client.search(search["name"]).stop()
        until(lambda: not any(runners(server.root)))
    server.kill(signal.SIGTERM)


def runners(root):
    folder = root / ".service" / "jobs"
    names = [each.name for each in folder.glob("*") if each.is_dir()]
    return [pid for name in names if (pid := JobFolder(root, name).runner())]


def until(check, seconds=180):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


TABLE = {
    # One proposal at a time, so that what is learned before the next one is always the same.
    "engine": {"executor": "external", "workers": 1},
    "space": {"name": "table.csv"},
    "controller": {"name": "ppo"},
}


def trained(search, most=None):
    """Tell the sum of its tokens for each trial; return the names of the trials."""
    told = []
    while most is None or len(told) < most:
        trials, ended = search.ask(1, wait=5)
        if ended:
            break
        for trial in trials:
            trial.tell(sum(trial.tokens) / 12)
            told.append(trial.name)
    return told


def rewards(root, name):
    return [(trial.tokens, trial.reward) for trial in read_result(RunFolder(root, name)).trials]


@pytest.mark.slow
def test_search_survives_kills_of_server_runner_and_both_and_ends_as_one_left_alone(server):
    with rlnas.Client(server.address) as client:
        left = client.create({**TABLE, "name": "left", "budget": {"trials": 20}, "seed": 3})
        killed = client.create({**TABLE, "name": "killed", "budget": {"trials": 20}, "seed": 3})
        alone = trained(left)
        assert left.wait(60)["state"] == "done"
        until(lambda: len(runners(server.root)) == 1)
        told = trained(killed, 5)
        server.kill()
        server.start()
        told += trained(killed, 5)
        (pid,) = runners(server.root)
        os.kill(pid, signal.SIGKILL)
        told += trained(killed, 3)
        until(lambda: runners(server.root))
        (pid,) = runners(server.root)
        server.kill()
        os.kill(pid, signal.SIGKILL)
        server.start()
        told += trained(killed)
        assert killed.wait(60)["state"] == "done"
    assert len(told) == len(set(told)) == 20
    assert sorted(told) == sorted(alone)
    assert rewards(server.root, "killed") == rewards(server.root, "left")


@pytest.mark.slow
def test_server_that_died_with_the_machine_resumes_its_searches(server):
    with rlnas.Client(server.address) as client:
        search = client.create({**TABLE, "name": "again", "budget": {"trials": 6}})
        trained(search, 2)
        (pid,) = runners(server.root)
        server.kill()
        os.kill(pid, signal.SIGKILL)
        server.start()
        trained(search)
        assert search.wait(60)["state"] == "done"


def test_second_server_of_a_root_is_refused(server):
    words = [sys.executable, "-m", "rlnas", "serve", "--root", str(server.root), "--port", "0"]
    found = subprocess.run(words, capture_output=True, text=True)
    assert (found.returncode, "another server has" in found.stderr) == (2, True)
    words[-1] = str(server.port)
    words[words.index(str(server.root))] = str(server.root / "other")
    found = subprocess.run(words, capture_output=True, text=True)
    assert (found.returncode, "cannot listen" in found.stderr) == (2, True)


@pytest.mark.slow
def test_trainer_of_the_examples_and_a_worker_train_one_search(server, root):
    space = {"input_shape": [8, 8, 1], "classes": 10, "max_layers": 3}
    config = {
        "engine": {"executor": "external", "workers": 2},
        "controller": {"name": "random"},
        "space": space,
        "recipe": {"epochs": 1},
        "budget": {"trials": 4},
        "name": "shared",
    }
    with rlnas.Client(server.address) as client:
        search = client.create(config)
        first = [sys.executable, str(root / "examples" / "trainer.py"), server.address, "shared"]
        second = [sys.executable, "-m", "rlnas", "worker", "--server", server.address]
        second += ["--search", "shared", "--dataset", "digits", "--workers", "1"]
        both = [
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for words in (first, second)
        ]
        outputs = [process.communicate(timeout=300)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        assert search.wait(60)["state"] == "done"
        trials = search.trials(state="done")
        assert len(trials) == 4
        assert all(0 <= trial["reward"] <= 1 for trial in trials)
        path = search.download("architecture.json", server.root)
    assert json.loads(path.read_text())["class_name"] == "Functional"


@pytest.mark.slow
def test_worker_measures_what_the_search_weighs(server):
    config = {
        "engine": {"executor": "external", "workers": 1},
        "controller": {"name": "random"},
        "space": {"input_shape": [8, 8, 1], "classes": 10, "max_layers": 3},
        "objective": {"cost": "latency", "target": 5.0},
        "recipe": {"epochs": 1},
        "budget": {"trials": 1},
        "name": "quick",
    }
    with rlnas.Client(server.address) as client:
        search = client.create(config)
        words = [sys.executable, "-m", "rlnas", "worker", "--server", server.address]
        words += ["--search", "quick", "--dataset", "digits", "--workers", "1"]
        subprocess.run(words, check=True, capture_output=True, timeout=300)
        (trial,) = search.trials()
    assert trial["state"] == "done"
    assert trial["metrics"]["latency"] > 0


@pytest.mark.slow
def test_worker_of_other_data_leaves_the_trials_to_others(server):
    config = {
        "engine": {"executor": "external", "workers": 2},
        "controller": {"name": "random"},
        "space": {"input_shape": [6, 6, 1], "classes": 10},
        "name": "small",
    }
    with rlnas.Client(server.address) as client:
        searches = {
            "shape (6, 6, 1)": client.create(config),
            "a table of networks": client.create({**TABLE, "name": "table"}),
        }
        for sentence, search in searches.items():
            until(lambda search=search: search.show()["state"] == "searching")
            words = [sys.executable, "-m", "rlnas", "worker", "--server", server.address]
            words += ["--search", search.name, "--dataset", "digits", "--workers", "1"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=120)
            assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
            time.sleep(1.1)  # until the lease that was given back has ended
            trials, _ = search.ask(5, wait=5)
            assert "trial-1" in [trial.name for trial in trials]
            assert search.show()["failed"] == 0


@pytest.mark.slow
def test_control_belongs_to_its_search(server):
    config = {
        "name": "both",
        "control": "random",
        "budget": {"trials": 1},
        "recipe": {"epochs": 1},
        "space": {"max_layers": 2, "min_layers": 1},
        "final": {"top_k": 1, "epochs": 1, "refit": False},
        "engine": {"workers": 1},
    }
    with rlnas.Client(server.address) as client:
        search = client.create(config)
        until(lambda: search.show()["state"] in ("finishing", "done"))
        if search.show()["state"] == "finishing":
            with pytest.raises(RefusedError, match="is running"):
                search.delete()
            search.pause()
            until(lambda: search.show()["state"] in ("paused", "done"))
            if search.show()["state"] == "paused":
                search.resume()
        assert search.wait(120)["state"] == "done"
        assert {each["name"] for each in client.searches()} == {"both", "both-control"}
        thrown = search.delete()
        assert client.searches() == []
        again = client.request("POST", f"/v1/trash/{thrown}:restore").json()
        assert again["state"] == "done"
        assert {each["name"] for each in client.searches()} == {"both", "both-control"}


def test_silent_connections_are_closed_and_noise_is_refused(server):
    address = ("127.0.0.1", server.port)
    with (
        socket.create_connection(address) as silent,
        socket.create_connection(address) as slow,
        socket.create_connection(address) as noisy,
    ):
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        noisy.sendall(b"\x00\x01 what\r\n\r\n")
        told = b"".join(iter(lambda: noisy.recv(4096), b""))
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["status"] == 400
        for connection in (silent, slow):
            connection.settimeout(60)
            assert connection.recv(10) == b""


def test_address_that_is_none_is_refused_at_once():
    with pytest.raises(UsageError, match="nowhere"), rlnas.Client("nowhere") as client:
        client.searches()


def test_client_tells_what_is_wrong_in_one_sentence(server):
    with rlnas.Client(server.address) as client:
        with pytest.raises(RefusedError, match="no search 'nothing'") as found:
            client.search("nothing").show()
        assert (found.value.status, found.value.kind) == (404, "not-found")
        with pytest.raises(RefusedError, match=r"budget\.trials: expected"):
            client.create({"budget": {"trials": 0}})
    nobody = rlnas.Client("http://127.0.0.1:9", patience=0.2)
    with nobody, pytest.raises(ServerError, match="does not answer"):
        nobody.searches()
