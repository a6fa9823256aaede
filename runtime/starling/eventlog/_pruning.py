"""Retention: whole runs that are old enough are deleted, in batches between which a writer gets through.

Outside the append-only contract, and always somebody's explicit decision. Source: seed, "Retention pruning".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from starling.errors import LogError
from starling.eventlog._blocking import blocking_view, drive
from starling.eventlog._int64 import within_int64
from starling.eventlog._paging import Position, RunPageOptions, RunStatus, unix_ns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starling.eventlog._protocol import EventLog

__all__ = [
    "BATCH_EVENTS",
    "BATCH_RUNS",
    "PruneBatch",
    "PruneOptions",
    "PruneReport",
    "Pruning",
    "RunPruner",
    "first_events_worth",
    "prune_runs",
    "prune_runs_sync",
]

BATCH_EVENTS = 2_000
"""Events that one transaction of a pruning deletes, about: a run more at most. It takes some milliseconds."""

BATCH_RUNS = 100
"""Runs that one transaction of a pruning deletes at most."""

_FIRST_MOMENT, _LAST_MOMENT = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """Which runs to delete: those that started before a time, the oldest first.

    Attributes:
        before: runs that started earlier than this, an aware datetime; None for runs of any age.
        status: only runs of this `RunStatus`; None for all that have ended.
        include_in_progress: with no ``status``, runs that have not ended as well.
        limit: runs at most; 0 for all of them.
        dry_run: count what would be deleted, and delete nothing.

    Raises:
        LogError: there is no such status, the time has no zone, or the limit is negative.
    """

    before: datetime | None = None
    status: RunStatus | str | None = None
    include_in_progress: bool = False
    limit: int = 0
    dry_run: bool = True

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # frozen for everybody else
        set_field(self, "status", RunPageOptions(status=self.status).status)
        unix_ns(self.before, "before")
        if self.limit < 0:  # taken for none, it would delete everything
            raise LogError(f"limit={self.limit}: give how many runs to delete at most, or 0 for all of them")
        set_field(self, "limit", within_int64(self.limit))

    def statuses(self) -> frozenset[RunStatus]:
        """The statuses of the runs that are meant."""
        if self.status is not None:
            return frozenset({RunStatus(self.status)})
        return frozenset(RunStatus) if self.include_in_progress else frozenset(RunStatus) - {RunStatus.IN_PROGRESS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a pruning did, or would do.

    Attributes:
        matched_runs: runs that the options mean.
        matched_events: the events of those.
        deleted_runs, deleted_events: what was deleted; 0 with ``dry_run``.
        dry_run: whether nothing was to be deleted.
    """

    matched_runs: int = 0
    matched_events: int = 0
    deleted_runs: int = 0
    deleted_events: int = 0
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneBatch:
    """What one transaction of a pruning deleted. ``reached`` is its last run; None when there was none left."""

    runs: int = 0
    events: int = 0
    reached: Position | None = None


class Pruning:
    """A pruning in the making: which batch comes next, and what has been done so far.

    Args:
        options: what to prune. Of a dry run nothing is left to do.
        matched: what the options mean altogether, counted before. Runs that come to match meanwhile are not for it.

    Attributes:
        reached: the last run that was looked at; the next batch begins behind it.
        report: what has been done so far.
    """

    def __init__(self, options: PruneOptions, matched: PruneReport) -> None:
        self.reached: Position | None = None
        self.report = matched
        self._left = 0 if options.dry_run else matched.matched_runs

    @property
    def next_limit(self) -> int:
        """Runs that the next batch may delete; 0 when the pruning is done."""
        return min(self._left, BATCH_RUNS)

    def add(self, done: PruneBatch) -> None:
        """Count a batch."""
        self.reached = done.reached
        self._left = 0 if done.reached is None else self._left - done.runs
        self.report = replace(
            self.report,
            deleted_runs=self.report.deleted_runs + done.runs,
            deleted_events=self.report.deleted_events + done.events,
        )


def first_events_worth(runs: Iterable[tuple[Position, int]]) -> list[tuple[Position, int]]:
    """The beginning of (run, number of its events) that makes up a batch: one run at least."""
    batch, events = [], 0
    for position, size in runs:
        batch.append((position, size))
        events += size
        if events >= BATCH_EVENTS:
            break
    return batch


@runtime_checkable
class RunPruner(Protocol):
    """A log from which whole runs can be deleted. `prune_runs` is the way to call it."""

    async def prune(self, options: PruneOptions) -> PruneReport:
        """Delete the runs that the options mean, or count them.

        Each run goes whole, in one transaction; whether it still matches is looked at in that transaction. A run
        without its first event, which is damaged, is kept. The file of a SQLite log stays as large as it is until
        somebody runs ``VACUUM``.

        Raises:
            LogClosedError: after `EventLog.close`.
            ReadOnlyError: the log was opened for reading and ``dry_run`` is off.
            LogWriteError: the storage failed; what was deleted until then is gone, each run whole.
        """
        ...


async def prune_runs(
    log: EventLog,
    *,
    before: datetime | None = None,
    older_than: timedelta | None = None,
    status: RunStatus | str | None = None,
    include_in_progress: bool = False,
    limit: int = 0,
    dry_run: bool = True,
) -> PruneReport:
    """Delete whole runs that started before a time; by default only say how many there are.

    Args:
        log: the log; it must be a `RunPruner`, as all of this package's are.
        before: the cutoff, an aware datetime.
        older_than: the cutoff as an age. Exactly one of the two is given.
        status: only runs of this `RunStatus`; None for all that have ended.
        include_in_progress: with no ``status``, runs that have not ended as well.
        limit: runs at most, the oldest first; 0 for all of them.
        dry_run: delete nothing. On unless it is turned off.

    Raises:
        LogError: the cutoff is missing or given twice, or the log cannot prune. Besides, as `RunPruner.prune`.
    """
    options = _options(before, older_than, status, include_in_progress=include_in_progress)
    if not isinstance(log, RunPruner):
        raise _cannot_prune(log, "prune")
    return await log.prune(replace(options, limit=limit, dry_run=dry_run))


def prune_runs_sync(
    log: EventLog,
    *,
    before: datetime | None = None,
    older_than: timedelta | None = None,
    status: RunStatus | str | None = None,
    include_in_progress: bool = False,
    limit: int = 0,
    dry_run: bool = True,
) -> PruneReport:
    """`prune_runs`, blocking."""
    if not hasattr(log, "prune_sync"):
        raise _cannot_prune(log, "prune_sync")
    work = prune_runs(
        blocking_view(log),
        before=before,
        older_than=older_than,
        status=status,
        include_in_progress=include_in_progress,
        limit=limit,
        dry_run=dry_run,
    )
    return drive(work)


def _options(
    before: datetime | None,
    older_than: timedelta | None,
    status: RunStatus | str | None,
    *,
    include_in_progress: bool,
) -> PruneOptions:
    if (before is None) is (older_than is None):
        raise LogError("pruning needs a cutoff: give either before=... or older_than=..., and not both")
    cutoff = before if older_than is None else _ago(older_than)
    return PruneOptions(before=cutoff, status=status, include_in_progress=include_in_progress)


def _ago(age: timedelta) -> datetime:
    """When that was, or the first or last moment that there is."""
    now = datetime.now(UTC)
    return now - min(max(age, now - _LAST_MOMENT), now - _FIRST_MOMENT)


def _cannot_prune(log: EventLog, method: str) -> LogError:
    return LogError(f"{log!r} cannot prune: it has no method {method} (starling.eventlog.RunPruner)")
