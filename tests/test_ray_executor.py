"""Children on a Ray cluster: lost nodes, crashes, limits, and the same rewards as elsewhere."""

import os
import signal
import socket
import sys
import threading
import time
from collections import Counter

import pytest
from test_process_executor import finished
from test_training import FEW, RECIPE, SMALL

import rlnas
from rlnas.config import make_config
from rlnas.errors import ConfigError, StorageError
from rlnas.evaluation import Job, ray_executor
from rlnas.evaluation.process import LOG, ProcessExecutor, ProcessSettings
from rlnas.evaluation.ray_executor import RayExecutor, connected
from rlnas.evaluation.training import WEIGHTS, TrainingEvaluator
from rlnas.objectives import Failure, Metrics

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "rlnas[ray]"')


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes with one core each, on this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    connected(made.address)
    yield made
    ray.shutdown()
    made.shutdown()


def outcomes(executor, folder=None, seeds=range(3)):
    """Train one child for each seed; return what became of them by seed."""
    for seed in seeds:
        place = None if folder is None else folder / str(seed)
        executor.submit(Job(seed, str(seed), SMALL, RECIPE, seed, place))
    return finished(executor)


@pytest.mark.slow
def test_rewards_are_those_of_the_process_executor(cluster, tmp_path):
    evaluator = TrainingEvaluator(FEW)
    spread = RayExecutor(evaluator, ProcessSettings(workers=2))
    ours = outcomes(spread, tmp_path)
    theirs = outcomes(ProcessExecutor(evaluator, ProcessSettings(workers=2)))
    assert [ours[seed].lasting() for seed in range(3)] == [
        theirs[seed].lasting() for seed in range(3)
    ]
    assert {each.name for each in (tmp_path / "1").iterdir()} == {WEIGHTS, LOG}


@pytest.mark.slow
def test_crash_is_tried_again_and_hang_is_stopped(cluster, tmp_path):
    def function(model, data, seed):
        name = tmp_path / str(seed)
        if seed == 1 or (seed == 0 and not name.exists()):
            name.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == 2:
            time.sleep(600)
        return 0.5

    evaluator = TrainingEvaluator(FEW, function)
    found = outcomes(RayExecutor(evaluator, ProcessSettings(workers=2, time_limit=15.0)))
    assert isinstance(found[0], Metrics)
    assert found[1] == Failure("its process was ended by SIGKILL, 2 times")
    assert found[2] == Failure("it was stopped after 15 s, the time limit of a child")


@pytest.mark.slow
def test_search_goes_on_when_a_node_is_killed(cluster, tmp_path):
    def function(model, data, seed):
        with (tmp_path / "began").open("a") as file:
            print(seed, file=file)
        reference = len((tmp_path / "began").read_text().split()) == 1  # it comes first, alone
        while not (reference or (tmp_path / "killed").exists()):
            time.sleep(0.05)
        return seed % 97 / 97

    lost = cluster.add_node(num_cpus=1)

    def begun():
        path = tmp_path / "began"
        return path.read_text().split() if path.exists() else []

    def kill():
        deadline = time.monotonic() + 200
        while len(begun()) < 4 and time.monotonic() < deadline:  # then each core has a child
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        (tmp_path / "killed").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    found = rlnas.Search(
        data=(FEW.x_train, FEW.y_train),
        evaluator=function,
        controller="random",
        trials=12,
        top_k=1,
        executor="ray",
        workers=3,
        config={"engine": {"ray_address": cluster.address}},
        root=tmp_path,
        name="own",
    ).run()
    killer.join()
    assert [trial.state for trial in found.trials] == ["done"] * 12
    assert Counter(trial.id for trial in found.trials) == Counter(range(1, 13))
    assert len({trial.key for trial in found.trials}) == 12
    assert len(cluster.list_all_nodes()) == 2
    assert set(Counter(begun()).values()) == {1, 2}  # what was lost was begun again


def test_what_is_missing_is_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"):
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        connected("127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'needs Ray, .* pip install "rlnas\[ray\]"'):
        connected(None)
    with pytest.raises(ConfigError, match="a cluster is for the executor ray"):
        make_config({"engine": {"ray_address": "auto"}})


def test_somebody_else_at_the_address_is_told_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(ray_executor, "_TO_ANSWER", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="what listens there is no Ray cluster"):
            ray_executor._check_answers(address)


def test_full_disk_of_the_driver_is_one_sentence(tmp_path):
    from rlnas.evaluation.ray_executor import _keep

    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write to .*: free some space"):
        _keep(tmp_path / "file" / "trials", {"weights": b""})
