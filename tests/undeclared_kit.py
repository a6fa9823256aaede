"""Recording a run with the guard at work: what the tests of undeclared nondeterminism share."""

import asyncio
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from starling import ambient, tool
from starling.replay import RecordingSession, UndeclaredCalls
from tests.agent_kit import agent, calls

HERE = Path(__file__).parent

TOOLS = (4, 3)


def observing():
    """Whether calls of this thread are being observed."""
    if sys.version_info >= (3, 12):
        return any(sys.monitoring.get_tool(one) == "starling" for one in TOOLS)
    return sys.getprofile() is not None


def anybody_looks():
    """Whether calls are observed in any thread of this process, or will be in those that start from now on."""
    return observing() or threading.getprofile() is not None


@contextmanager
def recording(*roots, foreign=()):
    """Every run in the block is recorded and watched."""
    session = RecordingSession(UndeclaredCalls(roots or [HERE / "replay"], foreign))
    with ambient.override(session):
        yield session
    assert not observing()


async def undeclared(body, *, kind="async", roots=(), **wiring):
    """What is found while a tool runs ``body``, in its own right or for another tool that it stands behind."""

    @tool
    async def asynchronous() -> str:
        value = body()
        if asyncio.iscoroutine(value):
            await value
        return "done"

    @tool
    def synchronous() -> str:
        body()
        return "done"

    chosen = {"async": asynchronous, "sync": synchronous}[kind]
    with recording(*roots) as session:
        await agent(calls(chosen.name), chosen, **wiring).run("go")
    return session.undeclared
