"""An agent on a file, in a process that is killed at one of its commits; `test_resume_processes` says what must hold.

As a script it takes one life after the other from its input, each as a line of JSON, and forks a process for it: what
is imported is imported once. A child begins the run or goes on with it, and exits with the number of commits it made,
unless it is killed before.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starling import Agent, Config, SQLiteLog, step, tool
from starling.errors import TransientToolError
from starling.provider import EndChunk, ProviderInfo, TextChunk, ToolUseDelta, ToolUseEnd, ToolUseStart

RUN_ID = "run"
PLAN = (
    (("order", {"item": "tea"}), ("ship", {}), ("pack", {"item": "cup"})),
    (("order", {"item": "jam"}),),
)
"""The calls that the model plans in its first turns; then it answers."""


class World:
    """A file that outlives every process: one line for everything that was really done."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def lines(self) -> list[str]:
        return Path(self._path).read_text().splitlines() if self._path and Path(self._path).exists() else []

    def write(self, line: str) -> None:
        if self._path is None:
            return
        with Path(self._path).open("a") as file:  # closed at once, so that it survives the process
            file.write(f"{line}\n")

    def act(self, what: str) -> str:
        """Do something for the so-and-so-many-th time."""
        number = sum(line.startswith(f"{what} #") for line in self.lines()) + 1
        self.write(f"{what} #{number}")
        return f"{what} #{number}"


def tools(world: World, *, threads: bool) -> list[Any]:
    def acting(what: str) -> Any:
        async def act() -> str:
            return world.act(what)

        return act

    @tool
    async def order(item: str) -> list[Any]:
        """Pays, packs (another tool), looks at the clock, writes a mail."""
        world.write(f"entered order {item}")
        paid = await step.side_effect("pay", acting(f"pay {item}"))
        packed = await step.call_tool(step.ToolCall(name="pack", args={"item": item}))
        at = step.now().isoformat()
        return [paid, packed, at, await step.side_effect("mail", acting(f"mail {item}"))]

    @tool(name="pack")
    async def pack(item: str) -> str:
        """Has one effect."""
        world.write(f"entered pack {item}")
        return await step.side_effect("pack", acting(f"pack {item}")) + str(step.random())

    @tool(name="pack")
    def pack_in_thread(item: str) -> str:
        """Has one effect."""
        world.write(f"entered pack {item}")
        return step.side_effect_sync("pack", lambda: world.act(f"pack {item}")) + str(step.random())

    @tool(idempotent=True, max_attempts=9, backoff=lambda _: 0)
    async def ship() -> str:
        """Fails the first time."""
        tried = await step.side_effect("ship", acting("ship"))
        if tried == "ship #1":
            raise TransientToolError("not yet")
        return tried

    return [order, pack_in_thread if threads else pack, ship]


class Model:
    """Says what its plan has for a conversation that has come so far, whoever asks."""

    def info(self) -> ProviderInfo:
        return ProviderInfo(id="mortal", api_version="1")

    async def stream(self, request: Any) -> Any:
        turn = sum(message.role == "assistant" for message in request.messages)
        calls = PLAN[turn] if turn < len(PLAN) else ()
        for number, (name, args) in enumerate(calls):
            call_id = f"call_{turn}_{number}"
            yield ToolUseStart(call_id=call_id, name=name)
            yield ToolUseDelta(call_id=call_id, args=json.dumps(args))
            yield ToolUseEnd(call_id=call_id)
        if not calls:
            yield TextChunk(text="done")
        yield EndChunk(stop_reason="stop")


def agent(log: Any, world: World, *, threads: bool) -> Agent:
    return Agent(Model(), Config(model="m"), log, tools=tools(world, threads=threads))


class MortalLog(SQLiteLog):
    """A log whose process dies at one of its commits, right before or right after it."""

    def __init__(self, path: str, *, dies_at: int, when: str) -> None:
        super().__init__(path)
        self.commits = 0
        self._dies = (dies_at, when)

    def append_sync(self, run_id: str, events: Any) -> None:
        self.commits += 1
        self._die("before")
        super().append_sync(run_id, events)
        self._die("after")

    def _die(self, when: str) -> None:
        if (self.commits, when) == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


async def live(*, log: str, world: str, dies_at: int, when: str, threads: bool) -> int:
    """One life of the run: from its beginning, or from where the last process left it; returns the commits made."""
    mortal = MortalLog(log, dies_at=dies_at, when=when)
    try:
        today = agent(mortal, World(world), threads=threads)
        if await mortal.read(RUN_ID):
            await today.resume(RUN_ID)
        else:
            await today.run_with_id(RUN_ID, "go")
    finally:
        mortal.close_sync()
    return mortal.commits


def life(case: dict[str, Any]) -> int:
    """Live, and return the exit code."""
    try:
        return asyncio.run(live(**case))
    except BaseException:
        traceback.print_exc()
        return 255


def main() -> None:
    with TemporaryDirectory() as folder:  # whatever is imported or built on first use, the children inherit
        places = {"log": f"{folder}/log.db", "world": f"{folder}/world"}
        life({**places, "dies_at": 0, "when": "never", "threads": False})
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = life(json.loads(line))
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(life(json.loads(sys.argv[1])))
    main()
