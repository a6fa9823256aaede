"""The local server for any wire, seen by a bare client."""

import http.client
import json

import pytest

from starling.provider import TextChunk
from starling.testing import Reply, Script, Wire, WireServer, sse_event


class Words(Wire):
    """Text alone, a line a piece."""

    request_id_header = ""

    def stream(self, reply, request, number):
        return [step.text.encode() + b"\n" for step in reply.turn.steps if isinstance(step, TextChunk)]


class Careless(Wire):
    def stream(self, reply, request, number):
        return {}["no such key"]


def ask(server, path="/any"):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    try:
        connection.request("POST", path, body=json.dumps({"q": 1}))
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_wire_is_one_function():
    with WireServer(Script().text("one").text("two"), Words()) as server:
        response, body = ask(server, "/v1/talk?x=y")
    assert (response.status, body) == (200, b"one\ntwo\n")
    assert server.bodies == (body,)
    assert [(request.path, request.body) for request in server.requests] == [("/v1/talk?x=y", {"q": 1})]
    assert not server.disconnected.is_set()


def test_a_body_is_sent_as_it_is_and_cut_where_the_reply_says():
    body = sse_event({"é": 1}, name="first")
    assert body == 'event: first\ndata: {"é":1}\n\n'.encode()
    with WireServer([Reply(body=body), Reply(body=body, cut_after=5, clean_cut=True)], Wire()) as server:
        whole, part = ask(server), ask(server)
    assert (whole[0].headers["x-request-id"], whole[1], part[1]) == ("req_1", body, body[:5])
    assert server.bodies == (body, body[:5])


def test_a_broken_body_is_not_a_short_one():
    with (
        WireServer([Reply(body=b"abcdef", cut_after=3)], Wire()) as server,
        pytest.raises(http.client.IncompleteRead),
    ):
        ask(server)


@pytest.mark.parametrize(
    ("wire", "words"),
    [(Wire(), "Wire cannot show a turn"), (Careless(), "Careless.stream failed: KeyError('no such key')")],
)
def test_what_is_wrong_with_a_wire_is_said_to_the_client(wire, words):
    with WireServer(Script().text("x"), wire) as server:
        response, body = ask(server)
    assert response.status == 500
    assert words in json.loads(body)["error"]["message"]


def test_failures_wait_and_ids_are_headers():
    with WireServer(Script().error("slow down", status=429, retry_after_s=1.5), Wire()) as server:
        response, body = ask(server)
    assert (response.status, response.headers["retry-after"]) == (429, "1.5")
    assert json.loads(body) == {"error": {"message": "slow down"}}
