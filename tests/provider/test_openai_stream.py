"""Events to chunks: what servers really send, and what is refused."""

import json

import pytest

from starling._blake3 import digest
from starling.errors import (
    AuthError,
    InvalidStreamError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider import ReasoningChunk, TextChunk, ToolUseStart, Usage, assemble
from starling.provider.openai._stream import AnswerReader


def event(delta=None, finish_reason=None, **more):
    choices = (
        []
        if delta is None and finish_reason is None
        else [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}]
    )
    return json.dumps({"choices": choices, **more}).encode()


def call(index=None, call_id=None, name=None, arguments=None):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {"function": function}
    if index is not None:
        piece["index"] = index
    if call_id is not None:
        piece["id"] = call_id
    return event({"tool_calls": [piece]})


STOP = event(finish_reason="stop")
DONE = b"[DONE]"


def sse(data):
    return b"data: " + data + b"\n\n"


def read(*events):
    reader = AnswerReader(provider="p", request_id="req_1")
    chunks = [chunk for data in events for chunk in reader.feed(sse(data))]
    return [*chunks, *reader.finish()]


def answer(*events):
    return assemble(read(*events))


def test_text_usage_and_end():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    }
    response = answer(
        event({"role": "assistant", "content": ""}), event({"content": "hi"}), STOP, event(usage=usage), DONE
    )
    assert response.text == "hi"
    assert response.stop_reason == "stop"
    assert response.usage == Usage(input_tokens=9, output_tokens=3, cache_read_tokens=4, cache_create_tokens=2)
    assert response.request_id == "req_1"


def test_the_raw_hash_is_over_the_data_as_it_came():
    first = b'{"choices": [ {"delta":{"content":"hi"}} ]}'
    assert answer(first, STOP, DONE).raw_response_hash == digest(first + b"\n" + STOP)


def test_usage_without_counts_is_zero_and_usage_null_is_none():
    assert answer(event({"content": "a"}, usage=None), STOP, event(usage={}), DONE).usage == Usage()


def calls(*events):
    return [(use.call_id, use.name, use.raw_args) for use in answer(*events, STOP, DONE).tool_uses]


def test_parallel_calls_with_interleaved_pieces():
    assert calls(
        call(0, "c1", "a", ""),
        call(1, "c2", "b", '{"x"'),
        call(0, arguments='{"y"'),
        call(1, arguments=":1}"),
        call(0, arguments=":2}"),
    ) == [("c1", "a", '{"y":2}'), ("c2", "b", '{"x":1}')]


def test_servers_that_always_say_index_zero():
    assert calls(call(0, "c1", "a", "{}"), call(0, "c2", "b", "[]")) == [("c1", "a", "{}"), ("c2", "b", "[]")]


def test_servers_that_say_no_index():
    assert calls(call(None, "c1", "a", "1"), call(None, "c2", "b", "2"), call(arguments="3")) == [
        ("c1", "a", "1"),
        ("c2", "b", "23"),
    ]


def test_an_id_repeated_on_every_piece_is_the_same_call():
    assert calls(call(0, "c1", "a", "1"), call(0, "c1", "a", "2")) == [("c1", "a", "12")]


def test_pieces_before_the_name_are_held_back():
    assert calls(call(0, "c1", arguments="{"), call(0, name="a", arguments="}")) == [("c1", "a", "{}")]


def test_calls_without_an_id_get_one_each():
    assert calls(call(0, None, "a", "1"), call(1, None, "b", "2")) == [("call_0", "a", "1"), ("call_1", "b", "2")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_of_compatible_servers(field):
    chunks = read(event({field: "why", "content": "x"}), STOP, DONE)
    assert chunks[:2] == [ReasoningChunk(text="why"), TextChunk(text="x")]


def test_reasoning_sent_under_both_names_counts_once():
    chunks = read(event({"reasoning": "why", "reasoning_content": "why"}), STOP, DONE)
    assert chunks[0] == ReasoningChunk(text="why")
    assert len(chunks) == 2


def test_a_refusal_is_text():
    assert answer(event({"refusal": "No."}), STOP, DONE).text == "No."


def test_lenient_about_what_is_missing():
    assert (
        answer(b"{}", b'{"choices":null}', b'{"choices":[{"delta":null}]}', event({"content": "a"}), STOP, DONE).text
        == "a"
    )


def test_no_done_marker_is_fine_once_usage_has_come():
    assert answer(event({"content": "a"}), STOP, event(usage={"prompt_tokens": 1})).text == "a"


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event({"content": "half"})],
        [event({"content": "half"}), event(usage={"prompt_tokens": 1})],
        [event({"content": "whole, but its usage is lost"}), STOP],
    ],
)
def test_a_stream_that_breaks_off_is_a_network_error(events):
    with pytest.raises(NetworkError, match="broke off") as caught:
        read(*events)
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([event({"content": "half"}), DONE], "the answer has no finish_reason"),
        ([b"<html>"], "event 1 is not JSON"),
        ([event({"content": "x"}), b"{"], "event 2 is not JSON"),
        ([b"\xff"], "event 1 is not JSON"),
        ([b"[" * 100_000], "event 1 is not JSON"),
        ([b"[]"], "event 1 is not a JSON object"),
        ([b'{"choices":{}}'], "choices is not a list of objects"),
        ([b'{"choices":[1]}'], "choices is not a list of objects"),
        ([event({"content": ["x"]})], "content is not text"),
        ([b'{"choices":[{"delta":"x"}]}'], "delta is not an object"),
        ([b'{"choices":[{"index":0},{"index":1}]}'], "there is more than one choice"),
        ([event({"function_call": {"name": "a"}})], "function_call was used in place of tool_calls"),
        (
            [event({"content": "Look:", "images": [{"type": "image_url"}]})],
            "images are a part of the answer that no chunk can carry",
        ),
        ([event({"audio": {"transcript": "Hello"}})], "audio is a part of the answer that no chunk can carry"),
        ([call(0, "c1", arguments="{}"), STOP, DONE], 'tool call "c1" has no name'),
    ],
)
def test_what_the_wire_does_not_allow_is_named(events, problem):
    with pytest.raises(InvalidStreamError) as caught:
        read(*events)
    assert str(caught.value) == f'starling: provider "p": invalid stream: {problem}'


@pytest.mark.parametrize(
    ("report", "kind", "text"),
    [
        ({"error": {"message": "busy", "type": "server_error"}}, ServerError, ": busy"),
        ({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, RateLimitError, ": slow"),
        ({"error": {"message": "slow", "code": 429}}, RateLimitError, " (status 429): slow"),
        ({"error": {"message": "slow", "code": "429"}}, RateLimitError, " (status 429): slow"),
        ({"error": {"message": "who", "code": "invalid_api_key"}}, AuthError, ": who"),
        ({"type": "error", "message": "slow", "code": "rate_limit_exceeded"}, RateLimitError, ": slow"),
        ({"error": {"message": "bad", "type": "invalid_request_error"}}, ProviderError, ": bad"),
        ({"error": "plain"}, ProviderError, ": plain"),
        ({"object": "error", "message": "vllm", "code": 500}, ServerError, " (status 500): vllm"),
        ({"error": {"type": "api_error"}}, ServerError, ": the vendor reported an error without a message"),
    ],
)
def test_an_error_report_within_the_stream_is_classed(report, kind, text):
    with pytest.raises(ProviderError) as caught:
        read(event({"content": "half"}), json.dumps(report).encode())
    assert type(caught.value) is kind
    assert str(caught.value) == f'starling: provider "p"{text}'


def test_chunks_come_as_they_are_read():
    reader = AnswerReader(provider="p")
    assert list(reader.feed(sse(event({"content": "a"})))) == [TextChunk(text="a")]
    assert list(reader.feed(sse(call(0, "c", "t")))) == [ToolUseStart(call_id="c", name="t")]
    assert not reader.done
    assert list(reader.feed(sse(DONE))) == []
    assert reader.done
