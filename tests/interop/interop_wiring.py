"""The wiring of the original's runs, built from what is written down beside them.

`testdata/interop/README.md` says what the files hold. A tool's `program` is a list of steps; `ProgramTool` interprets
them on our side of the fence. `Wired` is an agent together with what its tools need of the test: how long a
millisecond is, whether a recording is replayed (nothing is cancelled then), and the task that `cancel_run` cancels.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from starling import Agent, Budget, Config, CustomLoop, MemoryLog, step
from starling._canonical_json import loads
from starling.errors import TransientToolError
from starling.event import RunStarted, decode_event
from starling.provider import (
    EndChunk,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
)
from starling.testing import Fail, ScriptedProvider, Turn

DATA = Path(__file__).parents[2] / "testdata" / "interop"


@cache
def runs() -> dict[str, dict[str, Any]]:
    """Every run of the original, by scenario."""
    files = (gzip.decompress(file.read_bytes()) for file in sorted(DATA.glob("runs_*.ndjson.gz")))
    return {run["scenario"]: run for text in files for run in map(json.loads, text.splitlines())}


def events_of(run: dict[str, Any]) -> list[Any]:
    return [decode_event(bytes.fromhex(event["envelope"])) for event in run["events"]]


async def log_of(run: dict[str, Any]) -> MemoryLog:
    log = MemoryLog()
    await log.append(run["run_id"], events_of(run))
    return log


@dataclass
class Wired:
    """One agent and its surroundings.

    `exact_clock`: serve `now` with all its nanoseconds, as the original's tools saw it (`step.now` has microseconds).
    `seconds_per_ms`: how long the program's milliseconds take while recording; a replay only yields, `seed` says how
    often, so that parallel tools finish in another order each time.
    """

    wiring: dict[str, Any]
    replaying: bool
    exact_clock: bool = False
    seconds_per_ms: float = 0.0
    seed: int = 0
    log: MemoryLog = field(default_factory=MemoryLog)
    task: asyncio.Task[Any] | None = None
    provider: ScriptedProvider = field(init=False)
    agent: Agent | CustomLoop = field(init=False)

    def __post_init__(self) -> None:
        wiring = self.wiring
        self._random = random.Random(self.seed)
        self.provider = ScriptedProvider(
            [_turn(turn) for turn in wiring["turns"] or ()],
            provider_id=wiring["provider_id"],
            api_version=wiring["api_version"],
        )
        tools = [ProgramTool(tool, self) for tool in wiring["tools"] or ()]
        if "custom_loop" in wiring:
            self.agent = _custom_loop(wiring, self.log, tools)
            return
        self.agent = Agent(
            self.provider,
            Config(
                model=wiring["model"],
                system_prompt=wiring["system_prompt"],
                params=loads(wiring["params"]["json"]) if wiring["params"] else None,
                max_turns=wiring["max_turns"],
                require_raw_response_hash=wiring["require_raw_response_hash"],
                app_version=wiring["app_version"],
            ),
            self.log,
            tools=tools,
            budget=_budget(wiring["budget"]),
            namespace=wiring["namespace"],
        )

    async def resume(self, run_id: str) -> Any:
        """`Agent.resume` as the wiring has it, see `resuming`."""
        return await self.agent.resume(run_id, self.wiring["extra_message"], self.wiring["reissue_tools"])

    async def run(self) -> Any:
        """`Agent.run` in a task that the tools may cancel, under the run's own context."""
        self.task = asyncio.create_task(self._in_context())
        return await self.task

    async def sleep(self, ms: int) -> None:
        if not self.replaying:
            await asyncio.sleep(ms * self.seconds_per_ms)
            return
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)

    async def _in_context(self) -> Any:
        kind, _, ms = self.wiring["ctx"].partition("deadline_ms:")
        if kind == "cancelled":
            asyncio.current_task().cancel()
        async with asyncio.timeout(int(ms) * self.seconds_per_ms if ms else None):
            if isinstance(self.agent, CustomLoop):
                return await self.agent.run()
            return await self.agent.run(self.wiring["goal"])


def resuming(wiring: dict[str, Any]) -> dict[str, Any]:
    """The wiring of the process that goes on with a run of the 15s."""
    (resume,) = wiring["resumes"]
    names = ("turns", "tools", "max_turns", "extra_message", "reissue_tools")
    return {**wiring, **{name: resume[name] for name in names}}


_DIRECT_CALLS = {
    "Emit RunStarted": (("flaky", "d1", 5),),
    "as 09e": (("slow", "s1", None), ("flaky", "f1", 40), ("fast", "q1", None)),
}
"""What the original's own loops dispatch, by the beginning of their description: tool, call id, ms between attempts."""


def _custom_loop(wiring: dict[str, Any], log: MemoryLog, tools: list[Any]) -> CustomLoop:
    """A loop that dispatches its calls once and ends."""
    words = wiring["custom_loop"]
    (planned,) = (calls for beginning, calls in _DIRECT_CALLS.items() if words.startswith(beginning))

    async def body() -> str:
        await step.call_tools([_direct_call(*call) for call in planned])
        return "custom"

    return CustomLoop(body=body, log=log, tools=tools, started=_started_by_nobody(wiring["goal"]))


def _direct_call(tool: str, call_id: str, backoff_ms: int | None) -> step.ToolCall:
    if backoff_ms is None:
        return step.ToolCall(name=tool, args={}, call_id=call_id, turn_id="T1")
    return step.ToolCall(
        name=tool,
        args={"q": "x"},
        call_id=call_id,
        turn_id="T1",
        idempotent=True,
        max_attempts=3,
        backoff=lambda _: 0.0002 * backoff_ms,
    )


def _started_by_nobody(goal: str) -> RunStarted:
    return RunStarted(
        schema_version=1,
        goal=goal,
        provider_id="none",
        model_id="none",
        api_version="v0",
        params_hash=None,
        params=None,
        system_prompt_hash=None,
        system_prompt="",
        tool_registry_hash=None,
        tool_schemas=(),
    )


def _budget(budget: dict[str, Any] | None) -> Budget | None:
    if budget is None:
        return None
    return Budget(
        max_input_tokens=budget["max_input_tokens"],
        max_output_tokens=budget["max_output_tokens"],
        max_usd=budget["max_usd"],
        max_wall_clock=budget["max_wall_clock_ms"] / 1000,
    )


def _turn(turn: dict[str, Any]) -> Turn:
    if turn.get("open_error"):
        return Turn(steps=(_fail(turn["open_error"]),))
    return Turn(steps=tuple(_chunk(chunk) for chunk in turn["chunks"]))


def _fail(error: dict[str, Any]) -> Fail:
    return Fail(error=error["text"], status=error.get("code"))


def _chunk(chunk: dict[str, Any]) -> Any:
    call_id = chunk.get("call_id", "")
    match chunk["kind"]:
        case "text":
            raw = chunk.get("text_hex")
            text = chunk["text"] if raw is None else bytes.fromhex(raw).decode("utf-8", "surrogateescape")
            return TextChunk(text=text)
        case "reasoning":
            return ReasoningChunk(text=chunk["text"], signature=_signature(chunk))
        case "redacted_thinking":
            return RedactedThinkingChunk(text=chunk["text"], signature=_signature(chunk))
        case "tool_use_start":
            missing = chunk.get("nil_tool_use")
            return ToolUseStart(call_id=call_id, name=None if missing else chunk.get("name", ""))
        case "tool_use_delta":
            return ToolUseDelta(call_id=call_id, args=chunk["args_delta"])
        case "tool_use_end":
            return ToolUseEnd(call_id=call_id)
        case "usage":
            usage = chunk.get("usage")
            return UsageChunk(usage=Usage(**usage) if usage else None)
        case "end":
            digest = chunk.get("raw_response_hash_hex")
            return EndChunk(
                stop_reason=chunk["stop_reason"],
                raw_response_hash=bytes.fromhex(digest) if digest else None,
                request_id=chunk.get("provider_req_id", ""),
            )
        case "error":
            return _fail(chunk["error"])
    raise AssertionError(chunk)


def _signature(chunk: dict[str, Any]) -> bytes:
    return bytes.fromhex(chunk.get("signature_hex") or "")


class ProgramTool:
    """A tool that does what its program says; implements the raw protocol, schema text as given."""

    def __init__(self, tool: dict[str, Any], wired: Wired) -> None:
        self.name = tool["name"]
        self.description = tool["description"]
        self.schema = tool["schema"]
        self._program = tool["program"]
        self._wired = wired
        self._calls = 0

    async def execute(self, args: Any) -> Any:
        self._calls += 1
        if self._program is None:  # scenario 17: a typed tool, described in words only
            return {"city": args["city"], "temp_c": 21.5, "note": "a<b & c"}
        values: dict[str, Any] = {}
        for instruction in self._program:
            done, result = await self._step(instruction, args, values)
            if done:
                return result
        raise AssertionError(f"the program of {self.name} returns nothing")

    async def _step(self, do: dict[str, Any], args: Any, values: dict[str, Any]) -> tuple[bool, Any]:
        match do["op"]:
            case "return":
                return True, loads(do["json"])
            case "return_input":
                return True, args
            case "return_vars":
                return True, {name: values[name] for name in do["fields"]}
            case "sleep_ms":
                await self._wired.sleep(do["ms"])
            case "now":
                values[do["as"]] = self._now()
            case "random":
                values[do["as"]] = step.random()
            case "side_effect":
                values[do.get("as")] = await step.side_effect(do.get("name", ""), lambda: _value(do))
            case "side_effect_error":
                await step.side_effect(do["name"], lambda: _raise(OSError(do["text"])))
            case "call_tool":
                values[do["as"]] = await step.call_tool(_call(do["call"]))
            case "fail_first" if self._calls <= do["n"]:
                _raise(_failure(f"{do['text']} (call {self._calls})", do.get("wrap")))
            case "fail_first":
                pass
            case "error":
                _raise(_failure(do.get("text", ""), do.get("wrap")))
            case "panic":
                raise SystemExit(f"tool: panicked: {do['text']}")
            case "panic_nil_deref":
                raise RecursionError("a fault of the runtime's")
            case "cancel_run":
                if not self._wired.replaying:
                    self._wired.task.cancel()
            case "wait_ctx":
                await asyncio.Event().wait()
            case "wait_ctx_wrapped":
                await _wait_and_wrap(do["text"])
            case other:
                raise AssertionError(other)
        return False, None

    def _now(self) -> int:
        if self._wired.exact_clock:
            return step.side_effect_sync("now", time.time_ns)
        return round(step.now().timestamp() * 1_000_000) * 1000


def _raise(error: BaseException) -> Any:
    raise error


def _failure(text: str, wrap: str | None) -> BaseException:
    match wrap:
        case "transient":
            return TransientToolError(f"{text}: tool: transient")
        case "canceled":
            return asyncio.CancelledError(text)
        case _:
            return RuntimeError(text)


async def _wait_and_wrap(text: str) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        raise RuntimeError(f"{text}: context canceled") from error


def _value(do: dict[str, Any]) -> Any:
    if do["type"] == "bytes":
        return bytes.fromhex(do.get("hex", ""))
    value = loads(do["json"])
    return float(value) if do["type"].startswith("float") else value


def _call(call: dict[str, Any]) -> step.ToolCall:
    return step.ToolCall(
        name=call["name"],
        args=loads(call["args"]),
        call_id=call["call_id"],
        turn_id=call["turn_id"],
        idempotent=call["idempotent"],
        max_attempts=call["max_attempts"],
        backoff=lambda _: call["backoff_ms"] / 1000,
    )
