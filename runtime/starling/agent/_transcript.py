"""The conversation that a recorded run amounts to, and what its last turn waits for. Pure: payloads in, values out.

Strategy: one fold over the events, used wherever a conversation is read off a log: to go on after a crash, to go on
behind a seam in replay, and to explain what a recorded prompt was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starling.agent._messages import assistant_message, tool_message, user_message
from starling.event import (
    AssistantMessageCompleted,
    PlannedToolUse,
    ReasoningEmitted,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
    UserMessageAppended,
)
from starling.provider import Message, Reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Payload
    from starling.step._dialect import Dialect

__all__ = ["OpenTurn", "PlannedCall", "Transcript", "recorded_messages"]


@dataclass(slots=True, kw_only=True, eq=False)
class PlannedCall:
    """One call that the model planned.

    Attributes:
        use: what the model asked for.
        call_id: the id it was issued under last; empty if it never was.
        begun: where it was issued, as indexes of events: once, and once more after each crash that it did not survive.
        outcome: how it ended, once it has; an attempt that is followed by another one is no end.
    """

    use: PlannedToolUse
    call_id: str = ""
    begun: list[int] = field(default_factory=list)
    outcome: ToolCallCompleted | ToolCallFailed | None = None

    @property
    def shown_id(self) -> str:
        """The id under which the model is shown this call."""
        return self.call_id or self.use.call_id

    @property
    def is_orphan(self) -> bool:
        """Whether it was issued and never ended: its process did, or its run is still going on."""
        return bool(self.begun) and self.outcome is None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTurn:
    """The last answer of the model, with what came of it; the next request will show it.

    Attributes:
        said: what the user said since.
    """

    message: AssistantMessageCompleted
    reasoning: tuple[Reasoning, ...]
    calls: tuple[PlannedCall, ...]
    said: tuple[Message, ...]

    def messages(self, dialect: Dialect) -> list[Message]:
        """The answer, the results in the order in which the model asked for them, and what the user said since."""
        ids = [call.shown_id for call in self.calls]
        results = [tool_message(call.outcome, dialect) for call in self.calls if call.outcome is not None]
        uses = self.message.tool_uses
        return [assistant_message(self.message.text, uses, self.reasoning, dialect, call_ids=ids), *results, *self.said]


class Transcript:
    """The conversation of a run up to some event; feed it the run's payloads in order.

    Turns that a tool made on its own account are no part of it.

    Attributes:
        messages: what was said before the open turn.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.messages: list[Message] = []
        self._dialect = dialect
        self._turn_id = ""
        self._reasoning: list[Reasoning] = []
        self._message: AssistantMessageCompleted | None = None
        self._calls: list[PlannedCall] = []
        self._awaited: list[PlannedCall] = []
        self._said: list[Message] = []
        self._announced = ""

    @classmethod
    def of(cls, payloads: Sequence[Payload], dialect: Dialect) -> Transcript:
        """The conversation that these events of a run amount to."""
        transcript = cls(dialect)
        for index, payload in enumerate(payloads):
            transcript.feed(index, payload)
        return transcript

    @property
    def open_turn(self) -> OpenTurn | None:
        """The last answer, if no request has followed it."""
        if self._message is None:
            return None
        return OpenTurn(
            message=self._message,
            reasoning=tuple(self._reasoning),
            calls=tuple(self._calls),
            said=tuple(self._said),
        )

    @property
    def conversation(self) -> tuple[Message, ...]:
        """All that was said: what the next request will show."""
        open_turn = self.open_turn
        return (*self.messages, *(open_turn.messages(self._dialect) if open_turn else ()))

    def feed(self, index: int, payload: Payload) -> None:
        """Take the next event."""
        announced, self._announced = self._announced, ""
        match payload:
            case RunStarted(goal=goal):
                self.messages.append(user_message(goal))
            case RunResumed(extra_message=extra):
                self._awaited = [call for call in self._calls if call.outcome is None]
                self._say(extra)
                self._announced = extra
            case UserMessageAppended(content=content) if content != announced:
                self._say(content)
            case TurnStarted(call_id=""):
                self._begin_turn(payload.turn_id)
            case ReasoningEmitted(turn_id=self._turn_id):
                self._reasoning.append(_block(payload))
            case AssistantMessageCompleted(turn_id=self._turn_id):
                self._message = payload
                self._awaited = self._calls = [PlannedCall(use=use) for use in payload.tool_uses]
            case ToolCallScheduled(parent_call_id="") if self._message is not None:
                self._issue(index, payload)
            case ToolCallCompleted() | ToolCallFailed(final=True):
                self._end(payload)

    def _say(self, text: str) -> None:
        """The user's words follow the results of the turn that is open. The seam announces what it appends."""
        if text:
            (self.messages if self._message is None else self._said).append(user_message(text))

    def _begin_turn(self, turn_id: str) -> None:
        """A request shows everything before it; whatever an interrupted turn had brought is dropped."""
        open_turn = self.open_turn
        if open_turn is not None:
            self.messages.extend(open_turn.messages(self._dialect))
        self._turn_id, self._reasoning = turn_id, []
        self._message, self._calls, self._awaited, self._said = None, [], [], []

    def _issue(self, index: int, scheduled: ToolCallScheduled) -> None:
        """Calls are issued, and reissued behind a seam, in plan order."""
        if any(call.call_id == scheduled.call_id for call in self._calls):
            return  # a further attempt
        due = self._awaited[0] if self._awaited else None
        if due is not None and due.use.tool == scheduled.tool:
            self._awaited = self._awaited[1:]
            due.call_id = scheduled.call_id
            due.begun.append(index)

    def _end(self, outcome: ToolCallCompleted | ToolCallFailed) -> None:
        for call in self._calls:
            if call.call_id == outcome.call_id and call.outcome is None:
                call.outcome = outcome


def recorded_messages(payloads: Sequence[Payload], dialect: Dialect) -> tuple[Message, ...]:
    """The conversation that a recorded run had led to when its last given event was written."""
    return Transcript.of(payloads, dialect).conversation


def _block(emitted: ReasoningEmitted) -> Reasoning:
    return Reasoning(content=emitted.content, signature=emitted.signature, redacted=emitted.redacted)
