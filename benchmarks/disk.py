"""What is written: commits to SQLite beside a bare INSERT, and the size of a fixture beside its own CBOR."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import Row, compare
from benchmarks._sample import EVENTS, RUN_ID
from starling import SQLiteLog, __version__
from starling.event import Chain, Event, RunStarted, SideEffectRecorded, decode_payload, encode_event
from starling.fixture import Fixture, FixtureRun, write_fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["batches", "rows"]

CALLS = 1200
"""How many runs are made beforehand for each side: it is the commit that is measured. Each call takes the next one."""
EVENTS_A_CALL = 100
INSERT = "INSERT INTO eventlog_events (run_id, seq, prev_hash, ts, kind, payload) VALUES (?, ?, ?, ?, ?, ?)"
SMALL = SideEffectRecorded(name="now", value=1_700_000_000_000_000_000)


def rows() -> Iterator[Row]:
    """Measure."""
    for batch, goal in ((1, 1.3), (10, 0.6)):
        yield _commits(batch, goal)
    yield _fixture()


def _commits(batch: int, goal: float) -> Row:
    runs = [batches(number, batch) for number in range(CALLS)]
    with (
        tempfile.TemporaryDirectory() as folder,
        SQLiteLog(Path(folder, "ours.db")) as ours,
        closing(_bare(Path(folder, "bare.db"), ours.path)) as bare,
    ):
        found = compare(_subject(ours, runs), _baseline(bare, runs), clock=time.perf_counter, rounds=15)
    events = f"{batch} event{'s' if batch > 1 else ''} a batch"
    return Row(
        what=f"commit to SQLite, per event, {events}",
        against="bare INSERT in autocommit, of the same row",
        goal=goal,
        figure=found.ratio,
        details=f"{EVENTS_A_CALL} events: {found}",
    )


def batches(number: int, batch: int) -> list[list[Event]]:
    """A run that has begun and goes on, in batches."""
    chain = Chain(f"01JAAAAAAAAAAAAAAAAA{number:06}")
    started = decode_payload(EVENTS[0].kind, EVENTS[0].payload)
    assert isinstance(started, RunStarted)
    events = [chain.append(started, 1), *(chain.append(SMALL, at) for at in range(2, EVENTS_A_CALL + 1))]
    return [events[at : at + batch] for at in range(0, EVENTS_A_CALL, batch)]


def _subject(ours: SQLiteLog, runs: list[list[list[Event]]]) -> Callable[[], None]:
    left = iter(runs)

    def commits() -> None:
        for batch in next(left):
            ours.append_sync(batch[0].run_id, batch)

    return commits


def _baseline(bare: sqlite3.Connection, runs: list[list[list[Event]]]) -> Callable[[], None]:
    left = iter(runs)

    def inserts() -> None:
        for batch in next(left):
            for event in batch:
                row = (event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload)
                bare.execute(INSERT, row)

    return inserts


def _bare(path: Path, like: Path) -> sqlite3.Connection:
    """A connection with the settings and the table of the log, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = wal", "synchronous = normal"):
        connection.execute(f"PRAGMA {pragma}")
    with sqlite3.connect(like) as source:
        (table,) = source.execute("SELECT sql FROM sqlite_master WHERE name = 'eventlog_events'").fetchone()
    source.close()
    connection.execute(table)
    return connection


def _fixture() -> Row:
    run = FixtureRun(run_id=RUN_ID, events=EVENTS, began=1, ended=2)
    fixture = Fixture(
        test_id="tests/test_orders.py::test_orders",
        recorded_at="2026-11-21T12:00:00+00:00",
        versions={"pytest-starling": __version__},
        runs=(run,),
    )
    with tempfile.TemporaryDirectory() as folder, write_fixture(Path(folder, "orders.db"), fixture) as temporary:
        on_disk = temporary.path.stat().st_size
    content = sum(len(encode_event(event)) for event in EVENTS)
    return Row(
        what=f"a fixture on disk ({len(EVENTS)} events)",
        against="the CBOR of its events",
        goal=1.35,
        figure=on_disk / content,
        details=f"{on_disk:,} to {content:,} bytes",
    )
