"""The blocking twins, with and without a running loop, in threads and inside of tools."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from starling import replay_sync, step, tool
from starling.errors import MaxTurnsExceededError, RunNotFoundError
from starling.event import Kind
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls

USER = contextvars.ContextVar("USER", default="nobody")


@tool
async def whoami() -> list:
    """The caller's context and the thread this runs in."""
    return [USER.get(), step.random()]


@tool
def whoami_sync() -> list:
    return [USER.get(), step.random()]


def asking():
    return agent(calls("whoami", "whoami_sync"), whoami, whoami_sync)


def users(today, run_id):
    events = today.log.read_sync(run_id)
    return [event.decode().result[0] for event in events if event.kind is Kind.ToolCallCompleted]


def test_without_a_running_loop():
    USER.set("ann")
    today = asking()

    result = today.run_sync("go")

    assert result.final_text == "done"
    assert users(today, result.run_id) == ["ann", "ann"]
    assert replay_sync(today.log, result.run_id, asking()) == ()


async def test_inside_a_running_loop():
    USER.set("bob")
    today = asking()

    result = today.run_sync("go")

    assert users(today, result.run_id) == ["bob", "bob"]
    assert replay_sync(today.log, result.run_id, asking()) == ()


def test_from_many_threads_at_a_time():
    def one(_):
        today = asking()
        result = today.run_sync("go")
        return replay_sync(today.log, result.run_id, asking())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [()] * 24


@pytest.mark.parametrize("sync", [False, True])
def test_inside_of_a_tool(sync):
    @tool
    async def outer() -> str:
        return asking().run_sync("inner").final_text

    @tool(name="outer")
    def outer_sync() -> str:
        return asking().run_sync("inner").final_text

    result = agent(calls("outer"), outer_sync if sync else outer).run_sync("go")

    assert result.final_text == "done"


def test_errors_of_the_run_reach_the_caller_with_their_result():
    script = ScriptedProvider().tool_call("whoami").turn().text("never")

    with pytest.raises(MaxTurnsExceededError) as raised:
        agent(script, whoami, max_turns=1).run_sync("go")

    assert raised.value.result.turn_count == 1


class OutcomeError(BaseException):
    """A test framework's own outcome."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OutcomeError, GeneratorExit])
def test_what_is_no_error_reaches_the_caller_and_leaves_the_next_run_alone(kind):
    @tool
    def interrupted() -> None:
        raise kind("stop")

    @tool(name="interrupted")
    async def interrupted_async() -> None:
        raise kind("stop")

    for body in (interrupted, interrupted_async):
        today = agent(calls("interrupted"), body)
        with pytest.raises(kind):
            today.run_with_id_sync("run", "go")
        end = today.log.read_sync("run")[-1].decode()
        assert (end.KIND, end.reason) == (Kind.RunCancelled, f"interrupted by {kind.__name__}")
        assert asking().run_sync("go").final_text == "done"


def test_nothing_that_blocks_is_left_running():
    before = {thread.name for thread in threading.enumerate()}
    asking().run_sync("go")
    after = {thread.name for thread in threading.enumerate() if not thread.daemon}

    assert after <= before | {"MainThread"}


def test_replay_sync_of_an_unknown_run():
    with pytest.raises(RunNotFoundError, match="nope"):
        replay_sync(asking().log, "nope", asking())


# --- interrupted while another thread works


def press_ctrl_c():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@tool
async def waits_for_ever() -> None:
    press_ctrl_c()
    await asyncio.Event().wait()


def test_an_interrupted_caller_stops_the_run():
    """Ctrl-C while waiting: the run is cancelled, says so in its log, and only then is the caller told."""
    today = agent(calls("waits_for_ever"), waits_for_ever)

    with pytest.raises(KeyboardInterrupt):
        today.run_with_id_sync("run", "go")

    assert today.log.read_sync("run")[-1].kind is Kind.RunCancelled


def test_an_interrupted_caller_inside_a_loop_stops_the_run():
    """A loop that leaves Ctrl-C to Python: it surfaces in the thread that waits."""
    today = agent(calls("waits_for_ever"), waits_for_ever)

    async def deep_inside():
        today.run_with_id_sync("run", "go")

    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(deep_inside())
    finally:
        loop.close()

    assert today.log.read_sync("run")[-1].kind is Kind.RunCancelled


def test_a_caller_whose_task_is_cancelled_stops_the_run():
    """`asyncio.run` makes a cancellation of its main task out of the first Ctrl-C, and an exception of the second."""
    today = agent(calls("waits_for_ever"), waits_for_ever)
    seen = []

    async def deep_inside():
        try:
            today.run_with_id_sync("run", "go")
        except BaseException as error:
            seen.append((type(error), today.log.read_sync("run")[-1].kind))
            raise

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(deep_inside())

    assert seen == [(asyncio.CancelledError, Kind.RunCancelled)]


async def test_a_caller_that_is_being_cancelled_already_may_still_run():
    async def cleans_up():
        try:
            await asyncio.Event().wait()
        finally:
            results.append(asking().run_sync("go").final_text)

    results = []
    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert results == ["done"]


@pytest.mark.parametrize("sync", [False, True])
def test_an_interrupted_caller_stops_the_runs_inside_of_its_run(sync):
    inner = agent(calls("waits_for_ever"), waits_for_ever)
    stopped = threading.Event()

    def run_inner() -> None:
        try:
            inner.run_with_id_sync("inner", "go")
        finally:
            stopped.set()

    @tool
    async def asks() -> None:
        run_inner()

    @tool(name="asks")
    def asks_sync() -> None:
        run_inner()

    outer = agent(calls("asks"), asks_sync if sync else asks)

    with pytest.raises(KeyboardInterrupt):
        outer.run_with_id_sync("outer", "go")

    assert outer.log.read_sync("outer")[-1].kind is Kind.RunCancelled
    assert stopped.wait(30)
    assert inner.log.read_sync("inner")[-1].kind is Kind.RunCancelled


def test_when_no_thread_is_to_be_had_the_caller_is_told(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    async def deep_inside():
        monkeypatch.setattr(threading.Thread, "start", refuse)
        asking().run_sync("go")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        asyncio.run(deep_inside())
