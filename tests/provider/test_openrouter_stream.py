"""The gateway's events to chunks: reasoning in blocks, cost, and failures within an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling.errors import AuthError, InvalidStreamError, NetworkError, ProviderError, RateLimitError, ServerError
from starling.provider import (
    Message,
    Reasoning,
    ReasoningChunk,
    RedactedThinkingChunk,
    Request,
    TextChunk,
    Usage,
    assemble,
)
from starling.provider.openrouter._details import detail_of
from starling.provider.openrouter._request import create_arguments
from starling.provider.openrouter._stream import GatewayReader

DONE = b"data: [DONE]\n\n"
KEY = "not-a-real-key"


def event(delta=None, reason=None, **fields):
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    return b"data: " + json.dumps({"id": "gen-1", "choices": choices, **fields}).encode() + b"\n\n"


def details(*pieces, **delta):
    return event({"reasoning_details": list(pieces), **delta})


STOP = event(reason="stop")


def read(*events):
    reader = GatewayReader(provider="openrouter", secret=KEY)
    chunks = [chunk for block in events for chunk in reader.feed(block)]
    return [*chunks, *reader.finish()]


def answer(*events):
    return assemble(read(*events, STOP, DONE))


def given_back(response):
    """The details of the next request."""
    message = Message(role="assistant", content="x", reasoning=response.reasoning)
    arguments = create_arguments(Request(model="m", messages=(message,)), provider="openrouter")
    return arguments["messages"][0].get("reasoning_details")


# --- reasoning


def test_a_signed_block_in_pieces_is_one_block_and_goes_back_as_one():
    head = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    response = answer(
        details({**head, "text": "Let me "}, reasoning="Let me "),
        details({**head, "text": "see."}, reasoning="see."),
        details({**head, "signature": "EqQB=="}),
        event({"content": "Oslo."}),
    )
    (block,) = response.reasoning
    assert (block.content, response.text) == ("Let me see.", "Oslo.")
    assert given_back(response) == [{**head, "text": "Let me see.", "signature": "EqQB=="}]


def test_pieces_arrive_as_they_come():
    head = {"type": "reasoning.text", "index": 0}
    chunks = read(details({**head, "text": "a"}), details({**head, "text": "b"}), event({"content": "c"}), STOP, DONE)
    assert chunks[:2] == [ReasoningChunk(text="a"), ReasoningChunk(text="b")]
    assert isinstance(chunks[2], ReasoningChunk)
    assert chunks[2].signature
    assert chunks[3] == TextChunk(text="c")


def test_a_bare_signature_is_the_blocks_signature():
    response = answer(details({"type": "reasoning.text", "text": "Hm.", "signature": "EqQB=="}))
    assert response.reasoning == (Reasoning(content="Hm.", signature=b"EqQB=="),)


def test_a_summary_and_an_encrypted_block_of_one_id():
    summary = {"type": "reasoning.summary", "summary": "Summed up.", "format": "openai-responses-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 0}
    response = answer(details(summary), details(sealed), event({"content": "x"}))
    assert [(block.content, block.redacted) for block in response.reasoning] == [("Summed up.", False), ("gAAA", True)]
    assert given_back(response) == [summary, sealed]


def test_an_encrypted_block_alone_is_its_data():
    chunks = read(details({"type": "reasoning.encrypted", "data": "gAAA"}), STOP, DONE)
    assert chunks[0] == RedactedThinkingChunk(text="gAAA")


def test_blocks_are_told_apart_by_type_index_and_id():
    pieces = [
        {"type": "reasoning.text", "text": "a", "index": 0},
        {"type": "reasoning.text", "text": "b", "index": 1},
        {"type": "reasoning.summary", "summary": "c", "index": 1},
        {"type": "reasoning.summary", "summary": "d", "index": 1, "id": "one"},
        {"type": "reasoning.summary", "summary": "e", "index": 1, "id": "two"},
    ]
    response = answer(*map(details, pieces))
    assert [block.content for block in response.reasoning] == ["a", "b", "cd", "e"]
    assert given_back(response)[3] == pieces[4]


def test_a_null_is_given_back_and_replaced_by_what_follows():
    first = {"type": "reasoning.text", "text": "a", "signature": None, "id": None}
    response = answer(details(first), details({"type": "reasoning.text", "text": None, "signature": "s"}))
    assert given_back(response) == [{"type": "reasoning.text", "text": "a", "signature": "s", "id": None}]


def test_a_type_of_tomorrow_goes_back_as_it_came():
    unknown = {"type": "reasoning.server_tool_call", "tool": "web", "deep": {"a": [1, None]}}
    response = answer(details(unknown), event({"content": "x"}))
    assert response.reasoning[0].redacted
    assert given_back(response) == [unknown]


def test_plain_reasoning_where_a_model_has_no_details():
    response = answer(event({"reasoning": "Hm. "}), event({"reasoning": "Yes."}), event({"content": "x"}))
    assert response.reasoning == (Reasoning(content="Hm. Yes."),)
    assert given_back(response) is None


def test_plain_reasoning_beside_an_encrypted_detail_is_kept():
    response = answer(details({"type": "reasoning.encrypted", "data": "gA"}, reasoning="Readable."))
    assert [block.content for block in response.reasoning] == ["gA", "Readable."]


def test_reasoning_ends_where_a_call_begins():
    piece = {"index": 0, "id": "c", "function": {"name": "t", "arguments": "{}"}}
    response = answer(
        details({"type": "reasoning.text", "text": "Look it up.", "index": 0}, tool_calls=[piece]),
        details({"type": "reasoning.text", "text": "Again.", "index": 0}),
    )
    assert [block.content for block in response.reasoning] == ["Look it up.", "Again."]
    assert response.tool_uses[0].name == "t"


def test_a_detail_whose_text_is_none_is_refused():
    with pytest.raises(InvalidStreamError, match="text is not text"):
        answer(details({"type": "reasoning.text", "text": 5}))


FIELDS = st.dictionaries(st.sampled_from(["id", "format", "signature"]), st.text(min_size=1) | st.none())


@given(st.lists(st.tuples(st.sampled_from(["text", "summary"]), st.text(min_size=1), FIELDS), max_size=5))
def test_whatever_the_details_they_go_back_as_they_came(found):
    said = [
        {"type": f"reasoning.{kind}", kind: text, "index": at, **fields}
        for at, (kind, text, fields) in enumerate(found)
    ]
    response = answer(*map(details, said), event({"content": "x"}))
    assert [detail_of(block) for block in response.reasoning] == said


# --- usage and ids


def usage(**fields):
    return event(usage={"prompt_tokens": 9, "completion_tokens": 3, **fields})


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"cost": 0.0125}, 0.0125),
        ({"cost": 0}, 0.0),
        ({"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.001}}, 0.001),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.019}}, 0.02),
        ({"cost": 0.001, "is_byok": True}, None),
        ({"cost": None}, None),
        ({"cost": "0.1"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": 10**400}, None),
        ({}, None),
    ],
)
def test_the_cost_is_what_the_gateway_says(fields, cost):
    assert answer(usage(**fields)).usage == Usage(input_tokens=9, output_tokens=3, cost_usd=cost)


def test_tokens_of_the_cache():
    counted = usage(prompt_tokens_details={"cached_tokens": 4, "cache_write_tokens": 2})
    response = answer(counted)
    assert (response.usage.cache_read_tokens, response.usage.cache_create_tokens) == (4, 2)


def test_the_id_comes_from_the_events_where_no_header_gave_one():
    assert answer(event({"content": "x"})).request_id == "gen-1"
    reader = GatewayReader(provider="openrouter", request_id="gen-header")
    assert assemble([*reader.feed(event({"content": "x"}) + STOP + DONE), *reader.finish()]).request_id == "gen-header"


def test_comments_are_passed_over():
    assert answer(b": OPENROUTER PROCESSING\n\n", event({"content": "x"})).text == "x"


# --- failures


def failure(*events):
    with pytest.raises(ProviderError) as caught:
        answer(*events)
    return caught.value


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (429, RateLimitError),
        ("429", RateLimitError),
        (401, AuthError),
        (402, ProviderError),
        (502, ServerError),
        ("server_error", ServerError),
        ("rate_limit_exceeded", RateLimitError),
        ("odd", ProviderError),
        (None, ProviderError),
    ],
)
def test_an_error_in_the_middle_is_classed_by_its_code(code, kind):
    report = {"code": code, "message": "Provider disconnected unexpectedly"}
    error = failure(event({"content": "half"}), event({"content": ""}, "error", error=report))
    assert type(error) is kind
    assert "Provider disconnected unexpectedly" in str(error)
    assert error.request_id == "gen-1"


def test_an_error_of_the_only_choice():
    choice = {"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 503, "message": "overloaded"}}
    error = failure(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
    assert (type(error), error.status) == (ServerError, 503)


def test_an_end_that_is_an_error_without_words():
    error = failure(event({"content": "half"}), event({}, "error"))
    assert type(error) is ServerError
    assert "the vendor behind the gateway failed" in str(error)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"provider_name": "Anthropic", "raw": {"error": {"message": "Overloaded"}}}, "(Anthropic: Overloaded)"),
        ({"provider_name": "Groq", "raw": '{"error": {"message": "slow down"}}'}, "(Groq: slow down)"),
        ({"provider_name": "X", "raw": "plain words"}, "(X: plain words)"),
        ({"provider_name": "X"}, "(X)"),
        ({"reasons": ["violence", "hate"], "flagged_input": "private", "provider_name": "X"}, "(X: violence, hate)"),
        ({"raw": None}, "Provider returned error"),
        ("odd", "Provider returned error"),
    ],
)
def test_the_words_of_the_vendor_behind_are_told(metadata, words):
    report = {"code": 502, "message": "Provider returned error", "metadata": metadata}
    error = failure(event(error=report))
    assert str(error).endswith(words)
    assert "private" not in str(error)


def test_an_error_that_is_only_text():
    assert "no luck" in str(failure(event(error="no luck")))


def test_the_key_is_in_no_message():
    error = failure(event(error={"code": 401, "message": "bad key", "metadata": {"raw": f"Bearer {KEY}"}}))
    assert "[redacted]" in str(error)
    assert KEY not in str(error)


def test_an_answer_without_its_end_is_none():
    with pytest.raises(NetworkError):
        read(event({"content": "half"}))
    with pytest.raises(InvalidStreamError):
        read(event({"content": "half"}), DONE)


@pytest.mark.parametrize("field", ["signature", "id", "format"])
@pytest.mark.parametrize("kind", ["reasoning.text", "reasoning.unheard-of"])
def test_a_detail_that_is_no_text_is_refused(kind, field):
    """It could not be given back as it came."""
    with pytest.raises(InvalidStreamError, match="a reasoning detail is not text"):
        answer(details({"type": kind, "text": "hm", field: "Eq\ud800"}))
