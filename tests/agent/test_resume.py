"""Going on with a run whose process has ended: what is done again, what is not, and that the whole replays."""

from __future__ import annotations

import asyncio
import logging

import pytest

from starling import Budget, MemoryLog, replay, step, tool
from starling.errors import (
    BudgetExceededError,
    LogCorruptError,
    LogWriteError,
    MaxTurnsExceededError,
    PartialToolCallError,
    RunAlreadyTerminalError,
    RunInUseError,
    RunNotFoundError,
    ToolCallError,
    TransientToolError,
)
from starling.event import Chain, Kind, validate
from starling.testing import ScriptedProvider
from tests.agent_kit import Recorded, agent, calls, diverges, record, replays


class Shop:
    """Tools that leave traces in the world: what was really done, in order."""

    def __init__(self, failures: int = 0) -> None:
        self.done: list[str] = []
        self.failures = failures

    def act(self, what: str) -> str:
        self.done.append(what)
        return f"{what} #{self.done.count(what)}"

    @property
    def tools(self):
        @tool
        async def order(item: str) -> list:
            """Pay, pack (another tool) and write a mail."""
            paid = await step.side_effect("pay", lambda: self.act(f"pay {item}"))
            packed = await step.call_tool(step.ToolCall(name="pack", args={"item": item}))
            at = step.now().isoformat()
            mailed = await step.side_effect("mail", lambda: self.act(f"mail {item}"))
            return [paid, packed, at, mailed]

        @tool
        def pack(item: str) -> str:
            """Runs in a thread."""
            return step.side_effect_sync("pack", lambda: self.act(f"pack {item}")) + str(step.random())

        @tool(idempotent=True, max_attempts=9, backoff=lambda _: 0)
        async def ship() -> str:
            """Fails the first times, whatever process asks."""
            tried = await step.side_effect("ship", lambda: self.act("ship"))
            if int(tried.partition("#")[2]) <= self.failures:
                raise TransientToolError(f"not yet: {tried}")
            return tried

        return order, pack, ship


def conversation():
    """Reasoning, three parallel calls, another turn with a call, the answer."""
    script = ScriptedProvider().reasoning("hm", b"signed")
    script.tool_call("order", {"item": "tea"}).tool_call("ship").tool_call("pack", {"item": "cup"}).turn()
    return script.text("more").tool_call("order", {"item": "jam"}).turn().text("done")


def rest(recorded, cut):
    """What the model has yet to say after so many events; asked again after its last word, it says another."""
    answered = len([kind for kind in recorded.kinds[:cut] if kind == "AssistantMessageCompleted"])
    more = [ScriptedProvider().text("another").turns[0]] * 4
    return ScriptedProvider([*conversation().turns, *more][answered:])


async def cut_at(recorded, cut):
    log = MemoryLog()
    await log.append(recorded.run_id, recorded.events[:cut])
    return log


async def resumed(today, run_id="run", **options):
    """Resume a run to whatever end."""
    result = error = None
    try:
        result = await today.resume(run_id, **options)
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    events = await today.log.read(run_id)
    validate(events)
    return Recorded(log=today.log, run_id=run_id, events=events, result=result, error=error)


EVENTS = 37


async def shopping():
    shop = Shop(failures=1)
    recorded = await record(agent(conversation(), *shop.tools))
    assert len(recorded.events) == EVENTS
    return shop, recorded


def world_at(recorded, cut, failures=1):
    """A shop in which everything has happened that the log knows of."""
    shop = Shop(failures)
    effects = [payload for payload in recorded.payloads[:cut] if payload.KIND is Kind.SideEffectRecorded]
    acts = {effect.value: None for effect in effects if effect.name in {"pay", "pack", "mail", "ship"}}
    shop.done = [value.partition(" #")[0] for value in acts]  # what is recorded twice was served, not done again
    return shop


@pytest.mark.parametrize("extra", ["", "hurry up"])
@pytest.mark.parametrize("cut", range(1, EVENTS))
async def test_a_run_cut_anywhere_goes_on_does_nothing_twice_and_replays(cut, extra):
    shop, recorded = await shopping()
    world = world_at(recorded, cut)

    whole = await resumed(
        agent(rest(recorded, cut), *world.tools, log=await cut_at(recorded, cut)), extra_message=extra
    )

    assert whole.error is None
    assert sorted(world.done) == sorted(shop.done)
    assert whole.result.turn_count == len(whole.all("TurnStarted"))
    assert whole.one("RunResumed").at_seq == cut
    assert [message.content for message in whole.all("UserMessageAppended")] == ([extra] if extra else [])
    for _ in range(3):
        await replays(whole, agent(None, *Shop(failures=1).tools))


@pytest.mark.parametrize("first", range(1, EVENTS, 2))
async def test_any_number_of_seams(first):
    """Crash after crash, each a few events after the seam before."""
    shop, recorded = await shopping()
    world, log = world_at(recorded, first), await cut_at(recorded, first)
    for more in (3, 6, 9):
        events = await log.read("run")
        if events[-1].kind in (Kind.RunCompleted, Kind.RunFailed):
            break
        going = Recorded(log=log, run_id="run", events=events)
        whole = await resumed(agent(rest(going, None), *world_at(going, None).tools, log=log))
        cut = min(len(events) + more, len(whole.events) - 1)
        log, world = await cut_at(whole, cut), world_at(whole, cut)
    going = Recorded(log=log, run_id="run", events=await log.read("run"))

    whole = await resumed(agent(rest(going, None), *world.tools, log=log))

    assert whole.error is None
    assert sorted(world.done) == sorted(shop.done)
    assert len(whole.seqs("RunResumed")) == 4
    await replays(whole, agent(None, *Shop(failures=1).tools))


async def test_orphans_are_reissued_under_fresh_ids_and_shown_under_them():
    _, recorded = await shopping()
    cut = recorded.seqs("ToolCallScheduled")[2]
    script = rest(recorded, cut)

    whole = await resumed(agent(script, *world_at(recorded, cut).tools, log=await cut_at(recorded, cut)))

    assert whole.one("RunResumed").pending_calls == 3
    fresh = [call.call_id for call in whole.all("ToolCallScheduled")[3:6]]
    assert not {"call_1", "call_2", "call_3"} & set(fresh)
    answer, *results = script.requests[0].messages[1:]
    assert [use.call_id for use in answer.tool_uses] == fresh
    assert [message.tool_result.call_id for message in results] == fresh
    assert answer.reasoning[0].signature == b"signed"


async def test_calls_that_were_planned_and_never_issued_keep_their_ids():
    _, recorded = await shopping()
    cut = recorded.seqs("AssistantMessageCompleted")[0]

    whole = await resumed(
        agent(rest(recorded, cut), *Shop(1).tools, log=await cut_at(recorded, cut)), reissue_tools=False
    )

    assert whole.one("RunResumed").pending_calls == 0
    assert {"call_1", "call_2", "call_3"} <= {call.call_id for call in whole.all("ToolCallScheduled")}
    await replays(whole, agent(None, *Shop(1).tools))


async def test_a_retry_goes_on_with_the_attempt_that_is_due():
    shop = Shop(failures=2)
    recorded = await record(agent(calls("ship"), *shop.tools))
    cut = recorded.seqs("ToolCallFailed")[0]
    world = world_at(recorded, cut, failures=2)

    whole = await resumed(agent(ScriptedProvider().text("done"), *world.tools, log=await cut_at(recorded, cut)))

    assert [call.attempt for call in whole.all("ToolCallScheduled")] == [1, 2, 3]
    assert len({call.call_id for call in whole.all("ToolCallScheduled")}) == 2
    await replays(whole, agent(None, *Shop(failures=2).tools))


async def test_a_call_that_had_ended_inside_an_orphan_is_not_run_again():
    shop = Shop()
    recorded = await record(agent(calls(("order", {"item": "tea"})), *shop.tools))
    cut = recorded.seq("SideEffectRecorded", name="mail") - 1
    world = world_at(recorded, cut)

    whole = await resumed(agent(ScriptedProvider().text("done"), *world.tools, log=await cut_at(recorded, cut)))

    assert world.done == ["pay tea", "pack tea", "mail tea"]
    (served,) = [payload for payload in whole.all("SideEffectRecorded") if payload.name.startswith("starling/")]
    assert served.value in {call.call_id for call in whole.all("ToolCallScheduled", tool="pack")}
    await replays(whole, agent(None, *Shop().tools))


# --- what goes on counting, and what the model is told


async def test_the_extra_message_follows_the_results():
    _, recorded = await shopping()
    cut = recorded.seqs("ToolCallScheduled")[2]
    script = rest(recorded, cut)

    await resumed(
        agent(script, *world_at(recorded, cut).tools, log=await cut_at(recorded, cut)), extra_message="hurry up"
    )

    assert [message.role for message in script.requests[0].messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "tool",
        "user",
    ]
    assert script.requests[0].messages[-1].content == "hurry up"


async def test_tokens_and_money_are_counted_across_the_seam():
    _, recorded = await shopping()
    spent = recorded.one("AssistantMessageCompleted", text="").input_tokens
    cut = recorded.seqs("TurnStarted")[1] - 1

    whole = await resumed(
        agent(
            rest(recorded, cut),
            *world_at(recorded, cut).tools,
            log=await cut_at(recorded, cut),
            budget=Budget(max_input_tokens=spent + 1),
        )
    )

    assert isinstance(whole.error, BudgetExceededError)
    assert whole.error.where == "pre_call"


async def test_turns_are_counted_across_the_seam_but_a_turn_that_was_cut_off_does_not_use_up_the_limit():
    _, recorded = await shopping()
    cut = recorded.seqs("TurnStarted")[1]
    log = await cut_at(recorded, cut)

    whole = await resumed(agent(rest(recorded, cut), *world_at(recorded, cut).tools, log=log, max_turns=2))

    assert isinstance(whole.error, MaxTurnsExceededError)
    assert whole.error.result.turn_count == len(whole.all("TurnStarted")) == 3
    await replays(whole, agent(None, *Shop(failures=1).tools, max_turns=2))


async def test_a_failure_before_the_crash_is_shown_to_the_model_and_one_behind_it_ends_the_run():
    @tool
    def boom() -> None:
        raise RuntimeError("broken")

    @tool
    async def fine() -> str:
        return "ok"

    recorded = await record(agent(calls("boom", "fine", answer=None), boom, fine))
    failed = recorded.seq("ToolCallFailed")
    script = ScriptedProvider().text("sorry").tool_call("boom")

    whole = await resumed(agent(script, boom, fine, log=await cut_at(recorded, failed)))

    assert script.requests[0].messages[2].tool_result.is_error
    assert isinstance(whole.error, ToolCallError)
    await replays(whole, agent(None, boom, fine))


async def test_a_last_word_without_an_end_is_followed_by_another_turn():
    recorded = await record(agent(ScriptedProvider().text("first")))

    whole = await resumed(agent(ScriptedProvider().text("second"), log=await cut_at(recorded, 3)))

    assert whole.kinds[3:] == ["RunResumed", "TurnStarted", "AssistantMessageCompleted", "RunCompleted"]
    assert whole.result.final_text == "second"


async def test_the_message_of_a_seam_survives_a_crash_right_behind_it():
    _, recorded = await shopping()
    whole = await resumed(
        agent(rest(recorded, 1), *Shop(1).tools, log=await cut_at(recorded, 1)), extra_message="hurry up"
    )
    script = conversation()

    again = await resumed(agent(script, *Shop(1).tools, log=await cut_at(whole, 2)))

    assert [message.content for message in script.requests[0].messages] == ["go", "hurry up"]
    await replays(again, agent(None, *Shop(1).tools))


# --- what is refused


async def test_what_cannot_be_resumed_is_refused_and_nothing_is_written():
    shop, recorded = await shopping()
    orphans = await cut_at(recorded, recorded.seqs("ToolCallScheduled")[2])

    with pytest.raises(RunNotFoundError, match="'nobody'") as unknown:
        await agent(log=orphans).resume("nobody")
    with pytest.raises(RunAlreadyTerminalError, match="RunCompleted at seq 37"):
        await agent(log=recorded.log).resume("run")
    with pytest.raises(PartialToolCallError, match=r"3 tool call.*order \(call_1\)") as partial:
        await agent(None, *shop.tools, log=orphans).resume("run", reissue_tools=False)

    assert unknown.value.run_id == "nobody"
    assert (partial.value.run_id, partial.value.seq) == ("run", len(await orphans.read("run")))
    assert len(await orphans.read("run")) == recorded.seqs("ToolCallScheduled")[2]


async def test_a_damaged_beginning_is_refused():
    _, recorded = await shopping()
    log = MemoryLog()
    chain = Chain("run")
    await log.append("run", [chain.append(recorded.payloads[1], 1)])

    with pytest.raises(LogCorruptError, match="begins with RunStarted") as raised:
        await agent(log=log).resume("run")

    assert (raised.value.run_id, raised.value.seq) == ("run", 1)


async def test_of_two_that_resume_at_a_time_one_wins():
    _, recorded = await shopping()
    log = await cut_at(recorded, 1)
    script = conversation()
    one, other = (agent(script, *Shop(1).tools, log=log) for _ in range(2))
    first = asyncio.create_task(one.resume("run"))
    await asyncio.sleep(0)

    ended = await asyncio.gather(first, other.resume("run"), return_exceptions=True)

    assert sorted(type(item).__name__ for item in ended) in (
        ["RunInUseError", "RunResult"],
        ["RunAlreadyTerminalError", "RunResult"],
        ["RunInUseError", "RunInUseError"],
    )
    validate(await log.read("run"))


async def test_a_writer_that_was_overtaken_by_a_resume_gets_no_further():
    reached, go_on = asyncio.Event(), asyncio.Event()
    ran = []

    @tool
    async def wait() -> str:
        reached.set()
        await go_on.wait()
        return "late"

    @tool
    async def after() -> str:
        ran.append("after")
        return "never"

    log = MemoryLog()
    script = calls("wait", answer=None).turn().tool_call("after").turn().text("done")
    slow = asyncio.create_task(agent(script, wait, after, log=log).run_with_id("run", "go"))
    await reached.wait()

    @tool(name="wait")
    async def quick() -> str:
        """Another process's, with the same name."""
        return "quick"

    whole = await resumed(agent(ScriptedProvider().text("mine"), quick, after, log=log))
    go_on.set()

    with pytest.raises(RunInUseError):
        await slow
    assert whole.result.final_text == "mine"
    assert ran == []


async def test_another_wiring_is_a_warning(caplog):
    _, recorded = await shopping()
    today = agent(conversation(), *Shop(1).tools, log=await cut_at(recorded, 1), system_prompt="new")

    with caplog.at_level(logging.WARNING, "starling"):
        await today.resume("run")

    (warned,) = caplog.records
    assert "system_prompt" in warned.getMessage()
    assert "will not replay" in warned.getMessage()


# --- changes are found behind a seam as they are before it


async def test_a_change_behind_a_seam_is_found_at_its_seq():
    _, recorded = await shopping()
    cut = recorded.seqs("TurnStarted")[1]
    whole = await resumed(
        agent(rest(recorded, cut), *world_at(recorded, cut).tools, log=await cut_at(recorded, cut)),
        extra_message="hurry up",
    )
    order, pack, ship = Shop(1).tools

    @tool(name="order")
    async def changed(item: str) -> list:
        """Pay, pack (another tool) and write a mail."""
        return [item] if item == "jam" else await order(item)

    divergence = await diverges(whole, agent(None, changed, pack, ship))

    last = whole.seqs("ToolCallScheduled", tool="order")[-1]
    assert divergence.seq == last + 1
    assert divergence.recorded.name == "pay"


async def test_a_call_that_is_missing_before_a_seam_is_found_there():
    shop = Shop()
    recorded = await record(agent(calls(("order", {"item": "tea"})), *shop.tools))
    cut = recorded.seqs("ToolCallCompleted")[-1]
    whole = await resumed(agent(ScriptedProvider().text("done"), *shop.tools, log=await cut_at(recorded, cut)))
    _, pack, ship = Shop().tools

    @tool
    async def order(item: str) -> list:
        """Pay, pack (another tool) and write a mail."""
        return [item]

    divergence = await diverges(whole, agent(None, order, pack, ship))

    assert (divergence.seq, divergence.recorded.name) == (recorded.seq("SideEffectRecorded", name="pay"), "pay")


# --- the blocking twin, and a log that fails in between


def test_resume_sync():
    log = MemoryLog()
    recorded = asyncio.run(record(agent(ScriptedProvider().text("first"), log=MemoryLog())))
    asyncio.run(log.append("run", recorded.events[:2]))

    result = agent(ScriptedProvider().text("second"), log=log).resume_sync("run", "go on")

    assert (result.run_id, result.final_text, result.turn_count) == ("run", "second", 2)


async def test_a_log_that_failed_can_be_mended_and_the_run_resumed():
    class Failing(MemoryLog):
        full = False

        def append_sync(self, run_id, events):
            if self.full:
                raise OSError("disk full")
            super().append_sync(run_id, events)

    log, shop = Failing(), Shop(1)
    script = conversation()

    @tool(name="pack")
    def pack(item: str) -> str:
        """Runs in a thread."""
        log.full = True
        return "packed"

    order, _, ship = shop.tools
    with pytest.raises(LogWriteError):
        await agent(script, order, pack, ship, log=log).run_with_id("run", "go")
    log.full = False

    whole = await resumed(agent(ScriptedProvider(script.turns[1:]), *shop.tools, log=log))

    assert whole.error is None
    assert await replay(log, "run", agent(None, *Shop(1).tools)) == ()
