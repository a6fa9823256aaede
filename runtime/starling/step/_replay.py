"""What a run's code writes to while a recording is replayed.

Strategy: what the environment decided is taken from the recording, what the code decided is compared with it. The
run's own events are compared in order. The events of a tool call are compared with that call's own recorded events
(see `_tree`), so the order in which parallel calls finish today does not matter: it is taken from the recording.

Nothing is hashed here: an event that compares equal *is* the recorded one. A difference raises
`NondeterminismError` where it happened and stays latched in the frame, so that code which swallows it gets no further.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from starling.errors import NondeterminismError
from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    RunCancelled,
    SideEffectRecorded,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
)
from starling.step import _texts
from starling.step._handover import Handover
from starling.step._interruption import cuts_short
from starling.step._order import Order
from starling.step._raised import raised_by
from starling.step._recorded_effects import RecordedEffects
from starling.step._redaction import redacted, redacted_request
from starling.step._reproduction import Reproduction
from starling.step._served import SERVED
from starling.step._stopping import stops_everything

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload, RunStarted, Terminal, ToolCallCompleted
    from starling.provider import Request
    from starling.step._dialect import Dialect
    from starling.step._divergence import Divergence, Explanation
    from starling.step._frame import Frame
    from starling.step._tree import Node

__all__ = ["ReplayJournal"]

T = TypeVar("T")

_CALLS_AHEAD = 64
"""How far ahead in the recording a call that a strand dispatches is looked for."""


class ReplayJournal:
    """Compares a run with its recording.

    Args:
        events: the recorded run, validated. payloads: the same, decoded.
        options: how strictly to compare.
        dialect: who wrote the recording.
        deliver: takes the reproduced events, in order and without gaps (the agent's own log receives them); None if
            nobody wants them.
        skipped: told of each call that is not run (again), and until when: the timestamp of the attempt that is run
            again, None if there is none.
        explain: what stands behind the hash of the request recorded at an index, beside today's request.
        watch: told of each recorded event that is reproduced, by index: today's payload, with what the environment
            decided carried over, and how the two differ; the recorded payload where it was taken as it is.
    """

    replaying = True

    def __init__(
        self,
        events: Sequence[Event],
        payloads: Sequence[Payload],
        options: ReplayOptions,
        dialect: Dialect,
        *,
        deliver: Callable[[Sequence[Event]], Awaitable[None]] | None,
        skipped: Callable[[str, int | None], None],
        explain: Callable[[int, TurnStarted, Request], Explanation],
        watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    ) -> None:
        self.options = options
        self.dialect = dialect
        self._events = events
        self._payloads = payloads
        self._recording = Reproduction(
            events, payloads, options, dialect, skipped=skipped, explain=explain, watch=watch
        )
        self._cursor = self._recording.cursor
        self._progress = self._recording.progress
        self._compared = self._recording.compared
        self._handover = Handover(events, self._progress, deliver)
        self._lock = threading.RLock()
        self._order = Order(events, self._cursor, self._lock)
        self._effects = RecordedEffects(
            payloads,
            self._recording,
            self._order,
            self._lock,
            owned=dialect.owned_effects,
            commit=self._handover.commit,
        )

    # --- the run's own events

    def answers(self, frame: Frame) -> bool:  # noqa: ARG002
        """It does, always."""
        return True

    def asks(self, turn_id: str, request: Request, *, by_code: bool) -> Request:  # noqa: ARG002
        """The request of the next turn as it is compared. An agent's loop makes its own of what is redacted already."""
        request = redacted_request(request, self.options.redact) if by_code else request
        self._compared.request = request
        return request

    def estimate(self, frame: Frame, tokens: int) -> int:
        """The recorded estimate where the recording was redacted: that changed how long its requests are."""
        recorded = None if self.options.redact is None else self.next_recorded(frame)
        match recorded:
            case TurnStarted():
                return recorded.input_tokens
            case BudgetExceeded(where="pre_call", limit="input_tokens"):
                return int(recorded.actual) - frame.run.meter.input_tokens
            case _:
                return tokens

    def next_recorded(self, frame: Frame) -> Payload | None:
        """What comes next in the recording among the events that code in this frame makes; None if nothing does."""
        index = self._cursor.next_own(frame)
        return None if index is None else self._payloads[index]

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """Compare an event of the run itself, or of a turn that a call's code makes; ``frame`` is then that call's."""
        with self._lock:
            recorded: Payload
            if frame is None or self._cursor.owner(frame) is self._cursor.root:
                recorded = self._recording.reproduce(self._cursor.root, self._recording.next_of_run(payload), payload)
            else:
                frame.check()
                index = self._progress.next_own(frame.node)
                if index is None:
                    self._cursor.check_not_cut_short()
                recorded = self._recording.reproduce(frame.node, index, payload, frame=frame)
        return recorded

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """Compare the last event."""
        recorded: Any = self.emit(payload)
        return recorded  # type: ignore[no-any-return]

    def take(self, frame: Frame) -> Payload:
        """Take the next event of this frame as recorded: its content is the environment's."""
        with self._lock:
            index = self._cursor.next_own(frame)
            assert index is not None, "callers look at next_recorded first"
            self._recording.take(index)
            return self._payloads[index]

    # --- where the recorded run, or one process's part of it, ended

    def end_of_part(self, frame: Frame) -> Payload | None:
        """How the part of the run that is being replayed ended, if nothing else of this frame comes before that."""
        return self._cursor.end_for(frame)

    def cut_off(self) -> Payload | None:
        """How the environment ended this part, if everything before that was reproduced; None if neither is so."""
        with self._lock:
            return self._cursor.cut_off()

    def seam(self) -> int:
        """The index of the RunResumed that ends the part which has just been replayed.

        Raises:
            NondeterminismError: something before it was not reproduced.
        """
        with self._lock:
            end, left = self._cursor.next_end, self._progress.first_left(0)
            assert end is not None, "only a recorded RunResumed leads here"
            if left < end:
                raise self._compared.latched(self._compared.described(left, None))
            return end

    def pass_over(self, length: int) -> None:
        """Count the first events as reproduced: another call has been through them."""
        for index in range(min(length, len(self._events))):
            self._progress.take(index)

    # --- calls

    async def turn_to_ask(self, frame: Frame) -> None:
        """Hold back a model call while one that was recorded earlier can still come.

        Which of two calls asks first is the environment's, and what they use counts towards the same budget.
        """
        if self._cursor.owner(frame) is not self._cursor.root:
            await self._order.to_ask(frame)

    async def turn_to_hear(self, frame: Frame) -> None:
        """Hold back an answer to a call's code while others that it got earlier are still to come."""
        if self._cursor.owner(frame) is not self._cursor.root:
            await self._order.to_hear(frame)

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """Hold back a call that a tool dispatched later in the recording, so that its other strands can go first.

        Where the call that is due waits for nothing more, the code itself has another order, and diverges at once.
        """
        node = self._cursor.owner(parent)
        if node is self._cursor.root:
            return
        ahead = islice(self._progress.children_left(node), _CALLS_AHEAD)
        index = next((index for index in ahead if self._is_call(index, payload)), None)
        due = self._progress.next_own(node)
        if index is None or (index != due and due in node.children and not self._progress.overtaken(node, due)):
            return
        await self._order.to_dispatch(parent, index)

    async def in_turn(self, parent: Frame, frames: Sequence[Frame], running: Awaitable[T]) -> T:
        """Hold back what a tool's calls came to while other answers that it got earlier are still to come."""
        if not frames or not self.dialect.owned_effects:
            return await running
        return await self._order.in_turn(parent, [frame.node for frame in frames], running)

    async def turn_to_end(self, frame: Frame, attempt: int) -> None:
        """Hold back the end of an attempt while strands that it leaves behind wait for what they had got before it."""
        index = frame.node.outcomes.get(attempt)
        if index is not None:
            await self._order.to_end(frame, index)

    async def cut_off_again(self, frame: Frame, outcome: ToolCallCompleted | ToolCallFailed) -> None:
        """Wait for what cancelled this call: the code that dispatched it, unless it was the run's environment."""
        if isinstance(outcome, ToolCallFailed) and outcome.error_type == "cancelled" and self.dialect.owned_effects:
            await self._order.until_cut_off(frame, outcome)

    def _is_call(self, index: int, payload: ToolCallScheduled) -> bool:
        """Whether a recorded call asks for the same, whatever its id."""
        recorded = self._payloads[index]
        assert isinstance(recorded, ToolCallScheduled)  # a node's children are calls
        return self._compared.are_equal(index, replace(payload, call_id=recorded.call_id))

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: object = None) -> Node:  # noqa: ARG002
        """Compare a call's first attempt with the next call that its parent dispatched in the recording.

        With which attempt a reissued call begins is the crash's doing, so it is taken from the recording.
        """
        node = self._cursor.owner(parent)
        with self._lock:
            parent.check()
            index = self._progress.next_child(node) if parent.call_id else self._recording.next_of_run(payload)
            if index is not None and index in node.children:
                first = node.children[index].first_attempt
                payload = payload if payload.attempt == first else replace(payload, attempt=first)
            self._recording.reproduce(node, index, payload, frame=parent, strict=self._is_strict(node, index, parent))
            assert index is not None, "an index that is None diverges"
            self._order.scheduled(payload.call_id)
            return node.children[index]

    def _is_strict(self, node: Node, index: int | None, parent: Frame) -> bool:
        """Whether what a node recorded before this dispatch must have been reproduced: not while strands overtake."""
        if not parent.call_id:
            return False  # it is what comes next
        due = self._progress.next_own(node)
        return (
            node is not self._cursor.root
            and due is not None
            and due != index
            and not self._progress.overtaken(node, due)
        )

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """Compare a further attempt."""
        with self._lock:
            frame.check()
            index = self._progress.next_own(frame.node)
            if index is None:
                self._cursor.check_not_cut_short()  # while it waited for this attempt
            self._recording.reproduce(frame.node, index, payload, frame=frame)

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> Any:
        """Compare how an attempt ended; the recorded outcome is what the run goes on with."""
        node: Node = frame.node
        with self._lock:
            frame.check()
            index = node.outcomes.get(payload.attempt)
            if self.options.policy(frame.tool) == "run" and index is not None:
                self._recording.take_until(frame, index)
                recorded: Any = self._payloads[index]
            else:
                recorded = self.dialect.shown(
                    self._recording.reproduce(node, index, payload, frame=frame, strict=True), payload
                )
            frame.closed = True
            self._order.ended(frame)
            return recorded

    async def broken_off(self, frame: Frame, attempt: int, error: BaseException) -> BaseException:
        """A divergence where the recorded attempt came to something; that itself where it ended the run then, too.

        What stops everything is obeyed in any case. The divergence is kept, should somebody catch it.
        """
        await self.turn_to_end(frame, attempt)
        interrupts = stops_everything(error)
        if isinstance(frame.failure, NondeterminismError) and not interrupts:
            return frame.failure
        with self._lock:
            index = frame.node.outcomes.get(attempt)
            if index is None and self._progress.next_own(frame.node) is None:
                return error
            frame.raised = raised_by(error, text=self._redacted_text(frame, attempt, error))
            reason = _texts.interrupted_reason(type(error).__name__)
            produced = RunCancelled(reason=reason, merkle_root=None, duration_ms=0)
            found = self._recording.diverge(frame.node, index, produced, frame)
            if not interrupts:
                return found
            self._compared.failure = self._compared.failure or found
            return error

    def _redacted_text(self, frame: Frame, attempt: int, error: BaseException) -> str:
        """What an exception says, as the log would have it if it were a tool's failure."""
        said = ToolCallFailed(
            call_id=frame.call_id, error=_texts.said(error), error_type="panic", duration_ms=0, attempt=attempt
        )
        told = redacted(said, self.options.redact)
        assert isinstance(told, ToolCallFailed)  # a redaction keeps the kind
        return told.error

    def open_attempt(self, frame: Frame) -> int:  # noqa: ARG002
        """None: an outcome that the environment caused is taken from the recording."""
        return 0

    def close(self, frame: Frame) -> None:
        """Refuse what the run's own code does after its end; what it left behind when recorded has its record."""
        with self._lock:
            frame.closed = True
            self._order.ended(frame)

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that must not be run again; None if it is to be run and compared.

        Raises:
            Interruption: the run was cut short before this attempt ended.
        """
        node: Node = frame.node
        index = node.outcomes.get(attempt)
        with self._lock:
            if index is None:
                if cuts_short(self._cursor.end):
                    self._recording.skip(frame, len(self._events))
                self._cursor.check_not_cut_short()
                self._order.begins(frame)
                return None
            recorded: Any = self._payloads[index]
            stopped = isinstance(recorded, ToolCallFailed) and recorded.error_type in ("cancelled", "timeout")
            if not stopped and self.options.policy(frame.tool) != "stub" and SERVED not in node.effects:
                self._order.begins(frame)
                return None
            self._recording.skip(frame, index)
            frame.closed = True
            return recorded  # type: ignore[no-any-return]

    def forgo(self, frame: Frame) -> ToolCallCompleted | ToolCallFailed | None:
        """The recorded end of a call that diverged, for a run that goes on with ``collect``; None if it cannot.

        What the call had not reproduced is passed over: one cause is enough, and what follows depends on it.
        """
        node: Node = frame.node
        with self._lock:
            if not self.options.collect or self._compared.failure is not None or not node.outcomes:
                return None
            recorded: Any = self._payloads[node.last_outcome]
            if isinstance(recorded, ToolCallFailed) and not recorded.final:
                return None
            self._recording.skip(frame, node.last_outcome)
            frame.closed = True
            return recorded  # type: ignore[no-any-return]

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:
        """The order in which a batch must be run one call after another; None if it may run in parallel.

        Logs of the original program do not say which effect belongs to which call.
        """
        if self.dialect.owned_effects:
            return None
        return sorted(range(len(frames)), key=lambda position: frames[position].node.last_outcome)

    def not_recorded(self, frame: Frame, started: RunStarted, reason: str) -> NondeterminismError:
        """Code in this frame has started a run that the recording lacks: it gets no further here."""
        with self._lock:
            return self._recording.diverge(self._cursor.owner(frame), None, started, frame, reason=reason)

    # --- effects

    async def answer(self, frame: Frame, name: str, request: int, *, waits: bool) -> SideEffectRecorded:
        """The recorded effect that answers this request, when it is its turn."""
        return await self._effects.answer(frame, name, request, waits=waits)

    def answer_at_once(self, frame: Frame, name: str, request: int) -> SideEffectRecorded:
        """The same for sync code; only in a thread can it wait."""
        return self._effects.answer_at_once(frame, name, request)

    def effect(self, frame: Frame, payload: SideEffectRecorded, request: int) -> None:  # noqa: ARG002
        """Never reached: every effect is taken from the recording or diverges."""
        raise self._recording.diverge(self._cursor.owner(frame), None, payload, frame)

    def patched(self, frame: Frame, name: str) -> bool:
        """Whether the recorded call has the mark; otherwise it predates the patch."""
        return self._effects.patched(frame, name)

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """Take the mark if there is one."""
        return self._effects.patched(frame, name)

    # --- ids

    def turn_id(self, frame: Frame) -> str:
        """The recorded id of the turn that comes next."""
        recorded = self.next_recorded(frame)
        return recorded.turn_id if isinstance(recorded, TurnStarted) else ""

    def call_id(self, parent: Frame) -> str:
        """The recorded id of the call that comes next in this frame."""
        node = self._cursor.owner(parent)
        with self._lock:
            index = self._progress.next_child(node)
        recorded = None if index is None else self._payloads[index]
        return recorded.call_id if isinstance(recorded, ToolCallScheduled) else ""

    # --- delivery and the end

    async def commit(self) -> None:
        """Hand on what has been reproduced without a gap."""
        await self._handover.commit()

    commits_in_line = False

    def commit_from_thread(self) -> None:
        """Nothing: what is reproduced is delivered at the run's next own commit."""

    def finish(self) -> None:
        """Require that everything recorded was reproduced."""
        unfinished = self.unfinished()
        if unfinished is not None:
            raise unfinished
        self._order.over()

    def unfinished(self) -> NondeterminismError | None:
        """What is wrong if the run stops here: what failed before, or the first event that was not reproduced."""
        with self._lock:
            if self._compared.failure is not None:
                return self._compared.failure
            index = self._progress.first_left(0)
            stopped_short = index < len(self._events)
            return self._compared.latched(self._compared.described(index, None)) if stopped_short else None

    def collected(self) -> NondeterminismError | None:
        """Everything that diverged in one error, first cause first, if ``collect`` asked for that."""
        return self._compared.collected()

    def missing_answer(self, frame: Frame) -> NondeterminismError:
        """The recorded turn has no answer, so the code cannot go on."""
        with self._lock:
            produced = AssistantMessageCompleted(
                turn_id="",
                text="",
                stop_reason="",
                input_tokens=0,
                output_tokens=0,
                cost_usd=0.0,
                raw_response_hash=None,
            )
            return self._recording.diverge(self._cursor.owner(frame), None, produced, frame)
