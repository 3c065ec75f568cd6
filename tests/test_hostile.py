"""Hostile requests to a real server: each is refused, and nothing of the root changes."""

import runpy

import pytest


@pytest.fixture(scope="module")
def script(root):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(root / "benchmarks")
    return runpy.run_path(str(root / "benchmarks" / "hostile.py"))


@pytest.fixture(scope="module")
def served(script, tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    with script["server"](root) as port:
        yield root, port


def test_hostile_requests_are_refused_and_change_nothing(script, served):
    root, port = served
    before = script["held"](root)
    assert len(script["REQUESTS"]) >= 40
    for request in script["REQUESTS"]:
        answer = script["sent"](port, request)
        assert script["refused"](request, *answer), (request.what, answer)
    assert script["held"](root) == before


def test_an_honest_request_is_answered(script, served):
    _, port = served
    status, kind, document = script["sent"](port, script["Hostile"]("nothing", 200))
    assert (status, kind, document["total"]) == (200, "application/json", 1)
