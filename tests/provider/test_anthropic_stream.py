"""Events to chunks: what the vendor really sends, and what is refused."""

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
from starling.provider import (
    EndChunk,
    PlannedCall,
    Reasoning,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
    assemble,
)
from starling.provider.anthropic._stream import MessageReader

# The vendor's page "Streaming messages" shows these answers; ids and texts are ours.
DOCUMENTED = b"""\
event: message_start
data: {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [], \
"model": "claude-haiku-4-5", "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 25, \
"cache_creation_input_tokens": 0, "cache_read_input_tokens": 8, "output_tokens": 1}}}

event: content_block_start
data: {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "A greeting. "}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Answer it."}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQBCgIYAhIM1g=="}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 0}

event: content_block_start
data: {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "EmwKAhgBEg=="}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 1}

event: content_block_start
data: {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Hello"}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "!"}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 2}

event: content_block_start
data: {"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_1", \
"name": "get_weather", "input": {}}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{\\"location\\":"}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": " \\"Oslo\\"}"}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 3}

event: message_delta
data: {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 89}}

event: message_stop
data: {"type": "message_stop"}

"""


def read(body):
    reader = MessageReader(provider="p", request_id="req_1")
    return [*reader.feed(body), *reader.finish()]


def test_a_documented_answer_chunk_by_chunk():
    data = b"\n".join(line.removeprefix(b"data: ") for line in DOCUMENTED.splitlines() if line.startswith(b"data: "))
    assert read(DOCUMENTED) == [
        UsageChunk(usage=Usage(input_tokens=25, output_tokens=1, cache_read_tokens=8)),
        ReasoningChunk(text="A greeting. "),
        ReasoningChunk(text="Answer it."),
        ReasoningChunk(signature=b"EqQBCgIYAhIM1g=="),
        RedactedThinkingChunk(text="EmwKAhgBEg=="),
        TextChunk(text="Hello"),
        TextChunk(text="!"),
        ToolUseStart(call_id="toolu_1", name="get_weather"),
        ToolUseDelta(call_id="toolu_1", args='{"location":'),
        ToolUseDelta(call_id="toolu_1", args=' "Oslo"}'),
        ToolUseEnd(call_id="toolu_1"),
        UsageChunk(usage=Usage(input_tokens=25, output_tokens=89, cache_read_tokens=8)),
        EndChunk(stop_reason="tool_use", raw_response_hash=digest(data), request_id="req_1"),
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_same_chunks_however_the_bytes_arrive(line_end):
    body = DOCUMENTED.replace(b"\n", line_end)
    reader = MessageReader(provider="p", request_id="req_1")
    chunks = [chunk for byte in body for chunk in reader.feed(bytes([byte]))]
    assert [*chunks, *reader.finish()] == read(DOCUMENTED)


# --- single events


def event(kind, **fields):
    return {"type": kind, **fields}


def start(index, **block):
    return event("content_block_start", index=index, content_block=block)


def delta(index, kind, **fields):
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index):
    return event("content_block_stop", index=index)


BEGIN = event("message_start", message={"usage": {"input_tokens": 3, "output_tokens": 1}})
STOP = (event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}), event("message_stop"))


def sse(*events):
    return b"".join(b"data: %s\n\n" % (one if isinstance(one, bytes) else json.dumps(one).encode()) for one in events)


def answer(*events):
    return assemble(read(sse(BEGIN, *events, *STOP)))


def test_parallel_calls():
    response = answer(
        start(0, type="tool_use", id="c1", name="a", input={}),
        delta(0, "input_json_delta", partial_json='{"x":1}'),
        stop(0),
        start(1, type="tool_use", id="c2", name="b", input={}),
        stop(1),
    )
    assert response.tool_uses == (
        PlannedCall(call_id="c1", name="a", raw_args='{"x":1}'),
        PlannedCall(call_id="c2", name="b", raw_args=""),
    )


def test_arguments_that_stand_in_the_start_count_unless_deltas_follow():
    given = {"city": "Zürich"}
    response = answer(
        start(0, type="tool_use", id="c1", name="a", input=given),
        stop(0),
        start(1, type="tool_use", id="c2", name="b", input=given),
        delta(1, "input_json_delta", partial_json="{}"),
        stop(1),
    )
    assert [use.raw_args for use in response.tool_uses] == ['{"city": "Zürich"}', "{}"]


def test_text_and_thinking_that_stand_in_the_start():
    response = answer(
        start(0, type="thinking", thinking="Hm.", signature="s"), stop(0), start(1, type="text", text="Hi"), stop(1)
    )
    assert (response.reasoning, response.text) == ((Reasoning(content="Hm.", signature=b"s"),), "Hi")


def test_thinking_that_is_withheld_is_a_signature_alone():
    """``display: "omitted"``, the default of newer models; the block has to be given back all the same."""
    response = answer(
        start(0, type="thinking", thinking="", signature=""), delta(0, "signature_delta", signature="s"), stop(0)
    )
    assert response.reasoning == (Reasoning(content="", signature=b"s"),)


def test_thinking_blocks_stay_apart():
    blocks = [
        one
        for at, text in enumerate(("one", "two"))
        for one in (
            start(at, type="thinking", thinking=""),
            delta(at, "thinking_delta", thinking=text),
            delta(at, "signature_delta", signature=f"sig-{text}"),
            stop(at),
        )
    ]
    assert answer(*blocks).reasoning == (
        Reasoning(content="one", signature=b"sig-one"),
        Reasoning(content="two", signature=b"sig-two"),
    )


def test_what_the_vendor_may_add_is_passed_over():
    response = answer(
        event("ping"),
        event("something_new", index=9),
        start(0, type="text", text="", citations=None),
        delta(0, "citations_delta", citation={"type": "page_location"}),
        delta(0, "new_delta", text="?"),
        delta(0, "text_delta", text="Hi"),
        stop(0),
    )
    assert response.text == "Hi"


def test_counts_are_cumulative_and_null_is_not_zero():
    start_counts = {
        "input_tokens": 9,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 4,
        "output_tokens": 1,
    }
    last_counts = {"input_tokens": None, "output_tokens": 7, "server_tool_use": {"web_search_requests": 0}}
    body = sse(
        event("message_start", message={"usage": start_counts}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=last_counts),
        event("message_stop"),
    )
    assert assemble(read(body)).usage == Usage(
        input_tokens=9, output_tokens=7, cache_read_tokens=4, cache_create_tokens=2
    )


@pytest.mark.parametrize(
    "reason", ["end_turn", "max_tokens", "stop_sequence", "refusal", "model_context_window_exceeded"]
)
def test_stop_reasons_are_the_vendors(reason):
    body = sse(BEGIN, event("message_delta", delta={"stop_reason": reason}), event("message_stop"))
    assert assemble(read(body)).stop_reason == reason


def test_nothing_is_read_behind_the_end():
    reader = MessageReader(provider="p")
    list(reader.feed(sse(BEGIN, STOP[0])))
    assert not reader.done
    list(reader.feed(sse(STOP[1])))
    assert reader.done


def test_a_gateway_that_ends_streams_as_openai_does():
    assert assemble(read(sse(BEGIN, *STOP, b"[DONE]"))).stop_reason == "end_turn"


# --- what is no answer


@pytest.mark.parametrize(
    "events",
    [
        [],
        [BEGIN],
        [BEGIN, start(0, type="text", text="half")],
        [BEGIN, start(0, type="text", text="whole"), stop(0)],
        [BEGIN, start(0, type="text", text="whole"), stop(0), STOP[0]],
        [BEGIN, start(0, type="text", text="half"), b"[DONE]"],
    ],
)
def test_a_stream_without_message_stop_is_a_network_error(events):
    with pytest.raises(NetworkError, match="broke off") as caught:
        read(sse(*events))
    assert caught.value.request_id == "req_1"


TEXT, CALL = start(0, type="text", text=""), start(0, type="tool_use", id="c", name="t", input={})


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([BEGIN, event("message_stop")], "the answer has no stop_reason"),
        ([BEGIN, CALL, *STOP], "block 0 has no end"),
        ([BEGIN, TEXT, TEXT], "block 0 began twice"),
        ([BEGIN, delta(3, "text_delta", text="x")], "block 3 is not open"),
        ([BEGIN, stop(3)], "block 3 is not open"),
        ([BEGIN, TEXT, stop(0), delta(0, "text_delta", text="x")], "block 0 is not open"),
        ([BEGIN, event("content_block_stop")], "an event of a block has no index"),
        ([BEGIN, TEXT, delta(0, "input_json_delta", partial_json="{}")], "a input_json_delta in a block of type text"),
        ([BEGIN, CALL, delta(0, "text_delta", text="x")], "a text_delta in a block of type tool_use"),
        ([BEGIN, start(0, type="tool_use", name="t")], "a tool use has no id or no name"),
        ([BEGIN, start(0, type="tool_use", id="c")], "a tool use has no id or no name"),
        ([BEGIN, start(0, type="server_tool_use")], 'a block of type "server_tool_use" has no place in a turn'),
        ([BEGIN, start(0)], 'a block of type "" has no place in a turn'),
        ([BEGIN, TEXT, delta(0, "text_delta", text=["x"])], "text is not text"),
        ([BEGIN, start(0, type="tool_use", id="c", name="t", input="{}")], "input is not an object"),
        ([{"index": 0}], "an event has no type"),
        ([b"<html>"], "event 1 is not JSON"),
        ([BEGIN, b"[]"], "event 2 is not a JSON object"),
    ],
)
def test_what_the_wire_does_not_allow_is_named(events, problem):
    with pytest.raises(InvalidStreamError) as caught:
        read(sse(*events))
    assert str(caught.value) == f'starling: provider "p": invalid stream: {problem}'
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rate_limit_error", RateLimitError),
        ("authentication_error", AuthError),
        ("permission_error", AuthError),
        ("api_error", ServerError),
        ("overloaded_error", ServerError),
        ("timeout_error", ServerError),
        ("invalid_request_error", ProviderError),
        ("billing_error", ProviderError),
        ("new_error", ProviderError),
    ],
)
def test_an_error_within_the_stream_is_classed_by_its_name(name, kind):
    report = event("error", error={"type": name, "message": "words"}, request_id="req_2")
    with pytest.raises(ProviderError) as caught:
        read(sse(BEGIN, TEXT, report, *STOP))
    assert type(caught.value) is kind
    assert str(caught.value) == 'starling: provider "p": words'
    assert caught.value.request_id == "req_1"


def test_a_signature_that_is_no_text_is_refused():
    """It could not be given back as it came, and the vendor takes no other."""
    opened = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "hm"}}
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "Eq\ud800"}}
    stopped = {"type": "content_block_stop", "index": 0}
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in (opened, signed, stopped)).encode()
    with pytest.raises(InvalidStreamError, match="a signature is not text"):
        list(MessageReader(provider="anthropic").feed(body))


def test_fields_of_the_usage_that_count_no_tokens_are_not_looked_at():
    usage = {"input_tokens": 3, "output_tokens": None, "service_tier": "standard", "web_search_requests": -1}
    body = f"data: {json.dumps({'type': 'message_start', 'message': {'usage': usage}})}\n\n".encode()
    assert list(MessageReader(provider="anthropic").feed(body)) == [UsageChunk(usage=Usage(input_tokens=3))]
