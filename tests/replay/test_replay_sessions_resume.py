"""Runs that the code under test resumes: each call of `Agent` is recorded, and played back, as the part it was."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from starling import MemoryLog, SQLiteLog, ambient, step, tool
from starling.errors import (
    LogWriteError,
    NondeterminismError,
    PartialToolCallError,
    RunAlreadyTerminalError,
    RunCutOffError,
    RunInUseError,
)
from starling.event import Chain, Kind, validate
from starling.replay import RecordingSession, ReplayingSession
from starling.testing import ScriptedProvider, append_run_started
from tests.agent_kit import MODEL, agent, calls, record


class FullLog(MemoryLog):
    """A log that runs full after so many appends, until it is mended."""

    def __init__(self, *takes: int) -> None:
        super().__init__()
        self._takes = itertools.chain(takes, itertools.repeat(None))
        self.mend()

    def mend(self) -> None:
        self.left = next(self._takes)

    def append_sync(self, run_id, events):
        if self.left == 0:
            raise OSError("disk full")
        if self.left is not None:
            self.left -= 1
        super().append_sync(run_id, events)


@tool
async def pay(item: str) -> list:
    paid = await step.side_effect("pay", lambda: f"paid {item}")
    return [paid, await step.call_tool(step.ToolCall(name="pack", args={"item": item}))]


@tool
def pack(item: str) -> str:
    return f"{step.side_effect_sync('pack', lambda: f'packed {item}')} {step.random()}"


class Model(ScriptedProvider):
    """Answers by how far the conversation has come, so that it can be asked again after a crash."""

    def __init__(self) -> None:
        super().__init__(calls(("pay", {"item": "tea"}), ("pack", {"item": "cup"})).turns)

    def _next_turn(self, request):
        return self.turns[sum(message.role == "assistant" for message in request.messages[:2])]


def clerk(log, **options):
    return agent(Model(), pay, pack, log=log, **options)


async def until_it_is_done(log, goal="go", extra="", today=clerk):
    """A user's own loop around a run: mend the log, resume, again and again."""
    errors = []
    run_id = ""
    while True:
        try:
            if run_id:
                return errors, await today(log).resume(run_id, extra_message=extra)
            return errors, await today(log).run(goal)
        except LogWriteError as error:
            run_id = error.run_id
            errors.append(error.seq)
            log.mend()


async def recorded(program):
    session = RecordingSession()
    with ambient.activate(session):
        came_to = await program()
    for run in session.runs:
        validate(run.events)
    return session.runs, came_to


async def replayed(runs, program):
    session = ReplayingSession(runs)
    came_to = None
    with ambient.activate(session), contextlib.suppress(NondeterminismError):
        came_to = await program()
    session.finish()
    return session, came_to


APPENDS = 11
"""How many appends a whole run makes."""


@pytest.mark.parametrize("takes", [*((number,) for number in range(1, APPENDS)), (3, 2), (2, 4, 1), (7, 1, 1, 1)])
async def test_a_crash_and_its_resumption_play_back_as_they_were(takes):
    logs = []

    async def program():
        logs.append(FullLog(*takes))
        return await until_it_is_done(logs[-1])

    runs, (errors, result) = await recorded(program)
    session, (again, same) = await replayed(runs, program)

    assert len(errors) == len(takes)
    assert session.failures == []
    assert session.played == list(runs)
    assert again == errors
    assert (same.run_id, same.merkle_root, same.turn_count) == (result.run_id, result.merkle_root, result.turn_count)
    assert await logs[0].read(result.run_id) == await logs[1].read(result.run_id) == list(runs[0].events)


async def test_the_whole_run_is_one_in_the_recording_and_others_keep_their_order():
    async def program():
        await clerk(MemoryLog()).run("before")
        await until_it_is_done(FullLog(5), "broken")
        await clerk(MemoryLog()).run("after")

    runs, _ = await recorded(program)
    session, _ = await replayed(runs, program)

    assert [run.events[0].decode().goal for run in runs] == ["before", "broken", "after"]
    assert session.failures == []


@pytest.mark.parametrize(("live", "today"), [(6, 4), (4, 6), (6, None), (2, 1)])
async def test_where_todays_log_fails_is_not_the_codes_doing(live, today):
    """Today's log runs full sooner, later or not at all; the recording says how far the first part goes."""
    takes = iter((live, today))

    async def program():
        limit = next(takes)
        return await until_it_is_done(FullLog() if limit is None else FullLog(limit))

    runs, (_, result) = await recorded(program)
    session, (_, same) = await replayed(runs, program)

    assert session.failures == []
    assert same.merkle_root == result.merkle_root


async def test_what_arrived_though_the_log_said_it_failed_is_in_the_recording():
    class Liar(FullLog):
        """Takes a batch, says that it did not, and cannot be read just then."""

        def append_sync(self, run_id, events):
            if self.left == 0:
                MemoryLog.append_sync(self, run_id, events)
            super().append_sync(run_id, events)

        def read_sync(self, run_id):
            if self.left == 0:
                raise OSError("not now")
            return super().read_sync(run_id)

    runs, (errors, result) = await recorded(lambda: until_it_is_done(Liar(4)))
    session, (_, same) = await replayed(runs, lambda: until_it_is_done(FullLog(4)))

    assert len(errors) == 1
    assert session.failures == []
    assert same.run_id == result.run_id


async def test_a_call_whose_run_was_taken_over_plays_back_as_one():
    """The recording cannot say whether its log had failed; handlers of either find it."""

    async def program():
        log, waits, goes_on = MemoryLog(), asyncio.Event(), asyncio.Event()

        @tool
        async def wait() -> str:
            waits.set()
            await goes_on.wait()
            return "waited"

        def waiter():
            return agent(calls("wait"), wait, log=log)

        first = asyncio.ensure_future(waiter().run_with_id("run", "go"))
        if ambient.active().replaying:
            goes_on.set()
            await asyncio.wait([first])
        else:
            await waits.wait()
        goes_on.set()
        result = await agent(ScriptedProvider().text("done"), wait, log=log).resume("run")
        with pytest.raises(RunInUseError) as raised:
            await first
        return raised.value, result

    runs, (error, result) = await recorded(program)
    session, (again, same) = await replayed(runs, program)

    seam = next(event.seq for event in runs[0].events if event.kind is Kind.RunResumed)
    assert type(error) is RunInUseError
    assert session.failures == []
    assert (type(again), again.run_id, again.seq) == (RunCutOffError, "run", seam)
    assert same.merkle_root == result.merkle_root


# --- what changed is found


def seqs(session):
    return [failure.divergence.seq for failure in session.failures]


async def test_another_extra_message_diverges_at_the_seam():
    texts = itertools.count()

    async def program():
        return await until_it_is_done(FullLog(5), extra=f"hurry {next(texts)}")

    runs, _ = await recorded(program)
    session, _ = await replayed(runs, program)

    seam = next(event.seq for event in runs[0].events if event.kind is Kind.RunResumed)
    assert seqs(session) == [seam]
    assert [change.path for change in session.failures[0].divergence.changes] == ["extra_message"]


async def test_code_that_does_not_resume_any_more_leaves_the_run_unfinished():
    async def program():
        with contextlib.suppress(LogWriteError):
            return await clerk(FullLog(5)).run("go")

    runs, _ = await recorded(lambda: until_it_is_done(FullLog(5)))
    session, _ = await replayed(runs, program)

    seam = next(event.seq for event in runs[0].events if event.kind is Kind.RunResumed)
    assert seqs(session) == [seam]
    assert "resume" in session.failures[0].divergence.reason


async def test_a_change_behind_the_seam_is_found_there():
    @tool(name="pack")
    def changed(item: str) -> str:
        return f"wrapped {item} {step.side_effect_sync('pack', lambda: '')} {step.random()}"

    def other(log):
        return agent(Model(), pay, changed, log=log)

    runs, _ = await recorded(lambda: until_it_is_done(FullLog(4)))
    session, _ = await replayed(runs, lambda: until_it_is_done(FullLog(4), today=other))

    seam = next(event.seq for event in runs[0].events if event.kind is Kind.RunResumed)
    (seq,) = seqs(session)
    assert seq > seam
    assert session.failures[0].divergence.expected_kind is Kind.ToolCallCompleted


async def test_resuming_what_had_ended_in_the_recording_is_the_same_error():
    async def program():
        log = MemoryLog()
        result = await clerk(log).run("go")
        with pytest.raises(RunAlreadyTerminalError):
            await clerk(log).resume(result.run_id)

    runs, _ = await recorded(program)
    session, _ = await replayed(runs, program)

    assert session.failures == []


async def test_a_refusal_to_reissue_is_the_same_error_and_writes_nothing():
    async def program():
        log = FullLog(5)
        with pytest.raises(LogWriteError) as raised:
            await clerk(log).run("go")
        log.mend()
        with pytest.raises(PartialToolCallError):
            await clerk(log).resume(raised.value.run_id, reissue_tools=False)
        return await clerk(log).resume(raised.value.run_id)

    runs, result = await recorded(program)
    session, same = await replayed(runs, program)

    assert session.failures == []
    assert same.merkle_root == result.merkle_root


# --- a run that something else had begun


async def begun(log, whole, *, ended_calls=True):
    """What a process before the test left in the log, stamped anew each time."""
    cut = whole.seqs("ToolCallCompleted")[-1] if ended_calls else 3
    chain = Chain(whole.run_id)
    stamps = itertools.count(next(_instants))
    events = [chain.append(payload, next(stamps)) for payload in _fixed_ids(whole.payloads[:cut])]
    await log.append(whole.run_id, events)


_instants = itertools.count(1_000_000_000, 1_000)


def _fixed_ids(payloads):
    """The ids that were minted, and what chance decided, as a file of the project's would have them."""
    from dataclasses import replace

    from starling.event import SideEffectRecorded, ToolCallCompleted

    minted = {}
    for payload in payloads:
        fixed = {
            name: minted.setdefault(getattr(payload, name), f"{name}-{len(minted)}")
            for name in ("turn_id", "call_id", "parent_call_id")
            if getattr(payload, name, "") and not getattr(payload, name).startswith("call_")
        }
        if isinstance(payload, SideEffectRecorded) and payload.name == "rand":
            fixed["value"] = 4
        if isinstance(payload, ToolCallCompleted):
            fixed |= {"duration_ms": 0, "result": "done"}
        yield replace(payload, **fixed)


@pytest.mark.parametrize("ended_calls", [True, False])
async def test_a_run_that_was_begun_elsewhere_is_recorded_whole_and_plays_back(ended_calls):
    logs = []
    whole = await record(clerk(MemoryLog()), run_id="earlier")  # once: in which order its calls finish is chance

    async def program():
        logs.append(MemoryLog())
        await begun(logs[-1], whole, ended_calls=ended_calls)
        return await clerk(logs[-1]).resume("earlier")

    runs, result = await recorded(program)
    session, same = await replayed(runs, program)

    assert session.failures == []
    assert session.played == list(runs)
    assert (same.final_text, same.turn_count) == (result.final_text, result.turn_count)
    live, today = [await log.read("earlier") for log in logs]
    assert live == list(runs[0].events)
    assert [event.kind for event in today] == [event.kind for event in live]
    validate(today)  # its beginning was stamped today, and the rest is linked to that


async def test_another_beginning_diverges_where_it_differs():
    goals = iter(("one", "another"))

    async def program():
        log = MemoryLog()
        append_run_started(log, "earlier", next(goals), model=MODEL)
        return await clerk(log).resume("earlier")

    runs, _ = await recorded(program)
    session, _ = await replayed(runs, program)

    assert seqs(session) == [1]
    assert [change.path for change in session.failures[0].divergence.changes] == ["goal"]


async def test_a_run_that_nobody_recorded_cannot_be_resumed_in_a_replay():
    async def program():
        log = MemoryLog()
        append_run_started(log, "other", "go", model=MODEL)
        return await clerk(log).resume("other")

    runs, _ = await recorded(lambda: clerk(MemoryLog()).run("go"))
    session, _ = await replayed(runs, program)

    assert "resumed run other, which the recording does not have" in session.failures[0].divergence.reason


# --- around a resumption


async def test_a_resumption_inside_a_tool_belongs_to_it():
    @tool
    async def outer() -> str:
        _, result = await until_it_is_done(FullLog(5))
        return result.final_text

    async def program():
        return await agent(calls("outer"), outer).run("go")

    runs, _ = await recorded(program)
    session, _ = await replayed(runs, program)

    assert session.failures == []
    assert len(session.played) == 2


async def test_a_log_on_disk_that_was_closed_in_between(tmp_path):
    numbers = itertools.count()

    async def program():
        path = tmp_path / f"{next(numbers)}.db"
        async with SQLiteLog(path) as log:
            append_run_started(log, "earlier", "go", model=MODEL)
        async with SQLiteLog(path) as log:
            await clerk(log).resume("earlier")
            return [event.kind for event in await log.read("earlier")]

    runs, kinds = await recorded(program)
    session, same = await replayed(runs, program)

    assert session.failures == []
    assert same == kinds
