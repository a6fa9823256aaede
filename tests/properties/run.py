"""Running programs: a process is an agent made of a program, under a schedule of its own.

The schedule is a seed. It decides how often every step gives way to others, so that parallel tools finish in any
order, and everything that the surroundings put into a run: what effects give, how many tools run at a time. Live runs
and replays have different ones. What a process really did (effects carried out, bodies run) is counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling import Agent, Budget, Config, MemoryLog, step, tool
from starling.errors import ToolCallError, ToolError, TransientToolError
from starling.testing import ScriptedProvider
from tests.properties.programs import (
    Cancel,
    Code,
    Effect,
    Flaky,
    Inner,
    Nested,
    Now,
    Program,
    Raise,
    Rand,
    Return,
    Said,
    Together,
    Unencodable,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

    from starling.event import Event

TIMEOUT_S = 0.004
WALL_CLOCK_S = 0.01
NO_HANG_S = 20.0
"""No run takes nearly as long; one that does is waiting for something that nobody will give it."""

MALFORMED = '{"n": '


class Stop(BaseException):
    """What a tool raises to end everything."""


class Down(Exception):  # noqa: N818 - a user's class
    """An effect's failure, of a class of the user's own with a constructor of its own."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what} is down ({code})")


def raised_by(raising: Raise) -> BaseException:
    """What a tool raises."""
    made = {
        "error": ToolError,
        "key": KeyError,
        "transient": TransientToolError,
        "panic": SystemExit,
        "recursion": RecursionError,
        "cancelled": asyncio.CancelledError,
        "stop": Stop,
    }
    return made[raising.kind](raising.text)


EFFECT_ERRORS: dict[str, Callable[[], Exception]] = {
    "x": lambda: ValueError("no x"),
    "y": lambda: KeyError("y"),
    "z": lambda: Down("z", 3),
}


# --- logs


class WatchedLog(MemoryLog):
    """Tells somebody of every batch that it has taken."""

    watcher: Callable[[Sequence[Event]], None] | None = None

    def _append(self, run_id: str, events: Sequence[Event]) -> None:
        super()._append(run_id, events)
        if self.watcher is not None:
            self.watcher(events)


class PatientLog:
    """A log that really awaits, as a server's does; the schedule says for how long."""

    def __init__(self, kept: WatchedLog, pause: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._kept, self._pause = kept, pause

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        await self._pause()
        await self._kept.append(run_id, events)
        await self._pause()

    async def read(self, run_id: str) -> list[Event]:
        await self._pause()
        return await self._kept.read(run_id)


# --- tools

_body: ContextVar[Callable[[int, str], Any]] = ContextVar("body")


@tool
def in_a_thread(n: int = 0, tag: str = "") -> Any:
    return _body.get()(n, tag)


@tool
async def in_the_loop(n: int = 0, tag: str = "") -> Any:
    return await _body.get()(n, tag)


class CodedTool:
    """A `Code` as a tool: checked and run by this library's own function tools, which know its body."""

    def __init__(self, process: Process, code: Code) -> None:
        self.name, self.description = code.name, code.description
        self.schema = json.dumps(
            {"properties": {"n": {"type": "integer"}, "tag": {"type": "string"}}, "title": code.note, "type": "object"}
        )
        self.idempotent, self.max_attempts = True, code.attempts
        self.backoff = lambda _: 0.0
        self.timeout = TIMEOUT_S if code.timeout and process.live else None
        self._process, self._code = process, code

    async def execute(self, args: Any) -> Any:
        function, body = (
            (in_a_thread, self._process.in_thread) if self._code.sync else (in_the_loop, self._process.in_loop)
        )
        _body.set(lambda n, tag: body(self._code, n, tag))
        return await function.execute(args)


# --- processes


class Process:
    """One process: what is the surroundings' happens only if it is ``live``.

    Args:
        kept: a log that holds something already. said: how many of the model's turns are over.

    Attributes:
        carried_out: how often an effect's callable was run, by (n of its call, name).
        bodies: how often a tool's code was run, by (n of its call, name).
    """

    def __init__(
        self, program: Program, seed: int, *, live: bool, kept: WatchedLog | None = None, said: int = 0
    ) -> None:
        self.program, self.live = program, live
        self.carried_out: Counter[tuple[int, str]] = Counter()
        self.bodies: Counter[tuple[int, str]] = Counter()
        self.kept = WatchedLog() if kept is None else kept
        self.provider = ScriptedProvider()
        for number, turn in enumerate(program.turns[said:], start=said):
            self._script(number, turn)
        self._dice = random.Random(seed)
        self._asked: Counter[tuple[int, str]] = Counter()
        self._released = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def agent(self) -> Agent:
        """The agent, on this process's log."""
        program, limits = self.program, self.program.limits
        budget = limits and Budget(
            max_input_tokens=limits.input_tokens,
            max_output_tokens=limits.output_tokens,
            max_usd=limits.usd,
            max_wall_clock=WALL_CLOCK_S if limits.wall_clock else 0.0,
        )
        config = Config(
            model="gpt-4o-mini",
            system_prompt=program.system_prompt,
            params=program.params,
            app_version=program.app_version,
            max_turns=program.max_turns,
            tool_errors=program.tool_errors,
            max_parallel_tools=self._dice.choice((8, 8, 2, 1)),
        )
        log = PatientLog(self.kept, self.pause) if program.patient else self.kept
        return Agent(self.provider, config, log, [CodedTool(self, code) for code in program.tools], budget)

    async def do(self, running: Coroutine[Any, Any, Any]) -> Ran:
        """Run something of the agent's to its end, whatever it is."""
        self.kept.watcher = self._committed
        self._task = asyncio.create_task(running)
        await asyncio.wait([self._task], timeout=NO_HANG_S)
        self._released.set()
        assert self._task.done(), "it hangs"
        try:
            return Ran(result=self._task.result())
        except (Exception, asyncio.CancelledError, Stop) as error:
            return Ran(error=error)

    # --- the surroundings

    async def pause(self) -> None:
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)

    def cancel(self) -> None:
        """Cancel the run, once, from whatever thread."""
        if self.live and self._task is not None and not self._cancelled:
            self._cancelled = True
            loop = self._task.get_loop()
            try:
                here = asyncio.get_running_loop() is loop
            except RuntimeError:
                here = False
            if here:
                self._task.cancel()
            else:
                loop.call_soon_threadsafe(self._task.cancel)

    def _committed(self, events: Sequence[Event]) -> None:
        if self.program.cancelled_at and events[-1].seq >= self.program.cancelled_at:
            self.cancel()

    def _stuck(self, *, timed: bool) -> None:
        """Something waits for ever: make sure that it is told to stop."""
        if not timed and not (self.program.limits and self.program.limits.wall_clock):
            self.cancel()

    def _script(self, number: int, said: Said) -> None:
        script, (tokens_in, tokens_out) = self.provider, said.tokens
        if said.ends == "refused":
            script.error("refused", status=429)
            return
        for block in said.reasoning:
            script.reasoning(block, b"signed")
        script.usage(tokens_in, tokens_out // 2).text(said.text).usage(tokens_in, tokens_out)
        match said.ends:
            case "broken":
                script.error("broken", status=500)
            case "cancelled":
                script.do(self.cancel).hang()
            case "never":
                script.do(lambda: self._stuck(timed=False)).hang()
            case _:
                for place, planned in enumerate(said.calls):
                    text = _written(planned.args, number * 10 + place + 1)
                    script.tool_call(planned.tool, text, f"call_{number}_{place}")
                script.end("tool_calls" if said.calls else "stop")

    # --- the code

    async def in_loop(self, code: Code, n: int, tag: str) -> Any:
        self.bodies[n, code.name] += 1
        gave = []
        for op in code.body:
            await self.pause()
            gave.append(await self._step(code, op, n))
        await self.pause()
        if isinstance(code.end, Wait):
            self._stuck(timed=code.timeout)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not code.end.stubborn:
                    raise
        return _ended(code, n, tag, gave)

    def in_thread(self, code: Code, n: int, tag: str) -> Any:
        self.bodies[n, code.name] += 1
        gave = []
        for op in code.body:
            self._give_way()
            gave.append(self._sync_step(code, op, n))
        self._give_way()
        if isinstance(code.end, Wait):
            self._stuck(timed=code.timeout)
            self._released.wait()
        return _ended(code, n, tag, gave)

    async def _step(self, code: Code, op: Any, n: int) -> Any:
        match op:
            case Now():
                return step.now().isoformat()
            case Rand():
                return step.random()
            case Effect():
                with _catching(op, Exception) as caught:
                    return await step.side_effect(op.name, self._callable(code, op, n))
                return caught.text
            case Together():
                return await asyncio.gather(*(self._step(code, effect, n) for effect in op.effects))
            case Flaky():
                if not await step.side_effect(op.name, lambda: self._ready(op, n)):
                    raise TransientToolError("not yet")
                return "at last"
            case Nested(calls=inner):
                with _catching(op, ToolCallError) as caught:
                    return await self._dispatch(inner, n)
                return caught.text
        return self._sync_step(code, op, n)

    def _sync_step(self, code: Code, op: Any, n: int) -> Any:
        match op:
            case Now():
                return step.now().isoformat()
            case Rand():
                return step.random()
            case Effect():
                with _catching(op, Exception) as caught:
                    return step.side_effect_sync(op.name, lambda: self._carry_out(code, op, n))
                return caught.text
            case Flaky():
                if not step.side_effect_sync(op.name, lambda: self._ready(op, n)):
                    raise TransientToolError("not yet")
                return "at last"
            case Cancel():
                self.cancel()
                return "cancelled"
        raise AssertionError(op)

    async def _dispatch(self, inner: tuple[Inner, ...], n: int) -> Any:
        calls = [
            step.ToolCall(name=call.tool, args={"n": n * 100 + call.number if call.fits else "many", "tag": call.tag})
            for call in inner
        ]
        return await (step.call_tool(calls[0]) if len(calls) == 1 else step.call_tools(calls))

    # --- effects: never carried out on replay

    def _callable(self, code: Code, op: Effect, n: int) -> Callable[[], Any]:
        if op.plain:
            return lambda: self._carry_out(code, op, n)

        async def carry_out() -> Any:
            await self.pause()
            if op.gives != "nothing":
                return self._given(op, n)
            self._begin_waiting(code, op, n)
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        return carry_out

    def _carry_out(self, code: Code, op: Effect, n: int) -> Any:
        self._give_way()
        if op.gives != "nothing":
            return self._given(op, n)
        self._begin_waiting(code, op, n)
        self._released.wait()
        return None

    def _begin_waiting(self, code: Code, op: Effect, n: int) -> None:
        self.carried_out[n, op.name] += 1
        self._stuck(timed=code.timeout)

    def _given(self, op: Effect, n: int) -> Any:
        self.carried_out[n, op.name] += 1
        if op.gives == "error":
            raise EFFECT_ERRORS[op.name]()  # noqa: RSE102 - a function that makes it
        return {"of": op.name, "dice": self._dice.randrange(10**6)}

    def _ready(self, op: Flaky, n: int) -> bool:
        self.carried_out[n, op.name] += 1
        self._asked[n, op.name] += 1
        return self._asked[n, op.name] > op.times

    def _give_way(self) -> None:
        for _ in range(self._dice.randrange(3)):
            time.sleep(0)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How something of an agent's ended."""

    result: Any = None
    error: BaseException | None = None

    @property
    def end(self) -> tuple[Any, ...]:
        """What a caller sees of it; how a cancellation is worded is Python's."""
        if self.error is None:
            return ("returned", self.result)
        text = "" if isinstance(self.error, asyncio.CancelledError) else str(self.error)
        return (type(self.error), text, getattr(self.error, "result", None))


class _catching(suppress):  # noqa: N801 - used as a statement
    """Suppress a failure if the step says so, and keep its text."""

    def __init__(self, op: Effect | Nested, *classes: type[BaseException]) -> None:
        super().__init__(*(classes if op.caught else ()))
        self.text = ""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.text = f"{cls.__name__ if cls else ''}: {error}"
        return bool(super().__exit__(cls, error, traceback))


def _written(how: str, n: int) -> str:
    """Arguments as the model writes them."""
    texts = {
        "plain": f'{{"n":{n},"tag":"m"}}',
        "spaced": f'{{ "tag" : "m",\n "n" : {n}.0 }}',
        "none": "",
        "misfit": '{"n": "many"}',
        "malformed": MALFORMED,
    }
    return texts[how]


def _ended(code: Code, n: int, tag: str, gave: list[Any]) -> Any:
    match code.end:
        case Return(shape=shape, shows=True):
            return {"shape": shape, "gave": gave, "n": n, "tag": tag}
        case Return(shape=shape):
            return shape
        case Raise():
            raise raised_by(code.end)
        case Unencodable():
            return {"no number": float("nan")}
        case _:
            return "told to stop"
