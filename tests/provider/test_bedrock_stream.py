"""Bedrock's events to chunks: what the vendor really sends, and what is refused."""

import json

import pytest
from kits.bedrock import RECORDED

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
    PlannedCall,
    Reasoning,
    ReasoningChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    assemble,
)
from starling.provider.bedrock._stream import ConverseReader
from starling.testing._bedrock_wire import bedrock_event, event_message

COUNTS = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
METADATA = bedrock_event("metadata", {"usage": COUNTS, "metrics": {"latencyMs": 7}})
START = bedrock_event("messageStart", {"role": "assistant"})


def delta(body, index=0):
    return bedrock_event("contentBlockDelta", {"contentBlockIndex": index, "delta": body})


def reasoning(body, index=0):
    return delta({"reasoningContent": body}, index)


def call(call_id, name, index=0, **more):
    use = {"toolUseId": call_id, "name": name, **more}
    return bedrock_event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}})


def stop(index=0):
    return bedrock_event("contentBlockStop", {"contentBlockIndex": index})


def ended(reason="end_turn"):
    return bedrock_event("messageStop", {"stopReason": reason}) + METADATA


def read(*parts, size=None):
    """The chunks of an answer whose body arrives at once, or in blocks of a size."""
    body = b"".join(parts)
    reader = ConverseReader(provider="bedrock", request_id="req", secret="hush")
    found = []
    for at in range(0, len(body), size or len(body)):
        found += reader.feed(body[at : at + (size or len(body))])
    return [*found, *reader.finish()]


def answer(*parts, size=None):
    return assemble(read(START, *parts, size=size))


def error_of(*parts):
    with pytest.raises(ProviderError) as caught:
        read(START, *parts)
    return caught.value


# --- whole answers


def test_the_documented_answer():
    body = b"".join(RECORDED["text and a call"])
    response = assemble(read(body))
    assert response.text == "Grüß dich."
    assert response.tool_uses == (PlannedCall(call_id="tooluse_Xy", name="weather", raw_args='{"city":"Oslo"}'),)
    assert response.stop_reason == "tool_use"
    assert response.usage == Usage(input_tokens=81, output_tokens=20, cache_read_tokens=64)
    assert response.request_id == "req"


HEADERS = (
    b"\x0b:event-type\x07\x00\x11contentBlockDelta"
    b"\x0d:content-type\x07\x00\x10application/json"
    b"\x0d:message-type\x07\x00\x05event"
)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "00000010 00000000 05c248eb 7d98c8ff"),
        (b"{'foo':'bar'}", "0000001d 00000000 fd528c5a 7b27666f6f273a27626172277d c3653936"),
    ],
    ids=["empty", "without headers"],
)
def test_the_servers_messages_are_those_of_the_encodings_own_examples(payload, message):
    assert event_message({}, payload) == bytes.fromhex(message)


def test_the_servers_events_have_the_vendors_headers():
    message = delta({"text": "x"})
    assert message[12 : 12 + len(HEADERS)] == HEADERS
    assert int.from_bytes(message[4:8], "big") == len(HEADERS)
    assert int.from_bytes(message[:4], "big") == len(message)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_blocks_need_not_end_where_messages_do(size):
    body = b"".join(RECORDED["text and a call"])
    assert read(body, size=size) == read(body)


def test_the_hash_covers_the_payloads_as_they_came():
    events = [(kind, json.dumps(body).encode()) for kind, body in (("messageStart", {"role": "assistant"}),)]
    events += [("contentBlockDelta", b'{ "contentBlockIndex":0, "delta":{"text":"\\u0061"}, "p":"xyz" }')]
    events += [("messageStop", b'{"stopReason":"end_turn"}'), ("metadata", b'{"usage":{}}')]
    body = [event_message({":event-type": kind, ":message-type": "event"}, payload) for kind, payload in events]
    response = assemble(read(*body))
    assert response.text == "a"
    assert response.raw_response_hash == digest(b"\n".join(payload for _, payload in events))


def test_parallel_calls_with_streamed_arguments():
    chunks = read(
        START,
        *(
            call("a", "weather", 1),
            delta({"toolUse": {"input": '{"city"'}}, 1),
            delta({"toolUse": {"input": ':"O"}'}}, 1),
        ),
        *(stop(1), call("b", "clock", 2), delta({"toolUse": {"input": ""}}, 2), stop(2)),
        ended("tool_use"),
    )
    assert chunks[:8] == [
        ToolUseStart(call_id="a", name="weather"),
        ToolUseDelta(call_id="a", args='{"city"'),
        ToolUseDelta(call_id="a", args=':"O"}'),
        ToolUseEnd(call_id="a"),
        ToolUseStart(call_id="b", name="clock"),
        ToolUseDelta(call_id="b", args=""),
        ToolUseEnd(call_id="b"),
        chunks[7],
    ]


def test_reasoning_is_given_as_it_comes_and_signed_when_its_block_is_complete():
    chunks = read(
        START,
        *(
            reasoning({"text": "Let "}),
            reasoning({"text": "me."}),
            reasoning({"signature": "Eq"}),
            reasoning({"signature": "QB"}),
        ),
        *(stop(), delta({"text": "Done."}, 1), stop(1), ended()),
    )
    assert chunks[:4] == [
        ReasoningChunk(text="Let "),
        ReasoningChunk(text="me."),
        ReasoningChunk(signature=b"EqQB"),
        TextChunk(text="Done."),
    ]
    assert assemble(chunks).reasoning == (Reasoning(content="Let me.", signature=b"EqQB"),)


def test_redacted_reasoning_is_one_block_however_many_pieces_it_has():
    # base64 of the two halves, each padded by itself
    response = answer(reasoning({"redactedContent": "AAE="}), reasoning({"redactedContent": "Av8="}), stop(), ended())
    assert response.reasoning == (Reasoning(content="AAEC/w==", redacted=True),)


def test_a_signature_without_text_is_a_block_of_its_own():
    response = answer(reasoning({"signature": "Eq"}), stop(), reasoning({"text": "b"}, 1), stop(1), ended())
    assert response.reasoning == (Reasoning(content="", signature=b"Eq"), Reasoning(content="b"))


def test_blocks_that_nobody_closed_are_closed_by_the_end_of_the_message():
    response = answer(reasoning({"text": "x"}), reasoning({"signature": "Eq"}), call("a", "t", 1), ended("tool_use"))
    assert response.reasoning[0].signature == b"Eq"
    assert response.tool_uses == (PlannedCall(call_id="a", name="t", raw_args=""),)


def test_all_counts():
    usage = {**COUNTS, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 40, "cacheDetails": [{"ttl": "5m"}]}
    response = answer(
        delta({"text": "x"}),
        bedrock_event("messageStop", {"stopReason": "s"}),
        bedrock_event("metadata", {"usage": usage}),
    )
    assert response.usage == Usage(input_tokens=1, output_tokens=2, cache_read_tokens=30, cache_create_tokens=40)


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "guardrail_intervened", "malformed_tool_use", "of_2027"])
def test_reasons_are_the_vendors_words(reason):
    assert answer(delta({"text": "x"}), ended(reason)).stop_reason == reason


BESIDE = {
    "a citation": delta({"citation": {"title": "t"}}),
    "a tool that the vendor runs": call("s", "nova_grounding", 3, type="server_tool_use")
    + delta({"toolUse": {"input": "{}"}}, 3)
    + stop(3),
    "its result": bedrock_event(
        "contentBlockStart", {"contentBlockIndex": 4, "start": {"toolResult": {"toolUseId": "s"}}}
    )
    + delta({"toolResult": [{"text": "found"}]}, 4)
    + stop(4),
    "an empty start": bedrock_event("contentBlockStart", {"contentBlockIndex": 0, "start": {}}),
    "an event of the future": bedrock_event("contentBlockMood", {"mood": "fine"}),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_goes_on_beside_the_answer_is_passed_over(name):
    response = answer(BESIDE[name], delta({"text": "x"}), stop(), ended())
    assert (response.text, response.tool_uses) == ("x", ())


# --- answers that are none


BROKEN_OFF = {
    "nothing at all": (),
    "no reason to stop": (delta({"text": "x"}), stop()),
    "no counts": (delta({"text": "x"}), bedrock_event("messageStop", {"stopReason": "end_turn"})),
    "counts alone": (delta({"text": "x"}), METADATA),
    "an empty reason": (bedrock_event("messageStop", {"stopReason": ""}), METADATA),
}


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_an_answer_without_its_end_broke_off(name):
    error = error_of(*BROKEN_OFF[name])
    assert type(error) is NetworkError
    assert error.request_id == "req"


def test_nothing_follows_the_counts():
    reader = ConverseReader(provider="bedrock")
    list(reader.feed(START + bedrock_event("messageStop", {"stopReason": "end_turn"})))
    assert not reader.done
    list(reader.feed(METADATA))
    assert reader.done


def flipped(message, at):
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


INVALID = {
    "a changed length": flipped(delta({"text": "x"}), 3),
    "a changed payload": flipped(delta({"text": "x"}), -20),
    "a changed checksum": flipped(delta({"text": "x"}), -1),
    "a message shorter than its frame": b"\x00\x00\x00\x00\x00\x00\x00\x00" + b"\x00" * 8,
    "no JSON": event_message({":event-type": "messageStop", ":message-type": "event"}, b"{"),
    "no object": event_message({":event-type": "messageStop", ":message-type": "event"}, b"[1]"),
    "a text that is none": delta({"text": 7}),
    "a delta that is none": bedrock_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": "x"}),
    "a call without an id": call("", "t"),
    "a call without a name": call("a", ""),
    "a call's id twice": call("a", "t") + stop() + call("a", "t", 1) + stop(1) + ended(),
    "encrypted content that is not base64": reasoning({"redactedContent": "%"}),
    "an image": delta({"image": {"source": {"bytes": "AAAA"}}}),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_the_wire_does_not_allow_is_an_invalid_stream(name):
    with pytest.raises(InvalidStreamError):
        answer(INVALID[name], delta({"text": "x"}), ended())


# --- errors in the stream


def exception(name, body):
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return event_message(headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("internalServerException", ServerError),
        ("modelStreamErrorException", ServerError),
        ("serviceUnavailableException", ServerError),
        ("ServiceUnavailableException", ServerError),
        ("throttlingException", RateLimitError),
        ("accessDeniedException", AuthError),
        ("validationException", ProviderError),
        ("ofTheFutureException", ProviderError),
    ],
)
def test_exceptions_are_classed_by_their_name(name, kind):
    error = error_of(delta({"text": "half"}), exception(name, {"message": "the vendor's words"}), ended())
    assert type(error) is kind
    assert str(error) == f'starling: provider "bedrock": {name}: the vendor\'s words'
    assert (error.status, error.request_id) == (None, "req")


def test_the_models_own_words_will_do():
    body = {"originalStatusCode": 500, "originalMessage": "overheated"}
    assert "modelStreamErrorException: overheated" in str(error_of(exception("modelStreamErrorException", body)))


def test_an_exception_may_be_without_a_body():
    error = error_of(event_message({":exception-type": "throttlingException", ":message-type": "exception"}, b""))
    assert type(error) is RateLimitError
    assert str(error).endswith(": throttlingException")


def test_errors_outside_the_model_of_the_service():
    headers = {":error-code": "InternalServerException", ":error-message": "went away", ":message-type": "error"}
    error = error_of(event_message(headers, b"not even JSON"))
    assert type(error) is ServerError
    assert str(error).endswith("InternalServerException: went away")


def test_the_key_is_kept_out_of_what_the_vendor_repeats():
    error = error_of(exception("accessDeniedException", {"message": "the key hush is unknown"}))
    assert "hush" not in str(error)
    assert "hush" not in repr(ConverseReader(provider="bedrock", secret="hush"))


def test_a_signature_that_is_no_text_is_refused():
    with pytest.raises(InvalidStreamError, match="a signature is not text"):
        read(START, reasoning({"text": "hm"}), reasoning({"signature": "Eq\ud800"}), stop(), ended())
