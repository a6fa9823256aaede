"""The connections of one Postgres log: a bounded number, for whatever threads and event loops use the log.

Strategy: a connection is made when somebody needs one and none is idle, so an error names its cause at once and nothing
works in the background. Whoever borrows holds one of ``size`` slots; who finds none waits in line, threads and tasks
alike. An idle connection stays with its home: the event loop that it was made in, or None for the blocking ones. Those
of an event loop that is gone are closed when somebody borrows next.

A process that was forked makes connections of its own (`begin_anew`); those that it inherited are its parent's.

psycopg's own pools are not used: an async one belongs to one event loop, keeps tasks running in it, and leaves its
connections open when the loop ends; and a server that is away shows as a timeout, without its cause.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.eventlog._postgres_insert import AsyncConnection, Connection

__all__ = ["NoFreeConnectionError", "Pool"]

_IDLE_S = 300.0
"""How long a connection may lie idle: firewalls forget about one that is silent, and say nothing."""

_AT_REST = TransactionStatus.IDLE
_Connection: TypeAlias = "Connection | AsyncConnection"
_Home: TypeAlias = "asyncio.AbstractEventLoop | None"


class NoFreeConnectionError(Exception):
    """Every connection stayed in use for as long as the caller was willing to wait."""


class Pool:
    """Lends connections.

    Args:
        connect: makes a connection of the running event loop.
        connect_sync: makes a blocking one.
        size: connections at most, the idle ones included.
        wait_s: how long to wait for one that is in use.
        closed_error: makes what is raised once the pool is closed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection]],
        connect_sync: Callable[[], Connection],
        *,
        size: int,
        wait_s: float,
        closed_error: Callable[[], Exception],
    ) -> None:
        self._connect = connect
        self._connect_sync = connect_sync
        self._size = size
        self._wait_s = wait_s
        self._closed_error = closed_error
        self.closed = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._in_use = 0
        self._waiting: deque[Future[None]] = deque()
        self._lent: set[_Connection] = set()
        self._idle: dict[_Home, list[tuple[Any, float]]] = {}

    async def borrow(self, loop: asyncio.AbstractEventLoop) -> AsyncConnection:
        """A connection of the running event loop; `give_back` must follow.

        Raises:
            Exception: what ``closed_error`` makes; the pool was closed before, or while the caller waited.
            NoFreeConnectionError: none became free in time.
            psycopg.Error: a new one could not be made.
        """
        ticket = self._ticket()
        if ticket is not None:
            await self._wait(ticket, loop)
        try:
            connection: AsyncConnection = self._take(loop) or await self._connect()
        except BaseException:
            self._leave()
            raise
        self._lent.add(connection)
        return connection

    def borrow_sync(self) -> Connection:
        """`borrow`, blocking."""
        ticket = self._ticket()
        if ticket is not None:
            self._wait_sync(ticket)
        try:
            connection: Connection = self._take(None) or self._connect_sync()
        except BaseException:
            self._leave()
            raise
        self._lent.add(connection)
        return connection

    def give_back(self, connection: _Connection, home: _Home) -> None:
        """It is free again. One that is in the middle of something, after an error, is closed.

        Args:
            connection: one that was borrowed.
            home: the event loop that it belongs to; None for a blocking one.
        """
        if connection not in self._lent:  # a task that was forked in its midst gives back what is its parent's
            return
        usable = connection.pgconn.transaction_status == _AT_REST
        with self._lock:
            self._lent.remove(connection)
            if usable and not self.closed:
                self._idle.setdefault(home, []).append((connection, time.monotonic()))
            else:
                _finish(connection)
        self._leave()

    def close(self) -> None:
        """Close what is idle, and turn away who waits. What is in use is closed when it comes back."""
        with self._lock:
            self.closed = True
            waiting, self._waiting = self._waiting, deque()
            for home in list(self._idle):
                self._close_idle(home)
        for ticket in waiting:
            if ticket.set_running_or_notify_cancel():
                ticket.set_exception(self._closed_error())

    def begin_anew(self) -> None:
        """Be the pool of a process that was just forked: nothing is in use, and nothing idle.

        What another thread of the parent was using is cut off and left as it is: nobody knows in which state.
        """
        lent, idle = self._lent, [connection for idle in self._idle.values() for connection, _ in idle]
        self._begin()  # with a new lock: the old one may be held by a thread that is not here
        for connection in (*lent, *idle):
            _cut_off(connection)
        for connection in idle:
            _finish(connection)

    # -- slots

    async def _wait(self, ticket: Future[None], loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await asyncio.wrap_future(ticket, loop=loop)
        except TimeoutError:
            self._tear_up(ticket)
            raise self._none_free() from None
        except BaseException:
            self._tear_up(ticket)
            raise

    def _wait_sync(self, ticket: Future[None]) -> None:
        try:
            ticket.result(self._wait_s)
        except TimeoutError:
            self._tear_up(ticket)
            raise self._none_free() from None
        except BaseException:  # Ctrl-C, or whatever else the handler of a signal raises
            self._tear_up(ticket)
            raise

    def _ticket(self) -> Future[None] | None:
        """Take a slot; or, if there is none, a ticket that is called when there is."""
        with self._lock:
            if self.closed:
                raise self._closed_error()
            if self._in_use < self._size:
                self._in_use += 1
                return None
            ticket: Future[None] = Future()
            self._waiting.append(ticket)
            return ticket

    def _tear_up(self, ticket: Future[None]) -> None:
        """Stop waiting. If the ticket has been called meanwhile, the slot goes to the next."""
        called = not ticket.cancel() and not ticket.cancelled()
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if called and not self.closed:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            while self._waiting:
                ticket = self._waiting.popleft()
                if ticket.set_running_or_notify_cancel():
                    ticket.set_result(None)  # the slot changes hands
                    return
            self._in_use -= 1

    def _none_free(self) -> NoFreeConnectionError:
        return NoFreeConnectionError(f"none of {self._size} became free within {self._wait_s:g} s")

    # -- connections; a slot is held

    def _take(self, home: _Home) -> Any:
        """An idle connection of this home that is alive. None if there is none; then there is room for a new one."""
        with self._lock:
            self._sweep()
            mine = self._idle.get(home, [])
            while mine:
                connection, _ = mine.pop()
                if _is_alive(connection):
                    return connection
                _finish(connection)
            self._make_room()
        return None

    def _sweep(self) -> None:
        """Close what has been idle for long, and what belongs to an event loop that is gone."""
        since = time.monotonic() - _IDLE_S
        for home in list(self._idle):
            if home is not None and home.is_closed():
                self._close_idle(home)
                continue
            while self._idle[home] and self._idle[home][0][1] < since:
                _finish(self._idle[home].pop(0)[0])

    def _make_room(self) -> None:
        """Close idle connections of other homes, so that with a new one there are not more than allowed."""
        for idle in self._idle.values():
            while idle and self._in_use + sum(map(len, self._idle.values())) > self._size:
                _finish(idle.pop(0)[0])

    def _close_idle(self, home: _Home) -> None:
        for connection, _ in self._idle.pop(home):
            _finish(connection)


def _finish(connection: _Connection) -> None:
    """Close it from whatever thread, without waiting."""
    connection.pgconn.finish()


def _cut_off(connection: _Connection) -> None:
    """Put nothing in the place of the socket, which the parent still uses: what is said from here on, nobody hears.

    Closing would not do: libpq says good-bye to the server, in the parent's name, and the number of a closed file is
    soon another one's.
    """
    with suppress(psycopg.OperationalError):  # it is closed already
        socket = connection.pgconn.socket
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, socket, inheritable=False)
        os.close(nothing)


def _is_alive(connection: _Connection) -> bool:
    """Whether an idle connection is still there, as far as this side can tell without asking the server.

    A server that ends a session says so and hangs up. Both are taken in here: two looks, neither of which waits.
    """
    try:
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return bool(connection.pgconn.transaction_status == _AT_REST)
