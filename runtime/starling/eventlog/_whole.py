"""Going through a whole log in constant memory: which runs there are, and a run's events, a page at a time.

A log that is no `EventPager` (a user's own) is read a run at a time instead, and asked for its runs with `list_runs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import LogError
from starling.eventlog._blocking import blocking_view, drive_each
from starling.eventlog._follow import PAGE_SIZE
from starling.eventlog._protocol import EventPager, RunLister, StorageChecker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starling.event import Event
    from starling.eventlog._protocol import EventLog

__all__ = ["events_of", "events_of_sync", "run_ids", "run_ids_sync"]


async def run_ids(log: EventLog) -> AsyncIterator[str]:
    """The ids of all runs of a log, damaged ones included, in the order of their code points where the log can page.

    The storage is checked first, where it can be: whoever goes through a whole log wants to know that it is whole.

    Raises:
        LogCorruptError: the storage is damaged.
        LogError: the log can neither page nor list.
    """
    if isinstance(log, StorageChecker):
        await log.check_storage()
    if isinstance(log, EventPager):
        page = await log.run_ids_page()
        while page:
            for run_id in page:
                yield run_id
            page = await log.run_ids_page(page[-1])
    elif isinstance(log, RunLister):
        for summary in reversed(await log.list_runs()):
            yield summary.run_id
    else:
        raise LogError(f"{log!r} cannot say which runs it holds (starling.eventlog.RunLister): name them")


def run_ids_sync(log: EventLog) -> Iterator[str]:
    """`run_ids`, blocking."""
    return drive_each(run_ids(blocking_view(log)))


async def events_of(log: EventLog, run_id: str) -> AsyncIterator[Event]:
    """The events that a run has now, in order; a page of them in memory at a time."""
    if not isinstance(log, EventPager):
        for event in await log.read(run_id):
            yield event
        return
    next_seq, size = 1, PAGE_SIZE
    while size == PAGE_SIZE:
        page = await log.read_page(run_id, next_seq, PAGE_SIZE)
        for event in page:
            yield event
            next_seq = event.seq + 1
        size = len(page)


def events_of_sync(log: EventLog, run_id: str) -> Iterator[Event]:
    """`events_of`, blocking."""
    return drive_each(events_of(blocking_view(log), run_id))
