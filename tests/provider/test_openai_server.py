"""The local server behaves as the vendor's does, seen by the vendor's SDK and by a bare client."""

import http.client
import json
from contextlib import ExitStack

import openai
import pytest

from starling.testing._openai_server import OpenAIServer
from starling.testing._script import Script

MESSAGES = [{"role": "user", "content": "hi"}]


def sdk(server):
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)


def test_an_answer_that_is_not_streamed():
    script = Script().reasoning("why").text("x").tool_call("t", {"a": 1}).usage(5, 6, cache_read_tokens=4)
    with OpenAIServer(script) as server, sdk(server) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
    (choice,) = answer.choices
    assert (answer.model, answer._request_id, choice.finish_reason) == ("m", "req_1", "tool_calls")
    assert choice.message.content == "x"
    assert choice.message.reasoning_content == "why"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"a": 1}
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


@pytest.mark.parametrize("wanted", [True, False])
def test_token_counts_come_last_and_only_if_asked_for(wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    with OpenAIServer(Script().usage(5, 6).text("x")) as server, sdk(server) as client:
        events = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **options))
    assert [bool(event.usage) for event in events] == [False] * (len(events) - 1) + [wanted]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_look_like_the_vendors(status, kind):
    with (
        OpenAIServer(Script().error("no", status=status, retry_after_s=2)) as server,
        sdk(server) as client,
        pytest.raises(kind) as caught,
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert caught.value.body["message"] == "no"
    assert caught.value.body["type"]
    assert caught.value.response.headers["retry-after"] == "2"


def test_past_the_script_it_says_so():
    with (
        OpenAIServer(Script()) as server,
        sdk(server) as client,
        pytest.raises(openai.BadRequestError, match="exhausted: 0 turns, this is request 1"),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)


def test_what_the_wire_cannot_carry_is_an_error_before_anything_is_sent():
    with (
        OpenAIServer(Script().redacted("opaque")) as server,
        sdk(server) as client,
        pytest.raises(openai.InternalServerError, match="cannot carry RedactedThinkingChunk"),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def test_another_path_is_not_found():
    with OpenAIServer(Script().text("x")) as server:
        connection = http.client.HTTPConnection(server.base_url.split("/")[2])
        connection.request("POST", "/v1/embeddings", body="{}")
        assert connection.getresponse().status == 404
        connection.close()


def test_stopping_it_ends_open_connections():
    server = OpenAIServer(Script().text("x").hang())
    with ExitStack() as running:
        running.enter_context(server)
        with sdk(server) as client:
            stream = iter(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
            next(stream)
            running.close()
            with pytest.raises(openai.APIConnectionError):
                list(stream)
    assert not server.disconnected.is_set()
