"""Appending to Postgres beside a bare INSERT of the same row, on the very connection that the log uses.

The server is the one of the tests: on a socket of this machine, and it never waits for a disk, so nothing hides what
the log adds.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import Row, compare
from benchmarks.disk import batches
from starling import PostgresLog
from tests.postgres_kit import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Comparison
    from starling.event import Event

__all__ = ["rows"]

RUNS = 120
"""Made beforehand for each side; each call takes the next one, and appends its events one by one."""
ROUNDS = 15
INSERT = "INSERT INTO eventlog_events (run_id, seq, prev_hash, ts, kind, payload) VALUES (%b, %b, %b, %b, %b, %b)"


def rows() -> Iterator[Row]:
    """Measure."""
    with _server() as server, PostgresLog(server.url(), auto_migrate=True) as log:
        yield _row("", _blocking(log))
        with asyncio.Runner() as runner:
            yield _row(", awaited", _awaited(log, runner))


@contextmanager
def _server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="starling-pg-"))
    try:
        server = Server(folder)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runs(first: int) -> Iterator[list[Event]]:
    return iter([[event for batch in batches(first + number, 1) for event in batch] for number in range(RUNS)])


def _blocking(log: PostgresLog) -> Comparison:
    log.append_sync("01JBEGINS0000000000000000A", ())
    connection = log._pool.borrow_sync()
    log._pool.give_back(connection, None)  # and it stays the only one
    cursor = connection.cursor(binary=True)
    ours, bare = _runs(0), _runs(RUNS)

    def appends() -> None:
        for event in next(ours):
            log.append_sync(event.run_id, (event,))

    def inserts() -> None:
        for event in next(bare):
            cursor.execute(INSERT, _values(event), prepare=True)

    return compare(appends, inserts, clock=time.perf_counter, rounds=ROUNDS)


def _awaited(log: PostgresLog, runner: asyncio.Runner) -> Comparison:
    async def cursor_of_log() -> object:
        loop = asyncio.get_running_loop()
        connection = await log._pool.borrow(loop)
        log._pool.give_back(connection, loop)
        return connection.cursor(binary=True)

    cursor = runner.run(cursor_of_log())
    ours, bare = _runs(2 * RUNS), _runs(3 * RUNS)

    async def appends() -> None:
        for event in next(ours):
            await log.append(event.run_id, (event,))

    async def inserts() -> None:
        for event in next(bare):
            await cursor.execute(INSERT, _values(event), prepare=True)

    return compare(lambda: runner.run(appends()), lambda: runner.run(inserts()), clock=time.perf_counter, rounds=ROUNDS)


def _values(event: Event) -> tuple[object, ...]:
    return event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload


def _row(way: str, found: Comparison) -> Row:
    return Row(
        what=f"append to Postgres, per commit{way}",
        against="bare INSERT of the same row, prepared, in autocommit on the same connection",
        goal=1.3,
        figure=found.ratio,
        details=f"100 events: {found}",
    )
