"""Encoding, hashing, validating: what every recorded event costs, beside the least that its bytes can cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cbor2
from blake3 import blake3

from benchmarks._measure import Row, compare
from benchmarks._sample import EVENTS, PAYLOADS, look_up
from starling import Agent, Config, MemoryLog
from starling.event import (
    Chain,
    Event,
    SideEffectRecorded,
    encode_event,
    encode_payload,
    event_hash,
    validate,
)
from starling.merkle import root
from starling.testing import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rows"]

MANY = 10_000
SMALL = SideEffectRecorded(name="now", value=1_700_000_000_000_000_000)
_HUNDRED_BYTES = bytes(range(100))


def rows() -> Iterator[Row]:
    """Measure."""
    yield _encode()
    yield _emit()
    yield _validate()
    yield _merkle()


def _encode() -> Row:
    plain = [cbor2.loads(event.payload) for event in EVENTS]
    assert [encode_payload(payload) for payload in PAYLOADS] == [event.payload for event in EVENTS]
    assert [cbor2.dumps(value, canonical=True) for value in plain] == [event.payload for event in EVENTS]
    dumps = cbor2.dumps

    def subject() -> None:
        for payload in PAYLOADS:
            encode_payload(payload)

    def baseline() -> None:
        for value in plain:
            dumps(value, canonical=True)

    found = compare(baseline, subject)
    return Row(
        what=f"encode the {len(EVENTS)} payloads of the sample",
        against="cbor2.dumps(canonical=True) of the same maps",
        goal=3.0,
        figure=found.ratio,
        unit="× faster",
        at_least=True,
        details=str(found),
    )


def _emit() -> Row:
    batch = 1000

    def subject() -> None:
        chain = Chain("01JAAAAAAAAAAAAAAAAAAAAAAA")
        for _ in range(batch):
            chain.append(SMALL, time.time_ns())

    def baseline() -> None:
        for _ in range(batch):
            blake3(_HUNDRED_BYTES).digest()

    found = compare(subject, baseline)
    return Row(
        what="emit into memory, a small payload",
        against="one BLAKE3 of 100 bytes",
        goal=6.0,
        figure=found.ratio,
        details=str(found),
    )


def _long_run() -> list[Event]:
    """A run of about `MANY` events: turns of ten tool calls each."""
    script, turns = ScriptedProvider(), MANY // 22
    for turn in range(turns):
        for call in range(10):
            script.tool_call("look_up", {"order": 10 * turn + call})
        script.turn()
    log = MemoryLog()
    config = Config(model="gpt-4o-mini", max_turns=turns + 1)
    result = Agent(script.text("Done."), config, log, tools=[look_up]).run_sync("Look at all of them.")
    return log.read_sync(result.run_id)


def _validate() -> Row:
    events = _long_run()
    validate(events)

    def subject() -> None:
        validate(events)

    def baseline() -> None:
        before = None
        for at, event in enumerate(events, start=1):
            assert event.prev_hash == before
            assert event.seq == at
            before = blake3(encode_event(event)).digest()

    found = compare(subject, baseline, rounds=9)
    return Row(
        what=f"validate {len(events):,} events",
        against="a loop that checks the chain and decodes nothing",
        goal=1.5,
        figure=found.ratio,
        details=str(found),
    )


def _merkle() -> Row:
    leaves = [event_hash(event) for event in EVENTS] * (MANY // len(EVENTS) + 1)
    del leaves[MANY:]
    pairs = [left + right for left, right in zip(leaves, leaves[1:] + leaves[:1], strict=True)]

    def baseline() -> None:
        for pair in pairs:
            blake3(pair).digest()

    found = compare(lambda: root(leaves), baseline, rounds=9)
    return Row(
        what=f"Merkle root of {MANY:,} leaves",
        against="as many hashes of two leaves",
        goal=1.25,
        figure=found.ratio,
        details=str(found),
    )
