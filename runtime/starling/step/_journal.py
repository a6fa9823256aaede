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
from starling.errors import (
    InvalidAppendError,
    LogWriteError,
    NondeterminismError,
    RunInUseError,
    StarlingError,
    StepContextError,
)
from starling.event import Chain, EffectError, event_hash
from starling.event import SideEffectRecorded as Effect
from starling.step._bounded import carry_out
from starling.step._served import SERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.event import Event, Payload, Terminal, ToolCallCompleted, ToolCallFailed, ToolCallScheduled
    from starling.eventlog import EventLog
    from starling.provider import Request
    from starling.step._frame import Frame
    from starling.step._served import Served

__all__ = ["ABANDONED", "NOT_FOR_THE_LOG", "Journal", "LiveJournal", "abandoned", "is_abandoned"]

NOT_FOR_THE_LOG = (NondeterminismError, LogWriteError, RunInUseError)
"""Failures of the run that are no events: the recording has no place for them, or the log takes nothing any more."""

ABANDONED = "starling/abandoned"
"""Stands for the type of an effect that was asked for and then cut off: cancelled, or left behind by its call."""


def abandoned(call_id: str, name: str) -> Effect:
    """The record of such an effect. It keeps the numbers of later requests right, and a replay waits where it did."""
    return Effect(name=name, value=None, call_id=call_id, error=EffectError(type=ABANDONED, message=""))


def is_abandoned(payload: Payload) -> bool:
    """Whether an event is that record."""
    return isinstance(payload, Effect) and payload.error is not None and payload.error.type == ABANDONED


GRACE_S = 1.0
"""How long a log that has exceeded `Config.emit_timeout` may take to be cancelled and to say what it holds."""


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

    async def turn_to_ask(self, frame: Frame) -> None:
        """Wait until it is this frame's turn to call the model."""
        ...

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: Served | None = None) -> Any:
        """The first attempt of a call that ``parent`` dispatches. Returns the new frame's ``node``.

        Args:
            served: what is left of the call that this one is reissued for.
        """
        ...

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """A further attempt of the call of this frame."""
        ...

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """How an attempt ended. Returns what stands in the log."""
        ...

    def open_attempt(self, frame: Frame) -> int:
        """The attempt of this frame's call that needs an outcome from here; 0 if none does."""
        ...

    def close(self, frame: Frame) -> None:
        """The run's own code has ended; nothing of it can be recorded any more."""
        ...

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that is not to be run; None if it is."""
        ...

    def forgo(self, frame: Frame) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome with which the run goes on after this call diverged; None if it ends with that."""
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

    def patched(self, frame: Frame, name: str) -> bool:
        """Whether this call takes the new way of a patch; ``name`` is the patch's mark."""
        ...

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """Accept the mark of a patch whose old way is gone. Returns whether there is one."""
        ...

    def turn_id(self, frame: Frame) -> str:
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
        owned_effects: whether the log's effects name their call; a log of the original program's that is resumed here
            must go on as it began.
        emit_timeout_s: how long one append may take; 0 means without bound. What becomes of a late one is known, or
            given up, `GRACE_S` later. Logs that append in line (SQLite, memory) have a bound of their own.
        clock: Unix nanoseconds, for the events' timestamps.
    """

    replaying = False

    def __init__(
        self,
        chain: Chain,
        log: EventLog,
        *,
        committed: Callable[[Sequence[Event]], None],
        owned_effects: bool = True,
        emit_timeout_s: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.chain = chain
        self._log = log
        self._append_in_line: Callable[[str, Sequence[Event]], None] | None = getattr(log, "append_sync", None)
        self._clock = clock
        self._committed = committed
        self._owned_effects = owned_effects
        self._timeout = emit_timeout_s or None
        self._lock = threading.Lock()
        self._pending: list[Event] = []
        self._open: dict[str, int] = {}
        self._failure: StarlingError | None = None
        self._ended = False
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
            self._ended = True
        return payload

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """It always is: what happens first is first."""

    async def turn_to_ask(self, frame: Frame) -> None:
        """It always is, for the same reason."""

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: Served | None = None) -> Served | None:
        """Stamp a call's first attempt: its first here, if it is reissued."""
        with self._lock:
            parent.check()
            if served is None and parent.node is not None:
                served = parent.node.take_call(payload)
            self._open_call(payload if served is None else replace(payload, attempt=served.first_attempt))
        return served

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """Stamp a further attempt; what is left of an orphan belongs to the attempt that was cut off."""
        with self._lock:
            frame.check()
            frame.node = None
            self._open_call(payload)

    def _open_call(self, payload: ToolCallScheduled) -> None:
        self._stamp(payload)
        self._open[payload.call_id] = payload.attempt

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """Stamp an attempt's end; nothing of that attempt can be recorded after it."""
        with self._lock:
            frame.check()
            self._abandon_effects(frame)
            self._stamp(payload)
            self._open.pop(payload.call_id, None)
            frame.closed = True
        return payload

    def open_attempt(self, frame: Frame) -> int:
        """The attempt of this call that was scheduled and has no outcome."""
        with self._lock:
            return self._open.get(frame.call_id, 0)

    def close(self, frame: Frame) -> None:
        """Leave a record of what the run's own code had asked for and not waited for."""
        with self._lock:
            frame.closed = True
            self._abandon_effects(frame)

    def _abandon_effects(self, frame: Frame) -> None:
        for name, request in list(frame.asked):
            self._effect(frame, abandoned(frame.call_id, name), request)

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:  # noqa: ARG002
        """None: run it. A call that had ended inside of one that a crash cut off is not run again."""
        served: Served | None = frame.node
        if served is None or served.outcome is None:
            return None
        outcome = replace(served.outcome, call_id=frame.call_id)
        with self._lock:
            frame.check()
            self._stamp(Effect(name=SERVED, value=served.outcome.call_id, call_id=frame.call_id))
            self._stamp(outcome)
            self._open.pop(frame.call_id, None)
            frame.closed = True
        return outcome

    def forgo(self, frame: Frame) -> ToolCallCompleted | ToolCallFailed | None:  # noqa: ARG002
        """None: nothing diverges here."""
        return None

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:
        """None: a batch runs in parallel, unless a replay of this log could not tell whose effects are whose."""
        return None if self._owned_effects else list(range(len(frames)))

    def take_effect(self, frame: Frame, name: str, request: int) -> Effect | None:
        """None: carry it out. What an orphan had done is not done again, but recorded for the call in its place."""
        served: Served | None = frame.node
        with self._lock:
            effect = None if served is None else served.take_effect(name, request)
            if effect is None:
                return None
            frame.check()
            self._effect(frame, replace(effect, call_id=frame.call_id, ordinal=0), request)
        return effect

    def effect(self, frame: Frame, payload: Effect, request: int) -> None:
        """Stamp an effect; its ordinal is kept where effects of one name finish out of order."""
        with self._lock:
            frame.check()
            self._effect(frame, payload, request)

    def _effect(self, frame: Frame, payload: Effect, request: int) -> None:
        finished = frame.finished.get(payload.name, 0) + 1
        self._stamp(payload if finished == request else replace(payload, ordinal=request))
        frame.finished[payload.name] = finished
        frame.answer(payload.name, request)

    def patched(self, frame: Frame, name: str) -> bool:
        """It does, and the log says so; but what stands in for an orphan that had got somewhere goes its way."""
        served: Served | None = frame.node
        with self._lock:
            frame.check()
            if served is not None and served.take_effect(name, 1) is None and served.has_begun:
                return False
            self._stamp(Effect(name=name, value=True, call_id=frame.call_id))
        return True

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """A new recording needs no mark, nor one that is carried over."""
        served: Served | None = frame.node
        with self._lock:
            return served is not None and served.take_effect(name, 1) is not None

    def turn_id(self, frame: Frame) -> str:  # noqa: ARG002
        """A fresh id."""
        return new_ulid()

    def call_id(self, parent: Frame) -> str:  # noqa: ARG002
        """A fresh id."""
        return new_ulid()

    def _stamp(self, payload: Payload) -> None:
        if self._failure is not None:
            raise self._failure
        if self._ended:
            raise StepContextError(
                f"run {self.chain.run_id} has ended; nothing can be recorded for it any more. Await what its code "
                "starts before it returns",
                run_id=self.chain.run_id,
            )
        self._pending.append(self.chain.append(payload, self._clock()))

    # --- making it durable

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
            if self._failure is not None:
                raise self._failure
            return list(self._pending)

    def _commit_in_line(self, append: Callable[[str, Sequence[Event]], None]) -> None:
        with self._in_line_turn:
            batch = self._batch()
            if not batch:
                return
            try:
                append(self.chain.run_id, batch)
            except BaseException as error:  # noqa: BLE001 - raised again unless the batch has arrived all the same
                self._recover(error, batch, self._read_in_line())
            else:
                self._settle(batch)

    def _read_in_line(self) -> list[Event]:
        read: Callable[[str], list[Event]] = self._log.read_sync  # type: ignore[attr-defined]
        try:
            return read(self.chain.run_id)
        except Exception:  # noqa: BLE001 - the storage is down; the first error is the one to report
            return []

    async def _append(self, batch: list[Event]) -> None:
        run_id, (until, at_last) = self.chain.run_id, self._deadlines()
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
        run, where = f"run {self.chain.run_id}", {"run_id": self.chain.run_id, "seq": first.seq}
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
            said = str(error) or type(error).__name__
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
