"""The request's hash and size agree with the original's, byte for byte."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest

from starling._blake3 import digest
from starling._cbor import Raw, encode
from starling.provider import (
    Message,
    Reasoning,
    Request,
    ToolDefinition,
    ToolResult,
    ToolUse,
    estimate_input_tokens,
    prompt_hash,
    request_map,
)

VECTORS = Path(__file__).parents[2] / "testdata" / "interop" / "prompt_hash_vectors.ndjson.gz"


def vectors():
    return [json.loads(line) for line in gzip.decompress(VECTORS.read_bytes()).splitlines()]


def each(function, items):
    return None if items is None else tuple(function(item) for item in items)


def tool_use(row):
    # Where a vector's arguments are not text (the original's resume put CBOR there), a stand-in of the same length
    # takes their place and the map is corrected afterwards.
    args = row["Args"] if row["Args"] is not None else "?" * (len(row["Args_hex"] or "") // 2)
    return ToolUse(call_id=row["CallID"], name=row["Name"], args=args)


def message(row):
    result = row["ToolResult"]
    return Message(
        role=row["Role"],
        content=row["Content"],
        tool_uses=each(tool_use, row["ToolUses"]),
        tool_result=result
        and ToolResult(call_id=result["CallID"], content=result["Content"], is_error=result["IsError"]),
        annotations=row["Annotations"],
    )


def tool(row):
    return ToolDefinition(name=row["Name"], description=row["Description"], schema=row["Schema"] or "")


def request_of(row):
    params = row["Params_hex"]
    return Request(
        model=row["Model"],
        system_prompt=row["SystemPrompt"],
        messages=each(message, row["Messages"]),
        tools=each(tool, row["Tools"]),
        tool_choice=row["ToolChoice"],
        stop_sequences=each(str, row["StopSequences"]),
        top_k=row["TopK"],
        max_output_tokens=row["MaxOutputTokens"],
        params=Raw(bytes.fromhex(params)) if params else None,
    )


def with_raw_args(fields, row):
    for ours, theirs in zip(fields["Messages"] or (), row["Messages"] or (), strict=True):
        for use, original in zip(ours["ToolUses"] or (), theirs["ToolUses"] or (), strict=True):
            if original["Args"] is None and original["Args_hex"] is not None:
                use["Args"] = bytes.fromhex(original["Args_hex"])
    return fields


def test_every_vector_gives_the_same_cbor_digest_and_estimate():
    rows = vectors()
    assert len(rows) > 20
    for row in rows:
        request = request_of(row["request"])
        item = encode(with_raw_args(request_map(request), row["request"]))
        assert item.hex() == row["cbor"], row["desc"]
        assert digest(item).hex() == row["digest"], row["desc"]
        assert estimate_input_tokens(request) == row["estimate"], row["desc"]


def test_prompt_hash_is_the_digest_of_the_maps_cbor():
    row = next(row for row in vectors() if row["desc"] == "assistant with tool uses and a result")
    assert prompt_hash(request_of(row["request"])).hex() == row["digest"]


def test_reasoning_changes_the_hash_only_when_there_is_some():
    plain = Request(model="m", messages=(Message(role="assistant", content="hi"),))
    assert "Reasoning" not in request_map(plain)["Messages"][0]
    block = Reasoning(content="because", signature=b"\x01")
    thought = dataclasses.replace(plain, messages=(Message(role="assistant", content="hi", reasoning=(block,)),))
    assert request_map(thought)["Messages"][0]["Reasoning"] == [
        {"Content": "because", "Signature": b"\x01", "Redacted": False}
    ]
    assert prompt_hash(thought) != prompt_hash(plain)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("model", "n"),
        ("system_prompt", "s"),
        ("messages", ()),
        ("tools", ()),
        ("tool_choice", "auto"),
        ("stop_sequences", ()),
        ("top_k", 0),
        ("max_output_tokens", 1),
        ("params", {}),
    ],
)
def test_every_field_of_the_request_counts(change, value):
    request = Request(model="m")
    assert prompt_hash(dataclasses.replace(request, **{change: value})) != prompt_hash(request)


def test_a_lone_surrogate_in_arguments_counts_as_the_replacement_character():
    use = ToolUse(call_id="c", name="t", args='"\ud800"')
    request = Request(model="m", messages=(Message(role="assistant", tool_uses=(use,)),))
    assert request_map(request)["Messages"][0]["ToolUses"][0]["Args"] == '"\ufffd"'.encode()
    assert estimate_input_tokens(request) == (len('"\ufffd"'.encode()) + 2) // 3
