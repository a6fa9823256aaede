"""Which sequences of events are legal: one table, and the small machine that walks it.

The validator, writers and the documentation all read `RULES`. The machine knows two things: the turn that is open, and
the calls (id and attempt) that have no outcome yet. A kind without an entry of its own is free to occur anywhere, as
are numbers that are no kind of this version.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from starling.errors import LogCorruptError
from starling.event._kinds import Kind, kind_name

if TYPE_CHECKING:
    from starling.event._payloads import Payload

__all__ = ["RULES", "TERMINAL_KINDS", "Does", "Lifecycle", "Rule", "describe_rules"]


class Does(Enum):
    """What an event does to the open turn, or to the call that it names. The values are words for the docs."""

    NOTHING = "-"
    OPENS = "opens"
    BELONGS = "names it"
    CLOSES = "closes"
    INTERRUPTS = "closes, if one is open"
    CLEARS = "forgets"
    SETTLES = "none may be open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one kind may do. ``first``: it begins the run, and stands nowhere else. ``terminal``: it ends the run."""

    turn: Does = Does.NOTHING
    call: Does = Does.NOTHING
    first: bool = False
    terminal: bool = False


RULES: Final[dict[Kind, Rule]] = {
    Kind.RunStarted: Rule(first=True),
    Kind.UserMessageAppended: Rule(),
    Kind.TurnStarted: Rule(turn=Does.OPENS),
    Kind.ReasoningEmitted: Rule(turn=Does.BELONGS),
    Kind.AssistantMessageCompleted: Rule(turn=Does.CLOSES),
    Kind.ToolCallScheduled: Rule(call=Does.OPENS),
    Kind.ToolCallCompleted: Rule(call=Does.CLOSES),
    Kind.ToolCallFailed: Rule(call=Does.CLOSES),
    Kind.SideEffectRecorded: Rule(),
    Kind.BudgetExceeded: Rule(turn=Does.INTERRUPTS),
    Kind.ContextTruncated: Rule(),
    Kind.RunCompleted: Rule(turn=Does.SETTLES, call=Does.SETTLES, terminal=True),
    Kind.RunFailed: Rule(terminal=True),
    Kind.RunCancelled: Rule(terminal=True),
    Kind.RunResumed: Rule(turn=Does.CLEARS, call=Does.CLEARS),
    Kind.TurnFailed: Rule(),
}
TERMINAL_KINDS: Final = frozenset(kind for kind, rule in RULES.items() if rule.terminal)
_FREE: Final = Rule()
_RULES: Final[dict[int, Rule]] = {int(kind): rule for kind, rule in RULES.items()}


class Lifecycle:
    """Where a run stands. Feed it every event in order; it raises at the first that may not follow.

    Attributes:
        open_turn: id of the turn without an answer yet, ``""`` if there is none.
        open_calls: (call id, attempt) of the calls without an outcome yet, in the order they were scheduled.
        last: kind of the last event, None before the first.
    """

    __slots__ = ("last", "open_calls", "open_turn")

    def __init__(self) -> None:
        self.open_turn = ""
        self.open_calls: dict[tuple[str, int], None] = {}
        self.last: int | None = None

    @property
    def ended(self) -> bool:
        """Whether a terminal event has been seen."""
        return self.last in TERMINAL_KINDS

    def advance(self, kind: int, payload: Payload | None, *, seq: int) -> None:
        """Take the next event. ``payload`` may be None for a number that is no kind.

        Raises:
            LogCorruptError: it may not stand here. The machine is then of no further use.
        """
        if self.last is None and kind != Kind.RunStarted:
            raise _illegal(kind, seq, "a run begins with RunStarted")
        if self.ended:
            raise _illegal(kind, seq, f"the run ended before it, with {kind_name(self.last or 0)}")
        rule = _RULES.get(kind, _FREE)
        if rule.first and self.last is not None:
            raise _illegal(kind, seq, "a run begins once")
        if rule.turn is not Does.NOTHING:
            self._turn(rule.turn, kind, str(getattr(payload, "turn_id", "")), seq)
        if rule.call is not Does.NOTHING:
            self._call(rule.call, kind, payload, seq)
        self.last = kind

    def _turn(self, does: Does, kind: int, turn: str, seq: int) -> None:
        if does is Does.OPENS and not turn:
            raise _illegal(kind, seq, "turn_id is empty")
        if does is Does.OPENS and self.open_turn:
            raise _illegal(kind, seq, f"turn {self.open_turn!r} is still open")
        if does in (Does.BELONGS, Does.CLOSES) and turn != self.open_turn:
            raise _illegal(kind, seq, f"turn {turn!r} is not the open one ({self.open_turn!r})")
        if does is Does.INTERRUPTS and turn and self.open_turn not in ("", turn):
            raise _illegal(kind, seq, f"turn {turn!r} is not the open one ({self.open_turn!r})")
        if does is Does.SETTLES and self.open_turn:
            raise _illegal(kind, seq, f"turn {self.open_turn!r} is still open")
        self.open_turn = turn if does in (Does.OPENS, Does.BELONGS) else ""

    def _call(self, does: Does, kind: int, payload: Any, seq: int) -> None:
        match does:
            case Does.CLEARS:
                self.open_calls.clear()
            case Does.SETTLES if self.open_calls:
                raise _illegal(kind, seq, f"{_call_text(next(iter(self.open_calls)))} has no outcome")
            case Does.OPENS:
                self._open_call((payload.call_id, payload.attempt), kind, seq)
            case Does.CLOSES:
                self._close_call((payload.call_id, payload.attempt), kind, seq)

    def _open_call(self, call: tuple[str, int], kind: int, seq: int) -> None:
        if not call[0]:
            raise _illegal(kind, seq, "call_id is empty")
        if call in self.open_calls:
            raise _illegal(kind, seq, f"{_call_text(call)} is open already")
        self.open_calls[call] = None

    def _close_call(self, call: tuple[str, int], kind: int, seq: int) -> None:
        if call not in self.open_calls:
            raise _illegal(kind, seq, f"{_call_text(call)} is not open: never scheduled, or it has an outcome already")
        del self.open_calls[call]


def describe_rules() -> str:
    """Return `RULES` as a Markdown table, for the documentation."""
    rows = [
        f"| {kind.value} | `{kind}` | {rule.turn.value} | {rule.call.value} | {_bound(rule)} |"
        for kind, rule in RULES.items()
    ]
    return "\n".join(("| # | kind | open turn | call | place |", "|---|---|---|---|---|", *rows))


def _bound(rule: Rule) -> str:
    return "first" if rule.first else "last" if rule.terminal else "-"


def _call_text(call: tuple[str, int]) -> str:
    return f"call {call[0]!r}, attempt {call[1]},"


def _illegal(kind: int, seq: int, why: str) -> LogCorruptError:
    return LogCorruptError(f"{kind_name(kind)} at index {seq - 1} (seq {seq}): {why}", seq=seq)
