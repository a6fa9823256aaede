"""The scripted provider plays what was written down, and the defaults are the same every time."""

import asyncio
import contextlib

import pytest

from starling import ambient
from starling.errors import LiveCallError, ProviderError, RateLimitError
from starling.provider import (
    Capable,
    Counting,
    EndChunk,
    PlannedCall,
    Provider,
    ProviderInfo,
    Reasoning,
    Request,
    TextChunk,
    Usage,
    UsageChunk,
    assemble,
)
from starling.testing._script import DEFAULT_USAGE, Script, Turn
from starling.testing._scripted import ScriptedProvider

REQUEST = Request(model="m")


async def call(provider, request=REQUEST):
    return [chunk async for chunk in provider.stream(request)]


async def answer(provider):
    return assemble(await call(provider))


async def test_a_text_alone_is_a_whole_turn():
    response = await answer(ScriptedProvider().text("hi"))
    assert (response.text, response.stop_reason, response.usage) == ("hi", "stop", DEFAULT_USAGE)


async def test_steps_gather_in_one_turn_until_it_is_ended():
    provider = ScriptedProvider()
    provider.reasoning("hm", b"s").text("a").text("b").tool_call("t", {"x": 1}).tool_call("u", "[1, 2]").usage(3, 4)
    provider.turn().turn().text("done")
    first, second = await answer(provider), await answer(provider)
    assert first.reasoning == (Reasoning(content="hm", signature=b"s"),)
    assert first.text == "ab"
    assert first.stop_reason == "tool_calls"
    assert first.usage == Usage(input_tokens=3, output_tokens=4)
    assert first.tool_uses == (
        PlannedCall(call_id="call_1", name="t", raw_args='{"x": 1}'),
        PlannedCall(call_id="call_2", name="u", raw_args="[1, 2]"),
    )
    assert second.text == "done"


async def test_call_ids_count_through_the_whole_script_unless_given():
    provider = ScriptedProvider().tool_call("a").turn().tool_call("b", call_id="mine").tool_call("c")
    ids = [use.call_id for _ in range(2) for use in (await answer(provider)).tool_uses]
    assert ids == ["call_1", "mine", "call_3"]


async def test_the_end_can_be_stated():
    provider = (
        ScriptedProvider().text("x").end("length", raw_response_hash=b"h" * 32, request_id="r").redacted("opaque")
    )
    first, second = await answer(provider), await answer(provider)
    assert (first.stop_reason, first.raw_response_hash, first.request_id) == ("length", b"h" * 32, "r")
    assert first.usage == DEFAULT_USAGE
    assert second.reasoning == (Reasoning(content="opaque", redacted=True),)


async def test_exact_turns_get_nothing_added():
    chunks = [TextChunk(text="x"), EndChunk(stop_reason="stop")]
    provider = ScriptedProvider([chunks], provider_id="p", api_version="v")
    assert await call(provider) == chunks
    assert provider.info() == ProviderInfo(id="p", api_version="v")
    assert ScriptedProvider([Turn(steps=tuple(chunks))]).turns == provider.turns


async def test_a_failure_ends_its_turn_and_the_next_call_goes_on():
    provider = ScriptedProvider().text("part").error("slow down", status=429, retry_after_s=3).text("ok")
    stream = provider.stream(REQUEST)
    assert await anext(stream) == TextChunk(text="part")
    with pytest.raises(RateLimitError) as caught:
        await anext(stream)
    assert str(caught.value) == 'starling: provider "scripted" (status 429): slow down'
    assert caught.value.retry_after_s == 3
    assert (await answer(provider)).text == "ok"


async def test_an_exception_is_raised_as_it_is():
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        await call(ScriptedProvider().error(error))
    assert caught.value is error


async def test_past_the_last_turn():
    provider = ScriptedProvider().text("only")
    await call(provider)
    with pytest.raises(ProviderError) as caught:
        await call(provider)
    assert str(caught.value) == (
        'starling: provider "scripted": scripted provider exhausted: 1 turns were scripted, this is call 2'
    )


async def test_requests_are_remembered_until_reset():
    provider = ScriptedProvider().text("again")
    await call(provider)
    assert provider.requests == (REQUEST,)
    provider.reset()
    assert provider.requests == ()
    assert (await answer(provider)).text == "again"


async def test_a_hanging_call_ends_by_cancelling_only():
    provider = ScriptedProvider().text("x").hang().text("next")
    reached = asyncio.Event()

    async def read():
        async for _ in provider.stream(REQUEST):
            reached.set()

    task = asyncio.create_task(read())
    await reached.wait()
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert (await answer(provider)).text == "next"


async def test_functions_run_where_they_stand():
    seen = []

    async def later():
        seen.append("later")

    provider = ScriptedProvider().do(lambda: seen.append("now")).text("x").do(later)
    async for chunk in provider.stream(REQUEST):
        seen.append(type(chunk))
    assert seen == ["now", TextChunk, "later", UsageChunk, EndChunk]


async def test_replay_refuses_it_like_any_provider(monkeypatch):
    monkeypatch.setenv(ambient.REPLAY_VARIABLE, "active")
    provider = ScriptedProvider().text("x")
    with pytest.raises(LiveCallError, match="scripted m"):
        provider.stream(REQUEST)
    assert provider.requests == ()


def test_it_is_a_provider():
    provider = ScriptedProvider()
    assert isinstance(provider, Provider)
    assert isinstance(provider, Capable)
    assert provider.capabilities().tools


def test_reading_the_turns_does_not_end_the_one_at_hand():
    script = Script().text("a")
    assert len(script.turns) == 1
    assert len(script.text("b").turns) == 1
    assert assemble(script.turns[0].steps).text == "ab"


async def test_a_turn_that_a_recording_answered_is_counted():
    provider = ScriptedProvider().text("one").turn().text("two").turn().text("three")

    provider.skip_turn()

    assert isinstance(provider, Counting)
    assert (await answer(provider)).text == "two"
    assert len(provider.requests) == 1
    provider.reset()
    assert (await answer(provider)).text == "one"
