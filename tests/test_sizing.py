"""How many workers a machine gets, with how many threads, and on which GPUs."""

import os
import stat

import pytest

from rlnas.errors import ConfigError
from rlnas.evaluation import gpus, sizing
from rlnas.evaluation.gpus import Gpu, choose_gpus, visible_gpus
from rlnas.evaluation.ray_executor import cluster_crew
from rlnas.evaluation.sizing import Work, choose_crew

TWO = (Gpu(0, "GPU-aaa", "NVIDIA A", 24_000.0), Gpu(1, "GPU-bbb", "NVIDIA B", 24_000.0))
LISTED = """\
0, GPU-aaa, NVIDIA A, 22888
1, GPU-bbb, NVIDIA B, 22888
a warning that is no line of the table
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of 8 cores and 32 GB."""
    monkeypatch.setattr(sizing, "available_cores", lambda: 8)
    monkeypatch.setattr(sizing, "free_megabytes", lambda: 32_000.0)


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """A machine whose driver lists two GPUs, which the backend can use."""
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "backend_sees_gpus", lambda: True)


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(None, None, (8, 1)), (2, None, (2, 4)), (None, 3, (2, 3)), (16, None, (16, 1))],
)
def test_cores_are_used_once(workers, threads, expected):
    crew = choose_crew(workers, threads, Work())
    assert (crew.workers, crew.threads) == expected


def test_memory_limits_the_workers():
    assert choose_crew(None, None, Work(megabytes=9_300.0)).workers == 2  # 25,600 MB by 10,000
    with pytest.raises(ConfigError, match=r"4 workers need about 40.0 GB.*take at most 2"):
        choose_crew(4, None, Work(megabytes=9_300.0))


@pytest.mark.parametrize(("flops", "threads"), [(1e6, 1), (5e8, 2), (1e12, 8), (0.0, 8)])
def test_small_steps_get_fewer_threads(flops, threads):
    assert choose_crew(1, None, Work(step_flops=flops)).threads == threads
    assert choose_crew(1, 5, Work(step_flops=flops)).threads == 5


@pytest.mark.parametrize(
    ("workers", "per_gpu", "expected"), [(None, None, 8), (None, 1, 2), (3, None, 3), (None, 9, 18)]
)
def test_gpus_share_the_workers(workers, per_gpu, expected):
    crew = choose_crew(workers, None, Work(), TWO, per_gpu)
    assert crew.workers == expected
    seen = [each["CUDA_VISIBLE_DEVICES"] for each in crew.environments()]
    assert seen == [TWO[place % 2].uuid for place in range(expected)]


def test_a_gpu_has_no_more_children_than_its_memory_and_the_cores_allow():
    assert choose_crew(None, None, Work(megabytes=6_000.0), TWO[:1]).workers == 2  # of 8,000 MB
    assert choose_crew(None, None, Work(), [*TWO, *TWO, *TWO, *TWO]).workers == 8


def test_workers_beyond_the_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"with 2 children each take 4 workers, got 5"):
        choose_crew(5, None, Work(), TWO, 2)
    with pytest.raises(ConfigError, match="there is no GPU to train on, got 2"):
        choose_crew(None, None, Work(), (), 2)


def test_a_crew_says_what_it_is():
    assert str(choose_crew(1, None, Work())) == "1 worker with 8 threads"
    assert str(choose_crew(4, None, Work())) == "4 workers with 2 threads each"
    one = choose_crew(4, None, Work(), TWO[:1])
    assert str(one) == "4 workers with 2 threads each on GPU 0 (NVIDIA A)"
    both = choose_crew(8, None, Work(), TWO)
    assert str(both) == "8 workers with 1 thread each on GPUs 0 and 1 (NVIDIA A, NVIDIA B)"


def test_without_gpus_workers_see_none():
    crew = choose_crew(2, None, Work())
    assert [dict(each) for each in crew.environments()] == 2 * [{"CUDA_VISIBLE_DEVICES": "-1"}]


@pytest.mark.parametrize(
    ("allowed", "numbers"),
    [(None, [0, 1]), ("1", [1]), ("1,0", [1, 0]), ("GPU-b", [1]), ("", []), ("-1", []), ("5", [])],
)
def test_gpus_are_those_that_the_driver_lists_and_the_user_allows(
    driver, monkeypatch, allowed, numbers
):
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    found = visible_gpus()
    assert [gpu.number for gpu in found] == numbers
    assert all(gpu.megabytes == pytest.approx(24_000, rel=1e-3) for gpu in found)


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == choose_gpus(None) == ()
    for asked in ("all", "0"):
        with pytest.raises(ConfigError, match=f"has no NVIDIA GPU that may be used, got {asked}"):
            choose_gpus(asked)


@pytest.mark.parametrize(
    ("asked", "numbers"), [(None, [0, 1]), ("all", [0, 1]), ("1", [1]), ("1,1,0", [1, 0])]
)
def test_gpus_are_chosen_by_number(driver, asked, numbers):
    assert [gpu.number for gpu in choose_gpus(asked)] == numbers
    assert choose_gpus("none") == ()


def test_an_unknown_gpu_is_named_with_those_there_are(driver):
    with pytest.raises(ConfigError, match=r"no GPU 2, expected some of 0 \(NVIDIA A\), 1 \("):
        choose_gpus("0,2")


def test_gpus_that_the_backend_cannot_use_are_not_taken(driver, monkeypatch):
    monkeypatch.setattr(gpus, "backend_sees_gpus", lambda: False)
    assert choose_gpus(None) == ()
    with pytest.raises(ConfigError, match="cannot use the GPU as it is installed"):
        choose_gpus("0")


@pytest.fixture
def cluster(monkeypatch):
    class Ray:
        @staticmethod
        def cluster_resources():
            return {"CPU": 8.0, "GPU": 2.0}

    monkeypatch.setattr("rlnas.evaluation.ray_executor.connected", lambda address: Ray)


def test_a_cluster_gives_each_child_its_share_of_a_gpu(cluster):
    crew = cluster_crew("auto", None, None)
    assert (crew.workers, crew.gpu_share) == (2, 1.0)
    crew = cluster_crew("auto", None, None, 3)
    assert (crew.workers, crew.gpu_share) == (6, pytest.approx(1 / 3))
    assert str(crew) == "6 workers with 1 thread each and 0.33 of a GPU each"
    crew = cluster_crew("auto", None, None, gpus=False)
    assert (crew.workers, crew.gpu_share) == (8, 0.0)


def test_more_children_than_a_cluster_has_gpus_for_are_refused(cluster):
    with pytest.raises(ConfigError, match="the 2 GPUs of the cluster with 1 children each take 2"):
        cluster_crew("auto", 3, None)
    with pytest.raises(ConfigError, match="the cluster has no GPU, got 2"):
        cluster_crew("auto", None, None, 2, gpus=False)
