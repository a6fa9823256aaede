"""How the guard sees calls: who else profiles, traces or monitors, which threads are seen, what is left behind."""

import asyncio
import cProfile
import sys
import threading
import time
from pathlib import Path

import pytest

from starling import ambient, replay, tool
from starling.replay import RecordingSession, UndeclaredCalls
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls
from tests.undeclared_kit import TOOLS, anybody_looks, observing, recording, undeclared

HERE = Path(__file__)
MONITORING = sys.version_info >= (3, 12)


@tool
async def leaks() -> str:
    time.time()
    HERE.read_text()  # noqa: ASYNC240 - what is not to be done is what is found
    return "done"


async def found_with_a_tool(chosen):
    """What is found, by name. No check that nothing is left: that is the caller's."""
    session = RecordingSession(UndeclaredCalls([HERE.parent]))
    with ambient.override(session):
        await agent(calls(chosen.name), chosen).run("go")
    return [call.what for call in session.undeclared]


async def test_runs_that_overlap_are_all_observed_until_they_end():
    first_is_over, second_waits = asyncio.Event(), asyncio.Event()

    @tool
    async def quick() -> str:
        await second_waits.wait()
        return "done"

    @tool
    async def slow() -> str:
        second_waits.set()
        await first_is_over.wait()
        time.time()
        return "done"

    async def first():
        await agent(calls("quick"), quick).run("go")
        first_is_over.set()

    with recording() as session:
        await asyncio.gather(first(), agent(calls("slow"), slow).run("go"))
    assert [call.tool for call in session.undeclared] == ["slow"]


async def test_two_recordings_at_a_time_find_their_own():
    """As in a process that records with two sessions; each hears of its own contexts, and of its own folders."""
    both = asyncio.Barrier(2)

    @tool
    async def meets() -> str:
        await both.wait()
        time.time()
        await both.wait()
        return "done"

    async def one(root):
        session = RecordingSession(UndeclaredCalls([root]))
        with ambient.override(session):
            await agent(calls("meets"), meets).run("go")
        return [call.what for call in session.undeclared]

    async with asyncio.TaskGroup() as group:
        near, far = group.create_task(one(HERE.parent)), group.create_task(one(HERE.parent / "elsewhere"))
    assert (near.result(), far.result()) == (["time.time()"], [])
    assert not observing()


async def test_a_place_that_did_not_matter_is_looked_at_again_for_the_next_recording():
    def body():
        time.time()

    assert await undeclared(body, roots=[HERE.parent / "elsewhere"]) == ()
    assert [call.what for call in await undeclared(body)] == ["time.time()"]


async def test_a_profiler_that_is_at_work_is_left_alone():
    events = []

    def mine(frame, event, arg):
        events.append(event)

    sys.setprofile(mine)
    try:
        found = await found_with_a_tool(leaks)
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)
    assert "c_call" in events
    # Files are heard of in another way, and so are calls from Python 3.12 on.
    assert found == ["time.time()", "Path.read_text()"][0 if MONITORING else 1 :]


async def test_a_profiler_that_a_tool_switches_on_is_left_alone():
    profiler = cProfile.Profile()

    @tool
    async def profiled() -> str:
        profiler.enable()
        return "done"

    await found_with_a_tool(profiled)
    profiler.disable()
    assert profiler.getstats()
    assert sys.getprofile() is None


async def test_a_hook_of_somebody_elses_for_new_threads_is_left_alone():
    def mine(frame, event, arg):
        pass

    threading.setprofile(mine)
    try:
        await found_with_a_tool(leaks)
        assert threading.getprofile() is mine
    finally:
        threading.setprofile(None)


async def test_no_hook_for_new_threads_is_left_behind():
    await found_with_a_tool(leaks)
    assert threading.getprofile() is None


async def test_a_tracer_goes_on_tracing():
    """Debuggers and coverage measurement trace."""
    before, lines = sys.gettrace(), []

    def trace(frame, event, arg):
        lines.append((frame.f_code.co_name, event))
        return trace

    sys.settrace(trace)
    try:
        found = await found_with_a_tool(leaks)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert ("leaks", "line") in lines
    assert found == ["time.time()", "Path.read_text()"]


@pytest.mark.skipif(not MONITORING, reason="needs sys.monitoring")
class TestMonitoring:
    @pytest.mark.parametrize("theirs", range(5))
    async def test_tools_of_others_go_on(self, theirs):
        """Coverage measurement, debuggers and profilers may each have one."""
        monitoring, heard = sys.monitoring, []

        def called(code, offset, function, first):
            heard.append((code.co_name, function))

        if monitoring.get_tool(theirs) is not None:
            pytest.skip("in use in this very session")
        monitoring.use_tool_id(theirs, "theirs")
        try:
            monitoring.register_callback(theirs, monitoring.events.CALL, called)
            monitoring.set_events(theirs, monitoring.events.CALL)
            found = await found_with_a_tool(leaks)
            assert monitoring.get_tool(theirs) == "theirs"
            assert monitoring.get_events(theirs) == monitoring.events.CALL
        finally:
            monitoring.set_events(theirs, 0)
            monitoring.register_callback(theirs, monitoring.events.CALL, None)
            monitoring.free_tool_id(theirs)
        assert ("leaks", time.time) in heard
        assert found == ["time.time()", "Path.read_text()"]
        assert not observing()

    async def test_where_no_tool_is_free_a_profile_function_helps_out(self):
        for one in TOOLS:
            sys.monitoring.use_tool_id(one, "theirs")
        try:
            found = await found_with_a_tool(leaks)
            assert [sys.monitoring.get_tool(one) for one in TOOLS] == ["theirs", "theirs"]
        finally:
            for one in TOOLS:
                sys.monitoring.free_tool_id(one)
        assert found == ["time.time()", "Path.read_text()"]
        assert (sys.getprofile(), threading.getprofile()) == (None, None)

    async def test_functions_do_not_announce_themselves_any_more_afterwards(self):
        import uuid

        seen = []

        @tool
        async def looks() -> str:
            seen.extend(sys.monitoring.get_local_events(one, uuid.uuid4.__code__) for one in TOOLS)
            return "done"

        await found_with_a_tool(looks)
        assert sorted(seen) == [0, sys.monitoring.events.PY_START]
        with recording():
            assert [sys.monitoring.get_tool(one) for one in TOOLS] == [None, None]
        sys.monitoring.use_tool_id(TOOLS[0], "theirs")
        try:
            assert sys.monitoring.get_local_events(TOOLS[0], uuid.uuid4.__code__) == 0
        finally:
            sys.monitoring.free_tool_id(TOOLS[0])


@pytest.mark.parametrize("fails", [True, False])
async def test_nothing_is_left_installed_in_threads(fails):
    seen = []

    @tool
    def look() -> str:
        seen.append(observing())
        if fails:
            raise ValueError
        return "done"

    with recording(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("starling.tool._threads._idle", [])
        await agent(calls("look"), look, tool_errors="report").run("go")
        await agent(calls("look"), look, tool_errors="report").run("go")
        with ambient.override(None):
            await agent(calls("look"), look, tool_errors="report").run("go")
    assert seen == [True, True, False]


async def test_replays_and_unwatched_recordings_install_nothing():
    seen = []

    @tool
    async def look() -> str:
        seen.append(observing())
        time.time()
        return "done"

    session = RecordingSession()
    one = agent(calls("look"), look)
    with ambient.override(session):
        result = await one.run("go")
    assert await replay(one.log, result.run_id, agent(ScriptedProvider(), look)) == ()
    assert seen == [False, False]
    assert session.undeclared == ()


async def test_a_thread_that_a_tool_has_started_is_let_go_when_the_run_is_over():
    begun, over, seen = threading.Event(), threading.Event(), []

    def body():
        seen.append(observing())
        begun.set()
        over.wait()
        noop()
        seen.append(observing())

    thread = threading.Thread(target=body)

    @tool
    def starts() -> str:
        thread.start()
        begun.wait()
        return "done"

    await found_with_a_tool(starts)
    over.set()
    thread.join()
    assert seen == [True, False]


def test_a_run_that_outlives_its_session_is_let_go():
    """As one that a test has left behind in a thread, or in a generator that nobody closes."""
    asked, over, seen = threading.Event(), threading.Event(), []
    session = RecordingSession(UndeclaredCalls([HERE.parent]))

    def look() -> None:
        seen.append(observing())
        asked.set()
        over.wait()
        noop()
        seen.append(observing())

    def body():
        with ambient.override(session):
            agent(calls("looks"), tool(look, name="looks")).run_sync("go")

    thread = threading.Thread(target=body)
    thread.start()
    asked.wait()
    session.close()
    assert not anybody_looks()
    over.set()
    thread.join()
    assert seen == [True, False]


def noop():
    """Something to call, in a thread whose profile function looks at calls only."""


def test_a_thread_whose_run_was_closed_elsewhere_is_let_go():
    """The garbage collector closes a forgotten run in whichever thread it happens to work."""
    entered, closed, seen = threading.Event(), threading.Event(), []
    watching = UndeclaredCalls([HERE.parent]).watch_thread()

    def body():
        watching.__enter__()
        seen.append(observing())
        entered.set()
        closed.wait()
        noop()
        seen.append(observing())

    thread = threading.Thread(target=body)
    thread.start()
    entered.wait()
    watching.__exit__(None, None, None)
    closed.set()
    thread.join()
    assert seen == [True, False]
