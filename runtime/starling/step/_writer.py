"""Making a run's events durable: batches of what was stamped, appended one after another, each to a known end.

Strategy: a batch stays pending until it is known to have arrived. After a failed append the log is looked at, because
its acknowledgement alone may have been lost; after a real failure nothing more is taken.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starling.errors import InvalidAppendError, LogWriteError, RunInUseError, StarlingError
from starling.event import event_hash
from starling.step import _texts
from starling.step._bounded import carry_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.event import Event
    from starling.eventlog import EventLog

__all__ = ["LogWriter"]

GRACE_S = 1.0
"""How long a log that has exceeded `Config.emit_timeout` may take to be cancelled and to say what it holds."""


class LogWriter:
    """Appends a run's events to a log; made on the run's event loop.

    Args:
        lock: guards what is pending; whoever adds to it holds it.
        committed: called with each batch once it is in the log.
        timeout_s: how long one append may take; 0 means without bound. What becomes of a late one is known, or given
            up, `GRACE_S` later. Logs that append in line (SQLite, memory) have a bound of their own.
    """

    def __init__(
        self,
        run_id: str,
        log: EventLog,
        lock: threading.Lock,
        *,
        committed: Callable[[Sequence[Event]], None],
        timeout_s: float,
    ) -> None:
        self._run_id = run_id
        self._log = log
        self._append_in_line = _append_in_line(log)
        self._lock = lock
        self._committed = committed
        self._timeout = timeout_s or None
        self._pending: list[Event] = []
        self._failure: StarlingError | None = None
        self._in_line_turn = threading.Lock()
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        """Take nothing more once an append has failed."""
        if self._failure is not None:
            raise self._failure

    def add(self, event: Event) -> None:
        """Put an event behind what is pending."""
        self._pending.append(event)

    async def commit(self) -> None:
        """Append what is pending as one batch.

        A cancelled caller waits for the append that is under way, so that a batch is never half known. What interrupts
        the append itself (KeyboardInterrupt) leaves the batch pending, unless it has arrived.

        Raises:
            LogWriteError: the log did not take the batch; the run must not go on.
            RunInUseError: another writer advanced the run, or the run's id was taken already.
        """
        if self._append_in_line is not None:
            self._commit_in_line(self._append_in_line)
            return
        async with self._turn:
            batch = self._batch()
            if batch:
                await self._append(batch)

    @property
    def commits_in_line(self) -> bool:
        """Whether a commit needs no event loop."""
        return self._append_in_line is not None

    def commit_from_thread(self) -> None:
        """Append what is pending, from a thread that is not the run's loop."""
        if self._append_in_line is not None:
            self._commit_in_line(self._append_in_line)
        else:
            asyncio.run_coroutine_threadsafe(self.commit(), self._loop).result()

    def _batch(self) -> list[Event]:
        """What is pending; it stays so until it has arrived."""
        with self._lock:
            self.check()
            return list(self._pending)

    def _commit_in_line(self, append: Callable[[str, Sequence[Event]], None]) -> None:
        with self._in_line_turn:
            batch = self._batch()
            if not batch:
                return
            try:
                append(self._run_id, batch)
            except BaseException as error:  # noqa: BLE001 - raised again unless the batch has arrived all the same
                self._recover(error, batch, self._read_in_line())
            else:
                self._settle(batch)

    def _read_in_line(self) -> list[Event]:
        read: Callable[[str], list[Event]] = self._log.read_sync  # type: ignore[attr-defined]
        try:
            return read(self._run_id)
        except Exception:  # noqa: BLE001 - the storage is down; the first error is the one to report
            return []

    async def _append(self, batch: list[Event]) -> None:
        run_id, (until, at_last) = self._run_id, self._deadlines()
        late = f"the log took longer than Config.emit_timeout allows ({self._timeout or 0:g} s)"
        written = await carry_out(lambda: self._log.append(run_id, batch), until=until, at_last=at_last, late=late)
        cancelled = written.cancelled
        if written.error is None:
            self._settle(batch)
        else:
            read = await carry_out(lambda: self._log.read(run_id), until=at_last, at_last=at_last)
            cancelled = read.cancelled or cancelled
            self._recover(written.error, batch, read.value or [])
        if cancelled is not None:
            raise cancelled

    def _deadlines(self) -> tuple[float | None, float | None]:
        """When an append that begins now is cancelled, and when it and the look at what became of it must be over."""
        if self._timeout is None:
            return None, None
        until = self._loop.time() + self._timeout
        return until, until + GRACE_S

    def _settle(self, batch: list[Event]) -> None:
        """The batch is in the log."""
        with self._lock:
            del self._pending[: len(batch)]
        self._committed(batch)

    def _recover(self, error: BaseException, batch: list[Event], stored: Sequence[Event]) -> None:
        """Go on after a failed append if the batch has arrived all the same (its acknowledgement was lost).

        Args:
            stored: what the log holds of the run now.
        """
        arrived = _holds(stored, batch[-1])
        if arrived:
            self._settle(batch)
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            raise error  # says nothing about the log; what is still pending goes with the run's last events
        if not arrived:
            raise self._fail(error, batch[0], stored) from error

    def _fail(self, error: BaseException, first: Event, stored: Sequence[Event]) -> StarlingError:
        run, where = f"run {self._run_id}", {"run_id": self._run_id, "seq": first.seq}
        failure: StarlingError
        if first.seq == 1 and stored and not _holds(stored, first):
            failure = RunInUseError(
                f"{run}: the log already holds a run of that id: choose another id, or resume it", **where
            )
        elif isinstance(error, InvalidAppendError):
            failure = RunInUseError(
                f"{run} was advanced by another writer: {error}. Let one process at a time write a run", **where
            )
        else:
            said = _texts.said(error) or type(error).__name__
            failure = LogWriteError(
                f"{run}: the events from seq {first.seq} on could not be written: {said}. Nothing further was "
                "dispatched; resume the run once the log works again",
                **where,
            )
        with self._lock:
            self._failure = failure
        return failure


def _holds(stored: Sequence[Event], event: Event) -> bool:
    return len(stored) >= event.seq and event_hash(stored[event.seq - 1]) == event_hash(event)


def _append_in_line(log: EventLog) -> Callable[[str, Sequence[Event]], None] | None:
    """The log's way to append without a loop.

    None where appending waits for a network (``append_waits``), which would hold up the whole event loop; and where
    ``append`` is another thing: overridden below the class that has ``append_sync``, or a wrapper's own,
    which hands every other attribute on.
    """
    if getattr(log, "append_waits", False):
        return None
    nearness = {name: _nearness(log, name) for name in ("append", "append_sync")}
    if nearness["append_sync"] is None or (nearness["append"] or 0) < nearness["append_sync"]:
        return None
    in_line: Callable[[str, Sequence[Event]], None] | None = getattr(log, "append_sync", None)
    return in_line


def _nearness(log: object, name: str) -> int | None:
    """How far from the object an attribute is defined: 0 for itself, 1 for its class; None if it is not."""
    homes = (getattr(log, "__dict__", {}), *(vars(cls) for cls in type(log).__mro__))
    return next((distance for distance, home in enumerate(homes) if name in home), None)
