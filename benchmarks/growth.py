"""How a run's cost grows with its length: time per event, and memory beyond the history that the prompt needs."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import cbor2

from benchmarks._measure import Row
from starling import Agent, Config, MemoryLog, SQLiteLog, tool
from starling.provider import EndChunk, ProviderInfo, TextChunk, ToolUseDelta, ToolUseEnd, ToolUseStart, request_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starling.eventlog import EventLog
    from starling.provider import Chunk, Request

__all__ = ["rows"]

SIZES = (100, 1_000, 10_000)
CALLS = 5
EVENTS_A_TURN = 2 + 2 * CALLS
"""A turn begins, the model speaks, and each call is scheduled and completed."""
ROUNDS = 5
TIME_GOAL = 1.25
MEMORY_GOAL = 1.25
"""Both are numbers of this benchmark's: the goal says "linear" and "constant", and this is what is taken for noise."""


@tool
async def look_up(order: int) -> dict:
    """Look up an order."""
    return {"order": order, "items": [{"sku": "a-17", "count": 2}]}


class Asking:
    """A provider that calls tools for some turns, then answers. It makes up what it says while it is asked.

    Attributes:
        last: the last request: what is reachable from it is the history that the prompt needs.
    """

    def __init__(self, turns: int) -> None:
        self._left = turns
        self._calls = 0
        self.last: Request | None = None

    def info(self) -> ProviderInfo:
        return ProviderInfo(id="asking", api_version="v0")

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        self.last = request
        self._left -= 1
        for _ in range(CALLS if self._left >= 0 else 0):
            self._calls += 1
            call_id = f"call_{self._calls}"
            yield ToolUseStart(call_id=call_id, name="look_up")
            yield ToolUseDelta(call_id=call_id, args=f'{{"order": {self._calls}}}')
            yield ToolUseEnd(call_id=call_id)
        yield TextChunk(text="And then?")
        yield EndChunk(stop_reason="tool_use" if self._left >= 0 else "stop")


def rows() -> Iterator[Row]:
    """Measure."""
    yield _time()
    yield _memory()


def _run(size: int, log: EventLog) -> tuple[Asking, int]:
    """A run of about so many events; returns its provider, and how many they are."""
    turns = size // EVENTS_A_TURN
    provider = Asking(turns)
    config = Config(model="gpt-4o-mini", system_prompt="You look things up.", max_turns=turns + 1)
    result = Agent(provider, config, log, tools=[look_up]).run_sync("Look at all of them.")
    return provider, result.turn_count * EVENTS_A_TURN


def _time() -> Row:
    per_event = {size: [] for size in SIZES}
    for number in range(ROUNDS):
        for size in SIZES if number % 2 else reversed(SIZES):
            per_event[size].append(_seconds_per_event(size))
    rounds = zip(*per_event.values(), strict=True)
    ratios = [longest / min(others) for *others, longest in rounds]
    found = ", ".join(f"{statistics.median(took) * 1e6:.0f} µs of {size:,}" for size, took in per_event.items())
    return Row(
        what=f"time per event, in a run of {SIZES[-1]:,} events",
        against=f"in one of {SIZES[0]} or {SIZES[1]:,}, whichever is less",
        goal=TIME_GOAL,
        figure=statistics.median(ratios),
        details=f"{found}; from {min(ratios):.2f} to {max(ratios):.2f}",
    )


def _seconds_per_event(size: int) -> float:
    """The mean of as many runs as have together the events of the longest, up to 20."""
    runs = min(20, SIZES[-1] // size)
    gc.collect()
    begun = time.process_time()
    events = sum(_run(size, MemoryLog())[1] for _ in range(runs))
    return (time.process_time() - begun) / events


def _memory() -> Row:
    _beyond_history(SIZES[0])  # what is made once
    beyond = {size: _beyond_history(size) for size in SIZES}
    found = ", ".join(
        f"{more / 1024:.0f} KiB beyond {held / 1024:.0f} of {size:,} (a prompt of {prompt / 1024:.0f})"
        for size, (more, held, prompt) in beyond.items()
    )
    return Row(
        what=f"memory beyond the history, at most, in a run of {SIZES[-1]:,} events",
        against=f"in one of {SIZES[0]}, both written to SQLite",
        goal=MEMORY_GOAL,
        figure=beyond[SIZES[-1]][0] / beyond[SIZES[0]][0],
        details=found,
    )


def _beyond_history(size: int) -> tuple[int, int, int]:
    """Bytes at the peak of a run beyond what its last request holds, what that holds, and what its hash is over.

    Python's own memory.
    """
    with tempfile.TemporaryDirectory() as folder, SQLiteLog(Path(folder, "runs.db")) as log:
        gc.collect()
        tracemalloc.start()
        provider, _ = _run(size, log)
        peak = tracemalloc.get_traced_memory()[1]
        last = provider.last
        prompt = 0 if last is None else len(cbor2.dumps(request_map(last)))
        del provider
        gc.collect()
        with_history = tracemalloc.get_traced_memory()[0]
        del last
        gc.collect()
        held = with_history - tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return peak - held, held, prompt
