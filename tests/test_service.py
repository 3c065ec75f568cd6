"""Tests of the service: searches over HTTP, ask and tell, and what is refused."""

import asyncio
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from rlnas.config import make_config
from rlnas.errors import StorageError
from rlnas.search.folder import RunFolder
from rlnas.search.summary import summarize
from rlnas.service import tensorboard
from rlnas.service.access import LARGEST_BODY, Access
from rlnas.service.app import make_app
from rlnas.service.job_folder import JobFolder
from rlnas.service.jobs import Jobs
from rlnas.service.parts import Settings
from rlnas.service.summaries import Summaries
from rlnas.service.supervisor import Supervisor, _Runner
from rlnas.service.trash import TrashFolder

HOST = "http://127.0.0.1"
WRITE, READ = "w" * 20, "r" * 20


def table_of(folder):
    rows = ["".join(row) for row in itertools.product("0123", repeat=4)]
    path = folder / "table.csv"
    path.write_text("arch\n" + "\n".join(rows) + "\n")
    return path


def config(**more):
    return {
        "engine": {"executor": "external", "workers": 4},
        "space": {"name": "table.csv"},
        "controller": {"name": "random"},
        "budget": {"trials": 12},
        **more,
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    (folder / "data").mkdir()
    table_of(folder / "data")
    return folder


@pytest.fixture(scope="module")
def client(folders):
    app = make_app(Settings(root=folders / "runs", data=folders / "data"))
    with TestClient(app, HOST) as client:
        yield client
        for search in client.get("/v1/searches").json()["searches"]:
            client.post(f"/v1/searches/{search['name']}:stop")
        supervisor = app._app.state.parts.supervisor
        names = [folder.name for folder in (folders / "runs" / ".service" / "jobs").iterdir()]
        until(lambda: not any(supervisor.is_running(name) for name in names))


@pytest.fixture
def still(tmp_path):
    """A server whose searches never begin: nothing watches them."""
    (tmp_path / "data").mkdir()
    table_of(tmp_path / "data")
    app = make_app(Settings(root=tmp_path / "runs", data=tmp_path / "data"))
    return TestClient(app, HOST)


@pytest.fixture
def closed(tmp_path):
    access = Access(WRITE, READ)
    return TestClient(make_app(Settings(root=tmp_path / "runs", access=access)), HOST)


def until(check, seconds=120):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


def in_state(client, name, *states):
    def check():
        found = client.get(f"/v1/searches/{name}").json()
        assert found["state"] in states or found["state"] != "failed", found["message"]
        return found if found["state"] in states else None

    return until(check)


def ask(client, name, **more):
    def check():
        answer = client.post(f"/v1/searches/{name}/trials:ask", json={"worker": "w", **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["trials"] or answer.json()["ended"]

    return until(check)


def tell(client, name, trial, **more):
    body = {"lease": trial["lease"], "metrics": {"val_accuracy": [sum(trial["tokens"]) / 12]}}
    return client.post(f"/v1/searches/{name}/trials/{trial['trial']}:tell", json={**body, **more})


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["detail"]
    return found


@pytest.fixture(scope="module")
def ended(client):
    """A search that went all its way."""
    answer = client.post("/v1/searches", json=config(name="whole"))
    assert answer.status_code == 201, answer.text
    told = []
    while (trials := ask(client, "whole", count=3)) is not True:
        for trial in trials:
            answer = tell(client, "whole", trial)
            assert answer.json() == {"trial": trial["trial"], "repeated": False}
            told.append(trial)
    in_state(client, "whole", "done")
    return told


def test_external_search_is_asked_and_told_to_its_end(client, ended):
    found = client.get("/v1/searches/whole").json()
    assert (found["state"], found["trials"], found["running"]) == ("done", 12, 0)
    assert found["best_reward"] == max(sum(trial["tokens"]) / 12 for trial in ended)
    assert len({trial["trial"] for trial in ended}) == len(ended) == 12
    assert found["spark"] == sorted(found["spark"])


def test_trials_are_paged_sorted_and_filtered(client, ended):
    def page(**query):
        found = client.get("/v1/searches/whole/trials", params=query).json()
        return [trial["trial"] for trial in found["trials"]], found["total"]

    assert page(limit=5) == ([1, 2, 3, 4, 5], 12)
    assert page(limit=5, offset=10) == ([11, 12], 12)
    assert page(state="failed") == ([], 0)
    rewards = {int(each["trial"][6:]): sum(each["tokens"]) for each in ended}
    found, _ = page(order="reward", descending=True)
    assert [rewards[number] for number in found] == sorted(rewards.values(), reverse=True)


def test_trial_best_curve_pareto_policy_and_diagram(client, ended):
    trial = client.get("/v1/searches/whole/trials/3").json()
    assert trial["tokens"] == next(each["tokens"] for each in ended if each["trial"] == "trial-3")
    best = client.get("/v1/searches/whole/best").json()
    assert best["val_accuracy"] == max(sum(each["tokens"]) / 12 for each in ended)
    assert set(best["files"]) == {"report.json", "report.html"}
    curve = client.get("/v1/searches/whole/curve").json()
    assert [point["step"] for point in curve["points"]] == list(range(1, 13))
    assert client.get("/v1/searches/whole/policy").json()["step"] == 10
    assert client.get("/v1/searches/whole/trials/3/diagram.svg").text.startswith("<svg")
    problem(client.get("/v1/searches/whole/trials/99"), 404)
    problem(client.get("/v1/searches/whole/pareto"), 409)  # a table without costs


def test_report_is_written_and_downloaded(client, ended):
    answer = client.get("/v1/searches/whole/files/report.html")
    assert answer.status_code == 200
    assert "whole" in answer.text
    assert "attachment" in answer.headers["content-disposition"]
    problem(client.get("/v1/searches/whole/files/model.keras"), 409)
    problem(client.get("/v1/searches/whole/files/config.yaml"), 404)


def test_events_tell_each_trial_and_the_end(client, ended):
    lines = client.get("/v1/searches/whole/events").text.splitlines()
    ids = [int(line[4:]) for line in lines if line.startswith("id: ")]
    assert ids == list(range(1, 13))
    assert [line for line in lines if line == "event: state"]
    after = client.get("/v1/searches/whole/events", headers={"Last-Event-ID": "10"}).text
    assert [line for line in after.splitlines() if line.startswith("id: ")] == ["id: 11", "id: 12"]


def test_outcome_that_is_told_again_late_or_otherwise(client, ended):
    first = ended[0]
    assert tell(client, "whole", first).json()["repeated"] is True
    other = {"metrics": {"val_accuracy": [0.123]}}
    assert problem(tell(client, "whole", first, **other), 409)["type"].endswith("contradicts")
    unknown = {"lease": "nothing", "trial": "trial-1", "tokens": []}
    assert problem(tell(client, "whole", unknown), 404)["type"].endswith("no-lease")
    mixed = {**first, "trial": ended[1]["trial"]}
    problem(tell(client, "whole", mixed), 404)
    beat = {"lease": first["lease"]}
    path = f"/v1/searches/whole/trials/{first['trial']}:heartbeat"
    assert client.post(path, json=beat).json()["go_on"] is False


def test_search_is_paused_resumed_stopped_deleted_and_restored(client):
    name = client.post("/v1/searches", json=config()).json()["name"]
    assert name == "table-random-1"
    (trial,) = ask(client, name)
    path = f"/v1/searches/{name}"
    assert client.post(f"{path}:pause").json()["state"] in ("pausing", "paused")
    in_state(client, name, "paused")
    answer = client.post(f"{path}/trials:ask", json={"worker": "w"}).json()
    assert answer == {"trials": [], "state": "paused", "ended": False}
    assert tell(client, name, trial).status_code == 200  # what was trained is not lost
    client.post(f"{path}:resume", json={"trials": 13})
    in_state(client, name, "searching")
    until(lambda: client.get(path).json()["trials"] == 1)
    assert client.get(path).json()["budget"] == 13
    problem(client.delete(path), 409)  # it runs
    client.post(f"{path}:stop")
    in_state(client, name, "stopped")
    deleted = client.delete(path).json()
    problem(client.get(path), 404)
    assert [each["name"] for each in client.get("/v1/trash").json()["deleted"]] == [name]
    restored = client.post(f"/v1/trash/{deleted['id']}:restore").json()
    assert (restored["state"], restored["trials"]) == ("stopped", 1)
    again = client.delete(path).json()
    assert client.delete(f"/v1/trash/{again['id']}").status_code == 204
    problem(client.post(f"/v1/trash/{again['id']}:restore"), 404)


def test_search_that_cannot_be_says_why(client, folders):
    (folders / "data" / "bad.csv").write_text("name\na\n")
    client.post("/v1/searches", json=config(name="bad", space={"name": "bad.csv"}))
    found = until(
        lambda: (
            each if (each := client.get("/v1/searches/bad").json())["state"] == "failed" else None
        )
    )
    assert "expected a column 'arch'" in found["message"]
    assert "expected a column 'arch'" in client.get("/v1/searches/bad/log").text


def test_same_key_makes_one_search(still):
    headers = {"Idempotency-Key": "one"}
    first = still.post("/v1/searches", json=config(), headers=headers)
    again = still.post("/v1/searches", json=config(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["name"] == again.json()["name"]
    assert first.headers["location"] == f"/v1/searches/{first.json()['name']}"
    problem(still.post("/v1/searches", json=config(seed=1), headers=headers), 409)
    assert still.get("/v1/searches").json()["total"] == 1


def test_taken_name_is_refused(still):
    still.post("/v1/searches", json=config(name="mine"))
    found = problem(still.post("/v1/searches", json=config(name="mine", seed=1)), 409)
    assert found["type"] == "urn:rlnas:problem:name-taken"


@pytest.mark.parametrize(
    ("given", "status", "pointer"),
    [
        ({"budget": {"trials": -1}}, 422, "body.budget.trials"),
        ({"budget": {"trials": "many"}}, 422, "body.budget.trials"),
        ({"nothing": 1}, 422, "body.nothing"),
        ({"name": "../up"}, 422, "body.name"),
        ({"data": {"dataset": "/etc/passwd"}}, 422, "body.data.dataset"),
        ({"data": {"dataset": "../../secret"}}, 422, "body.data.dataset"),
        ({"data": {"dataset": "a\0b"}}, 422, "body.data.dataset"),
        ({"baseline": "../model.keras"}, 422, "body.baseline"),
        ({"space": {"name": "/etc/hosts.yaml"}}, 422, "body.space.name"),
        ({"space": {"name": "os:system"}}, 403, "body.space.name"),
        ({"controller": {"name": "os:system"}}, 403, "body.controller.name"),
        ({"controller": {"warm_start": "../../run"}}, 422, "body.controller.warm_start"),
        (
            {"engine": {"executor": "ray", "ray_address": "10.0.0.1:6379"}},
            422,
            "body.engine.ray_address",
        ),
        ({"data": {"dataset": ""}}, 422, "body.data.dataset"),
        ({"baseline": "table.csv"}, 422, "body.baseline"),
        ({"controller": {"warm_start": "none"}}, 422, "body.controller.warm_start"),
        ({"name": "a" * 93, "control": "random"}, 422, "body.name"),
        ({"space": {"min_layers": 5, "max_layers": 1}}, 422, "body.space.min_layers"),
        ({"space": {"max_params": 10**10}}, 422, "body.space.max_params"),
        ({"engine": {"executor": "external"}}, 422, "body.space.input_shape"),
        (
            {"engine": {"executor": "external"}, "space": {"input_shape": [8, 8, 1]}},
            422,
            "body.space.classes",
        ),
        (
            {"engine": {"executor": "external"}, "space": {"input_shape": [8], "classes": 2}},
            422,
            "body.space",
        ),
        (
            {"engine": {"executor": "external"}, "space": {"input_shape": [10**9], "classes": 2}},
            422,
            "body.space.input_shape",
        ),
        ({"space": {"choices": {"conv.filter": [8]}}}, 422, "body.space.choices"),
        ({"space": {"choices": {"conv.filters": [-8]}}}, 422, "body.space.choices"),
        ({"space": {"choices": {"conv.filters": []}}}, 422, "body.space.choices"),
        ({"space": {"name": "text", "choices": {"conv.kernel": ["x"]}}}, 422, "body.space.choices"),
        ({"space": {"choices": {"recipe.learning_rate": [0.1]}}}, 422, "body.space.choices"),
        (
            {"space": {"search_recipe": "all", "choices": {"recipe.learning_rate": ["x"]}}},
            422,
            "body.space.choices",
        ),
    ],
)
def test_config_that_may_not_be_is_refused_by_its_field(still, given, status, pointer):
    found = problem(still.post("/v1/searches", json=given), status)
    assert pointer in [each["pointer"] for each in found["errors"]]
    assert still.get("/v1/searches").json()["total"] == 0


def test_rules_for_trainers_elsewhere_keep_the_caps_of_the_config(still, tmp_path):
    (tmp_path / "data" / "big.yaml").write_text(
        "space: big\ndata: image\ndecisions:\n  w:\n    choices: [4096, 8192]\n"
        "    layers: [Flatten, Dense: {units: $w}]\n"
    )
    space = {"name": "big.yaml", "input_shape": [32, 32, 3], "classes": 10}
    given = {"engine": {"executor": "external"}, "space": space}
    assert "max_params" in problem(still.post("/v1/searches", json=given), 422)["detail"]
    space["max_params"] = 100_000_000
    given["space"] = {**space, "max_layers": 3}
    assert "has its own rules" in problem(still.post("/v1/searches", json=given), 422)["detail"]
    given["space"] = space
    assert still.post("/v1/searches", json=given).status_code == 201


def test_large_images_are_no_trouble_for_trainers_elsewhere(still):
    space = {"name": "image", "input_shape": [10**8, 10**8, 1], "classes": 10}
    given = {"engine": {"executor": "external"}, "space": space}
    assert still.post("/v1/searches", json=given).status_code == 201


def test_body_that_is_not_called_json_names_the_header(still):
    found = problem(still.post("/v1/searches", content=b'{"seed": 1}'), 422)
    assert found["errors"][0]["pointer"] == "header.content-type"
    assert "application/json" in found["detail"]


def test_states_that_there_are_not_are_refused(still):
    assert problem(still.get("/v1/searches?state=bogus"), 422)
    assert still.get("/v1/searches?state=done").json()["total"] == 0


def test_login_that_breaks_off_is_no_mistake(closed):
    messages = [{"type": "http.request", "body": b"t", "more_body": True}]
    sent = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message["type"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "raw_path": b"/login",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"50")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    asyncio.run(closed.app(scope, receive, send))
    assert sent[:1] == ["http.response.start"]


def test_broken_rules_are_refused_at_their_line(still, tmp_path):
    (tmp_path / "data" / "mine.yaml").write_text("data: image\nstart: body\nrules:\n  body: 3\n")
    found = problem(still.post("/v1/searches", json=config(space={"name": "mine.yaml"})), 422)
    assert found["errors"][0]["pointer"] == "body.space.name"
    assert "mine.yaml:3:1: unknown key" in found["detail"]
    assert str(tmp_path) not in found["detail"]


def test_link_out_of_the_data_folder_is_refused(still, tmp_path):
    (tmp_path / "secret.csv").write_text("arch\n0\n")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "secret.csv")
    assert problem(still.post("/v1/searches", json=config(space={"name": "link.csv"})), 422)


def test_token_is_needed_and_reading_is_not_writing(closed):
    assert closed.get("/healthz").status_code == 200
    found = closed.get("/v1/searches")
    problem(found, 401)
    assert found.headers["www-authenticate"].startswith("Bearer")

    def bearer(token):
        return {"Authorization": f"Bearer {token}"}

    problem(closed.get("/v1/searches", headers=bearer("w" * 19)), 401)
    assert closed.get("/v1/searches", headers=bearer(READ)).status_code == 200
    problem(closed.post("/v1/searches", json={}, headers=bearer(READ)), 403)
    answer = closed.post("/v1/searches", json={"name": "x"}, headers=bearer(WRITE))
    assert answer.status_code == 201


def test_addresses_are_answered_where_all_are_listened_at():
    access = Access(WRITE, addresses=True)
    assert access.answers_for("10.1.2.3")
    assert access.answers_for("fe80::1")
    assert not access.answers_for("evil.example")
    assert not Access(WRITE).answers_for("10.1.2.3")


def test_other_hosts_and_other_sites_are_refused(still):
    problem(still.get("/v1/searches", headers={"Host": "evil.example"}), 421)
    for origin in ("http://evil.example", "http://[", "null", ""):
        assert problem(still.post("/v1/searches", json={}, headers={"Origin": origin}), 403)
    hidden = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}  # as a browser may send a form
    assert still.post("/v1/searches", json={}, headers=hidden).status_code == 201
    problem(still.get("/v1/searches", headers={"Sec-Fetch-Site": "cross-site"}), 403)
    assert still.get("/v1/searches", headers={"Origin": HOST}).status_code == 200


def test_bodies_are_bounded(still):
    large = b'{"name": "' + b"a" * LARGEST_BODY + b'"}'
    assert problem(still.post("/v1/searches", content=large), 413)

    def pieces():
        for _ in range(LARGEST_BODY // 50_000 + 2):
            yield b" " * 50_000

    assert problem(still.post("/v1/searches", content=pieces()), 413)
    headers = {"content-type": "application/json"}
    assert problem(still.post("/v1/searches", content=b"{", headers=headers), 422)
    assert problem(still.post("/v1/searches", content=b"[" * 100_000, headers=headers), 400)


@pytest.mark.parametrize(
    "body",
    [
        {"val_accuracy": []},
        {"val_accuracy": ["high"]},
        {"val_accuracy": [0.5], "extra": {"../x": 1}},
        {"val_accuracy": [0.5], "params": -1},
        {"val_accuracy": [97.0]},
        {"val_accuracy": [0.5], "params": 10**30},
        {"val_accuracy": [0.5], "seconds": 1e308},
        {"val_accuracy": [0.5], "stopped": "yes"},
        {"val_accuracy": [True]},
    ],
)
def test_figures_that_are_none_are_refused(client, ended, body):
    assert problem(tell(client, "whole", ended[0], metrics=body), 422)


def test_numbers_that_are_none_are_refused(client, ended):
    path = f"/v1/searches/whole/trials/{ended[0]['trial']}:tell"
    for number in ("NaN", "Infinity", "1e999"):
        text = f'{{"lease": "{ended[0]["lease"]}", "metrics": {{"val_accuracy": [{number}]}}}}'
        headers = {"content-type": "application/json"}
        assert problem(client.post(path, content=text, headers=headers), 422)


def test_key_of_a_deleted_search_can_be_used_again(still):
    headers = {"Idempotency-Key": "once"}
    first, second = (config(name=name) for name in ("first", "second"))
    assert still.post("/v1/searches", json=first, headers=headers).status_code == 201
    thrown = still.delete("/v1/searches/first").json()["id"]
    assert still.post("/v1/searches", json=second, headers=headers).status_code == 201
    assert still.post(f"/v1/trash/{thrown}:restore").json()["name"] == "first"
    again = still.post("/v1/searches", json=second, headers=headers)
    assert (again.status_code, again.json()["name"]) == (200, "second")


def test_description_has_the_names_and_bounds_of_fields(still, closed):
    found = still.get("/v1/openapi.json").json()["components"]
    engine = found["schemas"]["EngineConfig"]["properties"]
    assert {"exclusiveMinimum": 0, "type": "number"} in engine["child_memory"]["anyOf"]
    assert "external" in engine["executor"]["enum"]
    recipe = found["schemas"]["RecipeConfig"]["properties"]
    assert "adamw" in recipe["optimizer"]["enum"]
    assert "securitySchemes" not in found
    told = closed.get("/v1/openapi.json", headers={"Authorization": f"Bearer {READ}"}).json()
    assert told["security"] == [{"token": []}]
    assert told["paths"]["/healthz"]["get"]["security"] == []


def test_only_so_many_searches_may_wait(still, monkeypatch):
    monkeypatch.setattr("rlnas.service.jobs.MOST_WANTED", 2)
    made = [still.post("/v1/searches", json=config()).json()["name"] for _ in range(2)]
    told = problem(still.post("/v1/searches", json=config()), 429)
    assert told["type"].endswith("too-many-searches")
    still.post(f"/v1/searches/{made[0]}:stop")
    assert still.post("/v1/searches", json=config()).status_code == 201


@pytest.mark.slow
def test_external_searches_beyond_their_number_are_queued(tmp_path):
    table_of(tmp_path)
    app = make_app(Settings(root=tmp_path / "runs", data=tmp_path, external_at_once=1))
    with TestClient(app, HOST) as client:
        for name in ("first", "second"):
            assert client.post("/v1/searches", json=config(name=name)).status_code == 201
        in_state(client, "first", "searching")
        assert client.get("/v1/searches/second").json()["state"] == "queued"
        client.post("/v1/searches/first:stop")
        in_state(client, "second", "searching")
        client.post("/v1/searches/second:stop")
        in_state(client, "second", "stopped")


@pytest.mark.parametrize("name", ["service.sqlite", "server.lock", "tensorboard.log", "jobs"])
def test_search_may_be_called_as_a_file_of_the_server(tmp_path, name):
    table_of(tmp_path)
    app = make_app(Settings(root=tmp_path / "runs", data=tmp_path))
    with TestClient(app, HOST) as client:
        client.post("/v1/searches", json=config(name=name))
        in_state(client, name, "searching")
        client.post(f"/v1/searches/{name}:stop")
        in_state(client, name, "stopped")
        client.delete(f"/v1/searches/{name}")
        assert [each["name"] for each in client.get("/v1/trash").json()["deleted"]] == [name]
        assert client.get("/readyz").status_code == 200


def test_search_that_has_ended_is_not_started_once_more(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path)
    jobs.add("a", "a", {}, "process")
    supervisor, started = Supervisor(jobs), []

    def start(entry):
        started.append(entry.name)
        job = JobFolder(tmp_path, entry.name)
        job.path.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        job.write_outcome(0, "ended")
        supervisor._runners[entry.name] = _Runner(process, 0)

    monkeypatch.setattr(supervisor, "_start", start)
    for _ in range(4):
        supervisor.step()
    assert (started, jobs.entry("a").ended) == (["a"], True)
    jobs.close()


def test_search_that_cannot_be_started_harms_no_other(tmp_path, caplog):
    table_of(tmp_path)
    app = make_app(Settings(root=tmp_path / "runs", data=tmp_path))
    with TestClient(app, HOST) as client:
        (tmp_path / "runs" / ".service" / "jobs").mkdir()
        (tmp_path / "runs" / ".service" / "jobs" / "bad").write_text("in the way")
        for name in ("bad", "good"):
            client.post("/v1/searches", json=config(name=name))
        in_state(client, "good", "searching")
        time.sleep(1)  # several looks
        assert problem(client.get("/readyz"), 503)
        assert len([each for each in caplog.messages if each.startswith("bad: ")]) == 1
        client.post("/v1/searches/bad:stop")
        client.post("/v1/searches/good:stop")
        in_state(client, "good", "stopped")


def test_deleted_while_it_starts_can_be_restored(tmp_path):
    table_of(tmp_path)
    app = make_app(Settings(root=tmp_path / "runs", data=tmp_path))
    with TestClient(app, HOST) as client:
        client.post("/v1/searches", json=config(name="brief"))
        answer = client.delete("/v1/searches/brief")
        if answer.status_code == 409:  # its runner is there already
            assert "is running" in problem(answer, 409)["detail"]
            client.post("/v1/searches/brief:stop")
            in_state(client, "brief", "stopped")
            answer = client.delete("/v1/searches/brief")
        restored = client.post(f"/v1/trash/{answer.json()['id']}:restore")
        assert restored.json()["state"] == "stopped"


def test_delete_that_the_disk_refuses_loses_nothing(tmp_path):
    jobs = Jobs(tmp_path)
    jobs.add("kept", "kept", {}, "process")
    (tmp_path / "kept" / "file").write_text("all")

    with jobs._db.writing() as db:
        db.execute("CREATE TRIGGER no BEFORE DELETE ON searches BEGIN SELECT RAISE(FAIL, 'x'); END")
    with pytest.raises(StorageError):
        jobs.delete("kept")
    assert (tmp_path / "kept" / "file").read_text() == "all"
    assert (jobs.find("kept") is not None, jobs.trash()) == (True, [])
    assert list((tmp_path / ".trash").iterdir()) == []
    jobs.close()


def test_delete_whose_move_is_refused_loses_nothing(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path)
    jobs.add("kept", "kept", {}, "process")
    for folder in (tmp_path / "kept", tmp_path / ".service" / "jobs" / "kept"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text("all")
    rename = Path.rename

    def refused(source, target):
        if source == tmp_path / "kept":
            raise PermissionError(1, "Operation not permitted")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(StorageError, match="not permitted"):
        jobs.delete("kept")
    assert (jobs.find("kept") is not None, jobs.trash()) == (True, [])
    for folder in (tmp_path / "kept", tmp_path / ".service" / "jobs" / "kept"):
        assert (folder / "file").read_text() == "all"
    jobs.close()


def test_name_of_a_control_is_for_no_other_search(still):
    with_control = {"name": "w", "control": "random", "budget": {"trials": 2}}
    assert still.post("/v1/searches", json=with_control).status_code == 201
    told = problem(still.post("/v1/searches", json=config(name="w-control")), 409)
    assert "the control of w" in told["detail"]
    assert still.post("/v1/searches", json=config(name="y-control")).status_code == 201
    told = problem(still.post("/v1/searches", json={**with_control, "name": "y"}), 409)
    assert "y-control" in told["detail"]


def test_one_damaged_row_harms_no_other_search(client, ended, still, folders, tmp_path):
    whole = folders / "runs" / "whole"
    shutil.copytree(whole, tmp_path / "runs" / "whole")
    with closing(sqlite3.connect(tmp_path / "runs" / "whole" / "journal.sqlite")) as db:
        db.execute("UPDATE meta SET value = '{bad' WHERE name = 'config'")
        db.commit()
    (found,) = still.get("/v1/searches").json()["searches"]
    assert found["state"] == "damaged"
    assert still.get("/", headers={"Accept": "text/html"}).status_code == 200
    assert problem(still.get("/v1/searches/whole/best"), 409)


def test_stream_of_a_damaged_run_says_so_and_ends(ended, folders, still, tmp_path):
    shutil.copytree(folders / "runs" / "whole", tmp_path / "runs" / "whole")
    for path in (tmp_path / "runs" / "whole").glob("journal.sqlite*"):
        path.write_bytes(path.read_bytes()[:3000])
    lines = still.get("/v1/searches/whole/events").text.splitlines()
    assert [line for line in lines if line.startswith("event:")] == ["event: state"]
    (told,) = (json.loads(line.removeprefix("data: ")) for line in lines if line[:5] == "data:")
    assert told["state"] == "damaged"


def test_pareto_has_each_trial_as_it_comes(client):
    client.post("/v1/searches", json=config(name="costly"))
    for number in range(1, 4):
        (trial,) = ask(client, "costly")
        metrics = {"val_accuracy": [number / 10], "params": 10 * number}
        assert tell(client, "costly", trial, metrics=metrics).status_code == 200
        until(lambda: client.get("/v1/searches/costly").json()["trials"] == number)  # noqa: B023
        points = client.get("/v1/searches/costly/pareto").json()["points"]
        assert [(point["cost"], point["front"]) for point in points] == [
            (10.0 * each, True) for each in range(1, number + 1)
        ]
    client.post("/v1/searches/costly:stop")


@pytest.mark.parametrize("content", [b"no database", None])
def test_damaged_summaries_are_made_anew(tmp_path, content):
    path = tmp_path / "summaries.sqlite"
    if content is not None:
        path.write_bytes(content * 1000)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE summaries (other TEXT)")
    summaries = Summaries(path)
    assert summaries.get("any", ((0, 0),)) is None
    summaries.close()


def test_read_token_gets_no_form(closed):
    reads = {"Authorization": f"Bearer {READ}"}
    assert problem(closed.get("/new", headers=reads), 403)
    assert closed.get("/new", headers={"Authorization": f"Bearer {WRITE}"}).status_code == 200
    assert problem(closed.post("/login", content=b"a=b&" * 2000), 413)


def killed_behind(function):
    def killed(*arguments, **more):
        function(*arguments, **more)
        raise KeyboardInterrupt

    return killed


def test_move_that_a_kill_cut_off_is_finished_or_taken_back(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path)
    for name in ("early", "late"):
        jobs.add(name, name, {}, "process")
        (tmp_path / name / "file").write_text(name)

    def killed(self, number):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrashFolder, "settle", killed)
    with pytest.raises(KeyboardInterrupt):  # behind the commit
        jobs.delete("late")
    monkeypatch.setattr(TrashFolder, "move", killed_behind(TrashFolder.move))
    with pytest.raises(KeyboardInterrupt):  # before it, with the folder moved
        jobs.delete("early")
    monkeypatch.undo()
    assert not (tmp_path / "early").exists()
    jobs.recover()
    assert (tmp_path / "early" / "file").read_text() == "early"
    (thrown,) = jobs.trash()
    assert (tmp_path / ".trash" / thrown.id / "run" / "file").read_text() == "late"
    assert not (tmp_path / "late").exists()
    assert [each.name for each in (tmp_path / ".trash").iterdir()] == [thrown.id]
    jobs.close()


def test_ended_search_is_resumed_with_a_larger_budget_alone(client, ended):
    assert problem(client.post("/v1/searches/whole:resume", json={"trials": True}), 422)
    for body in ({}, {"trials": 12}, {"trials": 3}):
        told = problem(client.post("/v1/searches/whole:resume", json=body), 409)
        assert "larger budget" in told["detail"]


@pytest.mark.slow
def test_resumed_search_is_not_done_until_it_has_searched_on(client):
    client.post("/v1/searches", json=config(name="longer", budget={"trials": 2}))
    for trials in (2, 4):
        if trials == 4:
            found = client.post("/v1/searches/longer:resume", json={"trials": 4}).json()
            assert found["state"] == "queued"
        while (leased := ask(client, "longer", count=1)) is not True:
            tell(client, "longer", leased[0])
        found = in_state(client, "longer", "done")
        assert found["trials"] == trials


def test_worker_that_waits_hears_at_once_that_the_search_ends(client):
    client.post("/v1/searches", json=config(name="brief", budget={"trials": 1}))
    (trial,) = ask(client, "brief")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            client.post, "/v1/searches/brief/trials:ask", json={"worker": "v", "wait": 30}
        )
        client.post("/v1/searches/brief:stop")
        told = waiting.result().json()
    assert (told["ended"], told["state"]) == (True, "stopped")
    del trial


def test_running_search_takes_no_other_budget(client):
    client.post("/v1/searches", json=config(name="busy"))
    in_state(client, "busy", "searching")
    assert problem(client.post("/v1/searches/busy:resume", json={"trials": 99}), 409)
    assert client.post("/v1/searches/busy:resume").json()["state"] == "searching"
    client.post("/v1/searches/busy:stop")
    in_state(client, "busy", "stopped")
    text = client.get("/v1/searches/busy/events").text  # ends, with trials under way
    assert '"state": "stopped"' in text


def test_damaged_run_is_shown_and_can_be_deleted(still, tmp_path):
    folder = tmp_path / "runs" / "broken"
    folder.mkdir()
    (folder / "journal.sqlite").write_bytes(b"no journal" * 1000)
    (found,) = still.get("/v1/searches").json()["searches"]
    assert (found["name"], found["state"]) == ("broken", "damaged")
    assert "journal.sqlite" in found["message"]
    assert problem(still.post("/v1/searches/broken:resume"), 409)
    assert still.delete("/v1/searches/broken").status_code == 200
    assert still.get("/v1/searches").json()["total"] == 0


def test_names_are_filtered_by_the_server(still):
    for name in ("Alpha", "beta"):
        still.post("/v1/searches", json=config(name=name))
    found = still.get("/v1/searches", params={"text": "ALP"}).json()
    assert [each["name"] for each in found["searches"]] == ["Alpha"]


def test_made_names_tell_the_data_and_the_controller(still):
    assert still.post("/v1/searches", json={}).json()["name"] == "digits-ppo-1"
    assert still.post("/v1/searches", json=config()).json()["name"] == "table-random-1"


def test_browser_gets_a_page_where_a_program_gets_a_problem(still):
    answer = still.get("/searches/nothing", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "there is no search" in answer.text
    assert problem(still.get("/v1/searches/nothing", headers={"Accept": "text/html"}), 404)


def test_wrong_range_of_a_file_is_a_problem(client):
    path = "/static/style.css"
    for wanted, status in (("bytes=abc", 400), ("bytes=999999999-", 416)):
        assert problem(client.get(path, headers={"Range": wanted}), status)


def test_report_leaves_no_file(client, ended, folders):
    before = sorted(folders.rglob("*.html"))
    assert "<html" in client.get("/v1/searches/whole/files/report.html").text
    assert sorted(folders.rglob("*.html")) == before


@pytest.mark.parametrize("earlier", ["..", "a\u0000b", "x" * 300, "../other"])
def test_earlier_run_is_named_not_reached_by_a_path(still, earlier):
    wrong = config(controller={"name": "ppo", "warm_start": earlier})
    assert problem(still.post("/v1/searches", json=wrong), 422)


def test_budget_is_bounded(still):
    assert problem(still.post("/v1/searches", json=config(budget={"trials": 10**20})), 422)


def test_login_leads_back_to_the_page_and_to_no_other_site(closed):
    answer = closed.get("/trash", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.headers["location"] == "/login?next=/trash"
    for next, target in (("/trash", "/trash"), ("https://evil.example", "/"), ("//evil", "/")):
        body = {"token": WRITE, "next": next}
        answer = closed.post("/login", data=body, follow_redirects=False)
        assert answer.headers["location"] == target


def test_summaries_are_kept_over_restarts_while_their_runs_stay_as_they_are(client, ended, folders):
    path = folders / "summaries.sqlite"
    found = summarize(RunFolder(folders / "runs", "whole"))
    mark = ((1, 2), (0, 0))
    for summaries in (Summaries(path), Summaries(path)):
        summaries.put("running", mark, replace(found, status="searching"))
        summaries.put("whole", mark, found)
        summaries.close()
    again = Summaries(path)
    assert again.get("whole", mark) == found
    assert again.get("whole", ((1, 3), (0, 0))) is None
    assert again.get("running", mark) is None
    again.close()


def test_search_that_trains_here_gives_nothing_to_workers(still):
    still.post("/v1/searches", json={"name": "here"})
    found = problem(still.post("/v1/searches/here/trials:ask", json={"worker": "w"}), 409)
    assert found["type"].endswith("trains-here")


def test_health_readiness_and_metrics(client, ended):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["status"] == "ready"
    text = client.get("/metrics").text
    assert 'rlnas_searches{state="done"}' in text
    told = float(re.search(r"^rlnas_outcomes_told_total (.+)$", text, re.MULTILINE)[1])
    assert told >= len(ended)


def test_described_models_are_those_of_the_config(still):
    schema = still.get("/v1/openapi.json").json()
    fields = schema["components"]["schemas"]["SearchConfig"]["properties"]
    assert set(fields) == set(make_config({}).model_dump())
    assert "ProblemDocument" in schema["components"]["schemas"]


def test_unknown_addresses_and_methods_are_problems(still):
    problem(still.get("/v2"), 404)
    found = still.put("/v1/searches")
    problem(found, 405)
    assert found.headers["allow"] == "GET, POST"


def test_server_does_not_load_tensorflow():
    import subprocess
    import sys

    line = (
        "import sys, rlnas.service.app; "
        "print([m for m in ('keras', 'tensorflow', 'tensorboard') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_folder_whose_name_is_no_text_is_passed_over(still, tmp_path):
    strange = os.fsencode(tmp_path / "runs") + b"/caf\xe9"
    os.makedirs(strange)
    with open(strange + b"/journal.sqlite", "wb"):
        pass
    assert still.get("/v1/searches").json()["searches"] == []


def test_slow_reader_of_tensorboard_is_given_up(monkeypatch):
    monkeypatch.setattr(tensorboard, "_SLOWEST", 0.05)
    ended, sent = [], []

    async def pieces():
        yield b"much"

    answer = httpx2.Response(200, content=pieces())

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    passed = tensorboard._Passed(answer, {}, lambda: ended.append(True))
    asyncio.run(passed.stream_response(send))
    assert (ended, sent) == ([True], ["http.response.start", "http.response.body"])
    assert answer.is_closed
