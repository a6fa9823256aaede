"""What is sent to Bedrock, and what is refused before it is sent."""

from functools import cache

import botocore.session
import pytest
from botocore.validate import ParamValidator

from starling.errors import ProviderError
from starling.provider import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse
from starling.provider.bedrock._request import converse_arguments

POINT = {"type": "default"}
CACHED = {"cachePoint": POINT}
WEATHER = ToolDefinition(name="weather", description="Looks.", schema='{"type":"object","properties":{"city":{}}}')
HI = Message(role="user", content="hi")


@cache
def vendors_shape():
    return botocore.session.Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape


def arguments(**fields):
    """The arguments for a request, which the SDK's own description of the vendor accepts."""
    sent = converse_arguments(Request(model="m", **fields), provider="bedrock")
    report = ParamValidator().validate(sent, vendors_shape())
    assert not report.has_errors(), report.generate_report()
    return sent


def refusal(**fields):
    with pytest.raises(ProviderError) as caught:
        converse_arguments(Request(model="m", **fields), provider="bedrock")
    assert str(caught.value).startswith('starling: provider "bedrock": ')
    return caught.value


def blocks(*messages):
    return [message["content"] for message in arguments(messages=messages)["messages"]]


# --- messages


def test_a_bare_request():
    assert arguments() == {"modelId": "m"}


def test_a_conversation():
    sent = arguments(
        system_prompt="Be terse.",
        messages=(
            HI,
            Message(
                role="assistant",
                content="Looking.",
                tool_uses=(
                    ToolUse(call_id="a", name="weather", args='{"city":"Oslo"}'),
                    ToolUse(call_id="b", name="clock", args=""),
                ),
            ),
            Message(role="tool", tool_result=ToolResult(call_id="a", content="rain")),
            Message(role="tool", tool_result=ToolResult(call_id="b", content="boom", is_error=True)),
            Message(role="user", content="Go on."),
        ),
        max_output_tokens=9,
        stop_sequences=("END",),
        top_k=40,
    )
    assert sent == {
        "modelId": "m",
        "system": [{"text": "Be terse."}],
        "inferenceConfig": {"maxTokens": 9, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"top_k": 40},
        "messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {
                "role": "assistant",
                "content": [
                    {"text": "Looking."},
                    {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Oslo"}}},
                    {"toolUse": {"toolUseId": "b", "name": "clock", "input": {}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "a", "content": [{"text": "rain"}]}},
                    {"toolResult": {"toolUseId": "b", "content": [{"text": "boom"}], "status": "error"}},
                    {"text": "Go on."},
                ],
            },
        ],
    }


def test_reasoning_is_given_back_as_it_came():
    message = Message(
        role="assistant",
        content="Done.",
        reasoning=(
            Reasoning(content="So … ", signature=b"EqQBsig+/="),
            Reasoning(content="AAEC/w==", redacted=True),
            Reasoning(content="", signature=b"only-a-signature"),
        ),
    )
    assert blocks(message) == [
        [
            {"reasoningContent": {"reasoningText": {"text": "So … ", "signature": "EqQBsig+/="}}},
            {"reasoningContent": {"redactedContent": b"\x00\x01\x02\xff"}},
            {"reasoningContent": {"reasoningText": {"text": "", "signature": "only-a-signature"}}},
            {"text": "Done."},
        ]
    ]


def test_unsigned_reasoning_is_not_given_back():
    assert blocks(Message(role="assistant", content="Done.", reasoning=(Reasoning(content="hm"),))) == [
        [{"text": "Done."}]
    ]


@pytest.mark.parametrize(
    "block",
    [Reasoning(content="x", signature=b"\xff\xfe"), Reasoning(content="not base64!", redacted=True)],
    ids=["signature", "redacted"],
)
def test_reasoning_of_another_vendor_is_refused(block):
    assert "not this vendor's" in str(refusal(messages=(Message(role="assistant", reasoning=(block,)),)))


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("", {}),
        ('{"a": 1', {"INVALID_JSON": '{"a": 1'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('{"a": NaN}', {"INVALID_JSON": '{"a": NaN}'}),
        ("[" * 100_000, {"INVALID_JSON": "[" * 100_000}),
    ],
    ids=["an object", "nothing", "cut off", "a list", "not a number", "too deep"],
)
def test_arguments_are_always_an_object(args, sent):
    (content,) = blocks(Message(role="assistant", tool_uses=(ToolUse(call_id="c", name="t", args=args),)))
    assert content == [{"toolUse": {"toolUseId": "c", "name": "t", "input": sent}}]


def test_blank_texts_are_left_out_because_the_vendor_refuses_them():
    result = Message(role="tool", tool_result=ToolResult(call_id="c", content=""))
    assert blocks(HI, Message(role="assistant", content=" \n"), result) == [
        [{"text": "hi"}, {"toolResult": {"toolUseId": "c", "content": []}}]
    ]


def test_a_role_that_the_wire_does_not_have_is_refused():
    assert 'role "system"' in str(refusal(messages=(Message(role="system", content="x"),)))


# --- tools


def test_tools():
    bare = ToolDefinition(name="bare", description="", schema="")
    assert arguments(tools=(WEATHER, bare))["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "weather",
                    "description": "Looks.",
                    "inputSchema": {"json": {"type": "object", "properties": {"city": {}}}},
                }
            },
            {"toolSpec": {"name": "bare", "inputSchema": {"json": {"type": "object"}}}},
        ]
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("auto", {"auto": {}}), ("any", {"any": {}}), ("weather", {"tool": {"name": "weather"}})],
)
def test_tool_choices(choice, sent):
    assert arguments(tools=(WEATHER,), tool_choice=choice)["toolConfig"]["toolChoice"] == sent


def test_no_choice_is_none():
    assert "toolChoice" not in arguments(tools=(WEATHER,))["toolConfig"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": (WEATHER,), "tool_choice": "none"}, "no way to forbid tools"),
        ({"tool_choice": "any"}, "no tools to choose from"),
        ({"tools": (ToolDefinition(name="t", description="", schema="{"),)}, 'schema of tool "t"'),
    ],
    ids=["none", "without tools", "schema"],
)
def test_tools_that_cannot_be_sent(fields, words):
    assert words in str(refusal(**fields))


# --- parameters


PASSED = {
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "1", "streamProcessingMode": "sync"},
    "inferenceConfig": {"temperature": 0.5, "topP": 0.9},
    "outputConfig": {"effort": "low"},
    "performanceConfig": {"latency": "optimized"},
    "promptVariables": {"name": {"text": "Ann"}},
    "requestMetadata": {"team": "a"},
    "serviceTier": {"type": "flex"},
}


@pytest.mark.parametrize("name", sorted(PASSED))
def test_the_vendors_parameters_are_passed_through(name):
    assert arguments(params={name: PASSED[name]}) == {"modelId": "m", name: PASSED[name]}


def test_every_parameter_of_the_vendor_is_passed_through_or_refused():
    decided = {"modelId", "messages", "system", "toolConfig"}
    assert set(vendors_shape().members) == decided | PASSED.keys()


def test_parameters_join_what_the_request_states():
    sent = arguments(
        max_output_tokens=5,
        top_k=3,
        params={"inferenceConfig": {"temperature": 0.0}, "additionalModelRequestFields": {"thinking": {"type": "x"}}},
    )
    assert sent["inferenceConfig"] == {"temperature": 0.0, "maxTokens": 5}
    assert sent["additionalModelRequestFields"] == {"thinking": {"type": "x"}, "top_k": 3}


def test_the_parameters_of_the_caller_are_left_as_they_are():
    params = {"inferenceConfig": {"temperature": 0.0}, "cachePoints": {"system": POINT}}
    arguments(max_output_tokens=5, params=params, messages=(HI,), system_prompt="Be terse.")
    assert params == {"inferenceConfig": {"temperature": 0.0}, "cachePoints": {"system": POINT}}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"params": [1]}, "params", "must be a mapping"),
        ({"params": {"temprature": 1}}, "params.temprature", "no such parameter"),
        ({"params": {"modelId": "x"}}, "params.modelId", "Config.model"),
        ({"params": {"messages": []}}, "params.messages", "the agent writes"),
        ({"params": {"system": []}}, "params.system", "system_prompt"),
        ({"params": {"toolConfig": {}}}, "params.toolConfig", "tools to the agent"),
        ({"params": {"inferenceConfig": 1}}, "params.inferenceConfig", "must be a mapping"),
        (
            {"params": {"inferenceConfig": {"maxTokens": 1}}, "max_output_tokens": 2},
            "params.inferenceConfig.maxTokens",
            "give it once",
        ),
        (
            {"params": {"inferenceConfig": {"stopSequences": ["a"]}}, "stop_sequences": ("b",)},
            "params.inferenceConfig.stopSequences",
            "give it once",
        ),
        (
            {"params": {"additionalModelRequestFields": {"top_k": 1}}, "top_k": 2},
            "params.additionalModelRequestFields.top_k",
            "give it once",
        ),
        ({"params": {"cachePoints": {"middle": POINT}}}, "params.cachePoints.middle", "places are"),
        ({"params": {"cachePoints": {"system": True}}}, "params.cachePoints.system", "must be a mapping"),
        (
            {"messages": (Message(role="user", content="x", annotations={"cachePoint": 1}),)},
            "the annotation",
            "mapping",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_passed_through_is_refused(fields, field, words):
    error = refusal(**fields)
    assert error.field.startswith(field)
    assert words in str(error)


# --- cache points


def test_cache_points_stand_behind_what_they_cover():
    hour = {"type": "default", "ttl": "1h"}
    sent = arguments(
        system_prompt="Long.",
        messages=(HI, Message(role="assistant", content="a"), Message(role="user", content="b")),
        tools=(WEATHER,),
        params={"cachePoints": {"tools": hour, "system": POINT, "messages": POINT}},
    )
    assert sent["toolConfig"]["tools"][1:] == [{"cachePoint": hour}]
    assert sent["system"] == [{"text": "Long."}, CACHED]
    assert [message["content"] for message in sent["messages"]] == [
        [{"text": "hi"}],
        [{"text": "a"}],
        [{"text": "b"}, CACHED],
    ]
    assert "cachePoints" not in sent


@pytest.mark.parametrize(
    ("place", "field"), [("messages", "messages"), ("system", "system_prompt"), ("tools", "tools")]
)
def test_a_cache_point_behind_nothing_is_refused(place, field):
    error = refusal(params={"cachePoints": {place: POINT}})
    assert error.field == f"params.cachePoints.{place}"
    assert str(error).endswith(f"there is nothing to cache: the request has no {field}")


def test_a_message_may_carry_a_cache_point():
    message = Message(role="user", content="long", annotations={"cachePoint": POINT, "other": 1})
    assert blocks(message, HI) == [[{"text": "long"}, CACHED, {"text": "hi"}]]
