"""What is sent, and what is refused before it is sent."""

import pytest

from starling.errors import ProviderError
from starling.provider import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse
from starling.provider.openai._request import create_arguments


def arguments(max_tokens_name="max_completion_tokens", **fields):
    return create_arguments(Request(model="m", **fields), provider="openai", max_tokens_name=max_tokens_name)


def test_a_bare_request():
    assert arguments() == {
        "model": "m",
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_messages():
    sent = arguments(
        system_prompt="Be terse.",
        messages=(
            Message(role="user", content="hi"),
            Message(role="assistant", content="", tool_uses=(ToolUse(call_id="c", name="t", args='{"a":1}'),)),
            Message(role="tool", tool_result=ToolResult(call_id="c", content="boom", is_error=True)),
            Message(role="assistant", content="done", reasoning=(Reasoning(content="why"),), annotations={"x": 1}),
        ),
    )
    assert sent["messages"] == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "boom"},
        {"role": "assistant", "content": "done"},
    ]


def test_tools():
    sent = arguments(
        tools=(
            ToolDefinition(name="a", description="does a", schema='{"type":"object"}'),
            ToolDefinition(name="b", description="", schema=""),
        )
    )
    assert sent["tools"] == [
        {"type": "function", "function": {"name": "a", "description": "does a", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "b"}},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("none", "none"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tool_choice(choice, sent):
    assert arguments(tool_choice=choice)["tool_choice"] == sent


def test_limits():
    sent = arguments(stop_sequences=("END", "\n"), max_output_tokens=7, top_k=0)
    assert (sent["stop"], sent["max_completion_tokens"], sent["extra_body"]) == (["END", "\n"], 7, {"top_k": 0})
    assert arguments(max_tokens_name="max_tokens", max_output_tokens=7)["max_tokens"] == 7


def test_params_go_into_the_body_as_they_are():
    sent = arguments(params={"temperature": 0, "unheard_of": [1], "extra_body": {"z": 1}})
    assert sent["extra_body"] == {"temperature": 0, "unheard_of": [1], "z": 1}


def test_stream_options_are_added_to_ours():
    sent = arguments(params={"stream_options": {"include_obfuscation": False}})
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert "extra_body" not in sent
    nested = arguments(params={"extra_body": {"stream_options": {"include_obfuscation": False}}})
    assert nested == sent


def test_the_requests_own_params_are_left_alone():
    params = {"stream_options": {"x": 1}, "temperature": 1}
    arguments(params=params)
    assert params == {"stream_options": {"x": 1}, "temperature": 1}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"params": [1]}, "params"),
        ({"params": {"model": "x"}}, "params.model"),
        ({"params": {"stream": False}}, "params.stream"),
        ({"params": {"extra_headers": {}}}, "params.extra_headers"),
        ({"params": {"n": 2}}, "params.n"),
        ({"params": {"stream_options": 1}}, "params.stream_options"),
        ({"params": {"stop": ["a"]}, "stop_sequences": ("b",)}, "params.stop"),
        ({"params": {"top_k": 1}, "top_k": 2}, "params.top_k"),
        ({"params": {"max_tokens": 1}, "max_output_tokens": 2}, "params.max_tokens"),
        ({"params": {"max_completion_tokens": 1}, "max_output_tokens": 2}, "params.max_completion_tokens"),
        (
            {"params": {"max_completion_tokens": 1}, "max_output_tokens": 2, "max_tokens_name": "max_tokens"},
            "params.max_completion_tokens",
        ),
        ({"params": {"modalities": ["text", "audio"]}}, "params.modalities"),
        ({"params": {"extra_body": 1}}, "params.extra_body"),
        ({"params": {"extra_body": {"stream": False}}}, "params.extra_body.stream"),
        ({"params": {"extra_body": {"n": 2}}}, "params.extra_body.n"),
        ({"params": {"extra_body": {"stop": "a"}}, "stop_sequences": ("b",)}, "params.extra_body.stop"),
        ({"params": {"seed": 1, "extra_body": {"seed": 2}}}, "params.extra_body.seed"),
    ],
)
def test_what_cannot_be_passed_through_is_refused_by_name(fields, field):
    with pytest.raises(ProviderError, match=f'^starling: provider "openai": {field} cannot be sent: ') as caught:
        arguments(**fields)
    assert caught.value.field == field


def test_a_schema_that_is_not_json_is_named():
    with pytest.raises(ProviderError, match='the schema of tool "t" cannot be sent: is not JSON'):
        arguments(tools=(ToolDefinition(name="t", description="", schema="{"),))


def test_n_of_one_is_harmless():
    assert arguments(params={"n": 1})["extra_body"] == {"n": 1}
