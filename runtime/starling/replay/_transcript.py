"""A recorded run as people read it, and review it: what was said and done, without what changes by itself.

Left out are ids, times, durations, hashes, token counts and costs: two recordings of the same conversation read the
same. Parallel tool calls stand in the order in which they were asked for, each with everything that happened inside it,
so the order in which they finished does not show either. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from starling._canonical_json import loads
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event import (
    TERMINAL_KINDS,
    AssistantMessageCompleted,
    BudgetExceeded,
    ContextTruncated,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnFailed,
    TurnStarted,
    UserMessageAppended,
    kind_name,
)
from starling.step._served import PATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Event

__all__ = ["transcript"]

_INDENT = "  "
_OWN_EFFECTS = "starling/"
"""Names of effects that the library itself records; of these only patches are told."""
_CHANCE = {"now": "reads the clock", "rand": "draws a random number"}
"""What is different every time, and is told without its value."""


def transcript(events: Sequence[Event]) -> str:
    """A run as text, one line a fact and one line for each line of a text: made for line diffs and snapshots.

    Args:
        events: one run, whole or cut short. An event that cannot be read is named as such.
    """
    telling = _Telling()
    for event in events:
        telling.tell(event)
    if not events or events[-1].kind not in TERMINAL_KINDS:
        telling.run.add("(goes no further)")
    return "\n".join(telling.run.lines())


@dataclass(slots=True, eq=False)
class _Section:
    """A heading, and below it lines and further sections, in order."""

    heading: str = ""
    parts: list[str | _Section] = field(default_factory=list)
    turns: int = 0

    def add(self, heading: str, *texts: str) -> _Section:
        section = _Section(heading, [line for text in texts for line in _lines(text)])
        self.parts.append(section)
        return section

    def lines(self, depth: int = 0) -> Iterator[str]:
        if self.heading:
            yield f"{_INDENT * depth}{self.heading}"
        below = depth + 1 if self.heading else depth
        for part in self.parts:
            if isinstance(part, _Section):
                yield from part.lines(below)
            else:
                yield f"{_INDENT * below}{part}".rstrip()


class _Telling:
    """Puts each event where it belongs: below the tool call in which it happened."""

    def __init__(self) -> None:
        self.run = _Section()
        self._calls: dict[str, _Section] = {}
        self._turns: dict[str, _Section] = {}

    def tell(self, event: Event) -> None:
        try:
            payload = event.decode()
        except LogCorruptError as error:
            self.run.add(f"{kind_name(event.kind)} at seq {event.seq} cannot be read", str(error))
            return
        self._tell(payload)

    def _tell(self, payload: Any) -> None:  # noqa: C901, PLR0912 - a table: one row a kind
        match payload:
            case RunStarted():
                _tell_wiring(self.run, payload)
            case UserMessageAppended(content=text):
                self.run.add("user", text)
            case TurnStarted():
                self._begin_turn(payload)
            case ReasoningEmitted(content=text, redacted=redacted):
                self._turn(payload.turn_id).add("thinks", "(redacted)" if redacted else text)
            case AssistantMessageCompleted():
                _tell_answer(self._turn(payload.turn_id), payload)
            case ToolCallScheduled():
                self._begin_call(payload)
            case ToolCallCompleted(result=result):
                self._home(payload.call_id).add("returns", _value(result))
            case ToolCallFailed(error=error, error_type=kind, final=final):
                self._home(payload.call_id).add(f"fails ({kind}){', for good' if final else ''}", error)
            case SideEffectRecorded():
                _tell_effect(self._home(payload.call_id), payload)
            case BudgetExceeded():
                budget = self._home(payload.call_id).add(f"exceeds the budget of {payload.limit} ({payload.where})")
                if payload.partial_text:
                    budget.add("has said so far", payload.partial_text)
            case RunResumed(extra_message=message):
                self.run.add("resumed", *([message] if message else []))
            case _:
                _tell_end(self.run, payload)

    def _home(self, call_id: str) -> _Section:
        return self._calls.get(call_id, self.run)

    def _turn(self, turn_id: str) -> _Section:
        return self._turns.get(turn_id, self.run)

    def _begin_turn(self, payload: TurnStarted) -> None:
        home = self._home(payload.call_id)
        home.turns += 1
        self._turns[payload.turn_id] = home.add(f"turn {home.turns}")

    def _begin_call(self, payload: ToolCallScheduled) -> None:
        known = self._calls.get(payload.call_id)
        if known is not None:
            known.add(f"attempt {payload.attempt}")
            return
        home = self._home(payload.parent_call_id) if payload.parent_call_id else self._turn(payload.turn_id)
        self._calls[payload.call_id] = call = home.add(f"runs {payload.tool}")
        if payload.parent_call_id:
            call.add("with", _value(payload.args))


def _tell_wiring(run: _Section, started: RunStarted) -> None:
    run.add("goal", started.goal)
    run.add("model", " ".join(filter(None, (started.provider_id, started.model_id, started.api_version))))
    if started.params is not None:
        run.add("parameters", _value(started.params))
    if started.system_prompt:
        run.add("system prompt", started.system_prompt)
    if started.budget is not None:
        run.add("budget", _value({name: limit for name, limit in asdict(started.budget).items() if limit}))
    if started.app_version:
        run.add("app version", started.app_version)
    if started.tools:
        tools = run.add("tools")
        for tool in started.tools:
            tools.add(tool.name, tool.description, _schema(tool.schema))
    elif started.tool_schemas:  # older logs, and the original's, know names and hashes alone
        run.add("tools", *(tool.name for tool in started.tool_schemas))


def _tell_answer(turn: _Section, message: AssistantMessageCompleted) -> None:
    if message.text:
        turn.add("says", message.text)
    for use in message.tool_uses:
        turn.add(f"calls {use.tool}", _value(use.args))
    turn.add(f"stops: {message.stop_reason}")


def _tell_effect(home: _Section, effect: SideEffectRecorded) -> None:
    if effect.name.startswith(PATCH):
        home.add(f"takes the patch {effect.name.removeprefix(PATCH)}")
    elif effect.name.startswith(_OWN_EFFECTS):
        return
    elif effect.name in _CHANCE:
        home.add(_CHANCE[effect.name])
    elif effect.error:
        home.add(f"effect {effect.name} raises {effect.error.type}", effect.error.message)
    else:
        home.add(f"effect {effect.name}", _value(effect.value))


def _tell_end(run: _Section, payload: Any) -> None:
    match payload:
        case RunCompleted(final_text=text):
            run.add("completed", text)
        case RunFailed(error=error, error_type=kind) | TurnFailed(error=error, error_type=kind):
            run.add(f"failed ({kind})", error)
        case RunCancelled(reason=reason):
            run.add("cancelled", reason)
        case ContextTruncated(strategy=strategy):
            run.add("context truncated", strategy)
        case _:
            run.add(str(payload.KIND))


def _schema(text: str) -> str:
    try:
        return _value(loads(text))
    except UnencodableValueError:
        return text


def _value(value: Any) -> str:
    """Text as it is, anything else as JSON with one member a line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, default=_plain)


def _plain(value: Any) -> str:
    return f"({len(value)} bytes) {value.hex()}" if isinstance(value, bytes) else repr(value)


def _lines(text: str) -> list[str]:
    """The lines of a text, with what would steer a terminal escaped."""
    return [
        "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in line)
        for line in text.split("\n")
    ]
