"""Which sequences of events are legal: one table, and the small machine that walks it.

The validator, writers and the documentation all read `RULES`. The machine knows two things: the turn that is open, and
the calls (id and attempt) that have no outcome yet. A kind without an entry of its own is free to occur anywhere, as
are numbers that are no kind of this version.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

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


class Lifecycle:
    """Where a run stands. Feed it every event in order; it raises at the first that may not follow.

    Attributes:
        open_turn: id of the turn without an answer yet, ``""`` if there is none.
        open_calls: (call id, attempt) of the calls without an outcome yet, in the order they were scheduled.
        last: kind of the last event, None before the first.
    """

    __slots__ = ("_awaited", "last", "open_calls", "open_turn")

    def __init__(self) -> None:
        self.open_turn = ""
        self.open_calls: dict[tuple[str, int], None] = {}
        self.last: int | None = None
        self._awaited: bool | None = True  # whether the event that begins the run comes next; None: nothing may come

    @property
    def ended(self) -> bool:
        """Whether a terminal event has been seen."""
        return self.last in TERMINAL_KINDS

    def advance(self, kind: int, payload: Payload | None, *, seq: int) -> None:
        """Take the next event. ``payload`` may be None for a number that is no kind.

        Raises:
            LogCorruptError: it may not stand here. The machine is then of no further use.
        """
        call = getattr(payload, "call_id", ""), getattr(payload, "attempt", 0)
        self.step(kind, getattr(payload, "turn_id", ""), call, seq)

    def step(self, kind: int, turn: str, call: tuple[str, int], seq: int) -> None:
        """`advance`, given the turn and the call (id and attempt) that the payload names, as far as it does."""
        first, then, on_turn, on_call = _STEPS.get(kind, _FREE)
        if first is not self._awaited:
            raise self._misplaced(kind, seq)
        if on_turn:
            on_turn(self, kind, turn, seq)
        if on_call:
            on_call(self, kind, call, seq)
        self.last, self._awaited = kind, then

    def _misplaced(self, kind: int, seq: int) -> LogCorruptError:
        if self.last is None:
            return _illegal(kind, seq, "a run begins with RunStarted")
        if self.ended:
            return _illegal(kind, seq, f"the run ended before it, with {kind_name(self.last)}")
        return _illegal(kind, seq, "a run begins once")

    # What each word of `Does` means for the turn.

    def _open_turn(self, kind: int, turn: str, seq: int) -> None:
        if not turn:
            raise _illegal(kind, seq, "turn_id is empty")
        self._settle_turn(kind, turn, seq)
        self.open_turn = turn

    def _name_turn(self, kind: int, turn: str, seq: int) -> None:
        if turn != self.open_turn:
            raise _illegal(kind, seq, f"turn {turn!r} is not the open one ({self.open_turn!r})")

    def _close_turn(self, kind: int, turn: str, seq: int) -> None:
        self._name_turn(kind, turn, seq)
        self.open_turn = ""

    def _interrupt_turn(self, kind: int, turn: str, seq: int) -> None:
        if turn and self.open_turn:
            self._name_turn(kind, turn, seq)
        self.open_turn = ""

    def _settle_turn(self, kind: int, _turn: str, seq: int) -> None:
        if self.open_turn:
            raise _illegal(kind, seq, f"turn {self.open_turn!r} is still open")

    def _clear_turn(self, _kind: int, _turn: str, _seq: int) -> None:
        self.open_turn = ""

    # And for the call.

    def _open_call(self, kind: int, call: tuple[str, int], seq: int) -> None:
        if not call[0]:
            raise _illegal(kind, seq, "call_id is empty")
        if call in self.open_calls:
            raise _illegal(kind, seq, f"{_call_text(call)} is open already")
        self.open_calls[call] = None

    def _close_call(self, kind: int, call: tuple[str, int], seq: int) -> None:
        if call not in self.open_calls:
            raise _illegal(kind, seq, f"{_call_text(call)} is not open: never scheduled, or it has an outcome already")
        del self.open_calls[call]

    def _settle_calls(self, kind: int, _call: tuple[str, int], seq: int) -> None:
        if self.open_calls:
            raise _illegal(kind, seq, f"{_call_text(next(iter(self.open_calls)))} has no outcome")

    def _clear_calls(self, _kind: int, _call: tuple[str, int], _seq: int) -> None:
        self.open_calls.clear()


_TURN: Final = {
    Does.OPENS: Lifecycle._open_turn,
    Does.BELONGS: Lifecycle._name_turn,
    Does.CLOSES: Lifecycle._close_turn,
    Does.INTERRUPTS: Lifecycle._interrupt_turn,
    Does.SETTLES: Lifecycle._settle_turn,
    Does.CLEARS: Lifecycle._clear_turn,
}
_CALL: Final = {
    Does.OPENS: Lifecycle._open_call,
    Does.CLOSES: Lifecycle._close_call,
    Does.SETTLES: Lifecycle._settle_calls,
    Does.CLEARS: Lifecycle._clear_calls,
}
_STEPS: Final = {
    int(kind): (rule.first, None if rule.terminal else False, _TURN.get(rule.turn), _CALL.get(rule.call))
    for kind, rule in RULES.items()
}
_FREE: Final = (False, False, None, None)


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
