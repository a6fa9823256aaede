"""What is sent, and what is refused before it is sent."""

import pytest

from starling.errors import ProviderError
from starling.provider import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse
from starling.provider.anthropic._request import DEFAULT_MAX_TOKENS, create_arguments

MARK = {"type": "ephemeral", "ttl": "1h"}


def arguments(**fields):
    return create_arguments(Request(model="m", **fields), provider="anthropic")


def sent(*messages):
    return arguments(messages=messages)["messages"]


def user(content, **fields):
    return Message(role="user", content=content, **fields)


def assistant(content="", **fields):
    return Message(role="assistant", content=content, **fields)


def result(call_id, content="", **fields):
    return Message(role="tool", tool_result=ToolResult(call_id=call_id, content=content, **fields))


def use(args, call_id="c", name="t"):
    return ToolUse(call_id=call_id, name=name, args=args)


def test_a_bare_request():
    assert arguments() == {"model": "m", "messages": [], "stream": True, "max_tokens": DEFAULT_MAX_TOKENS}


# --- messages


def test_a_conversation():
    assert sent(
        user("hi"),
        assistant(
            "Looking.",
            reasoning=(
                Reasoning(content="Hm.", signature=b"EqQB=="),
                Reasoning(content="b3BhcXVl", redacted=True),
                Reasoning(content="", signature=b"withheld"),
            ),
            tool_uses=(use('{"city":"Oslo"}', "c1", "weather"), use("", "c2", "clock")),
        ),
        result("c1", "rain"),
        result("c2", "broken", is_error=True),
        user("And?"),
        assistant("Done."),
    ) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "EqQB=="},
                {"type": "redacted_thinking", "data": "b3BhcXVl"},
                {"type": "thinking", "thinking": "", "signature": "withheld"},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "c2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "broken", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "assistant", "content": "Done."},
    ]


@pytest.mark.parametrize("text", ['{"a":', "[1]", "3", "null", '{"a":NaN}', "[" * 100_000])
def test_arguments_that_are_no_object_are_shown_to_the_model_as_they_were(text):
    (message,) = sent(assistant(tool_uses=(use(text),)))
    assert message["content"] == [{"type": "tool_use", "id": "c", "name": "t", "input": {"INVALID_JSON": text}}]


def test_unsigned_reasoning_is_another_vendors_and_stays_here():
    assert sent(assistant("x", reasoning=(Reasoning(content="why"),))) == [{"role": "assistant", "content": "x"}]


def test_a_signature_that_is_no_text_is_refused():
    with pytest.raises(ProviderError, match="a reasoning block cannot be sent: its signature is not this vendor's"):
        sent(assistant(reasoning=(Reasoning(content="why", signature=b"\xff"),)))


def test_texts_of_white_space_are_left_out_and_empty_answers_with_them():
    (message,) = sent(assistant("\n\n", tool_uses=(use("{}"),)))
    assert [block["type"] for block in message["content"]] == ["tool_use"]
    assert sent(user("a"), assistant(""), user("b")) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


def test_an_empty_result_has_no_content():
    assert sent(result("c"))[0]["content"] == [{"type": "tool_result", "tool_use_id": "c"}]


@pytest.mark.parametrize("role", ["system", "function", ""])
def test_a_role_that_the_wire_does_not_have_is_refused(role):
    with pytest.raises(ProviderError, match=f'a message of role "{role}" cannot be sent'):
        sent(Message(role=role, content="x"))


# --- cache hints


def test_a_message_can_mark_what_is_cached_up_to_it():
    marked = {"cache_control": MARK}
    first, second, third = sent(
        user("long", annotations=marked),
        assistant(reasoning=(Reasoning(content="Hm.", signature=b"s"),), tool_uses=(use("{}"),), annotations=marked),
        Message(role="tool", tool_result=ToolResult(call_id="c", content="r"), annotations={**marked, "mine": 1}),
    )
    assert first["content"] == [{"type": "text", "text": "long", **marked}]
    assert [block.get("cache_control") for block in second["content"]] == [None, MARK]
    assert third["content"][0]["cache_control"] == MARK


def test_a_marker_that_nothing_can_carry_is_refused():
    alone = assistant(reasoning=(Reasoning(content="Hm.", signature=b"s"),), annotations={"cache_control": MARK})
    for message in (alone, user("x", annotations={"cache_control": "ephemeral"})):
        with pytest.raises(ProviderError, match="the annotation cache_control cannot be sent"):
            sent(message)


def test_the_whole_prompt_is_cached_by_a_parameter():
    assert arguments(params={"cache_control": MARK})["extra_body"] == {"cache_control": MARK}


# --- tools and limits


def test_tools():
    tools = (
        ToolDefinition(name="a", description="does a", schema='{"type":"object","properties":{}}'),
        ToolDefinition(name="b", description="", schema=""),
    )
    assert arguments(tools=tools)["tools"] == [
        {"name": "a", "description": "does a", "input_schema": {"type": "object", "properties": {}}},
        {"name": "b", "input_schema": {"type": "object"}},
    ]


def test_a_schema_that_is_not_json_is_named():
    with pytest.raises(ProviderError, match='the schema of tool "t" cannot be sent: is not JSON'):
        arguments(tools=(ToolDefinition(name="t", description="", schema="{"),))


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("any", {"type": "any"}),
        ("none", {"type": "none"}),
        ("weather", {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(choice, sent):
    assert arguments(tool_choice=choice)["tool_choice"] == sent


def test_limits():
    stated = arguments(system_prompt="Be terse.", stop_sequences=("END", "\n"), max_output_tokens=7, top_k=0)
    assert (stated["system"], stated["stop_sequences"], stated["max_tokens"]) == ("Be terse.", ["END", "\n"], 7)
    assert stated["extra_body"] == {"top_k": 0}  # the SDK has no argument for it


# --- parameters


def test_parameters_go_into_the_body_as_they_are():
    params = {"thinking": {"type": "adaptive"}, "stop_sequences": ["x"], "temperature": 0, "unheard_of": [1]}
    assert arguments(params=params)["extra_body"] == params


def test_the_longest_answer_can_be_a_parameter():
    stated = arguments(params={"max_tokens": 99})
    assert stated["max_tokens"] == 99
    assert "extra_body" not in stated


def test_parameters_that_travel_as_headers():
    stated = arguments(
        params={"betas": ["one-2026-01-01", "two-2026-02-02"], "workspace_id": "w", "user_profile_id": "u"}
    )
    assert stated["extra_headers"] == {
        "anthropic-beta": "one-2026-01-01,two-2026-02-02",
        "anthropic-workspace-id": "w",
        "anthropic-user-profile-id": "u",
    }
    assert "extra_body" not in stated


def test_the_requests_own_params_are_left_alone():
    params = {"max_tokens": 5, "betas": ["b"], "metadata": {"user_id": "x"}}
    arguments(params=params)
    assert params == {"max_tokens": 5, "betas": ["b"], "metadata": {"user_id": "x"}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"params": [1]}, "params"),
        *[
            ({"params": {name: "x"}}, f"params.{name}")
            for name in ("model", "messages", "system", "tools", "stream", "mcp_servers", "container")
        ],
        *[
            ({"params": {name: {}}}, f"params.{name}")
            for name in ("extra_body", "extra_headers", "extra_query", "timeout")
        ],
        ({"params": {"betas": 1}}, "params.betas"),
        ({"params": {"betas": [1]}}, "params.betas"),
        ({"params": {"stop_sequences": ["a"]}, "stop_sequences": ("b",)}, "params.stop_sequences"),
        ({"params": {"top_k": 1}, "top_k": 0}, "params.top_k"),
        ({"params": {"max_tokens": 1}, "max_output_tokens": 2}, "params.max_tokens"),
        ({"params": {"tool_choice": {"type": "auto"}}, "tool_choice": "any"}, "params.tool_choice"),
    ],
)
def test_what_cannot_be_passed_through_is_refused_by_name(fields, field):
    with pytest.raises(ProviderError, match=f'^starling: provider "anthropic": {field} cannot be sent: ') as caught:
        arguments(**fields)
    assert caught.value.field == field
