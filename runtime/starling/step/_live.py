"""What a run's code writes to while it happens: the chain is pure, the log is IO.

Strategy: `emit` encodes, stamps and puts events on a pending list, under one lock and without IO. `commit` appends
everything that is pending in one batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from starling._ulid import new as new_ulid
from starling.errors import StepContextError
from starling.event import Chain, ToolCallFailed
from starling.event import SideEffectRecorded as Effect
from starling.step._abandoned import is_abandoned, left_behind
from starling.step._journal import PUT_OFF_S
from starling.step._served import SERVED
from starling.step._writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.event import Event, Payload, Terminal, ToolCallCompleted, ToolCallScheduled
    from starling.eventlog import EventLog
    from starling.provider import Request
    from starling.step._frame import Frame
    from starling.step._served import Served

__all__ = ["LiveJournal"]

T = TypeVar("T")


class LiveJournal:
    """Writes a run that happens now.

    Args:
        chain: where the run stands; a new run starts with an empty one.
        log: the agent's event log.
        committed: called with each batch once it is in the log.
        asked: called with each request that code makes, of which the log will hold but a hash, and its turn's id.
        owned_effects: whether the log's effects name their call; a log of the original program's that is resumed here
            must go on as it began.
        emit_timeout_s: how long one append may take; see `LogWriter`.
        clock: Unix nanoseconds, for the events' timestamps.
    """

    replaying = False

    def __init__(
        self,
        chain: Chain,
        log: EventLog,
        *,
        committed: Callable[[Sequence[Event]], None],
        asked: Callable[[str, Request], None] = lambda *_: None,
        owned_effects: bool = True,
        emit_timeout_s: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.chain = chain
        self._clock = clock
        self._asked = asked
        self._owned_effects = owned_effects
        self._lock = threading.Lock()
        self._writer = LogWriter(chain.run_id, log, self._lock, committed=committed, timeout_s=emit_timeout_s)
        self._open: dict[str, int] = {}
        self._ended = False

    # --- what happened

    def answers(self, frame: Frame) -> bool:  # noqa: ARG002
        """It does not: what is asked for is done."""
        return False

    def asks(self, turn_id: str, request: Request, *, by_code: bool) -> Request:
        """Hand on what cannot be told from the log; there is nothing to compare it with."""
        if by_code:
            self._asked(turn_id, request)
        return request

    def estimate(self, frame: Frame, tokens: int) -> int:  # noqa: ARG002
        """Today's."""
        return tokens

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

    async def in_turn(self, parent: Frame, frames: Sequence[Frame], running: Awaitable[T]) -> T:  # noqa: ARG002
        """That is as soon as they have ended."""
        return await running

    async def turn_to_end(self, frame: Frame, attempt: int) -> None:
        """It may at once."""

    async def cut_off_again(self, frame: Frame, outcome: ToolCallCompleted | ToolCallFailed) -> None:  # noqa: ARG002
        """Behind a seam, the orphan's code may have had a timeout; it takes its time again."""
        if isinstance(outcome, ToolCallFailed) and outcome.error_type == "cancelled":
            await asyncio.sleep(PUT_OFF_S)

    async def turn_to_ask(self, frame: Frame) -> None:
        """It always is, for the same reason."""

    async def turn_to_hear(self, frame: Frame) -> None:
        """It always is, for the same reason."""

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: Served | None = None) -> Served | None:
        """Stamp a call's first attempt: its first here, if it is reissued."""
        left = self._left_to(parent)
        with self._lock:
            parent.check()
            if served is None and left is not None:
                served = left.take_call(payload)
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

    async def broken_off(self, frame: Frame, attempt: int, error: BaseException) -> BaseException:  # noqa: ARG002
        """That: it ends the run."""
        return error

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
            self._effect(frame, left_behind(frame.call_id, name), request)

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:  # noqa: ARG002
        """None: run it. A call that had ended inside of one that a crash cut off is not run again."""
        served = self._left_to(frame)
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

    async def answer(self, frame: Frame, name: str, request: int, *, waits: bool) -> Effect | None:  # noqa: ARG002
        """None: carry it out. What an orphan had done is not done again, but recorded for the call in its place."""
        effect = self.answer_at_once(frame, name, request)
        if effect is not None:
            await self.commit()
        return effect

    def answer_at_once(self, frame: Frame, name: str, request: int) -> Effect | None:
        """The same, without the commit."""
        served = self._left_to(frame)
        with self._lock:
            effect = None if served is None else served.take_effect(name, request)
            if effect is None or is_abandoned(effect):
                return effect
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
        served = self._left_to(frame)
        with self._lock:
            frame.check()
            if served is not None and served.take_effect(name, 1) is None and served.has_begun:
                return False
            self._stamp(Effect(name=name, value=True, call_id=frame.call_id))
        return True

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """A new recording needs no mark, nor one that is carried over."""
        served = self._left_to(frame)
        with self._lock:
            return served is not None and served.take_effect(name, 1) is not None

    def _left_to(self, frame: Frame) -> Served | None:
        """What a crash left of the call that this one is reissued for."""
        return frame.node  # type: ignore[no-any-return]

    def turn_id(self, frame: Frame) -> str:  # noqa: ARG002
        """A fresh id."""
        return new_ulid()

    def call_id(self, parent: Frame) -> str:  # noqa: ARG002
        """A fresh id."""
        return new_ulid()

    def _stamp(self, payload: Payload) -> Event:
        """Give an event its place in the chain; it is then waiting to be written."""
        self._writer.check()
        if self._ended:
            raise StepContextError(
                f"run {self.chain.run_id} has ended; nothing can be recorded for it any more. Await what its code "
                "starts before it returns",
                run_id=self.chain.run_id,
            )
        event = self.chain.append(payload, self._clock())
        self._writer.add(event)
        return event

    # --- making it durable

    async def commit(self) -> None:
        """Append what is pending as one batch; see `LogWriter.commit`."""
        self._fold()
        await self._writer.commit()

    @property
    def commits_in_line(self) -> bool:
        """Whether a commit needs no event loop."""
        return self._writer.commits_in_line

    def commit_from_thread(self) -> None:
        """Append what is pending, from a thread that is not the run's loop."""
        self._fold()
        self._writer.commit_from_thread()

    def _fold(self) -> None:
        with self._lock:
            self.chain.fold()
