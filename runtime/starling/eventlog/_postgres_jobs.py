"""What each method of a Postgres log asks its server, and what is said when that fails. No IO.

A `Job` is made for one use. Its steps (`_postgres_steps`, `_sql_steps`) are carried out by `_postgres`, which knows how
to wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from starling.errors import InvalidAppendError, ReadOnlyError
from starling.eventlog import _postgres_steps, _sql_steps
from starling.eventlog._append_rules import EMPTY_RUN, Head, Heads, advanced_elsewhere, continue_run, head_of
from starling.eventlog._int64 import within_int64
from starling.eventlog._migrations import pending
from starling.eventlog._paging import RunPageOptions
from starling.eventlog._postgres_schema import apply_pending, create_missing, stored_version
from starling.eventlog._postgres_steps import POSTGRES, can_hold
from starling.eventlog._protocol import SCHEMA_VERSION, MigrationReport
from starling.eventlog._schema import check_version, refuse_newer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPage
    from starling.eventlog._postgres_connect import Within
    from starling.eventlog._pruning import PruneBatch, PruneOptions, PruneReport, Pruning
    from starling.eventlog._sql_steps import Steps
    from starling.eventlog._summary import RunSummary

__all__ = ["Job", "Jobs"]

T = TypeVar("T")
_LISTED_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """Something to ask the server for.

    Attributes:
        action: what it is, in a message.
        steps: the statements. They can be carried out once.
        run_id, seq: the event concerned, if one.
        writing: whether a failure is a `LogWriteError`.
        within: whether it is one transaction.
        any_schema: whether the schema need not be the current one.
    """

    action: str
    steps: Steps[T]
    run_id: str = ""
    seq: int | None = None
    writing: bool = False
    within: Within = None
    any_schema: bool = False


class Jobs:
    """Makes the jobs of one log. It knows the heads of the runs that are being written.

    Args:
        name: the log, for messages.
        read_only: refuse jobs that write, with `ReadOnlyError`.
    """

    def __init__(self, name: str, *, read_only: bool) -> None:
        self.name = name
        self._read_only = read_only
        self._heads = Heads()

    def continued(self, run_id: str, batch: Sequence[Event]) -> tuple[Head, Head] | None:
        """The head before and after the batch; None if the server must be asked, as the run may have been advanced."""
        self._refuse_if_read_only("append")
        known = self._heads.get(run_id)
        if known is None:
            return None
        try:
            return known, continue_run(run_id, known, batch)
        except InvalidAppendError:
            return None

    def continue_tail(self, run_id: str, batch: Sequence[Event]) -> Job[tuple[Head, Head]]:
        """The head before and after the batch, where it is the tail that is stored."""
        steps = self._continue_tail(run_id, batch)
        return Job(action="append", steps=steps, run_id=run_id, seq=batch[0].seq if batch else None, writing=True)

    def _continue_tail(self, run_id: str, batch: Sequence[Event]) -> Steps[tuple[Head, Head]]:
        if "\0" in run_id:
            raise InvalidAppendError(f"run id {run_id!r} holds a NUL, which no text in Postgres may", run_id=run_id)
        tail = yield from _postgres_steps.select(self.name, _postgres_steps.TAIL, run_id)
        head = head_of(tail[0]) if tail else EMPTY_RUN
        return head, continue_run(run_id, head, batch)

    def begin_insert(self, run_id: str) -> None:
        """The head is unknown until the commit is known to have happened."""
        self._heads.forget(run_id)

    def end_insert(self, run_id: str, batch: Sequence[Event], head: Head, written: int) -> None:
        """So many events were written, and the head is this if that is all."""
        if written != len(batch):
            raise advanced_elsewhere(self.name, run_id, batch[0].seq)
        self._heads.remember(run_id, head)

    def read(self, run_id: str) -> Job[list[Event]]:
        """A whole run."""
        steps = _postgres_steps.select(self.name, _postgres_steps.WHOLE_RUN, run_id)
        return Job(action="read", steps=steps, run_id=run_id)

    def read_page(self, run_id: str, from_seq: int, limit: int) -> Job[list[Event]]:
        """Part of a run."""
        numbers = within_int64(from_seq), within_int64(max(limit, 0))
        steps = _postgres_steps.select(self.name, _postgres_steps.PAGE, run_id, *numbers)
        return Job(action="read", steps=steps, run_id=run_id)

    def list_runs(self) -> Job[list[RunSummary]]:
        """Every run, newest first."""
        return Job(action="list runs", steps=_every_run())

    def list_runs_page(self, options: RunPageOptions | None) -> Job[RunPage]:
        """One page of runs."""
        return Job(action="list runs", steps=_page_of_runs(options or RunPageOptions()))

    def run_ids_page(self, after: str, limit: int) -> Job[list[str]]:
        """One page of run ids."""
        return Job(action="list run ids", steps=_postgres_steps.run_ids(after, within_int64(max(limit, 0))))

    def prunable(self, options: PruneOptions) -> Job[PruneReport]:
        """How much a pruning would delete."""
        if not options.dry_run:
            self._refuse_if_read_only("prune")
        return Job(action="look for runs to prune", steps=_sql_steps.prunable_runs(POSTGRES, options))

    def prune(self, options: PruneOptions, work: Pruning) -> Job[PruneBatch]:
        """Delete the next batch."""
        self._heads.forget_all()  # of the runs that go; the others' are read again
        steps = _postgres_steps.prune_batch(options, work.reached, work.next_limit)
        return Job(action="prune", steps=steps, writing=True, within="commit")

    def schema_version(self) -> Job[int]:
        """The version that the database is at."""
        return Job(action="reading the schema version", steps=stored_version(), any_schema=True)

    def check_version(self) -> Job[None]:
        """Refuse rows whose meaning, or whose whereabouts, another schema version decides."""
        return Job(action="reading the schema version", steps=self._check_version(), any_schema=True)

    def _check_version(self) -> Steps[None]:
        check_version((yield from stored_version()), self.name)

    def migrate(self, *, dry_run: bool = False) -> Job[MigrationReport]:
        """Apply what is pending, and create our own indexes."""
        if not dry_run:
            self._refuse_if_read_only("migrate")
        steps = self._migrate(dry_run=dry_run)
        return Job(action="migrate", steps=steps, writing=True, within="commit", any_schema=True)

    def _migrate(self, *, dry_run: bool) -> Steps[MigrationReport]:
        version = yield from stored_version()
        refuse_newer(version, self.name)
        applied = pending(version)
        if not dry_run:
            applied = yield from (apply_pending(self.name) if applied else _only_indexes())
        return MigrationReport(from_version=version, to_version=SCHEMA_VERSION, applied=applied, dry_run=dry_run)

    def check_writable(self) -> Job[None]:
        """Write, and take it back."""
        self._refuse_if_read_only("write")
        return Job(action="write", steps=_postgres_steps.rehearse_write(), writing=True, within="rollback")

    def begin_anew(self) -> None:
        """Be those of a process that was just forked: another thread may have held a lock then."""
        self._heads = Heads()

    def forget(self) -> None:
        """Forget the heads: the log is closed."""
        self._heads.forget_all()

    def _refuse_if_read_only(self, action: str) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self.name} cannot {action}: open it without read_only", path=self.name)


def _page_of_runs(options: RunPageOptions) -> Steps[RunPage]:
    if can_hold(options.query, options.prefix, options.cursor):
        return (yield from _sql_steps.list_page(POSTGRES, options))
    return _sql_steps.empty_page(options)


def _every_run() -> Steps[list[RunSummary]]:
    options = RunPageOptions(limit=_LISTED_AT_ONCE, count=False)
    page = yield from _sql_steps.list_page(POSTGRES, options)
    runs = list(page.runs)
    while page.next_cursor:
        page = yield from _sql_steps.list_page(POSTGRES, replace(options, cursor=page.next_cursor))
        runs += page.runs
    return runs


def _only_indexes() -> Steps[tuple[int, ...]]:
    yield from create_missing()
    return ()
