import copy
import threading

import pytest

from starling.errors import ToolError
from starling.tool import call_policy, tool, wrap


@tool(idempotent=True, max_attempts=2, timeout=3)
def shout(text: str) -> str:
    """Make it loud."""
    return f"{text.upper()} in {threading.current_thread().name}"


def recording(calls, label):
    def middleware(inner):
        async def execute(args):
            calls.append(f"{label} in")
            result = await inner(args)
            calls.append(f"{label} out")
            return result

        return execute

    return middleware


async def test_the_last_middleware_passed_runs_first():
    calls = []
    wrapped = wrap(shout, recording(calls, "first"), recording(calls, "last"))
    assert await wrapped.execute({"text": "hi"}) == "HI in starling-worker"
    assert calls == ["last in", "first in", "first out", "last out"]


async def test_middleware_may_answer_without_calling_the_tool():
    calls = []

    def refuse(inner):
        async def execute(args):
            raise ToolError("not you")

        return execute

    wrapped = wrap(shout, recording(calls, "inner"), refuse)
    with pytest.raises(ToolError, match="not you"):
        await wrapped.execute({"text": "hi"})
    assert calls == []


async def test_middleware_may_change_arguments_and_result():
    def polite(inner):
        async def execute(args):
            return (await inner({**args, "text": args["text"] + ", please"})).lower()

        return execute

    assert await wrap(shout, polite).execute({"text": "Tea"}) == "tea, please in starling-worker"


def test_everything_else_is_the_inner_tools():
    wrapped = wrap(wrap(shout))
    assert (wrapped.name, wrapped.description, wrapped.schema) == ("shout", "Make it loud.", shout.schema)
    assert call_policy(wrapped) == call_policy(shout)
    assert wrapped.schema_derived is True
    assert wrapped.is_sync is True
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing


async def test_without_middleware_it_is_the_same_call():
    assert await wrap(shout).execute({"text": "a"}) == await shout.execute({"text": "a"})


async def test_middleware_is_built_once():
    built = []

    def counting(inner):
        built.append(inner)
        return inner

    wrapped = wrap(shout, counting)
    await wrapped.execute({"text": "a"})
    await wrapped.execute({"text": "b"})
    assert len(built) == 1


def test_a_wrapped_tool_can_be_copied_and_printed():
    wrapped = wrap(shout)
    assert copy.copy(wrapped).name == "shout"
    assert repr(wrapped).startswith("wrap(FunctionTool(")
