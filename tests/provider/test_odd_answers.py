"""What no vendor should send, through each SDK over a socket: halves of characters, and counts that are none."""

import json

import pytest
from kits import KITS

from starling import Agent, Config, MemoryLog, ambient, replay, replay_all, replay_all_sync, tool
from starling.agent._blocking import run_blocking
from starling.errors import AuthError, InvalidStreamError, LiveCallError
from starling.event import Kind
from starling.provider import Message, Request
from starling.testing import Script

per_vendor = pytest.mark.parametrize("kit", KITS, ids=str)
RUN = "run"
HALF = "\ud83d"
OTHER_HALF = "\ude00"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)
    for kit in KITS:
        if kit.variable:
            monkeypatch.delenv(kit.variable, raising=False)


@tool
def weather(city: str) -> str:
    """Today's weather."""
    return f"rain in {city}"


def agent_on(provider, log):
    return Agent(provider, Config(model="m"), log, tools=[weather])


async def run(kit, script):
    """A run on this vendor: its log, the requests, and the error that it ended with."""
    log, error = MemoryLog(), None
    with kit.server(script) as server:
        async with kit.provider(server) as provider:
            try:
                await agent_on(provider, log).run_with_id(RUN, "go")
            except Exception as raised:  # the tests look at it
                error = raised
        return log, [request.body for request in server.requests], error


async def of_kind(log, kind):
    return [event.decode() for event in await log.read(RUN) if event.kind is kind]


def signed(kit):
    return b"sig" if kit.carries_signatures else b""


# --- halves of characters ---


@per_vendor
async def test_half_a_character_goes_back_as_it_was_recorded(kit):
    """It has no UTF-8: neither the log nor the next request could hold it."""
    script = Script().reasoning(f"r{HALF}", signature=signed(kit)).text(f"t{HALF}")
    script.tool_call("weather", '{"city": "c\\ud83d"}').turn().text("done")

    log, requests, error = await run(kit, script)

    assert error is None
    (block,) = await of_kind(log, Kind.ReasoningEmitted)
    message, _ = await of_kind(log, Kind.AssistantMessageCompleted)
    assert (block.content, message.text, message.tool_uses[0].args) == ("r\ufffd", "t\ufffd", {"city": "c\ufffd"})
    told = json.dumps(requests[1], ensure_ascii=False)
    expected = [*(["r\ufffd"] if kit.carries_signatures else []), "t\ufffd", "c\ufffd"]
    assert [word for word in expected if word not in told] == []
    with ambient.building_for_replay():
        today = agent_on(kit.keyless(), MemoryLog())
    assert await replay(log, RUN, today) == ()


@per_vendor
async def test_a_character_that_comes_in_two_halves_is_whole(kit):
    script = Script().reasoning(f"r{HALF}").reasoning(f"{OTHER_HALF}r", signature=signed(kit))
    script.text(f"t{HALF}").text(OTHER_HALF)

    log, _, error = await run(kit, script)

    assert error is None
    assert [block.content for block in await of_kind(log, Kind.ReasoningEmitted)] == ["r\U0001f600r"]
    assert [message.text for message in await of_kind(log, Kind.AssistantMessageCompleted)] == ["t\U0001f600"]


# --- counts ---


@pytest.mark.parametrize("count", [-5, 2**63, True, 20.5, float("nan"), float("inf"), 1e30], ids=str)
@per_vendor
async def test_what_is_no_number_of_tokens_is_refused(kit, count):
    log, _, error = await run(kit, Script().text("x").usage(10, count))

    assert isinstance(error.__cause__, InvalidStreamError)
    assert f"is {json.dumps(count)}, which is no number of tokens" in str(error)
    assert [event.kind for event in await log.read(RUN)][-1] is Kind.RunFailed
    assert await of_kind(log, Kind.AssistantMessageCompleted) == []


@per_vendor
async def test_a_count_that_is_written_as_a_float_is_the_number_that_it_is(kit):
    log, _, error = await run(kit, Script().text("x").usage(10.0, 2e1))

    assert error is None
    (message,) = await of_kind(log, Kind.AssistantMessageCompleted)
    assert (message.input_tokens, message.output_tokens) == (10, 20)
    assert {type(message.input_tokens), type(message.output_tokens)} == {int}


# --- a factory for replays ---


@per_vendor
async def test_a_factory_needs_no_key_to_build_what_a_replay_uses(kit):
    log, _, error = await run(kit, Script().tool_call("weather", {"city": "Oslo"}).turn().text("done"))
    assert error is None

    async def in_a_coroutine():
        return agent_on(kit.keyless(), MemoryLog())

    assert await replay_all(log, in_a_coroutine) == {}
    assert replay_all_sync(log, lambda: agent_on(kit.keyless(), MemoryLog())) == {}


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.variable], ids=str)
async def test_what_a_factory_builds_reaches_nobody_and_the_permission_ends_with_it(kit):
    log, _, _ = await run(kit, Script().text("done"))
    request = Request(model="m", messages=(Message(role="user", content="hi"),), max_output_tokens=9)

    with kit.server(Script().text("x")) as server:

        def asks():
            return run_blocking(lambda: anext(kit.provider(server).stream(request)))

        with pytest.raises(LiveCallError, match=f"{kit} m"):
            await replay_all(log, asks)
        assert server.requests == ()
    with pytest.raises(AuthError, match=kit.variable):
        kit.keyless()
