"""Every event of Gemini's stream, and what its parts become."""

import json

import pytest

from starling._blake3 import digest
from starling.errors import AuthError, InvalidStreamError, NetworkError, ProviderError, RateLimitError, ServerError
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
from starling.provider.gemini._errors import error_from_google
from starling.provider.gemini._stream import AnswerReader


def event(*parts, **fields):
    candidate = {
        name: fields.pop(name) for name in ("finishReason", "finishMessage", "continuationToken") if name in fields
    }
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    return {"candidates": [{**content, **candidate, "index": 0}], "responseId": "r1", **fields}


def sse(*events):
    return b"".join(
        b"data: " + (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\r\n\r\n" for one in events
    )


def read(*events, **options):
    reader = AnswerReader(provider="p", **options)
    return [*reader.feed(sse(*events)), *reader.finish()]


def answer(*events, **options):
    return assemble(read(*events, **options))


STOP = event({"text": ""}, finishReason="STOP")


def test_an_answer():
    response = answer(event({"text": "Hel"}), event({"text": "lo é☂"}), STOP)
    assert (response.text, response.stop_reason, response.request_id) == ("Hello é☂", "STOP", "r1")


def test_the_raw_hash_is_over_the_data_as_it_came():
    first = b'{ "candidates": [ {"content":{"parts":[{"text":"hi"}]}} ]}'
    last = json.dumps(STOP).encode()
    assert answer(first, last).raw_response_hash == digest(first + b"\n" + last)


def test_chunks_come_as_they_are_read():
    reader = AnswerReader(provider="p")
    assert list(reader.feed(sse(event({"text": "a"})))) == [TextChunk(text="a")]
    assert list(reader.feed(sse(STOP))) == []
    assert list(reader.finish())[-1].stop_reason == "STOP"


# --- parts ---


def test_each_call_comes_whole_and_calls_without_an_id_get_one():
    first = {"functionCall": {"name": "a", "args": {"city": "Zürich", "n": None}, "id": "k"}}
    second, third = {"functionCall": {"name": "b"}}, {"functionCall": {"name": "b", "args": {}}}
    chunks = read(event(first, second), event(third), STOP, first_number=4)
    assert chunks[:3] == [
        ToolUseStart(call_id="k", name="a"),
        ToolUseDelta(call_id="k", args='{"city": "Zürich", "n": null}'),
        ToolUseEnd(call_id="k"),
    ]
    assert assemble(chunks).tool_uses[1:] == (
        PlannedCall(call_id="gemini-call-4", name="b", raw_args="{}"),
        PlannedCall(call_id="gemini-call-5", name="b", raw_args="{}"),
    )


def test_thoughts_come_apart_and_a_signature_closes_one():
    chunks = read(
        event({"text": "Let me ", "thought": True}),
        event({"text": "see.", "thought": True}),
        event({"text": "", "thought": True, "thoughtSignature": "AY89+/8="}),
        event({"text": "Done."}),
        STOP,
    )
    assert chunks[0] == ReasoningChunk(text="Let me ")
    signature = bytes.fromhex("018f3dfbff")
    assert assemble(chunks).reasoning == (Reasoning(content="Let me see.", signature=signature),)
    assert assemble(chunks).text == "Done."


@pytest.mark.parametrize("written", ["AY89+/8=", "AY89-_8=", "AY89-_8"])
def test_signatures_are_read_in_both_alphabets(written):
    chunks = read(event({"text": "x", "thoughtSignature": written}), STOP)
    assert chunks[1].signature == bytes.fromhex("018f3dfbff")


def test_signatures_on_text_and_calls_say_where_they_stood():
    call = {"functionCall": {"name": "t", "id": "k"}, "thoughtSignature": "Yg=="}
    chunks = read(
        event({"text": "Hello"}),
        event({"text": ", you", "thoughtSignature": "YQ=="}),
        event({"text": ""}, call),
        event({"text": "", "thoughtSignature": "Yw=="}, finishReason="STOP"),
    )
    assert chunks[:-1] == [
        TextChunk(text="Hello"),
        TextChunk(text=", you"),
        RedactedThinkingChunk(text="text 5-10", signature=b"a"),
        RedactedThinkingChunk(text="call k", signature=b"b"),
        ToolUseStart(call_id="k", name="t"),
        ToolUseDelta(call_id="k", args="{}"),
        ToolUseEnd(call_id="k"),
        RedactedThinkingChunk(text="text 10-10", signature=b"c"),
    ]


def test_lenient_about_what_is_missing():
    odd = ({}, {"candidates": None}, {"candidates": [{}]}, {"candidates": [{"content": {"parts": None}}]})
    parts = event({"text": None, "inlineData": None}, {"text": "a", "partMetadata": {"x": 1}}, usageMetadata=None)
    assert answer(*odd, parts, STOP).text == "a"


# --- counts ---


def test_counts_are_reported_whenever_they_change():
    counts = {"promptTokenCount": 9, "cachedContentTokenCount": 4, "toolUsePromptTokenCount": 2}
    more = {**counts, "candidatesTokenCount": 3, "thoughtsTokenCount": 5}
    chunks = read(
        event({"text": "a"}, usageMetadata={"trafficType": "ON_DEMAND"}),
        event({"text": "b"}, usageMetadata=counts),
        event({"text": "c"}, usageMetadata=counts),
        event({"text": "d"}, usageMetadata=more),
        STOP,
    )
    assert [chunk.usage for chunk in chunks if isinstance(chunk, UsageChunk)] == [
        Usage(input_tokens=11, cache_read_tokens=4),
        Usage(input_tokens=11, output_tokens=8, cache_read_tokens=4),
    ]


# --- answers in several requests ---


def test_an_answer_that_goes_on_in_a_further_request():
    reader = AnswerReader(provider="p")
    part = event({"text": "one "}, finishReason="CONTINUATION", continuationToken="YQ==")
    part["usageMetadata"] = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    rest = event({"text": "two"}, finishReason="STOP", usageMetadata={"promptTokenCount": 6, "candidatesTokenCount": 1})
    first = [*reader.feed(sse(part)), *reader.finish()]
    assert not any(isinstance(chunk, EndChunk) for chunk in first)
    assert (reader.unfinished, reader.continuation) == (True, b"a")
    response = assemble([*first, *reader.feed(sse(rest)), *reader.finish()])
    assert not reader.unfinished
    assert response.text == "one two"
    assert response.usage == Usage(input_tokens=11, output_tokens=3)
    sent = json.dumps(part).encode() + b"\n" + json.dumps(rest).encode()
    assert response.raw_response_hash == digest(sent)


@pytest.mark.parametrize("token", [{}, {"continuationToken": "YQ=="}])
def test_a_continuation_that_does_not_get_on_is_an_error(token):
    reader = AnswerReader(provider="p", continuation=b"a")
    list(reader.feed(sse(event({"text": "x"}, finishReason="CONTINUATION", **token))))
    with pytest.raises(InvalidStreamError, match="CONTINUATION without a new continuationToken"):
        list(reader.finish())


# --- what goes wrong ---


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event({"text": "half"})],
        [event({"text": "half"}, usageMetadata={"promptTokenCount": 1})],
        [event({"functionCall": {"name": "t", "id": "k"}})],
        [event({"text": "half"}, continuationToken="YQ==")],
    ],
)
def test_an_answer_without_a_finish_reason_broke_off(events):
    with pytest.raises(NetworkError, match="broke off"):
        read(*events)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([b"<html>"], "event 1 is not JSON"),
        ([event({"text": "x"}), b"[]"], "event 2 is not a JSON object"),
        ([{"candidates": {}}], "candidates is not a list of objects"),
        ([event({"text": ["x"]})], "text is not text"),
        ([event({"functionCall": {"name": "t", "args": [1]}})], "args is not an object"),
        ([event({"functionCall": {"args": {}}})], "a function call has no name"),
        (
            [event({"functionCall": {"name": "t", "partialArgs": [{"jsonPath": "$.a"}]}})],
            "the arguments of a call come in pieces, which this API does not do",
        ),
        (
            [event({"functionCall": {"name": "t", "willContinue": True}})],
            "the arguments of a call come in pieces, which this API does not do",
        ),
        ([event({"text": "x", "thoughtSignature": "?"})], "thoughtSignature is not base64"),
        (
            [event({"inlineData": {"mimeType": "image/png"}})],
            "a part holds inlineData, which cannot be recorded; ask for text and function calls only",
        ),
        ([{"candidates": [{"index": 1}]}], "there is more than one candidate"),
        (
            [event(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="print(x")],
            "MALFORMED_FUNCTION_CALL (the model wrote a call that cannot be read): print(x",
        ),
        (
            [event(finishReason="UNEXPECTED_TOOL_CALL")],
            "UNEXPECTED_TOOL_CALL (the model called a tool that it was not given)",
        ),
    ],
)
def test_what_is_no_answer_is_named(events, problem):
    with pytest.raises(InvalidStreamError) as caught:
        read(*events)
    assert str(caught.value) == f'starling: provider "p": invalid stream: {problem}'


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "SAFETY", "RECITATION", "A_NEW_ONE"])
def test_other_finish_reasons_are_recorded_in_the_vendors_words(reason):
    assert answer(event({"text": "so far"}, finishReason=reason)).stop_reason == reason


@pytest.mark.parametrize(
    "more", [{"text": "and more"}, {"text": "a thought", "thought": True}, {"functionCall": {"name": "f"}}], ids=str
)
def test_a_finish_reason_that_more_of_the_answer_follows_was_none(more):
    """Gateways are known to write one into events that come before the answer."""
    early = event({"text": ""}, finishReason="STOP")
    with pytest.raises(NetworkError, match="broke off"):
        read(early, event(more))
    assert answer(early, event(more), STOP).stop_reason == "STOP"


def test_what_says_nothing_more_leaves_a_finish_reason_as_it_is():
    said = event({"text": "Hello"}, finishReason="STOP")
    empty = event({"text": "", "thoughtSignature": "c2ln"}), event({"text": "", "thought": True}), {"usageMetadata": {}}
    for late in empty:
        assert answer(said, late).stop_reason == "STOP"


def test_a_blocked_prompt_is_the_requests_fault():
    with pytest.raises(ProviderError, match="the prompt was blocked: SAFETY") as caught:
        read({"promptFeedback": {"blockReason": "SAFETY"}, "responseId": "r9"})
    assert type(caught.value) is ProviderError
    assert caught.value.request_id == "r9"


def report(code=None, status=None, message="words", details=()):
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
WRONG_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}

REPORTS = [
    (report(503, "UNAVAILABLE"), ServerError, 503, None),
    (report(429, "RESOURCE_EXHAUSTED", details=[WAIT]), RateLimitError, 429, 34.5),
    (report(400, "INVALID_ARGUMENT"), ProviderError, 400, None),
    (report(400, "INVALID_ARGUMENT", details=[WRONG_KEY]), AuthError, 400, None),
    (report(403, "PERMISSION_DENIED"), AuthError, 403, None),
    (report(None, "RESOURCE_EXHAUSTED", details=[WAIT]), RateLimitError, None, 34.5),
    (report(None, "INTERNAL"), ServerError, None, None),
    (report(13, "UNAUTHENTICATED"), AuthError, None, None),
    (report(None, "NEW"), ProviderError, None, None),
]


@pytest.mark.parametrize(("body", "kind", "status", "wait_s"), REPORTS)
def test_a_report_within_the_stream_is_classed(body, kind, status, wait_s):
    with pytest.raises(ProviderError, match="words") as caught:
        read(event({"text": "half"}), body)
    error = caught.value
    assert (type(error), error.status, error.retry_after_s, error.request_id) == (kind, status, wait_s, "r1")


@pytest.mark.parametrize("ending", [b"\n", b""])
@pytest.mark.parametrize("in_a_list", [True, False])
def test_a_report_that_is_written_into_the_stream_as_bare_json(ending, in_a_list):
    body = report(503, "UNAVAILABLE", "The model is overloaded: try again.")
    bare = json.dumps([body] if in_a_list else body, indent=2).encode() + ending
    reader = AnswerReader(provider="p")
    assert list(reader.feed(sse(event({"text": "half"})) + bare)) == [TextChunk(text="half")]
    with pytest.raises(ServerError, match="overloaded") as caught:
        list(reader.finish())
    assert caught.value.status == 503


@pytest.mark.parametrize("bare", [b'{\n"error": {\n"code": 503', b"{}", b"[]", b'"x"'])
def test_half_a_report_is_a_stream_that_broke_off(bare):
    reader = AnswerReader(provider="p")
    list(reader.feed(sse(event({"text": "half"})) + bare + b"\n"))
    with pytest.raises(NetworkError, match="broke off"):
        list(reader.finish())


@pytest.mark.parametrize(
    ("body", "text"), [("<html>", "<html>"), (None, "without a message"), ({"error": {}}, "without a message")]
)
def test_bodies_that_are_no_report(body, text):
    error = error_from_google(body, status=502, headers={}, provider="p", request_id="", secret="")
    assert type(error) is ServerError
    assert text in str(error)


def test_the_header_goes_before_the_report():
    body = report(429, details=[WAIT])
    error = error_from_google(
        body, status=429, headers={"retry-after": "2"}, provider="p", request_id="", secret="words"
    )
    assert error.retry_after_s == 2.0
    assert "[redacted]" in str(error)
