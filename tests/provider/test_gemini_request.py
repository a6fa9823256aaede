"""What is sent to Gemini, and what is refused before it is sent."""

import pytest

from starling.errors import ProviderError
from starling.provider import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse
from starling.provider.gemini._request import first_free_number, generate_arguments

ALWAYS = {"automatic_function_calling": {"disable": True}, "automatic_continuation": False}


def arguments(**fields):
    return generate_arguments(Request(model="m", **fields), provider="gemini")


def contents(*messages):
    return arguments(messages=messages)["contents"]


def config(**fields):
    found = arguments(**fields)["config"]
    assert {name: found.pop(name) for name in ALWAYS} == ALWAYS
    return found


def user(text):
    return Message(role="user", content=text)


def use(call_id, name="weather", args="{}"):
    return ToolUse(call_id=call_id, name=name, args=args)


def result(call_id, content, *, is_error=False):
    return Message(role="tool", tool_result=ToolResult(call_id=call_id, content=content, is_error=is_error))


def test_a_bare_request_switches_off_what_the_sdk_would_do_by_itself():
    assert arguments() == {"model": "m", "contents": [], "config": ALWAYS}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"system_prompt": "Be terse."}, {"system_instruction": "Be terse."}),
        ({"tool_choice": "auto"}, {"tool_config": {"function_calling_config": {"mode": "AUTO"}}}),
        ({"tool_choice": "any"}, {"tool_config": {"function_calling_config": {"mode": "ANY"}}}),
        ({"tool_choice": "none"}, {"tool_config": {"function_calling_config": {"mode": "NONE"}}}),
        (
            {"tool_choice": "clock"},
            {"tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["clock"]}}},
        ),
        ({"stop_sequences": ("END", "STOP")}, {"stop_sequences": ["END", "STOP"]}),
        ({"top_k": 0}, {"top_k": 0}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"max_output_tokens": 9}, {"max_output_tokens": 9}),
        ({"params": {"temperature": 0.5}}, {"temperature": 0.5}),
        ({"params": {"thinkingConfig": {"includeThoughts": True}}}, {"thinking_config": {"includeThoughts": True}}),
        ({"params": {"cached_content": "cachedContents/x"}}, {"cached_content": "cachedContents/x"}),
        ({"params": {"candidate_count": 1, "response_modalities": ["TEXT"]}}, None),
        ({"params": {"topK": 3}}, {"top_k": 3}),
    ],
)
def test_options_of_a_request(fields, sent):
    assert config(**fields) == (fields["params"] if sent is None else sent)


def test_tools():
    tools = (
        ToolDefinition(name="a", description="does a", schema='{"type":"object"}'),
        ToolDefinition(name="b", description="", schema=""),
    )
    (declared,) = config(tools=tools)["tools"]
    assert declared == {
        "function_declarations": [
            {"name": "a", "description": "does a", "parameters_json_schema": {"type": "object"}},
            {"name": "b"},
        ]
    }


def test_results_of_parallel_calls_stand_in_one_message_under_their_names():
    assert contents(
        user("hi"),
        Message(role="assistant", content="Looking.", tool_uses=(use("c1", args='{"a":1}'), use("c2", "clock"))),
        result("c1", "rain"),
        result("c2", "boom", is_error=True),
        user("and?"),
    ) == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"text": "Looking."},
                {"function_call": {"name": "weather", "args": {"a": 1}, "id": "c1"}},
                {"function_call": {"name": "clock", "args": {}, "id": "c2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"function_response": {"name": "weather", "response": {"output": "rain"}, "id": "c1"}},
                {"function_response": {"name": "clock", "response": {"error": "boom"}, "id": "c2"}},
            ],
        },
        {"role": "user", "parts": [{"text": "and?"}]},
    ]


def test_results_of_two_turns_stay_apart():
    found = contents(
        Message(role="assistant", tool_uses=(use("c1"),)),
        result("c1", "1"),
        Message(role="assistant", tool_uses=(use("c2"),)),
        result("c2", "2"),
    )
    assert [(one["role"], len(one["parts"])) for one in found] == [("model", 1), ("user", 1)] * 2


def test_ids_that_are_ours_are_not_sent():
    said, answered = contents(
        Message(role="assistant", tool_uses=(use("gemini-call-1"),)), result("gemini-call-1", "x")
    )
    assert said["parts"] == [{"function_call": {"name": "weather", "args": {}}}]
    assert answered["parts"] == [{"function_response": {"name": "weather", "response": {"output": "x"}}}]


def test_numbers_for_further_ids_go_on_where_the_conversation_stands():
    messages = [Message(role="assistant", tool_uses=(use("gemini-call-7"), use("vendors"), use("gemini-call-3")))]
    assert first_free_number(Request(model="m", messages=tuple(messages))) == 8
    assert first_free_number(Request(model="m")) == 1


@pytest.mark.parametrize("args", ["not json", "[1]", "3", "null", '{"a":NaN}'])
def test_arguments_that_are_no_object_are_shown_to_the_model_as_it_wrote_them(args):
    ((said),) = contents(Message(role="assistant", tool_uses=(use("c", args=args),)))
    assert said["parts"][0]["function_call"]["args"] == {"INVALID_JSON": args}


def test_an_empty_answer_is_still_a_message():
    assert contents(Message(role="assistant")) == [{"role": "model", "parts": [{"text": ""}]}]


def test_signatures_go_back_into_the_parts_where_they_were():
    message = Message(
        role="assistant",
        content="Hello, world. Bye.",
        tool_uses=(use("c1"), use("c2")),
        reasoning=(
            Reasoning(content="Why.", signature=b"s1"),
            Reasoning(content="Unsigned."),
            Reasoning(content="text 5-13", signature=b"s2", redacted=True),
            Reasoning(content="text 18-18", signature=b"s3", redacted=True),
            Reasoning(content="call c2", signature=b"s4", redacted=True),
        ),
    )
    ((said),) = contents(message)
    assert said["parts"] == [
        {"text": "Why.", "thought": True, "thought_signature": b"s1"},
        {"text": "Unsigned.", "thought": True},
        {"text": "Hello"},
        {"text": ", world.", "thought_signature": b"s2"},
        {"text": " Bye."},
        {"text": "", "thought_signature": b"s3"},
        {"function_call": {"name": "weather", "args": {}, "id": "c1"}},
        {"function_call": {"name": "weather", "args": {}, "id": "c2"}, "thought_signature": b"s4"},
    ]


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"params": 3}, "params", "must be a mapping of parameter names, not int"),
        ({"params": {"tools": [{"google_search": {}}]}}, "params.tools", "pass tools to the agent"),
        ({"params": {"systemInstruction": "x"}}, "params.systemInstruction", "Config.system_prompt"),
        ({"params": {"contents": []}}, "params.contents", "the agent writes the messages"),
        ({"params": {"http_options": {}}}, "params.http_options", "to the provider instead"),
        ({"params": {"automaticContinuation": True}}, "params.automaticContinuation", "visibly"),
        ({"params": {"candidate_count": 2}}, "params.candidate_count", "must be 1"),
        ({"params": {"response_modalities": ["IMAGE"]}}, "params.response_modalities", "must be TEXT"),
        ({"params": {"top_k": 3}, "top_k": 3}, "params.top_k", "stated by the request already"),
        ({"params": {"maxOutputTokens": 3}, "max_output_tokens": 3}, "params.maxOutputTokens", "already"),
        ({"params": {"top_p": 0.1, "topP": 0.2}}, "params.topP", "twice, in two spellings"),
        ({"tools": (ToolDefinition(name="t", description="", schema="{"),)}, 'the schema of tool "t"', "is not JSON"),
        ({"messages": (result("lost", "x"),)}, 'the result of call "lost"', "no earlier message holds that call"),
        ({"messages": (Message(role="system", content="x"),)}, 'a message of role "system"', "user and assistant"),
        (
            {"messages": (Message(role="assistant", reasoning=(Reasoning(content="?", redacted=True),)),)},
            "a redacted reasoning block",
            "Gemini did not write it",
        ),
    ],
)
def test_what_is_refused(fields, field, why):
    with pytest.raises(ProviderError) as caught:
        arguments(**fields)
    assert caught.value.field == field
    assert str(caught.value).startswith(f'starling: provider "gemini": {field} cannot be sent: ')
    assert why in str(caught.value)
