"""The statements of listings and of pruning, shared by every SQL backend. Values in, text and arguments out.

Strategy: a run is found by its first event (``seq = 1``), of which a partial index of ours holds start and id in the
order of the listing; so a page costs what its runs cost, whatever else is in the log. Counts come from SQL. Tokens and
money stand in payloads, which are CBOR: of a page's runs, the messages alone are read, and folded by `aggregate_run`.

Placeholders are ``?``; no statement holds that character otherwise, so a driver with others can replace it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling.event import TERMINAL_KINDS, Kind
from starling.eventlog._paging import STATUS_OF_KIND, Position, RunStatus, ascii_lower, unix_ns
from starling.eventlog._sql import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starling.eventlog._paging import RunPageOptions
    from starling.eventlog._pruning import PruneOptions

__all__ = [
    "FIRST_EVENTS_INDEX",
    "Dialect",
    "Statement",
    "count_starts",
    "facts",
    "messages",
    "page_of_starts",
    "prunable",
]

_TABLE = "eventlog_events"
FIRST_EVENTS_INDEX = "starling_first_events"
"""The index that listings go by. A log without it (the original's, opened for reading) lists too, by looking at all."""

_TERMINALS = ", ".join(str(int(kind)) for kind in sorted(TERMINAL_KINDS))
_LAST_KIND = f"(SELECT kind FROM {_TABLE} AS tail WHERE tail.run_id = head.run_id ORDER BY tail.seq DESC LIMIT 1)"  # noqa: S608
_HAS_TOOL_CALLS = (
    f"EXISTS (SELECT 1 FROM {_TABLE} AS own "  # noqa: S608 - constants
    f"WHERE own.run_id = head.run_id AND own.kind = {Kind.ToolCallScheduled:d})"
)
_KIND_OF_STATUS = {status: kind for kind, status in STATUS_OF_KIND.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where SQL databases differ.

    Attributes:
        run_id: the run id of the row ``head``, compared by code points.
        contains: that it contains the placeholder's text, which is in ASCII lower case.
        sound: what makes a first event one that can be listed; ``"TRUE"`` where column types are enforced.
    """

    run_id: str = "head.run_id"
    contains: str
    sound: str = "TRUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement and the arguments of its placeholders, in order."""

    text: str
    arguments: tuple[Any, ...]


def page_of_starts(dialect: Dialect, options: RunPageOptions) -> Statement:
    """(run_id, ts) of the runs of a page and of one more, if there is one; newest first."""
    where, arguments = _matching(dialect, options)
    if options.cursor:
        after = Position.parse(options.cursor)
        where, arguments = f"{where} AND (head.ts, {dialect.run_id}) < (?, ?)", (*arguments, after.ts, after.run_id)
    return Statement(
        text=f"SELECT head.run_id, head.ts FROM {_TABLE} AS head WHERE {where} "  # noqa: S608 - constants and placeholders
        f"ORDER BY head.ts DESC, {dialect.run_id} DESC LIMIT ? OFFSET ?",
        arguments=(*arguments, options.limit + 1, options.offset),
    )


def count_starts(dialect: Dialect, options: RunPageOptions) -> Statement:
    """How many runs match, on whatever page: one row, one number."""
    where, arguments = _matching(dialect, options)
    return Statement(text=f"SELECT count(*) FROM {_TABLE} AS head WHERE {where}", arguments=arguments)  # noqa: S608


def facts(run_ids: Sequence[str]) -> Statement:
    """(run_id, last seq, turns, scheduled tool calls, ts and kind of the last event) of each of these runs."""
    marks = ", ".join("?" * len(run_ids))
    turns, calls = (f"sum(CASE WHEN kind = {kind:d} THEN 1 ELSE 0 END)" for kind in _COUNTED)
    return Statement(
        text=f"WITH run AS (SELECT run_id, max(seq) AS last_seq, {turns} AS turns, {calls} AS calls FROM {_TABLE} "  # noqa: S608
        f"WHERE run_id IN ({marks}) GROUP BY run_id) "
        "SELECT run.run_id, run.last_seq, run.turns, run.calls, tail.ts, tail.kind "
        f"FROM run JOIN {_TABLE} AS tail ON tail.run_id = run.run_id AND tail.seq = run.last_seq",
        arguments=tuple(run_ids),
    )


_COUNTED = (Kind.TurnStarted, Kind.ToolCallScheduled)


def messages(run_ids: Sequence[str]) -> Statement:
    """The rows of these runs' finished messages, run by run and in order: what tokens and money are folded from."""
    marks = ", ".join("?" * len(run_ids))
    return Statement(
        text=f"SELECT {COLUMNS} FROM {_TABLE} WHERE run_id IN ({marks}) "  # noqa: S608 - constants and placeholders
        f"AND kind = {Kind.AssistantMessageCompleted:d} ORDER BY run_id, seq",
        arguments=tuple(run_ids),
    )


def prunable(dialect: Dialect, options: PruneOptions, after: Position | None, limit: int | None) -> Statement:
    """(run_id, ts, number of events) of the runs to prune, the oldest first; behind ``after`` where it is given."""
    where = f"head.seq = 1 AND {dialect.sound}{_status(options.statuses())}"
    arguments: tuple[Any, ...] = ()
    before = unix_ns(options.before, "before")
    if before is not None:
        where, arguments = f"{where} AND head.ts < ?", (before,)
    if after is not None:
        where, arguments = f"{where} AND (head.ts, {dialect.run_id}) > (?, ?)", (*arguments, after.ts, after.run_id)
    return Statement(
        text=f"SELECT head.run_id, head.ts, (SELECT count(*) FROM {_TABLE} AS own WHERE own.run_id = head.run_id) "  # noqa: S608
        f"FROM {_TABLE} AS head WHERE {where} ORDER BY head.ts, {dialect.run_id}{'' if limit is None else ' LIMIT ?'}",
        arguments=arguments if limit is None else (*arguments, limit),
    )


def _matching(dialect: Dialect, options: RunPageOptions) -> tuple[str, tuple[Any, ...]]:
    """The condition on ``head`` that a run matches, whatever the page, and its arguments."""
    status = () if options.status is None else (RunStatus(options.status),)
    clauses: tuple[tuple[str, tuple[Any, ...]], ...] = (
        (f"head.seq = 1 AND {dialect.sound}{_status(status)}", ()),
        (dialect.contains, (ascii_lower(options.query),) if options.query else ()),
        ("substr(head.run_id, 1, ?) = ?", (len(options.prefix), options.prefix) if options.prefix else ()),
        ("head.ts >= ?", _one(unix_ns(options.started_after, "started_after"))),
        ("head.ts < ?", _one(unix_ns(options.started_before, "started_before"))),
        (_HAS_TOOL_CALLS if options.require_tool_calls else "", ()),
    )
    wanted = [(text, arguments) for text, arguments in clauses if text and (arguments or "?" not in text)]
    where = " AND ".join(text for text, _ in wanted)
    return where, tuple(argument for _, arguments in wanted for argument in arguments)


def _one(value: int | None) -> tuple[int, ...]:
    return () if value is None else (value,)


def _status(statuses: Collection[RunStatus]) -> str:
    """A clause, with its AND, that the run has one of these statuses; none for no or for all of them."""
    if not statuses or len(statuses) == len(RunStatus):
        return ""
    kinds = sorted(_KIND_OF_STATUS[status] for status in statuses if status in _KIND_OF_STATUS)
    ended = f"{_LAST_KIND} IN ({', '.join(f'{kind:d}' for kind in kinds)})" if kinds else "FALSE"
    if RunStatus.IN_PROGRESS not in statuses:
        return f" AND {ended}"
    return f" AND ({ended} OR {_LAST_KIND} NOT IN ({_TERMINALS}))"
