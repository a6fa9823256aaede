"""What can be asked of a paged listing, and what comes back. Values; the backends do the asking.

Order: the run that started last first; of two that started in the same nanosecond, the one with the greater id. A page
goes on from a cursor, which names the last run of the page before, so runs that begin meanwhile neither shift nor
repeat anything. Source: seed, "Paged listings".
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from starling.errors import LogError
from starling.event import Kind
from starling.eventlog._int64 import INT64_MAX, INT64_MIN, within_int64

if TYPE_CHECKING:
    from starling.eventlog._summary import RunSummary

__all__ = [
    "DEFAULT_LIMIT",
    "STATUS_OF_KIND",
    "Position",
    "RunPage",
    "RunPageOptions",
    "RunStatus",
    "ascii_lower",
    "status_of",
    "unix_ns",
]

DEFAULT_LIMIT = 50
"""Runs a page, where ``limit`` asks for none in particular."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunStatus(StrEnum):
    """How a run stands, by the kind of its last event. A run that was cut short counts as in progress."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    IN_PROGRESS = "in progress"


STATUS_OF_KIND = {
    Kind.RunCompleted: RunStatus.COMPLETED,
    Kind.RunFailed: RunStatus.FAILED,
    Kind.RunCancelled: RunStatus.CANCELLED,
}
"""The status that a terminal kind means; a run whose last event is of another kind is in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPageOptions:
    """Which runs a page shows. Filters narrow each other.

    Attributes:
        limit: runs at most; 0 or less for `DEFAULT_LIMIT`.
        offset: runs to pass over first. It costs as much as showing them: prefer ``cursor``.
        cursor: `RunPage.next_cursor` of the page before; ``""`` begins with the newest run.
        status: `RunStatus` or its text; None for all.
        query: part of the run id, ASCII letters in either case.
        prefix: how the run id begins, to the letter: ``"support/"`` for the runs of the namespace ``support``.
        started_after: the earliest start (inclusive), an aware datetime.
        started_before: the first start that is too late (exclusive), an aware datetime.
        require_tool_calls: only runs that scheduled a tool call.
        count: whether to say how many runs match in all.

    Raises:
        LogError: there is no such status, a time has no zone, or the cursor is none of ours.
    """

    limit: int = 0
    offset: int = 0
    cursor: str = ""
    status: RunStatus | str | None = None
    query: str = ""
    prefix: str = ""
    started_after: datetime | None = None
    started_before: datetime | None = None
    require_tool_calls: bool = False
    count: bool = True

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # frozen for everybody else
        set_field(self, "limit", min(self.limit, INT64_MAX - 1) if self.limit > 0 else DEFAULT_LIMIT)
        set_field(self, "offset", min(max(self.offset, 0), INT64_MAX))
        set_field(self, "status", _status(self.status))
        for name in ("started_after", "started_before"):
            unix_ns(getattr(self, name), name)
        if self.cursor:
            Position.parse(self.cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """One page of a listing.

    Attributes:
        runs: newest first.
        total_matching: how many runs match the filters in all, on whatever page; None where ``count`` was off.
        limit, offset: as asked for, with the default in the place of none.
        next_cursor: where the next page begins; ``""`` after the last one.
    """

    runs: tuple[RunSummary, ...]
    total_matching: int | None
    limit: int
    offset: int
    next_cursor: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A run's place in a listing: when it started (Unix ns), then its id."""

    ts: int
    run_id: str

    def __str__(self) -> str:
        """The cursor that names this place."""
        return f"{self.ts} {self.run_id}"

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """The place that a cursor names. Raises `LogError` for a text that is no cursor."""
        text, _, run_id = cursor.partition(" ")
        with suppress(ValueError):
            ts = int(text)
            if INT64_MIN <= ts <= INT64_MAX:
                return cls(ts, run_id)
        raise LogError(f"{cursor!r} is no cursor: pass on RunPage.next_cursor as it is")


def unix_ns(moment: datetime | None, name: str) -> int | None:
    """Unix nanoseconds of an aware datetime, or the nearest that a ts can be (the years 1678 to 2262); None for None.

    Raises `LogError` for one without a zone.
    """
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise LogError(f"{name}={moment!r} has no time zone: say which, such as datetime.now(UTC)")
    return within_int64((moment - _EPOCH) // timedelta(microseconds=1) * 1000)


def status_of(last_kind: int) -> RunStatus:
    """The status of a run whose last event is of this kind."""
    return STATUS_OF_KIND.get(Kind(last_kind), RunStatus.IN_PROGRESS) if last_kind in _KINDS else RunStatus.IN_PROGRESS


_KINDS = frozenset(Kind)
_ASCII_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def ascii_lower(text: str) -> str:
    """ASCII letters in lower case, and nothing else changed: what every database can do alike."""
    return text.translate(_ASCII_LOWER)


def _status(status: RunStatus | str | None) -> RunStatus | None:
    try:
        return None if status is None else RunStatus(status)
    except ValueError:
        known = ", ".join(repr(str(one)) for one in RunStatus)
        raise LogError(f"no run has the status {status!r}: choose from {known}") from None
