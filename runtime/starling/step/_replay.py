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
from starling.step._interruption import Interruption, cuts_short, interrupts
from starling.step._progress import Progress
from starling.step._tree import build_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload, Terminal, ToolCallCompleted
    from starling.provider import Request
    from starling.step._dialect import Dialect
    from starling.step._divergence import Change, Divergence
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
        skipped: told of each call that is not run (again).
        explain: what differs between the request recorded at an index and today's.
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
        skipped: Callable[[str], None],
        explain: Callable[[int, TurnStarted, Request], tuple[Change, ...]],
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
        self._root = build_tree(payloads, owned_effects=dialect.owned_effects)
        self._progress = Progress(len(events))
        self._delivered = 0
        self._delivering = asyncio.Lock()
        self._lock = threading.RLock()
        self._failure: NondeterminismError | None = None

    # --- the run's own events

    def asks(self, request: Request) -> None:
        """The request that the next turn is about, for explanations."""
        self.request = request

    @property
    def next_recorded(self) -> Payload | None:
        """The run's own event that comes next in the recording; None past its end."""
        index = self._progress.next_own(self._root)
        return None if index is None else self._payloads[index]

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """Compare an event of the run itself; ``frame`` is the call whose code makes it, if any."""
        with self._lock:
            index = self._next_of_run(payload)
            if frame is not None and frame.call_id:
                ahead = self._progress.next_own(frame.node)
                if ahead is not None and (index is None or ahead < index):
                    raise self._diverge(frame.node, ahead, payload, frame)
            recorded: Payload = self._reproduce(self._root, index, payload)
        return recorded

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """Compare the last event."""
        recorded: Any = self.emit(payload)
        return recorded  # type: ignore[no-any-return]

    def take(self) -> Payload:
        """Take the run's own next event as recorded: its content is the environment's."""
        with self._lock:
            index = self._progress.next_own(self._root)
            assert index is not None, "callers look at next_recorded first"
            self._progress.take(index)
            return self._payloads[index]

    def _next_of_run(self, payload: Payload) -> int | None:
        self._raise_failure()
        index = self._progress.next_own(self._root)
        if index is not None and interrupts(self._payloads[index], payload):
            raise Interruption(self._payloads[index])
        return index

    # --- calls

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

    def schedule(self, parent: Frame, payload: ToolCallScheduled) -> Node:
        """Compare a call's first attempt with the next call that its parent dispatched in the recording."""
        node = self._owner(parent)
        with self._lock:
            parent.check()
            index = self._progress.next_child(node) if parent.call_id else self._next_of_run(payload)
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

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that must not be run again; None if it is to be run and compared.

        Raises:
            Interruption: the run was cut short before this attempt ended.
        """
        node: Node = frame.node
        index = node.outcomes.get(attempt)
        with self._lock:
            if index is None:
                if cuts_short(self.next_recorded):
                    self._skip(frame, len(self._events))
                self._check_not_cut_short()
                return None
            recorded: Any = self._payloads[index]
            stopped = isinstance(recorded, ToolCallFailed) and recorded.error_type in ("cancelled", "timeout")
            if not stopped and self._policy_of(frame) != "stub":
                return None
            self._skip(frame, index)
            frame.closed = True
            return recorded  # type: ignore[no-any-return]

    def _check_not_cut_short(self) -> None:
        recorded = self.next_recorded
        if recorded is not None and cuts_short(recorded):
            raise Interruption(recorded)

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
                index = self._effect_of_run(name)
            else:
                index = node.effects.get(name, {}).get(request)
            if index is None or self._progress.is_taken(index):
                raise self._diverge(node, None, produced, frame)
            self._progress.take(index)
            frame.answer(name, request)
            recorded = self._payloads[index]
            assert isinstance(recorded, SideEffectRecorded)  # the tree holds nothing else there
            return recorded

    def effect(self, frame: Frame, payload: SideEffectRecorded, request: int) -> None:  # noqa: ARG002
        """Never reached: every effect is taken from the recording or diverges."""
        raise self._diverge(self._owner(frame), None, payload, frame)

    def _effect_of_run(self, name: str) -> int | None:
        """An effect of this name among those that come next; other events of the run are a boundary."""
        for index in self._progress.left(self._root):
            recorded = self._payloads[index]
            if isinstance(recorded, SideEffectRecorded):
                if recorded.name == name:
                    return index
            elif self.dialect.owned_effects or not isinstance(recorded, ToolCallScheduled):
                return None
        return None

    # --- ids

    def turn_id(self) -> str:
        """The recorded id of the turn that comes next."""
        recorded = self.next_recorded
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
            return self._latch(self._describe(index, None, "")) if index < len(self._events) else None

    def collected(self) -> NondeterminismError | None:
        """Everything that diverged in one error, first cause first, if ``collect`` asked for that."""
        if not self.options.collect or not self.divergences:
            return None
        run_id = self.divergences[0].run_id
        return NondeterminismError(str(self.divergences[0]), run_id=run_id, divergences=tuple(self.divergences))

    def missing_answer(self) -> NondeterminismError:
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
            return self._diverge(self._root, None, produced)

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
        if not self._equal(index, payload):
            error = self._diverge(node, index, payload, frame)
            if not self.options.collect:
                raise error
        self._progress.take(index)
        return recorded

    def _equal(self, index: int, payload: Payload) -> bool:
        return encode_payload(carry_over(self._payloads[index], payload, self.options)) == self._events[index].payload

    def _diverge(
        self, node: Node, index: int | None, produced: Payload, frame: Frame | None = None
    ) -> NondeterminismError:
        """Report against the first event of this node that was not reproduced, which may precede ``index``."""
        first = self._progress.next_own(node)
        candidates = [position for position in (first, index) if position is not None]
        at = min(candidates) if candidates else self._progress.after(node)
        return self._latch(self._describe(at, produced, frame.call_id if frame else ""), frame)

    def _describe(self, index: int, produced: Payload | None, call_id: str) -> Divergence:
        recorded = self._payloads[index] if index < len(self._events) else None
        if produced is not None:  # with plain values, as the recorded one has them
            produced = decode_payload(produced.KIND, encode_payload(produced))
        changes: tuple[Change, ...] = ()
        if isinstance(recorded, TurnStarted) and isinstance(produced, TurnStarted) and self.request is not None:
            changes = self._explain(index, recorded, self.request)
        return describe(
            recorded,
            produced,
            self.options,
            run_id=self._events[0].run_id,
            seq=index + 1,
            length=len(self._events),
            call_id=call_id,
            explained=changes,
        )

    def _latch(self, divergence: Divergence, frame: Frame | None = None) -> NondeterminismError:
        self.divergences.append(divergence)
        error = NondeterminismError(
            f"{divergence}\n{divergence.reason}", run_id=divergence.run_id, divergences=(divergence,)
        )
        if self.options.collect and divergence.cls in ("payload", "turn_id"):
            return error
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
        self._skipped(frame.call_id)
        self._take_until(frame, index)

    def _take_until(self, frame: Frame, index: int) -> None:
        """Take what is left of a call up to ``index``; calls it made count for the run's totals, as they did live."""
        for taken in self._progress.take_until(frame.node, index):
            frame.run.meter.observe(self._payloads[taken])
        for name, by_request in frame.node.effects.items():
            for request, effect in by_request.items():
                if self._progress.is_taken(effect):
                    frame.answer(name, request)
