"""What a run writes when, and what becomes of it when the log does not take it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging

import pytest

from starling import MemoryLog, replay, step, tool
from starling.agent._live import run_goal
from starling.errors import (
    AgentConfigError,
    LogClosedError,
    LogCorruptError,
    LogWriteError,
    RunInUseError,
    SchemaTooNewError,
)
from starling.event import Chain, Kind, UserMessageAppended, validate
from starling.step import _bounded, _writer
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record, replays


class AsyncLog:
    """A log that can only be awaited, as one behind a network is; remembers each batch."""

    def __init__(self):
        self.inner = MemoryLog()
        self.batches = []

    async def append(self, run_id, events):
        await asyncio.sleep(0)
        self.batches.append([event.kind.name for event in events])
        await self.inner.append(run_id, events)

    async def read(self, run_id):
        await asyncio.sleep(0)
        return await self.inner.read(run_id)

    def stream(self, run_id, from_seq=1):
        return self.inner.stream(run_id, from_seq)

    async def close(self):
        await self.inner.close()


class InLineLog(MemoryLog):
    """A log that is written in line, as files are; remembers each batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def _append(self, run_id, events):
        self.batches.append([event.kind.name for event in events])
        super()._append(run_id, events)


@pytest.fixture(params=[InLineLog, AsyncLog])
def log(request):
    return request.param()


@tool
async def echo(value: object = None) -> object:
    return value


# --- when


async def test_events_are_committed_where_the_world_could_run_ahead_of_the_log(log):
    @tool
    async def pay() -> str:
        step.now()
        return await step.side_effect("pay", lambda: "paid")

    await record(agent(calls("pay"), pay, log=log))

    assert log.batches == [
        ["RunStarted"],
        ["TurnStarted"],
        ["AssistantMessageCompleted", "ToolCallScheduled"],
        ["SideEffectRecorded", "SideEffectRecorded"],
        ["ToolCallCompleted"],
        ["TurnStarted"],
        ["AssistantMessageCompleted", "RunCompleted"],
    ]


async def test_a_provider_is_called_once_its_turn_is_in_the_log(log):
    seen = []

    async def look():
        seen.extend(event.kind for event in await log.read("run"))

    await record(agent(ScriptedProvider().do(look).text("x"), log=log))

    assert seen == [Kind.RunStarted, Kind.TurnStarted]


async def test_an_effect_is_in_the_log_when_the_tool_goes_on(log):
    seen = []

    @tool
    async def waits() -> None:
        await step.side_effect("x", lambda: 1)
        seen.append([event.kind for event in await log.read("run")][-1])

    @tool
    def blocks() -> None:
        step.side_effect_sync("x", lambda: 1)
        seen.append(log.batches[-1])

    await record(agent(calls("waits").tool_call("blocks").turn().text("done"), waits, blocks, log=log))

    assert seen == [Kind.SideEffectRecorded, ["SideEffectRecorded"]]


async def test_a_blocking_effect_in_an_async_tool_is_not_lost(log):
    @tool
    async def t() -> int:
        return step.side_effect_sync("x", lambda: 7)

    recorded = await record(agent(calls("t"), t, log=log))

    assert recorded.one("SideEffectRecorded").value == 7
    await replays(recorded, agent(calls("t"), t))


# --- when it fails


class Failing(AsyncLog):
    """Fails at the n-th append. `lost`: the batch was written all the same. `down`: so does reading from then on."""

    def __init__(self, at, *, lost=False, down=False, error=None):
        super().__init__()
        self.at, self.lost, self.down = at, lost, down
        self.error = error or OSError("disk full")

    async def append(self, run_id, events):
        self.at -= 1
        if self.at == 0:
            if self.lost:
                await super().append(run_id, events)
            raise self.error
        await super().append(run_id, events)

    async def read(self, run_id):
        if self.down and self.at <= 0:
            raise ConnectionError("down")
        return await super().read(run_id)


class FailingInLine(InLineLog):
    def __init__(self, at, *, lost=False):
        super().__init__()
        self.at, self.lost = at, lost

    def _append(self, run_id, events):
        self.at -= 1
        if self.at == 0:
            if self.lost:
                super()._append(run_id, events)
            raise LogWriteError("disk full")
        super()._append(run_id, events)


def effectful():
    ran = []

    @tool
    async def pay() -> str:
        ran.append("pay")
        paid = await step.side_effect("pay", lambda: ran.append("effect") or "paid")
        ran.append("after")
        return paid

    script = calls("pay")
    return ran, script, pay


# What has happened when the n-th append fails: the calls of the provider, and what the tool has done.
STAGES = {
    1: (0, []),
    2: (0, []),
    3: (1, []),
    4: (1, ["pay", "effect"]),
    5: (1, ["pay", "effect", "after"]),
    6: (1, ["pay", "effect", "after"]),
    7: (2, ["pay", "effect", "after"]),
}


@pytest.mark.parametrize("make", [Failing, FailingInLine])
@pytest.mark.parametrize("at", STAGES)
async def test_after_a_failed_append_nothing_further_is_dispatched(make, at):
    ran, script, pay = effectful()
    today = agent(script, pay, log=make(at))

    with pytest.raises(LogWriteError) as raised:
        await today.run_with_id("run", "go")

    assert (len(script.requests), ran) == STAGES[at]
    events = await today.log.read("run")
    assert raised.value.run_id == "run"
    assert raised.value.seq == len(events) + 1
    assert "disk full" in str(raised.value)
    assert not events or events[-1].kind not in (Kind.RunFailed, Kind.RunCompleted), "the run stays resumable"


@pytest.mark.parametrize("make", [Failing, FailingInLine])
@pytest.mark.parametrize("at", STAGES)
async def test_after_a_lost_acknowledgement_the_run_goes_on(make, at):
    ran, script, pay = effectful()

    recorded = await record(agent(script, pay, log=make(at, lost=True)))

    assert recorded.result.final_text == "done"
    assert ran == ["pay", "effect", "after"]


async def test_a_log_that_is_down_altogether_reports_the_first_error():
    _, script, pay = effectful()

    with pytest.raises(LogWriteError, match="disk full") as raised:
        await agent(script, pay, log=Failing(3, down=True)).run("go")

    assert isinstance(raised.value.__cause__, OSError)


async def test_a_tool_cannot_swallow_a_failed_append():
    went_on = []

    @tool
    async def stubborn() -> str:
        for _ in range(3):
            try:
                await step.side_effect("x", lambda: 1)
            except Exception:
                went_on.append(1)
        return "fine"

    with pytest.raises(LogWriteError):
        await agent(calls("stubborn"), stubborn, log=Failing(4)).run("go")

    assert went_on == [1, 1, 1]


class Stuck(AsyncLog):
    """The n-th append never comes back."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    async def append(self, run_id, events):
        self.at -= 1
        if self.at == 0:
            await asyncio.Event().wait()
        await super().append(run_id, events)


async def test_an_append_that_hangs_is_given_up_after_the_emit_timeout():
    _, script, pay = effectful()
    today = agent(script, pay, log=Stuck(3), emit_timeout=0.02)

    with pytest.raises(LogWriteError, match="seq 3"):
        await today.run("go")

    assert len(script.requests) == 1


async def test_a_late_append_is_the_configs_emit_timeout():
    with pytest.raises(LogWriteError, match=r"longer than Config\.emit_timeout allows \(0\.02 s\)") as raised:
        await agent(ScriptedProvider().text("x"), log=Stuck(2), emit_timeout=0.02).run_with_id("run", "go")

    assert isinstance(raised.value.__cause__, TimeoutError)


class Stubborn(AsyncLog):
    """The n-th append does not even heed its cancellation, until `go_on`."""

    def __init__(self, at, *, then=None):
        super().__init__()
        self.at, self.then = at, then
        self.reached, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def append(self, run_id, events):
        self.at -= 1
        if self.at != 0:
            await super().append(run_id, events)
            return
        self.reached.set()
        while not self.go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.go_on.wait()
        self.ended.set()
        if self.then is not None:
            raise self.then


@pytest.mark.parametrize("then", [None, OSError("late"), KeyboardInterrupt()])
async def test_an_append_that_does_not_heed_its_cancellation_is_given_up(monkeypatch, then):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    monkeypatch.setattr(_writer, "GRACE_S", 0.02)
    log = Stubborn(2, then=then)

    with pytest.raises(LogWriteError, match="emit_timeout"):
        await agent(ScriptedProvider().text("x"), log=log, emit_timeout=0.02).run("go")

    log.go_on.set()
    await asyncio.wait(_bounded._unfinished)
    gc.collect()
    assert log.ended.is_set()
    assert reported == []


@pytest.mark.parametrize("at", [1, 2, 4])
async def test_a_cancellation_on_top_of_a_late_append_leaves_nothing_running(monkeypatch, at):
    monkeypatch.setattr(_writer, "GRACE_S", 0.02)
    ran, script, pay = effectful()
    log = Stubborn(at)
    before = asyncio.all_tasks()
    task = asyncio.create_task(agent(script, pay, log=log, emit_timeout=0.02).run_with_id("run", "go"))
    await log.reached.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)

    left = asyncio.all_tasks() - before
    given_up = set(_bounded._unfinished)
    log.go_on.set()
    await asyncio.wait(given_up)

    with pytest.raises(LogWriteError, match="emit_timeout"):
        task.result()
    assert left <= given_up
    assert not _bounded._unfinished
    assert "after" not in ran
    assert [event.kind.name for event in await log.read("run")][-1:] != ["RunCancelled"]


async def test_reading_what_became_of_a_late_append_is_bounded_too(monkeypatch):
    class DownAltogether(Stuck):
        async def read(self, run_id):
            if self.at <= 0:
                await asyncio.Event().wait()
            return await super().read(run_id)

    monkeypatch.setattr(_writer, "GRACE_S", 0.02)

    with pytest.raises(LogWriteError, match="emit_timeout"):
        await agent(ScriptedProvider().text("x"), log=DownAltogether(2), emit_timeout=0.02).run("go")


async def test_a_late_append_that_arrived_all_the_same_counts():
    class Unheard(Stuck):
        async def append(self, run_id, events):
            if self.at == 1:
                await self.inner.append(run_id, events)
            await super().append(run_id, events)

    recorded = await record(agent(ScriptedProvider().text("x"), log=Unheard(2), emit_timeout=0.02))

    assert recorded.result.final_text == "x"


async def test_a_cancelled_run_waits_for_the_append_that_is_under_way():
    """A batch is in the log or it is not; a cancellation must not leave that open."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Slow(AsyncLog):
        async def append(self, run_id, events):
            if events[0].kind is Kind.TurnStarted:
                reached.set()
                await go_on.wait()
            await super().append(run_id, events)

    log = Slow()
    task = asyncio.create_task(record(agent(ScriptedProvider().text("x"), log=log)))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    recorded = await task

    assert recorded.kinds == ["RunStarted", "TurnStarted", "RunCancelled"]


class Interrupted(InLineLog):
    """Ctrl-C during the n-th append, before or after it took effect."""

    def __init__(self, at, *, arrives):
        super().__init__()
        self.at, self.arrives = at, arrives

    def _append(self, run_id, events):
        self.at -= 1
        if self.at != 0:
            super()._append(run_id, events)
            return
        if self.arrives:
            super()._append(run_id, events)
        raise KeyboardInterrupt


class InterruptedAsync(AsyncLog):
    """The same of a log that can only be awaited."""

    def __init__(self, at, *, arrives):
        super().__init__()
        self.at, self.arrives = at, arrives

    async def append(self, run_id, events):
        self.at -= 1
        if self.at != 0 or self.arrives:
            await super().append(run_id, events)
        if self.at == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("make", [Interrupted, InterruptedAsync])
@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
async def test_an_interrupted_append_loses_nothing(make, arrives, at):
    ran, script, pay = effectful()
    log = make(at, arrives=arrives)
    observed = []
    today = agent(script, pay, log=log)

    with pytest.raises(KeyboardInterrupt):
        await run_goal(today._wiring(), "go", "run", observed.extend)

    events = await log.read("run")
    validate(events)
    assert events[-1].decode().reason == "interrupted by KeyboardInterrupt"
    assert observed == events
    kinds = [event.kind.name for event in events[:-1]]
    assert kinds == WHOLE[: len(kinds)]
    assert len(kinds) >= SEEN_BY[at]
    assert ("effect" in ran) == ("SideEffectRecorded" in kinds)


WHOLE = ["RunStarted", "TurnStarted", "AssistantMessageCompleted", "ToolCallScheduled", "SideEffectRecorded"]
WHOLE += ["ToolCallCompleted", "TurnStarted", "AssistantMessageCompleted"]
SEEN_BY = {1: 1, 2: 2, 3: 4, 4: 5, 5: 6, 6: 7}
"""How many events the run has made when its n-th append begins."""


@pytest.mark.parametrize("make", [InLineLog, AsyncLog])
async def test_the_id_of_a_stored_run_is_taken(make):
    log = make()
    first = agent(ScriptedProvider().text("x"), log=log)
    await first.run_with_id("mine", "go")
    stored = await log.read("mine")
    second = agent(ScriptedProvider().text("y"), log=log)

    with pytest.raises(RunInUseError) as raised:
        await second.run_with_id("mine", "go")

    assert str(raised.value) == ("run mine: the log already holds a run of that id: choose another id, or resume it")
    assert (raised.value.run_id, raised.value.seq) == ("mine", 1)
    assert second.provider.requests == ()
    assert await log.read("mine") == stored


@pytest.mark.parametrize(
    ("run_id", "said"), [("", "empty"), ("a\0b", "NUL"), ("a\ud800b", "surrogate"), ("\udfff", "surrogate"), (7, "int")]
)
def test_an_id_that_no_log_can_keep_is_refused_before_anything_runs(run_id, said):
    class Untouched(MemoryLog):
        async def schema_version(self):
            raise AssertionError("not asked for")

    script = ScriptedProvider().text("x")

    with pytest.raises(AgentConfigError, match=said) as raised:
        agent(script, log=Untouched()).run_with_id_sync(run_id, "go")

    assert raised.value.field == "run_id"
    assert script.requests == ()


async def test_an_id_of_the_callers_is_taken_as_it_is():
    today = agent(ScriptedProvider().text("x"), namespace="shop")

    assert (await today.run_with_id("a/ü 😀", "go")).run_id == "a/ü 😀"


async def test_a_run_that_another_writer_advanced_is_left_alone():
    log = InLineLog()

    async def intrude():
        chain = Chain.resume(await log.read("run"))
        await log.append("run", [chain.append(UserMessageAppended(content="mine"), 1)])

    with pytest.raises(RunInUseError, match="another writer"):
        await agent(ScriptedProvider().do(intrude).text("x"), log=log).run_with_id("run", "go")

    assert [event.kind.name for event in await log.read("run")][-1] == "UserMessageAppended"


async def test_a_closed_log_is_found_before_anything_runs():
    log = MemoryLog()
    await log.close()
    script = ScriptedProvider().text("x")

    with pytest.raises((LogWriteError, LogClosedError)):
        await agent(script, log=log).run("go")

    assert script.requests == ()


# --- the schema check


class Newer(MemoryLog):
    async def schema_version(self):
        return 99

    async def migrate(self, *, dry_run=False):
        raise AssertionError("not asked for")


async def test_the_logs_schema_is_checked_before_a_run():
    with pytest.raises(SchemaTooNewError):
        await agent(ScriptedProvider().text("x"), log=Newer()).run("go")

    recorded = await record(agent(ScriptedProvider().text("x"), log=Newer(), skip_schema_check=True))
    assert recorded.result.final_text == "x"


# --- what is said about a run


class Counting:
    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args: self.calls.append((name, *[arg for arg in args if not isinstance(arg, float)]))


async def test_metrics_are_told_what_happens():
    metrics = Counting()

    @tool
    async def boom() -> str:
        raise ValueError("x")

    script = ScriptedProvider().tool_call("echo").tool_call("boom").usage(7, 3).turn()
    await record(agent(script, echo, boom, metrics=metrics))

    assert metrics.calls == [
        ("run_started",),
        ("tokens_used", "gpt-4o-mini", "input", 7),
        ("tokens_used", "gpt-4o-mini", "output", 3),
        ("tokens_used", "gpt-4o-mini", "cache_read", 0),
        ("tokens_used", "gpt-4o-mini", "cache_create", 0),
        ("provider_called", "gpt-4o-mini", "ok"),
        ("tool_called", "echo", "ok", ""),
        ("tool_called", "boom", "error", "tool"),
        ("run_ended", "failed", "tool"),
    ]


async def test_start_and_end_are_logged_with_the_run_id(caplog):
    logger = logging.getLogger("mine")
    with caplog.at_level(logging.INFO, logger="mine"):
        await record(agent(calls("echo"), echo, logger=logger))

    assert [(entry.name, entry.message, entry.run_id) for entry in caplog.records] == [
        ("mine", "run started", "run"),
        ("mine", "run completed", "run"),
    ]


# --- reading back


async def test_a_damaged_recording_is_corrupt_not_diverged():
    recorded = await record(agent(calls("echo"), echo))
    damaged = MemoryLog()
    changed = list(recorded.events)
    changed[4] = dataclasses.replace(changed[4], ts=changed[4].ts + 1)
    damaged._runs["run"] = changed

    with pytest.raises(LogCorruptError) as raised:
        validate(changed)
    assert raised.value.seq == 6

    with pytest.raises(LogCorruptError):
        await replay(damaged, "run", agent(calls("echo"), echo))
