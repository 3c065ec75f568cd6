"""Tests of `rlnas.Client`: what it makes of answers that are lost, late or refusals."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rlnas.client import Client, RefusedError, ServerError
from rlnas.errors import UsageError


@pytest.fixture
def scripted():
    """A server that gives a list of answers, one after the other; None is a lost one."""
    answers, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            asked.append((self.command, self.path))
            found = answers.pop(0)
            if found is None:
                self.connection.close()
                return
            status, body = found
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *about: None  # the connection that it closed itself
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers, asked
    server.shutdown()
    server.server_close()


def test_server_that_is_away_for_a_moment_costs_only_time(scripted):
    address, answers, asked = scripted
    answers += [(503, {}), None, (502, {}), (200, {"searches": [], "total": 0})]
    with Client(address) as client:
        assert client.searches() == []
    assert len(asked) == 4


def test_server_that_stays_away_is_one_sentence(scripted):
    address, answers, _ = scripted
    answers += [(503, {"detail": "free the disk"})] * 50
    with Client(address, patience=0.5) as client, pytest.raises(ServerError, match="free the disk"):
        client.searches()


def test_delete_whose_answer_was_lost_gives_its_id(scripted):
    address, answers, _ = scripted
    gone = (404, {"type": "urn:rlnas:problem:not-found", "detail": "there is no search 'a'"})
    thrown = [{"id": "2" * 16, "name": "a"}, {"id": "1" * 16, "name": "a"}]
    answers += [None, gone, (200, {"deleted": thrown})]
    with Client(address) as client:
        assert client.search("a").delete() == "2" * 16
        answers += [gone]  # which never was there
        with pytest.raises(RefusedError, match="there is no search"):
            client.search("a").delete()


@pytest.mark.parametrize(("token", "said"), [("x" * 20, "another one"), (None, "none")])
def test_wrong_token_names_its_variable(scripted, monkeypatch, token, said):
    monkeypatch.delenv("RLNAS_TOKEN", raising=False)
    address, answers, _ = scripted
    answers += [(401, {"type": "urn:rlnas:problem:no-token", "detail": "needs its token"})]
    with Client(address, token) as client, pytest.raises(RefusedError) as refused:
        client.searches()
    assert f"and {said} was given; set the variable RLNAS_TOKEN" in str(refused.value)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8420", "http://a b", "http://[", "http://a:99999", "ftp://a"]
)
def test_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(UsageError, match="expected an address such as"):
        Client(address)


def test_token_that_no_header_can_hold_is_refused():
    with pytest.raises(UsageError, match="RLNAS_TOKEN"):
        Client("http://127.0.0.1:1", "tök")
