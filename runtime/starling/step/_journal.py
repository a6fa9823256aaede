"""What a run's code writes to, in its live form: the chain is pure, the log is IO.

Strategy: `emit` encodes, stamps and puts events on a pending list, under one lock and without IO. `commit` appends
everything that is pending in one batch. A journal has two forms, this one and `_replay.ReplayJournal`; the rest of
the package does not know which one it talks to, except where it must not touch the world (`replaying`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from starling._ulid import new as new_ulid
from starling.errors import InvalidAppendError, LogWriteError, RunInUseError, StarlingError
from starling.event import Chain, event_hash
from starling.event import SideEffectRecorded as Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.event import Event, Payload, Terminal, ToolCallCompleted, ToolCallFailed, ToolCallScheduled
    from starling.eventlog import EventLog
    from starling.provider import Request
    from starling.step._frame import Frame

__all__ = ["Journal", "LiveJournal"]


class Journal(Protocol):
    """Takes what the code decides and gives what the environment decided."""

    replaying: bool

    def asks(self, request: Request) -> None:
        """The request that the next turn is about."""
        ...

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """An event of the run itself, made by a call's code if ``frame`` is one. Returns what stands in the log."""
        ...

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """The last event; its Merkle root is filled in here."""
        ...

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """Wait until it is this call's turn among those that ``parent`` dispatches; its id is not known yet."""
        ...

    def schedule(self, parent: Frame, payload: ToolCallScheduled) -> Any:
        """The first attempt of a call that ``parent`` dispatches. Returns the new frame's ``node``."""
        ...

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """A further attempt of the call of this frame."""
        ...

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """How an attempt ended. Returns what stands in the log."""
        ...

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that is not to be run; None if it is."""
        ...

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:
        """The order in which a batch must be run one by one; None if it runs in parallel."""
        ...

    def take_effect(self, frame: Frame, name: str, request: int) -> Effect | None:
        """The recorded effect for this request; None when it has to be carried out."""
        ...

    def effect(self, frame: Frame, payload: Effect, request: int) -> None:
        """An effect that was carried out."""
        ...

    def turn_id(self) -> str:
        """The id of the turn that begins."""
        ...

    def call_id(self, parent: Frame) -> str:
        """The id of a call that the code did not name."""
        ...

    async def commit(self) -> None:
        """Make everything emitted so far durable."""
        ...

    @property
    def commits_in_line(self) -> bool:
        """Whether a commit needs no event loop."""
        ...

    def commit_from_thread(self) -> None:
        """The same, from a worker thread."""
        ...


class LiveJournal:
    """Writes a run that happens now.

    Args:
        chain: where the run stands; a new run starts with an empty one.
        log: the agent's event log.
        committed: called with each batch once it is in the log.
        emit_timeout_s: how long one append may take; 0 means without bound. Logs that append in line (SQLite, memory)
            have a bound of their own.
        clock: Unix nanoseconds, for the events' timestamps.
    """

    replaying = False

    def __init__(
        self,
        chain: Chain,
        log: EventLog,
        *,
        committed: Callable[[Sequence[Event]], None],
        emit_timeout_s: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.chain = chain
        self._log = log
        self._append_in_line: Callable[[str, Sequence[Event]], None] | None = getattr(log, "append_sync", None)
        self._clock = clock
        self._committed = committed
        self._timeout = emit_timeout_s or None
        self._lock = threading.Lock()
        self._pending: list[Event] = []
        self._effects: dict[tuple[str, str], int] = {}
        self._failure: StarlingError | None = None
        self._in_line_turn = threading.Lock()
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    # --- what happened

    def asks(self, request: Request) -> None:
        """Nothing to compare it with."""

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:  # noqa: ARG002
        """Stamp an event of the run itself."""
        with self._lock:
            self._stamp(payload)
        return payload

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """Stamp the terminal event, with the Merkle root of everything before it."""
        with self._lock:
            payload = replace(payload, merkle_root=self.chain.root())
            self._stamp(payload)
        return payload

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """It always is: what happens first is first."""

    def schedule(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """Stamp a call's first attempt."""
        self._stamp_for(parent, payload)

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """Stamp a further attempt."""
        self._stamp_for(frame, payload)

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """Stamp an attempt's end; nothing of that attempt can be recorded after it."""
        with self._lock:
            frame.check()
            self._stamp(payload)
            frame.closed = True
        return payload

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:  # noqa: ARG002
        """Nothing is recorded yet: run it."""
        return None

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:  # noqa: ARG002
        """No order: a batch runs in parallel."""
        return None

    def take_effect(self, frame: Frame, name: str, request: int) -> Effect | None:  # noqa: ARG002
        """Nothing is recorded yet: carry it out."""
        return None

    def effect(self, frame: Frame, payload: Effect, request: int) -> None:
        """Stamp an effect; its ordinal is kept where effects of one name finish out of order."""
        key = (frame.call_id, payload.name)
        with self._lock:
            frame.check()
            finished = self._effects.get(key, 0) + 1
            self._effects[key] = finished
            self._stamp(payload if finished == request else replace(payload, ordinal=request))

    def turn_id(self) -> str:
        """A fresh id."""
        return new_ulid()

    def call_id(self, parent: Frame) -> str:  # noqa: ARG002
        """A fresh id."""
        return new_ulid()

    def _stamp_for(self, frame: Frame, payload: Payload) -> None:
        with self._lock:
            frame.check()
            self._stamp(payload)

    def _stamp(self, payload: Payload) -> None:
        if self._failure is not None:
            raise self._failure
        self._pending.append(self.chain.append(payload, self._clock()))

    # --- making it durable

    async def commit(self) -> None:
        """Append what is pending as one batch.

        A cancelled caller waits for the append that is under way, so that a batch is never half known.

        Raises:
            LogWriteError: the log did not take the batch; the run must not go on.
            RunInUseError: another writer advanced the run.
        """
        if self._append_in_line is not None:
            self._commit_in_line(self._append_in_line)
            return
        async with self._turn:
            batch = self._take()
            if batch:
                await self._append(batch)
                self._committed(batch)

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

    def _take(self) -> list[Event]:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            batch, self._pending = self._pending, []
        return batch

    def _commit_in_line(self, append: Callable[[str, Sequence[Event]], None]) -> None:
        with self._in_line_turn:
            batch = self._take()
            if not batch:
                return
            try:
                append(self.chain.run_id, batch)
            except Exception as error:
                read: Callable[[str], list[Event]] = self._log.read_sync  # type: ignore[attr-defined]
                if not _arrived(batch, lambda: read(self.chain.run_id)):
                    raise self._fail(error, batch[0].seq) from error
            self._committed(batch)

    async def _append(self, batch: list[Event]) -> None:
        task = asyncio.create_task(self._log.append(self.chain.run_id, batch))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                async with asyncio.timeout(self._timeout):
                    await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.done():
                    break
                cancelled = error
            except TimeoutError:
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            except Exception:  # noqa: BLE001 - read from the task below
                break
        try:
            task.result()
        except (Exception, asyncio.CancelledError) as error:
            if not await self._arrived(batch):
                raise self._fail(error, batch[0].seq) from error
        if cancelled is not None:
            self._committed(batch)
            raise cancelled

    async def _arrived(self, batch: list[Event]) -> bool:
        """Whether a batch whose acknowledgement was lost is in the log all the same."""
        try:
            async with asyncio.timeout(self._timeout):
                stored = await self._log.read(self.chain.run_id)
        except Exception:  # noqa: BLE001 - the storage is down; the first error is the one to report
            return False
        return _arrived(batch, lambda: stored)

    def _fail(self, error: BaseException, first: int) -> StarlingError:
        where = {"run_id": self.chain.run_id, "seq": first}
        if isinstance(error, InvalidAppendError):
            failure: StarlingError = RunInUseError(
                f"run {self.chain.run_id} was advanced by another writer: {error}. Let one process at a time write a "
                "run",
                **where,
            )
        else:
            said = str(error) or type(error).__name__
            failure = LogWriteError(
                f"run {self.chain.run_id}: the events from seq {first} on could not be written: {said}. Nothing "
                "further was dispatched; resume the run once the log works again",
                **where,
            )
        with self._lock:
            self._failure = failure
        return failure


def _arrived(batch: Sequence[Event], read: Callable[[], Sequence[Event]]) -> bool:
    try:
        stored = read()
    except Exception:  # noqa: BLE001 - see LiveJournal._arrived
        return False
    last = batch[-1]
    return len(stored) >= last.seq and event_hash(stored[last.seq - 1]) == event_hash(last)
