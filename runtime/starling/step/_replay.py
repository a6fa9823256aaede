"""What a run's code writes to while a recording is replayed.

Strategy: what the environment decided is taken from the recording, what the code decided is compared with it. The
run's own events are compared in order. The events of a tool call are compared with that call's own recorded events
(see `_tree`), so the order in which parallel calls finish today does not matter: it is taken from the recording.

Nothing is hashed here: an event that compares equal *is* the recorded one. A difference raises
`NondeterminismError` where it happened and stays latched in the frame, so that code which swallows it gets no further.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from starling.errors import NondeterminismError
from starling.event import (
    AssistantMessageCompleted,
    SideEffectRecorded,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
    decode_payload,
    encode_payload,
)
from starling.step._compare import carry_over, describe
from starling.step._consequences import fold_consequences
from starling.step._interruption import Interruption, cuts_short, ends_part, interrupts
from starling.step._journal import is_abandoned
from starling.step._progress import Progress
from starling.step._served import SERVED
from starling.step._tree import build_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload, Terminal, ToolCallCompleted
    from starling.provider import Request
    from starling.step._dialect import Dialect
    from starling.step._divergence import Divergence, Explanation
    from starling.step._frame import Frame
    from starling.step._tree import Node

__all__ = ["ReplayJournal"]


_LONGEST_HOLD_S = 1.0
"""How long a strand of a tool may be held back for another one."""
_HOLD_STEP_S = 0.005
_STRANDS = 64
"""How far ahead in the recording a strand is looked for."""


class ReplayJournal:
    """Compares a run with its recording.

    Args:
        events: the recorded run, validated. payloads: the same, decoded.
        options: how strictly to compare.
        dialect: who wrote the recording.
        deliver: takes the reproduced events, in order and without gaps (the agent's own log receives them).
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
        deliver: Callable[[Sequence[Event]], Awaitable[None]],
        skipped: Callable[[str, int | None], None],
        explain: Callable[[int, TurnStarted, Request], Explanation],
        watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    ) -> None:
        self.options = options
        self.dialect = dialect
        self.divergences: list[Divergence] = []
        self._events = events
        self._payloads = payloads
        self.request: Request | None = None
        self._deliver = deliver
        self._skipped = skipped
        self._explain = explain
        self._watch = watch
        self._root = build_tree(payloads, owned_effects=dialect.owned_effects)
        self._progress = Progress(len(events))
        self._ends = [index for index, payload in enumerate(payloads) if ends_part(payload)]
        self._turns = deque(index for index, payload in enumerate(payloads) if isinstance(payload, TurnStarted))
        self._delivered = 0
        self._delivering = asyncio.Lock()
        self._lock = threading.RLock()
        self._failure: NondeterminismError | None = None

    # --- the run's own events

    def asks(self, request: Request) -> None:
        """The request that the next turn is about, for explanations."""
        self.request = request

    def next_recorded(self, frame: Frame) -> Payload | None:
        """What comes next in the recording among the events that code in this frame makes; None if nothing does."""
        index = self._progress.next_own(self._owner(frame))
        return None if index is None else self._payloads[index]

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """Compare an event of the run itself, or of a turn that a call's code makes; ``frame`` is then that call's."""
        with self._lock:
            recorded: Payload
            if frame is None or self._owner(frame) is self._root:
                recorded = self._reproduce(self._root, self._next_of_run(payload), payload)
            else:
                frame.check()
                index = self._progress.next_own(frame.node)
                if index is None:
                    self._check_not_cut_short()
                recorded = self._reproduce(frame.node, index, payload, frame=frame)
        return recorded

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """Compare the last event."""
        recorded: Any = self.emit(payload)
        return recorded  # type: ignore[no-any-return]

    def take(self, frame: Frame) -> Payload:
        """Take the next event of this frame as recorded: its content is the environment's."""
        with self._lock:
            index = self._progress.next_own(self._owner(frame))
            assert index is not None, "callers look at next_recorded first"
            self._take(index)
            return self._payloads[index]

    def _next_of_run(self, payload: Payload) -> int | None:
        self._raise_failure()
        index = self._progress.next_own(self._root)
        if index is not None and interrupts(self._payloads[index], payload):
            raise Interruption(self._payloads[index])
        return index

    # --- where the recorded run, or one process's part of it, ended

    def end_of_part(self, frame: Frame) -> Payload | None:
        """How the part of the run that is being replayed ended, if nothing else of this frame comes before that."""
        index = self._progress.next_own(self._owner(frame))
        return self._end if index is None or index in self._ends else None

    def cut_off(self) -> Payload | None:
        """How the environment ended this part, if everything before that was reproduced; None if neither is so."""
        with self._lock:
            end = self._next_end
            if end is None or not cuts_short(self._payloads[end]) or self._progress.first_left(0) < end:
                return None
            return self._payloads[end]

    def seam(self) -> int:
        """The index of the RunResumed that ends the part which has just been replayed.

        Raises:
            NondeterminismError: something before it was not reproduced.
        """
        with self._lock:
            end, left = self._next_end, self._progress.first_left(0)
            assert end is not None, "only a recorded RunResumed leads here"
            if left < end:
                raise self._latch(self._describe(left, None))
            return end

    def pass_over(self, length: int) -> None:
        """Count the first events as reproduced and delivered: another call has been through them."""
        for index in range(min(length, len(self._events))):
            self._progress.take(index)
        self._delivered = length

    @property
    def _next_end(self) -> int | None:
        return next((index for index in self._ends if not self._progress.is_taken(index)), None)

    @property
    def _end(self) -> Payload | None:
        index = self._next_end
        return None if index is None else self._payloads[index]

    def _check_not_cut_short(self) -> None:
        end = self._end
        if end is not None and cuts_short(end):
            raise Interruption(end)

    # --- calls

    async def turn_to_ask(self, frame: Frame) -> None:
        """Hold back a model call while one that was recorded earlier, by another call of the batch, is still to come.

        Which of them goes first is the environment's, and what they use counts towards the same budget.
        """
        node = self._owner(frame)
        if node is self._root:
            return
        until = asyncio.get_running_loop().time() + _LONGEST_HOLD_S
        while asyncio.get_running_loop().time() < until:
            due, first = self._progress.next_own(node), self._next_turn()
            if due is None or first is None or first >= due:
                return
            await asyncio.sleep(_HOLD_STEP_S)

    def _next_turn(self) -> int | None:
        """The first recorded turn that was not reproduced yet."""
        while self._turns and self._progress.is_taken(self._turns[0]):
            self._turns.popleft()
        return self._turns[0] if self._turns else None

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """Hold back a call that a tool dispatched later in the recording, so that its other strands can go first.

        Concurrent strands of a tool run in another order today, because effects take no time on replay. That shows:
        this strand has taken something that was recorded later than the call which is due. Where nothing shows it,
        the code itself has another order, and diverges at once.
        """
        node = self._owner(parent)
        if node is self._root:
            return
        until = asyncio.get_running_loop().time() + _LONGEST_HOLD_S
        while asyncio.get_running_loop().time() < until:
            ahead = islice(self._progress.children_left(node), _STRANDS)
            first = next(ahead, None)
            if first is None or self._is_call(first, payload) or not self._progress.overtaken(node, first):
                return
            if not any(self._is_call(index, payload) for index in ahead):
                return
            await asyncio.sleep(_HOLD_STEP_S)

    def _is_call(self, index: int, payload: ToolCallScheduled) -> bool:
        """Whether a recorded call asks for the same, whatever its id."""
        recorded = self._payloads[index]
        assert isinstance(recorded, ToolCallScheduled)  # a node's children are calls
        return self._equal(index, replace(payload, call_id=recorded.call_id))

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: object = None) -> Node:  # noqa: ARG002
        """Compare a call's first attempt with the next call that its parent dispatched in the recording.

        With which attempt a reissued call begins is the crash's doing, so it is taken from the recording.
        """
        node = self._owner(parent)
        with self._lock:
            parent.check()
            index = self._progress.next_child(node) if parent.call_id else self._next_of_run(payload)
            if index is not None and index in node.children:
                payload = replace(payload, attempt=node.children[index].first_attempt)
            self._reproduce(node, index, payload, frame=parent, strict=self._is_strict(node, index, parent))
            assert index is not None, "an index that is None diverges"
            return node.children[index]

    def _is_strict(self, node: Node, index: int | None, parent: Frame) -> bool:
        """Whether what a node recorded before this dispatch must have been reproduced: not while strands overtake."""
        if not parent.call_id:
            return True
        due = self._progress.next_own(node)
        return node is not self._root and due is not None and due != index and not self._progress.overtaken(node, due)

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """Compare a further attempt."""
        with self._lock:
            frame.check()
            index = self._progress.next_own(frame.node)
            if index is None:
                self._check_not_cut_short()  # while it waited for this attempt
            self._reproduce(frame.node, index, payload, frame=frame)

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> Any:
        """Compare how an attempt ended; the recorded outcome is what the run goes on with."""
        node: Node = frame.node
        with self._lock:
            frame.check()
            index = node.outcomes.get(payload.attempt)
            if self._policy_of(frame) == "run" and index is not None:
                self._take_until(frame, index)
                recorded: Any = self._payloads[index]
            else:
                recorded = self.dialect.shown(self._reproduce(node, index, payload, frame=frame), payload)
            frame.closed = True
            return recorded

    def close(self, frame: Frame) -> None:
        """Refuse what the run's own code does after its end; what it left behind when recorded has its record."""
        with self._lock:
            frame.closed = True

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that must not be run again; None if it is to be run and compared.

        Raises:
            Interruption: the run was cut short before this attempt ended.
        """
        node: Node = frame.node
        index = node.outcomes.get(attempt)
        with self._lock:
            if index is None:
                if cuts_short(self._end):
                    self._skip(frame, len(self._events))
                self._check_not_cut_short()
                return None
            recorded: Any = self._payloads[index]
            stopped = isinstance(recorded, ToolCallFailed) and recorded.error_type in ("cancelled", "timeout")
            if not stopped and self._policy_of(frame) != "stub" and SERVED not in node.effects:
                return None
            self._skip(frame, index)
            frame.closed = True
            return recorded  # type: ignore[no-any-return]

    def forgo(self, frame: Frame) -> ToolCallCompleted | ToolCallFailed | None:
        """The recorded end of a call that diverged, for a run that goes on with ``collect``; None if it cannot.

        What the call had not reproduced is passed over: one cause is enough, and what follows depends on it.
        """
        node: Node = frame.node
        with self._lock:
            if not self.options.collect or self._failure is not None or not node.outcomes:
                return None
            recorded: Any = self._payloads[node.last_outcome]
            if isinstance(recorded, ToolCallFailed) and not recorded.final:
                return None
            self._skip(frame, node.last_outcome)
            frame.closed = True
            return recorded  # type: ignore[no-any-return]

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:
        """The order in which a batch must be run one call after another; None if it may run in parallel.

        Logs of the original program do not say which effect belongs to which call.
        """
        if self.dialect.owned_effects:
            return None
        return sorted(range(len(frames)), key=lambda position: frames[position].node.last_outcome)

    # --- effects

    def take_effect(self, frame: Frame, name: str, request: int) -> SideEffectRecorded:
        """The recorded effect that answers this request."""
        node = self._owner(frame)
        with self._lock:
            frame.check()
            produced = SideEffectRecorded(name=name, value=None, call_id=frame.call_id)
            if node is self._root:
                self._next_of_run(produced)
                index = self._effect_of_run(name, request)
            else:
                index = node.effects.get(name, {}).get(request)
            if index is None or self._progress.is_taken(index):
                raise self._diverge(node, None, produced, frame)
            self._take(index)
            frame.answer(name, request)
            recorded = self._payloads[index]
            assert isinstance(recorded, SideEffectRecorded)  # the tree holds nothing else there
            return recorded

    def effect(self, frame: Frame, payload: SideEffectRecorded, request: int) -> None:  # noqa: ARG002
        """Never reached: every effect is taken from the recording or diverges."""
        raise self._diverge(self._owner(frame), None, payload, frame)

    def patched(self, frame: Frame, name: str) -> bool:
        """Whether the recorded call has the mark; otherwise it predates the patch."""
        with self._lock:
            frame.check()
            index = self._owner(frame).effects.get(name, {}).get(1)
            if index is not None and not self._progress.is_taken(index):
                self._take(index)
        return index is not None

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """Take the mark if there is one."""
        return self.patched(frame, name)

    def _effect_of_run(self, name: str, request: int) -> int | None:
        """The effect that answers this request, among those that come next; other events of the run are a boundary.

        One that was cut off when the run's code left it behind was recorded only then.
        """
        asked = self._root.effects.get(name, {}).get(request) if self.dialect.owned_effects else None
        if asked is not None and is_abandoned(self._payloads[asked]):
            return asked
        for index in self._progress.left(self._root):
            recorded = self._payloads[index]
            if isinstance(recorded, SideEffectRecorded):
                if index == asked or (asked is None and recorded.name == name):
                    return index
            elif self.dialect.owned_effects or not isinstance(recorded, ToolCallScheduled):
                return None
        return None

    # --- ids

    def turn_id(self, frame: Frame) -> str:
        """The recorded id of the turn that comes next."""
        recorded = self.next_recorded(frame)
        return recorded.turn_id if isinstance(recorded, TurnStarted) else ""

    def call_id(self, parent: Frame) -> str:
        """The recorded id of the call that comes next in this frame."""
        node = self._owner(parent)
        with self._lock:
            index = self._progress.next_child(node)
        recorded = None if index is None else self._payloads[index]
        return recorded.call_id if isinstance(recorded, ToolCallScheduled) else ""

    # --- delivery and the end

    async def commit(self) -> None:
        """Hand on what has been reproduced without a gap."""
        async with self._delivering:
            start, end = self._delivered, self._progress.first_left(self._delivered)
            if end > start:
                self._delivered = end
                await self._deliver(self._events[start:end])

    commits_in_line = False

    def commit_from_thread(self) -> None:
        """Nothing: what is reproduced is delivered at the run's next own commit."""

    def finish(self) -> None:
        """Require that everything recorded was reproduced."""
        unfinished = self.unfinished()
        if unfinished is not None:
            raise unfinished

    def unfinished(self) -> NondeterminismError | None:
        """What is wrong if the run stops here: what failed before, or the first event that was not reproduced."""
        with self._lock:
            if self._failure is not None:
                return self._failure
            index = self._progress.first_left(0)
            return self._latch(self._describe(index, None)) if index < len(self._events) else None

    def collected(self) -> NondeterminismError | None:
        """Everything that diverged in one error, first cause first, if ``collect`` asked for that.

        In the order of the recording: in which order parallel calls came upon it, is chance.
        """
        if not self.options.collect or not self.divergences:
            return None
        found = fold_consequences(sorted(self.divergences, key=lambda divergence: divergence.seq))
        return NondeterminismError(found[0].text, run_id=found[0].run_id, divergences=found)

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
            return self._diverge(self._owner(frame), None, produced, frame)

    # --- comparing

    def _reproduce(
        self, node: Node, index: int | None, payload: Payload, *, frame: Frame | None = None, strict: bool = True
    ) -> Any:
        """Compare with the event at ``index`` and take it; the recorded payload flows on.

        ``strict``: what this node recorded before ``index`` must have been reproduced already. Otherwise what is
        missing is found at the call's outcome.
        """
        payload = self.dialect.written(payload)
        first = self._progress.next_own(node)
        if index is None or (strict and first is not None and first < index):
            raise self._diverge(node, index, payload, frame)
        recorded = self._payloads[index]
        if recorded.KIND is not payload.KIND:
            raise self._diverge(node, index, payload, frame)
        divergence: Divergence | None = None
        if not self._equal(index, payload):
            divergence = self._differs(node, index, payload, frame)
            if not self.options.collect:
                raise self._latch(divergence, frame)
            self.divergences.append(divergence)
        self._take(index, payload, divergence)
        return recorded

    def _found_at(self, index: int) -> Divergence | None:
        return next((divergence for divergence in self.divergences if divergence.seq == index + 1), None)

    def _take(self, index: int, produced: Payload | None = None, divergence: Divergence | None = None) -> None:
        """Count a recorded event as reproduced."""
        self._progress.take(index)
        if self._watch is not None:
            recorded = self._payloads[index]
            today = recorded if produced is None else carry_over(recorded, _plain(produced), self.options)
            self._watch(index, today, divergence)

    def _equal(self, index: int, payload: Payload) -> bool:
        return encode_payload(carry_over(self._payloads[index], payload, self.options)) == self._events[index].payload

    def _diverge(
        self, node: Node, index: int | None, produced: Payload, frame: Frame | None = None
    ) -> NondeterminismError:
        """Nothing more can be reproduced there."""
        return self._latch(self._differs(node, index, produced, frame), frame)

    def _differs(self, node: Node, index: int | None, produced: Payload, frame: Frame | None) -> Divergence:
        """Report against the first event of this node that was not reproduced, which may precede ``index``."""
        first = self._progress.next_own(node)
        candidates = [position for position in (first, index) if position is not None]
        at = min(candidates) if candidates else self._after(frame)
        return self._describe(at, produced, frame)

    def _after(self, frame: Frame | None) -> int:
        """Where code that has nothing left goes on: at what comes next around it, or past the end.

        What a parallel call has left is not looked at: how far that one has got is chance.
        """
        while frame is not None:
            index = self._progress.next_own(self._owner(frame))
            if index is not None:
                return index
            frame = frame.parent
        return len(self._events)

    def _describe(self, index: int, produced: Payload | None, frame: Frame | None = None) -> Divergence:
        recorded = self._payloads[index] if index < len(self._events) else None
        explained: Explanation | None = None
        if isinstance(recorded, TurnStarted) and isinstance(produced, TurnStarted) and self.request is not None:
            explained = self._explain(index, recorded, self.request)
        return describe(
            recorded,
            None if produced is None else _plain(produced),
            self.options,
            run_id=self._events[0].run_id,
            seq=index + 1,
            length=len(self._events),
            call_id=frame.call_id if frame else "",
            tool=frame.tool if frame else "",
            explained=explained,
        )

    def _latch(self, divergence: Divergence, frame: Frame | None = None) -> NondeterminismError:
        self.divergences.append(divergence)
        error = NondeterminismError(divergence.text, run_id=divergence.run_id, divergences=(divergence,))
        if frame is not None and frame.call_id:
            frame.failure = error
        else:
            self._failure = error
        return error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- the frame's place

    def _owner(self, frame: Frame) -> Node:
        """The node whose own events code in this frame makes."""
        if frame.call_id and self.dialect.owned_effects:
            node: Node = frame.node
            return node
        return self._root

    def _policy_of(self, frame: Frame) -> str:
        return self.options.policy(frame.tool)

    def _skip(self, frame: Frame, index: int) -> None:
        """Pass over a call that is not run (again), up to ``index``."""
        again = next((own for own in frame.node.own if own > index), None)
        self._skipped(frame.call_id, None if again is None else self._events[again].ts)
        self._take_until(frame, index)

    def _take_until(self, frame: Frame, index: int) -> None:
        """Take what is left of a call up to ``index``; calls it made count for the run's totals, as they did live."""
        for taken in self._progress.take_until(frame.node, index):
            payload = self._payloads[taken]
            frame.run.meter.observe(payload)
            if isinstance(payload, ToolCallScheduled) and payload.call_id != frame.call_id:
                self._skipped(payload.call_id, None)
            if self._watch is not None:
                self._watch(taken, self._payloads[taken], self._found_at(taken))
        for name, by_request in frame.node.effects.items():
            for request, effect in by_request.items():
                if self._progress.is_taken(effect):
                    frame.answer(name, request)


def _plain(payload: Payload) -> Payload:
    """A payload with plain values, as a recorded one has them."""
    return decode_payload(payload.KIND, encode_payload(payload))
