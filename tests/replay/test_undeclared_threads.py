"""The guard in threads that a tool uses: jobs that are handed to a pool, threads of its own."""

import asyncio
import contextvars
import datetime as dt
import os
import random
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from starling import Agent, Config, MemoryLog, step, tool
from starling.testing import OpenAIServer, Script, ScriptedProvider
from tests.agent_kit import MODEL, agent, calls
from tests.undeclared_kit import recording, undeclared

HERE = Path(__file__)


def stamp():
    return time.time()


def in_loop(function, *args):
    return asyncio.get_running_loop().run_in_executor(None, function, *args)


def in_pool(function, *args):
    async def body():
        with ThreadPoolExecutor() as pool:
            await asyncio.wrap_future(pool.submit(function, *args))

    return body()


WAYS = {"to_thread": asyncio.to_thread, "run_in_executor": in_loop, "submit": in_pool}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["clock", "uuid", "file"])
async def test_the_projects_code_in_a_pool_works_for_the_tool(way, what):
    async def look():
        await WAYS[way](LOOKING[what])

    (call,) = await undeclared(look)
    assert (call.what, call.tool) == (FOUND[what], "asynchronous")
    assert (call.file, call.line) == (str(HERE), LOOKING[what].__code__.co_firstlineno + 1)


def stamp_id():
    return uuid.uuid4()


def read():
    return HERE.read_text()


LOOKING = {"clock": stamp, "uuid": stamp_id, "file": read}
FOUND = {"clock": "time.time()", "uuid": "uuid.uuid4()", "file": "Path.read_text()"}

HANDED = [
    ("time.time()", (time.time,)),
    ("time.time()", (partial(time.time),)),
    ("time.gmtime()", (time.gmtime,)),
    ("datetime.now()", (dt.datetime.now, dt.UTC)),
    ("os.urandom()", (partial(os.urandom, 4),)),
    ("uuid.uuid4()", (uuid.uuid4,)),
    ("random.random()", (random.random,)),
    ("random.choice()", (random.choice, "abc")),
    ("Path.read_text()", (Path.read_text, HERE)),
    ("Path.read_text()", (HERE.read_text,)),
    ("open()", (open, HERE)),
    ("socket.getaddrinfo()", (socket.getaddrinfo, "127.0.0.1", 80)),
]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "job"), HANDED, ids=[f"{n}-{what}" for n, (what, _) in enumerate(HANDED)])
async def test_what_is_handed_over_as_it_is_is_found_where_that_is_done(way, what, job):
    async def hands_over():
        outcome = await WAYS[way](*job)
        if hasattr(outcome, "close"):
            outcome.close()

    (call,) = await undeclared(hands_over)
    handing = in_loop if way == "run_in_executor" else hands_over
    first = handing.__code__.co_firstlineno
    assert (call.what, call.file, call.tool) == (what, str(HERE), "asynchronous")
    assert way == "submit" or call.line == first + 1


async def test_jobs_in_tasks_of_their_own_are_found_with_the_tool_alone():
    async def gathers():
        await asyncio.gather(asyncio.to_thread(time.time), asyncio.to_thread(uuid.uuid4))

    found = await undeclared(gathers)
    assert [(call.file, call.what, call.tool) for call in found] == [
        ("", "time.time()", "asynchronous"),
        ("", "uuid.uuid4()", "asynchronous"),
    ]


async def test_a_thread_of_the_tools_own_works_for_it():
    def starts():
        thread = threading.Thread(target=stamp)
        thread.start()
        thread.join()

    (call,) = await undeclared(starts, kind="sync")
    assert (call.what, call.line) == ("time.time()", stamp.__code__.co_firstlineno + 1)


async def test_a_library_in_a_pool_is_found_where_it_is_called():
    def fetch(url):
        httpx.get(url)

    with OpenAIServer(Script()) as server:

        async def hands_over():
            await in_loop(fetch, server.base_url)
            await in_loop(httpx.get, server.base_url)

        found = await undeclared(hands_over)
    assert [(call.what, call.line) for call in found] == [
        ("socket.connect() by httpx", in_loop.__code__.co_firstlineno + 1),
        ("socket.connect() by httpx", fetch.__code__.co_firstlineno + 1),
    ]


async def test_a_name_that_asyncio_looks_up_for_a_connection_is_no_call_of_its_own():
    async def connects():
        _, writer = await asyncio.open_connection("localhost", port)
        writer.close()

    with OpenAIServer(Script()) as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        found = await undeclared(connects)
    assert {call.what for call in found} == {"socket.connect() by asyncio"}


async def test_files_that_anyio_reads_are_found_with_the_tool_alone():
    (call,) = await undeclared(lambda: anyio.Path(HERE).read_text())
    assert (call.file, call.what, call.tool) == ("", "Path.read_text()", "asynchronous")


# --- what is not found


async def test_effects_in_a_pool_are_declared():
    async def declares():
        for way in (uses_loop, uses_thread, submits):
            await step.side_effect("stamp", way)

    async def uses_loop():
        return [await in_loop(time.time), await in_loop(stamp)]

    async def uses_thread():
        return [await asyncio.to_thread(time.time), await asyncio.to_thread(stamp)]

    async def submits():
        return pool.submit(time.time).result(), pool.submit(stamp).result()

    with ThreadPoolExecutor() as pool:
        assert await undeclared(declares) == ()


async def test_what_a_pool_does_for_others_is_no_false_alarm():
    """The pool's only thread is started by a tool, and then works for code outside of the run while that goes on."""
    working, over = asyncio.Event(), asyncio.Event()
    with ThreadPoolExecutor(1) as pool:

        async def bystander():
            await working.wait()
            await asyncio.wrap_future(contextvars.Context().run(pool.submit, stamp))
            over.set()

        @tool
        async def works() -> str:
            await asyncio.wrap_future(pool.submit(noop))
            working.set()
            await over.wait()
            return "done"

        task = contextvars.Context().run(asyncio.create_task, bystander())
        with recording() as session:
            await agent(calls("works"), works).run("go")
        await task
    assert session.undeclared == ()


def noop():
    """A job that does nothing."""


async def test_a_thread_from_before_the_run_is_no_false_alarm():
    asked, answered = threading.Event(), threading.Event()

    def serves():
        asked.wait()
        time.time()
        HERE.read_text()
        answered.set()

    thread = threading.Thread(target=serves)
    thread.start()

    def asks():
        asked.set()
        answered.wait()

    assert await undeclared(asks, kind="sync") == ()
    thread.join()


async def test_a_job_that_outlives_its_call_is_no_false_alarm():
    ended = threading.Event()

    def straggles():
        ended.wait()
        return stamp()

    with ThreadPoolExecutor(1) as pool:

        @tool
        async def starts() -> str:
            jobs.append(pool.submit(straggles))
            return "done"

        async def goes_on():
            ended.set()
            await asyncio.wrap_future(jobs[0])

        jobs = []
        script = ScriptedProvider().tool_call("starts").turn().do(goes_on).text("done")
        with recording() as session:
            await Agent(script, Config(model=MODEL), MemoryLog(), tools=[starts]).run("go")
    assert session.undeclared == ()
