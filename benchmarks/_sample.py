"""The run that most rows are about: 5 turns, 10 async tools, 38 events."""

from __future__ import annotations

import asyncio

from starling import Agent, Config, MemoryLog, step, tool
from starling.event import decode_payload
from starling.testing import ScriptedProvider

__all__ = ["EVENTS", "PAYLOADS", "RUN_ID", "agent", "log", "look_up"]

CALLS = (3, 3, 2, 2)
"""Tool calls of each turn but the last, which answers."""


@tool
async def look_up(order: int, country: str = "NO") -> dict:
    """Look up an order."""
    await asyncio.sleep(0)
    return {"order": order, "country": country, "items": [{"sku": "a-17", "count": 2}, {"sku": "b-4", "count": 1}]}


@tool
async def today() -> str:
    """The day on which everything happens."""
    return str(await step.side_effect("today", lambda: "2026-11-21"))


def _provider() -> ScriptedProvider:
    script = ScriptedProvider()
    for turn, calls in enumerate(CALLS):
        script.reasoning(f"I need {calls} more orders before I can say anything about them.")
        for call in range(calls - (turn == 0)):
            script.tool_call("look_up", {"order": 100 * turn + call})
        if turn == 0:
            script.tool_call("today", {})
        script.turn()
    script.reasoning("All of them were shipped in time.")
    return script.text("All ten orders were shipped in time, and none of them was returned by its customer.")


def agent(into: MemoryLog) -> Agent:
    """The agent whose run it is."""
    config = Config(model="gpt-4o-mini", system_prompt="You answer questions about the orders of a shop, briefly. " * 4)
    return Agent(_provider(), config, into, tools=[look_up, today])


log = MemoryLog()
RUN_ID = agent(log).run_sync("Were the orders of this week shipped in time?").run_id
EVENTS = tuple(log.read_sync(RUN_ID))
PAYLOADS = tuple(decode_payload(event.kind, event.payload) for event in EVENTS)
