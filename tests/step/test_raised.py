"""What a divergence says of a tool's failure of today, and that it keeps nothing of the tool alive."""

import asyncio
import gc
import json
import pickle
import weakref
from dataclasses import replace

import pytest

from starling import tool
from starling.event import ToolCallFailed
from tests.agent_kit import agent, calls, diverges, record


def recorded_tool():
    @tool(name="rate")
    def rate() -> int:
        return 1

    return rate


def today_tool(function):
    @tool(name="rate")
    def rate() -> int:
        return function()

    return rate


async def raised(function):
    recorded = await record(agent(calls("rate"), recorded_tool()))
    divergence = await diverges(recorded, agent(calls("rate"), today_tool(function)))
    return divergence.raised, divergence


def missing_key():
    return {}["usd"]


def bad_json():
    return json.loads("{")


class Outer:
    class RefusedError(Exception):
        pass


def refused():
    raise Outer.RefusedError


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (missing_key, "KeyError", "'usd'"),
        (bad_json, "JSONDecodeError", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (refused, "Outer.RefusedError", ""),
    ],
)
async def test_it_names_the_class_and_the_innermost_line_of_the_users_own_code(function, kind, text):
    found, divergence = await raised(function)
    line = function.__code__.co_firstlineno + 1
    assert (found.type, found.text) == (kind, text)
    assert (found.file, found.line, found.function) == (__file__, line, function.__name__)
    said = f"{kind}: {text}" if text else kind
    assert f"  raised by the tool: {said} ({__file__}:{line}, in {function.__name__})" in divergence.text.split("\n")
    assert pickle.loads(pickle.dumps(divergence)).raised == found


async def test_a_failure_of_ours_has_no_line():
    found, _ = await raised(object)
    assert (found.type, found.file, found.line) == ("UnencodableValueError", "", 0)


async def test_a_redaction_has_rewritten_its_text():
    def redact(payload):
        return replace(payload, error="[gone]") if isinstance(payload, ToolCallFailed) else payload

    recorded = await record(agent(calls("rate"), recorded_tool()))
    today = agent(calls("rate"), today_tool(missing_key))
    divergence = await diverges(recorded, today, redact=redact)
    assert divergence.raised.text == "[gone]"
    assert "usd" not in divergence.text


async def test_what_succeeds_or_only_differs_raised_nothing():
    found, divergence = await raised(lambda: 2)
    assert found is None
    assert "raised by" not in divergence.text


def test_the_frames_of_the_tool_are_not_held():
    class Big:
        pass

    seen = []

    def failing():
        big = Big()
        seen.append(weakref.ref(big))
        raise ValueError("no")

    found, divergence = asyncio.run(raised(failing))
    gc.collect()
    assert found.type == divergence.raised.type == "ValueError"
    assert seen[0]() is None
