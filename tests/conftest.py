import os
from pathlib import Path

import pytest

# Before Keras is imported anywhere: quiet, and on the CPU, whose bits are promised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["RLNAS_EXECUTOR"] = "inline"  # but where a test says otherwise: a start takes seconds


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch):
    """No test sees the runs of the person who runs the tests."""
    monkeypatch.delenv("RLNAS_ROOT", raising=False)


@pytest.fixture(scope="session")
def root():
    """The folder of the project."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data():
    """The folder with real data; tests that ask for it skip without it."""
    folder = os.environ.get("RLNAS_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RLNAS_TEST_DATA does not name a folder with real data")
    return Path(folder)
