"""One conversation through every provider: the same events, recorded and replayed, and no half answers."""

import asyncio
import base64
import json
import subprocess
import sys
import traceback
from itertools import accumulate

import pytest
from hypothesis import settings
from kits import KITS, Replaying, collect

from starling import Agent, Budget, Config, MemoryLog, ambient, replay, tool
from starling.errors import (
    AuthError,
    InvalidStreamError,
    LiveCallError,
    MissingExtraError,
    NetworkError,
    ProviderCallError,
    ProviderError,
)
from starling.event import Kind
from starling.provider import Message, ProviderInfo, Request, assemble
from starling.testing import Reply, Script
from starling.testing.provider_contract import CHECKS

REQUEST = Request(model="m", messages=(Message(role="user", content="hi"),), max_output_tokens=100)
RUN = "run"
SIGNATURE = b"c2lnbmVkLWJ5LXRoZS12ZW5kb3I="
OPAQUE = "b3BhcXVlLXRvLXVz"
LONGEST_S = 120.0
"""A limit that only a hang reaches."""

per_vendor = pytest.mark.parametrize("kit", KITS, ids=str)


@tool
def weather(city: str) -> dict:
    """Today's weather."""
    return {"city": city, "sky": "rain"}


@tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"noon in {city}"


def conversation():
    """Reasoning, two parallel calls, then an answer."""
    script = Script().reasoning("Two things to look up.").text("Looking. ")
    script.tool_call("weather", {"city": "Zürich"}).tool_call("clock", {"city": "Oslo"}).usage(50, 20)
    return script.turn().text("Rain, ").text("and noon.").usage(90, 6)


KINDS = [
    "RunStarted",
    *("TurnStarted", "ReasoningEmitted", "AssistantMessageCompleted"),
    *("ToolCallScheduled", "ToolCallScheduled", "ToolCallCompleted", "ToolCallCompleted"),
    *("TurnStarted", "AssistantMessageCompleted"),
    "RunCompleted",
]


def agent_on(provider, log=None, **options):
    wiring = {"budget": options.pop("budget", None)}
    return Agent(
        provider, Config(model="m", **options), MemoryLog() if log is None else log, tools=[weather, clock], **wiring
    )


async def recorded(kit, script, **options):
    """A run on this vendor: its agent, its result or its error, and the events."""
    result = error = None
    with kit.server(script) as server:
        async with kit.provider(server) as provider:
            agent = agent_on(provider, **options)
            try:
                result = await agent.run_with_id(RUN, "What is it like?")
            except Exception as raised:  # the tests look at it
                error = raised
    return result, error, await agent.log.read(RUN)


# --- the same conversation ---


@per_vendor
async def test_the_same_conversation_is_the_same_sequence_of_kinds(kit):
    result, error, events = await recorded(kit, conversation())
    assert error is None
    assert [event.kind.name for event in events] == KINDS
    assert result.final_text == "Rain, and noon."
    started, reasoning, message = (events[at].decode() for at in (0, 2, 3))
    assert started.provider_id == kit.vendor
    assert message.text == "Looking. "
    assert [(use.tool, use.args) for use in message.tool_uses] == [
        ("weather", {"city": "Zürich"}),
        ("clock", {"city": "Oslo"}),
    ]
    assert (message.input_tokens, message.output_tokens) == (50, 20)
    assert len(message.raw_response_hash) == 32
    assert reasoning.content == "Two things to look up."


@per_vendor
async def test_what_was_recorded_replays_without_a_key_and_without_a_server(kit, monkeypatch):
    _, error, events = await recorded(kit, conversation())
    assert error is None
    log = MemoryLog()
    await log.append(RUN, events)
    if kit.variable:
        monkeypatch.delenv(kit.variable, raising=False)
    monkeypatch.setenv(ambient.REPLAY_VARIABLE, "ready")

    today = agent_on(kit.keyless())

    assert await replay(log, RUN, today) == ()


@per_vendor
def test_one_object_serves_several_event_loops_in_turn(kit):
    turns = 3
    texts = []
    with kit.server(conversation().turns * turns) as server:
        provider = kit.provider(server)
        for _ in range(turns):
            texts.append(asyncio.run(agent_on(provider).run("go")).final_text)
    assert texts == ["Rain, and noon."] * turns


# --- reasoning ---


async def reasoned(kit, script):
    """The reasoning that a run on this vendor recorded before a call, and what was sent after it."""
    script.text("Looking.").tool_call("weather", {"city": "Oslo"}).turn().text("Rain.")
    with kit.server(script) as server:
        async with kit.provider(server) as provider:
            agent = agent_on(provider)
            await agent.run_with_id(RUN, "go")
        second = json.dumps(server.requests[1].body, ensure_ascii=False)
    events = await agent.log.read(RUN)
    return [event.decode() for event in events if event.kind is Kind.ReasoningEmitted], second


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.carries_signatures], ids=str)
async def test_signed_reasoning_is_recorded_and_given_back_verbatim(kit):
    (block,), second = await reasoned(kit, Script().reasoning("Let me see.", signature=SIGNATURE))
    assert (block.content, block.signature, block.redacted) == ("Let me see.", SIGNATURE, False)
    assert "Let me see." in second
    assert stands_in(second, SIGNATURE)


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.carries_redacted], ids=str)
async def test_redacted_reasoning_is_recorded_and_given_back_verbatim(kit):
    (block,), second = await reasoned(kit, Script().redacted(OPAQUE))
    assert (block.content, block.redacted) == (OPAQUE, True)
    assert stands_in(second, OPAQUE.encode())


def stands_in(body, value):
    """As it is, or in base64 where the wire carries bytes so."""
    return value.decode() in body or base64.b64encode(value).decode() in body


# --- budgets ---


@per_vendor
async def test_a_budget_is_cumulative_and_keeps_the_partial_text(kit):
    _, error, events = await recorded(kit, conversation(), budget=Budget(max_output_tokens=24))
    assert type(error).__name__ == "BudgetExceededError"
    (exceeded,) = [event.decode() for event in events if event.kind is Kind.BudgetExceeded]
    assert (exceeded.limit, exceeded.cap, exceeded.actual) == ("output_tokens", 24.0, 26.0)
    assert exceeded.partial_text == "Rain, and noon."


# --- streams that break ---


ANSWERS = [(kit, events) for kit in KITS for events in kit.recorded.values()]
each_answer = pytest.mark.parametrize(
    ("kit", "events"), ANSWERS, ids=[f"{kit}-{name}" for kit in KITS for name in kit.recorded]
)
DEEP = settings.default.max_examples > 1000


async def outcome(provider):
    try:
        return assemble(await collect(provider, REQUEST))
    except ProviderError as error:
        return error


@pytest.mark.parametrize("clean", [True, False], ids=["ended early", "broken"])
@each_answer
async def test_an_answer_cut_at_any_byte_is_an_error(kit, events, clean):
    body = b"".join(events)
    cuts = range(len(body)) if clean or DEEP else some_bytes(events)
    replies = [Reply(body=body, cut_after=at, clean_cut=clean) for at in cuts]
    with kit.server([Reply(body=body), *replies]) as server:
        async with kit.provider(server) as provider, asyncio.timeout(LONGEST_S):
            whole = await said(provider)
            found = [await said(provider) for _ in replies]
    assert isinstance(whole, tuple)
    failures = [at for at, one in zip(cuts, found, strict=True) if one in (NetworkError, InvalidStreamError)]
    assert failures == list(cuts)[: len(failures)], "an answer that was cut later failed, one cut sooner did not"
    # What the vendor sends behind the last piece that says something may be lost without loss.
    assert all(one == whole for one in found[len(failures) :])
    assert failures[-1] > len(body) * 0.7


def some_bytes(events):
    """Every fifth, and those around the end of an event. Each connection that breaks costs a new one."""
    ends = list(accumulate(map(len, events), initial=0))
    near = {at + by for at in ends for by in (-1, 0, 1)}
    return sorted(at for at in near.union(range(0, ends[-1], 5)) if 0 <= at < ends[-1])


async def said(provider):
    """What is recorded of an answer, but for what differs from request to request; or the class of its error.

    Of the error itself nothing is kept: its traceback holds on to all that took part in the request.
    """
    found = await outcome(provider)
    if isinstance(found, ProviderError):
        return type(found)
    return found.text, found.tool_uses, found.reasoning, found.stop_reason, found.usage


@each_answer
async def test_half_an_answer_is_never_recorded_as_a_whole_one(kit, events):
    body = b"".join(events)
    for at in range(1, int(len(body) * 0.7), len(body) // 12):
        _, error, log = await recorded(kit, [Reply(body=body, cut_after=at, clean_cut=at % 2 == 0)])
        assert isinstance(error, ProviderCallError)
        kinds = [event.kind for event in log]
        assert Kind.AssistantMessageCompleted not in kinds
        assert kinds[-1] is Kind.RunFailed


# --- cancelling ---


@per_vendor
async def test_cancelling_a_run_closes_the_socket(kit):
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    script = Script().text("half").do(lambda: loop.call_soon_threadsafe(started.set)).hang()
    with kit.server(script) as server:
        async with kit.provider(server) as provider:
            agent = agent_on(provider)
            running = asyncio.create_task(agent.run_with_id(RUN, "go"))
            await started.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await asyncio.to_thread(server.disconnected.wait, LONGEST_S)
    assert (await agent.log.read(RUN))[-1].kind is Kind.RunCancelled


@per_vendor
async def test_cancelling_before_the_first_byte_closes_the_socket(kit):
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    script = Script().do(lambda: loop.call_soon_threadsafe(asked.set)).hang()
    with kit.server(script) as server:
        async with kit.provider(server) as provider:
            running = asyncio.create_task(outcome(provider))
            await asked.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await asyncio.to_thread(server.disconnected.wait, LONGEST_S)


# --- construction ---


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.variable], ids=str)
def test_a_missing_key_is_found_at_construction(kit, monkeypatch):
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)
    monkeypatch.delenv(kit.variable, raising=False)
    with pytest.raises(AuthError, match=kit.variable) as caught:
        kit.keyless()
    here, *ours = [frame for frame, _ in traceback.walk_tb(caught.tb) if "/kits/" not in frame.f_code.co_filename]
    assert here.f_code.co_filename == __file__
    assert ours
    assert all(frame.f_locals.get("__tracebackhide__") for frame in ours)  # pytest shows the user's line alone


@per_vendor
async def test_while_replaying_no_key_is_needed_and_nothing_is_sent(kit, monkeypatch):
    if kit.variable:
        monkeypatch.delenv(kit.variable, raising=False)
    replaying = Replaying()
    with kit.server(Script().text("x")) as server, ambient.override(replaying):
        keyless = kit.keyless()
        for provider in (keyless, kit.provider(server)):
            with pytest.raises(LiveCallError, match=f"{kit} m"):
                provider.stream(REQUEST)
        assert server.requests == ()
    assert len(replaying.refusals) == 2
    if kit.variable:
        error = await outcome(keyless)
        assert type(error) is AuthError
        assert kit.variable in str(error)


@per_vendor
def test_a_missing_sdk_is_found_at_construction(kit, monkeypatch):
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)
    if kit.variable:
        monkeypatch.setenv(kit.variable, "none")
    monkeypatch.setitem(sys.modules, kit.sdk[0], None)
    with pytest.raises(MissingExtraError, match=rf"^pip install 'pytest-starling\[{kit.vendor}\]'$"):
        kit.keyless()


@per_vendor
async def test_a_missing_sdk_is_found_by_the_first_call_of_what_was_built_while_replaying(kit, monkeypatch):
    if kit.variable:
        monkeypatch.setenv(kit.variable, "none")
    with monkeypatch.context() as replaying:
        replaying.setenv(ambient.REPLAY_VARIABLE, "ready")
        replaying.setitem(sys.modules, kit.sdk[0], None)
        provider = kit.keyless()
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, kit.sdk[0], None)
    with pytest.raises(MissingExtraError, match=rf"^pip install 'pytest-starling\[{kit.vendor}\]'$"):
        await outcome(provider)


@per_vendor
def test_the_provider_says_who_it_is_and_can_be_named_otherwise(kit):
    with kit.server(Script()) as server:
        assert kit.provider(server).info().id == kit.vendor
        named = kit.provider(server, provider_id="mine", api_version="v-mine").info()
    assert named == ProviderInfo(id="mine", api_version="v-mine")


@per_vendor
def test_importing_starling_or_the_adapter_imports_no_sdk(kit):
    code = (
        f"import sys, starling, starling.testing, starling.provider.{kit.vendor}\n"
        f"print([name for name in {kit.sdk!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_are_kits_and_checks():
    assert "openai" in [kit.vendor for kit in KITS]
    assert len(CHECKS) > 20
    for kit in KITS:
        assert kit.recorded, f"{kit}: no answer in the vendor's documented shape"
        assert all(isinstance(event, bytes) for events in kit.recorded.values() for event in events)
