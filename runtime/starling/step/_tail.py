"""What a run's code writes to in mode ``tail``: a live run that a recording answers for as long as nothing differs.

Strategy: a replay of the recording runs along, and is asked first. As long as it finds what the code does in the
recording, the model's answers and the effects come from there, and so does what the environment did to the recorded
run; each of them goes into a new run of its own. From the first difference on everything is live. Tools run, and the
new run holds what they return today.

What differs is known by tool call: a call that differs is live from there on, and so is everything behind its end.
Calls that run beside it go on with what was recorded for them: which of them was first is chance.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starling._ulid import new as new_ulid
from starling.errors import NondeterminismError
from starling.event import SideEffectRecorded, ToolCallCompleted, ToolCallFailed, TurnStarted
from starling.provider import Counting, prompt_hash
from starling.step._abandoned import cut_off, is_abandoned
from starling.step._live import LiveJournal
from starling.step._redaction import redacted_request
from starling.step._served import Served
from starling.step._tree import Node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.event import Event, Payload, Terminal, ToolCallScheduled
    from starling.eventlog import EventLog
    from starling.provider import Request
    from starling.step._frame import Frame
    from starling.step._script import Script

__all__ = ["Conversation", "TailJournal"]

T = TypeVar("T")


class Conversation(Protocol):
    """What an agent has said so far, as its recording has it that was redacted."""

    def feed(self, event: Event) -> None:
        """Take the next event of the new run."""
        ...

    def request(self) -> Request:
        """What the agent asks next, made of redacted parts."""
        ...


class TailJournal(LiveJournal):
    """Writes a run that happens now, and takes from a recorded one what that still has to say to it.

    Args:
        script: the recorded run. changed: called once, when something differs for the first time.
        conversation: if the recording was redacted.
        chain, log, committed, asked, emit_timeout_s: as for `LiveJournal`.

    Attributes:
        turns_kept: how many model calls the recording has answered.
    """

    def __init__(
        self,
        chain: Any,
        log: EventLog,
        script: Script,
        *,
        changed: Callable[[], None],
        conversation: Conversation | None,
        committed: Callable[[Sequence[Event]], None],
        asked: Callable[[str, Request], None],
        emit_timeout_s: float,
    ) -> None:
        super().__init__(chain, log, committed=committed, asked=asked, emit_timeout_s=emit_timeout_s)
        self.options = script.options
        self.turns_kept = 0
        self._script = script
        self._on_change = changed
        self._conversation = conversation
        self._is_changed = False
        self._gone: set[Node] = set()
        self._orphans: dict[str, Served] = {}
        self._request: tuple[Request, bool] | None = None
        script.attend(took=self._record_effect, skipped=self._copy)

    # --- what differs

    def answers(self, frame: Frame | None) -> bool:
        """It does, as long as nothing of this frame differs. None is the run's own code."""
        node = self._node(frame)
        return isinstance(node, Node) and node not in self._gone

    def leave(self, frame: Frame | None) -> None:
        """Go on without the recording: something of this frame differs."""
        node = self._node(frame)
        if isinstance(node, Node):
            self._gone.add(node)
        if not self._is_changed:
            self._is_changed = True
            self._on_change()

    def _node(self, frame: Frame | None) -> object:
        return self._script.root if frame is None or not frame.call_id else frame.node

    def _is_as_recorded(self, frame: Frame | None, compare: Callable[[], object]) -> bool:
        """Whether a step of this frame is in the recording; if not, the frame goes on without that."""
        if not self.answers(frame):
            return False
        try:
            compare()
        except NondeterminismError:
            self.leave(frame)
            return False
        return True

    # --- the run's own events

    def asks(self, turn_id: str, request: Request, *, by_code: bool) -> Request:  # noqa: ARG002
        """Keep the request until it is known whose turn it is."""
        self._request = request, by_code
        return request

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """Stamp an event. A turn that the recording does not answer has an id of its own."""
        kept = self._is_as_recorded(frame, lambda: self._script.emit(self._compared(payload, frame), frame))
        if isinstance(payload, TurnStarted):
            payload = self._begun(payload, frame, kept=kept)
        return super().emit(payload, frame)

    def _compared(self, payload: Payload, frame: Frame | None) -> Payload:
        """A turn as it would be recorded, were it redacted like the recording; of other events a replay knows that."""
        if self._conversation is None or self._request is None or not isinstance(payload, TurnStarted):
            return payload
        assert frame is not None  # turns are made by somebody
        request, by_code = self._request
        told = redacted_request(request, self.options.redact) if by_code else self._conversation.request()
        tokens = self._script.estimate(frame, payload.input_tokens)
        return replace(payload, prompt_hash=prompt_hash(told), input_tokens=tokens)

    def _stamp(self, payload: Payload) -> Event:
        event = super()._stamp(payload)
        if self._conversation is not None:
            self._conversation.feed(event)
        return event

    def _begun(self, turn: TurnStarted, frame: Frame | None, *, kept: bool) -> TurnStarted:
        if kept:
            self._keep_turn(frame)
        else:
            turn = replace(turn, turn_id=new_ulid())
        if self._request is not None and self._request[1]:
            self._asked(turn.turn_id, self._request[0])
        return turn

    def _keep_turn(self, frame: Frame | None) -> None:
        self.turns_kept += 1
        provider = None if frame is None else frame.run.provider
        if isinstance(provider, Counting):
            provider.skip_turn()

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """Stamp the last event."""
        self._is_as_recorded(None, lambda: self._script.emit_terminal(payload))
        return super().emit_terminal(payload)

    def turn_id(self, frame: Frame) -> str:
        """The recorded id, as long as there is one."""
        return (self._script.turn_id(frame) if self.answers(frame) else "") or super().turn_id(frame)

    def call_id(self, parent: Frame) -> str:
        """The recorded id, as long as there is one: the model is shown it."""
        return (self._script.call_id(parent) if self.answers(parent) else "") or super().call_id(parent)

    # --- a recorded answer of the model

    def next_recorded(self, frame: Frame) -> Payload | None:
        """What comes next in the recording of a turn."""
        return self._script.next_recorded(frame)

    def take(self, frame: Frame) -> Payload:
        """Take that as it was recorded."""
        payload = self._script.take(frame)
        return super().emit(payload, frame)

    def end_of_part(self, frame: Frame) -> Payload | None:
        """How the recorded process ended, if nothing else of this frame comes before that."""
        return self._script.end_of_part(frame)

    def missing_answer(self, frame: Frame) -> NondeterminismError:
        """The recorded turn has no answer: the recording is not whole."""
        return self._script.missing_answer(frame)

    # --- where the recorded process ended

    def cut_off(self) -> Payload | None:
        """How the environment ended the recorded run, if everything before that was done again."""
        return self._script.cut_off() if self.answers(None) else None

    def seam(self) -> int:
        """Where the recorded process ended, if this one has done all that it did; 0 if not."""
        return self._script.reached_seam() if not self._is_changed else 0

    # --- whose turn it is

    async def turn_to_ask(self, frame: Frame) -> None:
        """As on replay, until something differs: then it is not known any more what is to come."""
        if not self._is_changed and self.answers(frame):
            await self._script.turn_to_ask(frame)

    async def turn_to_hear(self, frame: Frame) -> None:
        """As on replay."""
        if self.answers(frame):
            await self._script.turn_to_hear(frame)

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """As on replay."""
        if self.answers(parent):
            await self._script.turn_to_dispatch(parent, payload)

    async def in_turn(self, parent: Frame, frames: Sequence[Frame], running: Awaitable[T]) -> T:
        """As on replay, for calls that are all in the recording."""
        if self.answers(parent) and all(self.answers(frame) for frame in frames):
            return await self._script.in_turn(parent, frames, running)
        return await running

    async def turn_to_end(self, frame: Frame, attempt: int) -> None:
        """As on replay."""
        if self.answers(frame):
            await self._script.turn_to_end(frame, attempt)

    async def cut_off_again(self, frame: Frame, outcome: ToolCallCompleted | ToolCallFailed) -> None:
        """As on replay."""
        if self.answers(frame):
            await self._script.cut_off_again(frame, outcome)
        else:
            await super().cut_off_again(frame, outcome)

    # --- calls

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: Served | None = None) -> Any:
        """Stamp a call's first attempt. One that the recording has is answered by it."""
        left = self._left_to(parent)
        if served is None and left is not None:
            served = left.take_call(payload)
        found: list[Node] = []
        if not self._is_as_recorded(parent, lambda: found.append(self._script.schedule(parent, payload))):
            return super().schedule(parent, payload, served)
        (node,) = found
        with self._lock:
            self._open_call(replace(payload, attempt=node.first_attempt))
        self._orphans.pop(payload.call_id, None)
        if served is not None:
            self._orphans[payload.call_id] = served
        return node

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """Stamp a further attempt."""
        self._orphans.pop(frame.call_id, None)
        if not self._is_as_recorded(frame, lambda: self._script.reschedule(frame, payload)):
            super().reschedule(frame, payload)
            return
        with self._lock:
            frame.check()
            self._open_call(payload)

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """Stamp an attempt's end. What comes behind a call that differs, differs."""
        if self._is_as_recorded(frame, lambda: self._script.outcome(frame, payload)):
            frame.closed = False  # the replay has closed it; here its end is still to be recorded
        self._script.ended(frame)
        ended = super().outcome(frame, payload)
        if not self.answers(frame):
            self.leave(frame.parent)
        return ended

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """As on replay: what the environment ended, and what is not to be run."""
        if self.answers(frame):
            return self._script.recorded_outcome(frame, attempt)
        return super().recorded_outcome(frame, attempt)

    def _copy(self, frame: Frame, payloads: Sequence[Payload]) -> None:
        """Stamp what a call had done that is not run."""
        with self._lock:
            for payload in payloads:
                self._stamp(payload)
                match payload:
                    case TurnStarted():
                        self._keep_turn(frame)
                    case SideEffectRecorded(call_id=frame.call_id, name=name):
                        frame.finished[name] = frame.finished.get(name, 0) + 1
                    case ToolCallCompleted(call_id=frame.call_id) | ToolCallFailed(call_id=frame.call_id):
                        self._open.pop(frame.call_id, None)

    # --- effects

    async def answer(self, frame: Frame, name: str, request: int, *, waits: bool) -> SideEffectRecorded | None:
        """The recorded effect, in its turn; what is not recorded is carried out."""
        if self.answers(frame):
            try:
                effect = await self._script.answer(frame, name, request, waits=waits)
            except NondeterminismError:
                self.leave(frame)
            except (asyncio.CancelledError, GeneratorExit):
                self._record_cut_off(frame, name, request)
                raise
            else:
                await self.commit()
                return effect
        return await super().answer(frame, name, request, waits=waits)

    def answer_at_once(self, frame: Frame, name: str, request: int) -> SideEffectRecorded | None:
        """The same for sync code."""
        found: list[SideEffectRecorded] = []
        try:
            if self._is_as_recorded(frame, lambda: found.append(self._script.answer_at_once(frame, name, request))):
                return found[0]
        except asyncio.CancelledError:
            self._record_cut_off(frame, name, request)
            raise
        return super().answer_at_once(frame, name, request)

    def _record_effect(self, frame: Frame, effect: SideEffectRecorded, request: int) -> None:
        """Stamp an effect that the recording gave; what an orphan had done of it is done.

        One without an outcome is asked for until it is cut off again.
        """
        left = self._left_to(frame)
        with self._lock:
            if left is not None:
                left.take_effect(effect.name, request)
            if is_abandoned(effect):
                frame.asked[effect.name, request] = None
            else:
                self._effect(frame, replace(effect, ordinal=0), request)

    def _record_cut_off(self, frame: Frame, name: str, request: int) -> None:
        with self._lock:
            if not frame.closed and (name, request) in frame.asked:
                self._effect(frame, cut_off(frame.call_id, name), request)

    def patched(self, frame: Frame, name: str) -> bool:
        """The way that the recorded call took."""
        if not self.answers(frame):
            return super().patched(frame, name)
        if not self._script.patched(frame, name):
            return False
        left = self._left_to(frame)
        with self._lock:
            if left is not None:
                left.take_effect(name, 1)
            self._stamp(SideEffectRecorded(name=name, value=True, call_id=frame.call_id))
        return True

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """The recording's mark, if there is one, is not kept."""
        return self._script.drop_patch(frame, name) if self.answers(frame) else super().drop_patch(frame, name)

    def _left_to(self, frame: Frame) -> Served | None:
        return frame.node if isinstance(frame.node, Served) else self._orphans.get(frame.call_id)
