"""`run_in_thread`: outcomes, context, abandonment, and that a process can end."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import traceback
import weakref

import pytest

from starling.tool import _threads, run_in_thread


async def test_a_value_comes_back():
    assert await run_in_thread(lambda a, b: a + b, 1, 2) == 3
    assert await run_in_thread(lambda: None) is None


async def test_it_runs_in_a_daemon_thread_of_ours():
    thread = await run_in_thread(threading.current_thread)
    assert thread is not threading.main_thread()
    assert thread.daemon


async def test_the_context_is_a_copy():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("outer")

    def change():
        seen = variable.get()
        variable.set("inner")
        return seen

    assert await run_in_thread(change) == "outer"
    assert variable.get() == "outer"


class Base(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("v"), Base("b"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
async def test_what_is_raised_is_raised_here_with_its_traceback(error):
    def deep_down():
        raise error

    with pytest.raises(type(error)) as caught:
        await run_in_thread(deep_down)
    assert caught.value is error
    assert "deep_down" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


async def test_stop_iteration_becomes_an_error_that_a_coroutine_can_raise():
    def exhausted():
        raise StopIteration("empty")

    with pytest.raises(RuntimeError, match="StopIteration was raised: empty") as caught:
        await run_in_thread(exhausted)
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_cancelling_the_wait_abandons_the_thread_and_drops_its_outcome():
    started, release, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        started.set()
        release.wait()
        done.set()
        raise ValueError("nobody hears this")

    task = asyncio.create_task(run_in_thread(work))
    await run_in_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not done.is_set()
    release.set()
    await run_in_thread(done.wait)
    assert await run_in_thread(lambda: "still works") == "still works"


async def test_a_timeout_abandons_the_thread():
    release = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await run_in_thread(release.wait)
    release.set()


async def test_many_calls_run_at_once():
    barrier = threading.Barrier(30)
    assert len(set(await asyncio.gather(*(run_in_thread(barrier.wait) for _ in range(30))))) == 30


async def test_an_idle_thread_is_used_again_and_few_are_kept():
    barrier = threading.Barrier(40)
    await asyncio.gather(*(run_in_thread(barrier.wait) for _ in range(40)))
    assert len(_threads._idle) <= _threads._MOST_IDLE
    first = await run_in_thread(threading.get_ident)
    assert await run_in_thread(threading.get_ident) == first


async def test_an_idle_thread_keeps_nothing_alive():
    class Big:
        pass

    big, gone = Big(), threading.Event()
    reference = weakref.ref(big, lambda _: gone.set())
    assert await run_in_thread(lambda thing: thing is not None, big)
    del big
    gc.collect()
    # The thread lets go right after it has delivered; nothing else is asked of it meanwhile.
    assert gone.wait(timeout=30)
    assert reference() is None


async def test_an_outcome_that_nobody_waits_for_any_more_is_dropped():
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    _threads._settle(answer, ("late", None))
    assert answer.cancelled()


def test_an_outcome_for_a_closed_loop_is_dropped():
    release, finished = threading.Event(), threading.Event()
    unhandled = []

    def work():
        release.wait()
        return "late"

    async def abandon():
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.sleep(0)
        task.cancel()

    hook, threading.excepthook = threading.excepthook, unhandled.append
    try:
        asyncio.run(abandon())
        release.set()

        async def after():
            # The abandoned thread is idle again as soon as it has its outcome; another call goes through.
            await run_in_thread(finished.set)

        asyncio.run(after())
        assert finished.is_set()
    finally:
        threading.excepthook = hook
    assert unhandled == []


def test_every_event_loop_can_use_the_threads():
    assert [asyncio.run(run_in_thread(int)) for _ in range(3)] == [0, 0, 0]


def test_an_abandoned_thread_does_not_keep_the_process_from_ending():
    program = """
import asyncio, threading
from starling.tool import run_in_thread

async def main():
    try:
        async with asyncio.timeout(0.01):
            await run_in_thread(threading.Event().wait)
    except TimeoutError:
        print("abandoned", flush=True)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "abandoned\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_threads_of_its_own():
    program = """
import asyncio, os, warnings
from starling.tool import run_in_thread

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
assert asyncio.run(run_in_thread(int)) == 0
child = os.fork()
if child == 0:
    os._exit(42 if asyncio.run(run_in_thread(lambda: "alive")) == "alive" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
