"""Replay of the sample, at the level of the API, beside the tightest loop that looks at every event at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blake3 import blake3

from benchmarks._measure import Row, compare
from benchmarks._sample import EVENTS, RUN_ID, agent, log
from starling import MemoryLog
from starling.event import decode_payload, encode_event, encode_payload
from starling.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["plain_loop", "rows"]

REPLAYS = 10
"""In one event loop, whose start is no part of a replay."""


def plain_loop() -> None:
    """Decode, encode, hash and compare every event of the sample, and nothing else."""
    before = None
    for event in EVENTS:
        payload = decode_payload(event.kind, event.payload)
        assert encode_payload(payload) == event.payload
        assert event.prev_hash == before
        before = blake3(encode_event(event)).digest()


def rows() -> Iterator[Row]:
    """Measure."""
    subject_agent = agent(MemoryLog())

    async def replays() -> None:
        for _ in range(REPLAYS):
            await replay(log, RUN_ID, subject_agent)

    def baseline() -> None:
        for _ in range(REPLAYS):
            plain_loop()

    found = compare(lambda: asyncio.run(replays()), baseline)
    yield Row(
        what=f"replay a run of {len(EVENTS)} events (5 turns, 10 async tools)",
        against="a plain loop that decodes, encodes, hashes and compares them",
        goal=2.0,
        figure=found.ratio,
        details=str(found),
    )
