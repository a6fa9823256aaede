"""What is sent through the gateway beyond OpenAI's wire, and what is refused before it is sent."""

import json

import pytest

from starling.errors import ProviderError
from starling.provider import Message, Reasoning, Request, ToolResult, ToolUse
from starling.provider.openrouter._request import create_arguments


def arguments(**fields):
    return create_arguments(Request(model="a/m", **fields), provider="openrouter")


def sent(*messages):
    return arguments(messages=messages)["messages"]


def refused(**fields):
    with pytest.raises(ProviderError) as caught:
        arguments(**fields)
    return str(caught.value)


def test_what_is_asked_is_asked_in_openais_words():
    assert arguments(system_prompt="Be terse.", tool_choice="any", stop_sequences=("END",), top_k=5) == {
        "model": "a/m",
        "messages": [{"role": "system", "content": "Be terse."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tool_choice": "required",
        "stop": ["END"],
        "extra_body": {"top_k": 5},
    }
    assert arguments(max_output_tokens=9)["max_tokens"] == 9


# --- reasoning


def marked(**fields):
    return json.dumps(fields).encode()


CALL = (ToolUse(call_id="c", name="t", args="{}"),)


@pytest.mark.parametrize(
    ("blocks", "given_back"),
    [
        ((Reasoning(content="Hm. "), Reasoning(content="Yes.")), {"reasoning": "Hm. Yes."}),
        ((Reasoning(content=""),), {}),
        (
            (Reasoning(content="Hm.", signature=b"EqQB=="),),
            {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "EqQB=="}]},
        ),
        (
            (Reasoning(content="b3Bh", redacted=True),),
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "b3Bh"}]},
        ),
        (
            (
                Reasoning(
                    content="Sum.", signature=marked(type="reasoning.summary", id="rs_1", index=0, format="o-v1")
                ),
                Reasoning(content="b3Bh", signature=marked(type="reasoning.encrypted", id="rs_1"), redacted=True),
            ),
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "Sum.", "id": "rs_1", "index": 0, "format": "o-v1"},
                    {"type": "reasoning.encrypted", "data": "b3Bh", "id": "rs_1"},
                ]
            },
        ),
        (
            (Reasoning(content="", signature=marked(type="reasoning.new", thing=[1]), redacted=True),),
            {"reasoning_details": [{"type": "reasoning.new", "thing": [1]}]},
        ),
        (
            (Reasoning(content="Hm."), Reasoning(content="Ha.", signature=b"{not ours")),
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Hm."},
                    {"type": "reasoning.text", "text": "Ha.", "signature": "{not ours"},
                ]
            },
        ),
    ],
    ids=["plain", "empty", "signed", "redacted", "fields of the vendor behind", "a type of tomorrow", "mixed"],
)
def test_reasoning_is_given_back(blocks, given_back):
    (message,) = sent(Message(role="assistant", content="", tool_uses=CALL, reasoning=blocks))
    assert {name: value for name, value in message.items() if name.startswith("reasoning")} == given_back
    assert message["tool_calls"][0]["id"] == "c"


def test_reasoning_of_others_than_the_model_is_not_sent():
    assert sent(Message(role="user", content="hi", reasoning=(Reasoning(content="x"),))) == [
        {"role": "user", "content": "hi"}
    ]


def test_a_signature_of_another_vendor_is_refused():
    block = Reasoning(content="Hm.", signature=b"\xff")
    assert "a reasoning block cannot be sent: its signature is not this vendor's" in refused(
        messages=(Message(role="assistant", content="x", reasoning=(block,)),)
    )


# --- cache markers


MARK = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (Message(role="user", content="long", annotations={"cache_control": MARK}), "long"),
        (Message(role="assistant", content="said", tool_uses=CALL, annotations={"cache_control": MARK}), "said"),
        (
            Message(
                role="tool", tool_result=ToolResult(call_id="c", content="rows"), annotations={"cache_control": MARK}
            ),
            "rows",
        ),
    ],
    ids=lambda value: getattr(value, "role", ""),
)
def test_a_cache_marker_stands_on_the_text_of_its_message(message, content):
    first, second = sent(Message(role="user", content="before"), message)
    assert first["content"] == "before"
    assert second["content"] == [{"type": "text", "text": content, "cache_control": MARK}]


@pytest.mark.parametrize(
    "message",
    [
        Message(role="assistant", content="", tool_uses=CALL, annotations={"cache_control": MARK}),
        Message(role="user", content="hi", annotations={"cache_control": "ephemeral"}),
    ],
)
def test_a_marker_that_has_no_place_is_refused(message):
    assert "the annotation cache_control cannot be sent" in refused(messages=(message,))


def test_the_system_prompt_moves_no_message():
    first, second = arguments(
        system_prompt="Be terse.",
        messages=(Message(role="user", content="hi", annotations={"cache_control": MARK, "other": 1}),),
    )["messages"]
    assert first == {"role": "system", "content": "Be terse."}
    assert second["content"][0]["cache_control"] == MARK


# --- parameters


def test_the_gateways_parameters_pass_through():
    params = {
        "provider": {"order": ["anthropic"], "allow_fallbacks": False, "require_parameters": True},
        "reasoning": {"effort": "high"},
        "models": ["a/m", "b/n"],
        "cache_control": {"type": "ephemeral"},
        "temperature": 0.5,
        "extra_body": {"safe_prompt": True},
    }
    named = {name: value for name, value in params.items() if name != "extra_body"}
    assert arguments(params=params)["extra_body"] == {"safe_prompt": True, **named}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temprature": 1}, "params.temprature cannot be sent: OpenRouter does not know it and would ignore it"),
        ({"safe_prompt": True}, "give it in extra_body if it is meant"),
        ({"provider": {"allow_fallback": False}}, "params.provider.allow_fallback cannot be sent"),
        ({"provider": ["anthropic"]}, "params.provider cannot be sent: must be a mapping"),
        ({"reasoning": {"efort": "high"}}, "it knows effort, enabled, exclude, max_tokens, summary"),
        ({"modalities": ["text", "image"]}, "params.modalities cannot be sent: answers are text here"),
        ({"model": "x"}, "set Config.model instead"),
        ({"stream": False}, "answers are always streamed"),
        ({"extra_headers": {}}, "pass an http_client"),
        ([1], "must be a mapping of parameter names"),
    ],
)
def test_what_would_be_ignored_or_contradicts_is_refused(params, said):
    assert said in refused(params=params)


@pytest.mark.parametrize("params", [None, {}])
def test_no_parameters(params):
    assert "extra_body" not in arguments(params=params)
