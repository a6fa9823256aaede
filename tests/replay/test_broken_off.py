"""Tools that raise what is no error: live it ends the run, on replay it is found at the call that came to something."""

import asyncio
from dataclasses import replace

import pytest

from starling import ambient, replay, step, tool
from starling.errors import NondeterminismError
from starling.event import Kind, ToolCallFailed
from starling.testing import ScriptedProvider
from tests.agent_kit import again, agent, calls, diverges, playing, record, replays

ENDS = (Kind.ToolCallCompleted, Kind.ToolCallFailed)


class Stop(BaseException):
    pass


OUTCOMES = [Stop("s"), GeneratorExit("g"), pytest.fail.Exception("no"), pytest.skip.Exception("later")]
STOPPING = [KeyboardInterrupt("k"), pytest.exit.Exception("enough"), ExceptionGroup("some", [pytest.exit.Exception()])]


def quoting(raising=None, *, sync=False, steps=1, **options):
    """An agent that asks two tools at once; the second one raises."""

    @tool
    async def other() -> str:
        await asyncio.sleep(0)
        step.now()
        return "other"

    def quote() -> str:
        for _ in range(steps):
            step.now()
        if raising is not None:
            raise raising
        return "quote"

    async def quote_in_loop() -> str:
        return quote()

    quoted = tool(name="quote")(quote if sync else quote_in_loop)
    return agent(calls("other", "quote"), other, quoted, **options)


@pytest.fixture
async def recorded():
    return await record(quoting())


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("raising", OUTCOMES, ids=lambda error: type(error).__name__)
async def test_it_is_found_at_the_end_of_the_call(recorded, raising, sync):
    found = await diverges(recorded, quoting(raising, sync=sync))
    (ended,) = [end.seq for end in recorded.events if getattr(end.decode(), "result", None) == "quote"]
    assert (found.seq, found.call_id, found.tool) == (ended, "call_2", "quote")
    assert (found.cls, found.expected_kind, found.kind) == ("kind", Kind.ToolCallCompleted, Kind.RunCancelled)
    assert found.produced.reason == f"interrupted by {type(raising).__name__}"
    assert (found.raised.type, found.raised.text) == (type(raising).__name__, str(raising))
    assert found.raised.function == "quote"
    assert f"raised by the tool: {type(raising).__name__}: {raising} ({__file__}:" in found.text


@pytest.mark.parametrize("tool_errors", ["fail", "report"])
@pytest.mark.parametrize("error", [*OUTCOMES, *STOPPING], ids=lambda error: type(error).__name__)
async def test_live_it_propagates(error, tool_errors):
    today = quoting(error, tool_errors=tool_errors)
    with pytest.raises(type(error)) as raised:
        await today.run_with_id("run", "go")
    assert raised.value is error
    events = await today.log.read("run")
    assert events[-1].decode().reason == f"interrupted by {type(error).__name__}"
    assert [event.decode().call_id for event in events if event.kind is Kind.ToolCallScheduled][1] == "call_2"
    assert "call_2" not in [getattr(event.decode(), "call_id", "") for event in events if event.kind in ENDS]


async def test_before_an_effect_it_is_found_at_the_effect(recorded):
    found = await diverges(recorded, quoting(Stop("s"), steps=0))
    assert found.seq == recorded.seq("SideEffectRecorded", call_id="call_2")
    assert found.raised.type == "Stop"


async def test_with_collect_the_replay_goes_on_behind_it(recorded):
    today = quoting(Stop("s"), system_prompt="Be brief.")
    found = await replay(recorded.log, recorded.run_id, today, collect=True)
    assert [one.seq for one in found][-1] == recorded.seqs("TurnStarted")[-1]
    assert [one.raised.text for one in found if one.raised] == ["s"]


async def test_a_redaction_has_rewritten_its_text(recorded):
    def redact(payload):
        return replace(payload, error="[gone]") if isinstance(payload, ToolCallFailed) else payload

    found = await diverges(recorded, quoting(Stop("secret")), redact=redact)
    assert found.raised.text == "[gone]"
    assert "secret" not in found.text


async def test_what_a_tool_that_it_called_raised_is_found_in_the_inner_call():
    def made(raising=None):
        @tool
        def inner() -> str:
            if raising is not None:
                raise raising
            return "inner"

        @tool
        async def outer() -> str:
            return await step.call_tool(step.ToolCall(name="inner", args={}))

        return agent(calls("outer"), inner, outer)

    recorded = await record(made())
    found = await diverges(recorded, made(Stop("s")))
    assert (found.seq, found.tool) == (recorded.seqs("ToolCallCompleted")[0], "inner")


async def test_a_run_that_it_ended_replays_and_ends_in_it_again():
    stopped = quoting(Stop("s"))
    with pytest.raises(Stop):
        await stopped.run_with_id("run", "go")
    assert await replay(stopped.log, "run", quoting(Stop("s"))) == ()
    with pytest.raises(NondeterminismError):
        await replay(stopped.log, "run", quoting())


@pytest.mark.parametrize("collect", [False, True])
@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("interrupt", STOPPING, ids=lambda error: type(error).__name__)
async def test_an_interrupt_stops_the_replay_and_carries_the_divergence(recorded, interrupt, sync, collect):
    with pytest.raises(type(interrupt)) as raised:
        await replay(recorded.log, recorded.run_id, quoting(interrupt, sync=sync), collect=collect)
    assert raised.value is interrupt
    found = interrupt.__cause__.divergence
    (ended,) = [end.seq for end in recorded.events if getattr(end.decode(), "result", None) == "quote"]
    assert (found.seq, found.raised.type) == (ended, type(interrupt).__name__)


@pytest.mark.parametrize("sync", [False, True])
async def test_what_stops_everything_is_no_outcome_of_an_effect(sync):
    def leave():
        pytest.exit("enough")

    @tool
    async def quote() -> str:
        return step.side_effect_sync("e", leave) if sync else await step.side_effect("e", leave)

    today = agent(calls("quote"), quote)
    with pytest.raises(pytest.exit.Exception):
        await today.run_with_id("run", "go")
    kinds = [event.kind for event in await today.log.read("run")]
    assert kinds[-2:] == [Kind.ToolCallScheduled, Kind.RunCancelled]


async def test_what_stops_everything_is_no_failure_of_the_provider():
    class Leaving(ScriptedProvider):
        async def stream(self, request):
            pytest.exit("enough")
            yield

    today = agent(Leaving())
    with pytest.raises(pytest.exit.Exception):
        await today.run_with_id("run", "go")
    assert (await today.log.read("run"))[-1].decode().reason == "interrupted by Exit"


async def test_a_coroutine_that_is_closed_is_no_doing_of_the_tool():
    @tool
    async def waits() -> str:
        await asyncio.Event().wait()

    today = agent(calls("waits"), waits)
    running = today.run_with_id("run", "go")
    while not any(event.kind is Kind.ToolCallScheduled for event in await today.log.read("run")):
        running.send(None)
    running.close()
    assert (await today.log.read("run"))[-1].kind is Kind.ToolCallScheduled


async def test_an_interrupt_that_the_test_catches_still_fails_its_session(recorded):
    session = playing(recorded)
    with ambient.activate(session), pytest.raises(KeyboardInterrupt):
        await quoting(KeyboardInterrupt()).run("go")
    (failure,) = session.failures
    assert failure.divergence.tool == "quote"


async def test_an_unchanged_agent_is_not_touched_by_all_this(recorded):
    await replays(recorded, quoting())
    assert (await again(recorded, quoting())).result.final_text == "done"
