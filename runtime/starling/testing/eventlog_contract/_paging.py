"""What a log promises that lists its runs a page at a time, and hands out their events a page at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from starling.errors import LogClosedError
from starling.event import Kind
from starling.eventlog import EventPager, RunLister, RunPageLister, RunPageOptions
from starling.testing.eventlog_contract._runs import dated_run, sample_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.event import Event
    from starling.eventlog import EventLog, RunSummary
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "filters_narrow_a_page",
    "new_runs_do_not_shift_pages",
    "pages_add_up_to_the_listing",
    "pages_by_numbers_and_times_of_any_size",
    "pages_through_ids_and_events",
    "refuses_paging_after_close",
]

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NOON_NS = 1_767_268_800_000_000_000
_MINUTE_NS = 60_000_000_000
_BEYOND = 2**63
"""One more than a database counts to."""
_FIRST_MOMENT, _LAST_MOMENT = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


async def pages_add_up_to_the_listing(factory: Factory) -> None:
    """Pages of any size are the whole listing, newest first, each run once; runs that started together included."""
    log = factory()
    for number in range(23):
        run = dated_run(f"run-{number:02d}", _NOON_NS + number // 3, tool_calls=number % 3)
        await log.append(run[0].run_id, run)
    assert isinstance(log, RunLister), "the log has no list_runs"
    listing = await log.list_runs()
    assert [run.run_id for run in listing] == [f"run-{number:02d}" for number in reversed(range(23))], "wrong order"
    for limit in (1, 4, 22, 23, 24):
        paged = await _all_pages(log, limit)
        assert paged == listing, f"pages of {limit} runs are not what list_runs says"
    page = await _page(log, offset=20, limit=50)
    assert (page.runs, page.total_matching) == (tuple(listing[20:]), 23), "a page with an offset differs"
    assert (await _page(log)).limit == 50, "a page has 50 runs unless told otherwise"
    assert (await _page(log, count=False)).total_matching is None, "nobody asked for the number of runs"
    await log.close()


async def new_runs_do_not_shift_pages(factory: Factory) -> None:
    """Runs that begin while somebody pages neither repeat nor hide what was there."""
    log = factory()
    for number in range(6):
        await log.append(f"r{number}", dated_run(f"r{number}", _NOON_NS + number))
    first = await _page(log, limit=3)
    await log.append("newer", dated_run("newer", _NOON_NS + 100))
    second = await _page(log, limit=3, cursor=first.next_cursor)
    assert [run.run_id for run in (*first.runs, *second.runs)] == ["r5", "r4", "r3", "r2", "r1", "r0"], "pages shifted"
    assert second.next_cursor == "", "there is no page behind the last one"
    await log.close()


async def filters_narrow_a_page(factory: Factory) -> None:
    """Status, text, prefix, time and tool calls choose runs, alone and together."""
    log = factory()
    ends = (Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled, None)
    for number, end in enumerate(ends):
        run_id = f"{'shop' if number % 2 else 'Sho%'}/{number}"
        run = dated_run(run_id, _NOON_NS + number * _MINUTE_NS, end, tool_calls=number % 2)
        await log.append(run_id, run)
    everything = ["shop/3", "Sho%/2", "shop/1", "Sho%/0"]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, everything),
        ({"status": "completed"}, ["Sho%/0"]),
        ({"status": "failed"}, ["shop/1"]),
        ({"status": "cancelled"}, ["Sho%/2"]),
        ({"status": "in progress"}, ["shop/3"]),
        ({"query": "SHO"}, everything),
        ({"query": "o%"}, ["Sho%/2", "Sho%/0"]),
        ({"query": "_"}, []),
        ({"prefix": "shop/"}, ["shop/3", "shop/1"]),
        ({"prefix": "Shop/"}, []),
        ({"started_after": _NOON + timedelta(minutes=2)}, ["shop/3", "Sho%/2"]),
        ({"started_before": _NOON + timedelta(minutes=1)}, ["Sho%/0"]),
        ({"require_tool_calls": True}, ["shop/3", "shop/1"]),
        ({"require_tool_calls": True, "status": "failed", "prefix": "shop/"}, ["shop/1"]),
        ({"started_after": _NOON, "started_before": _NOON}, []),
        ({"query": "\0"}, []),
        ({"query": "\ud800"}, []),
        ({"prefix": "\ud800"}, []),
    ]
    for filters, expected in cases:
        page = await _page(log, **filters)
        assert [run.run_id for run in page.runs] == expected, f"{filters} shows {page.runs}"
        assert page.total_matching == len(expected), f"{filters} counts {page.total_matching}"
        shown = [run.run_id for run in await _all_pages(log, 1, **filters)]
        assert shown == expected, f"{filters} paged one by one shows {shown}"
    await log.close()


async def pages_through_ids_and_events(factory: Factory) -> None:
    """Every run id once, in the order of code points; the events of a run in pages, from any seq."""
    log = factory()
    assert isinstance(log, EventPager), "the log lacks run_ids_page or read_page"
    ids = sorted(["b", "a", "B", "ä", "z/1", "z/10", "z", "\U0001f600", "\uffee"])
    for run_id in ids:
        await log.append(run_id, sample_run(run_id, 1))
    paged: list[str] = []
    while page := await log.run_ids_page(paged[-1] if paged else "", 2):
        paged += page
    assert paged == ids, f"ids came as {paged}"
    events = sample_run("long", 600)
    await log.append("long", events)
    assert await log.read_page("long") == events[:256], "a page has 256 events unless told otherwise"
    for from_seq, limit in ((1, 600), (1, 602), (250, 10), (602, 10), (603, 10)):
        page_of_events = await log.read_page("long", from_seq, limit)
        assert page_of_events == events[from_seq - 1 :][:limit], f"page from seq {from_seq} differs"
    page_of_events.clear()
    assert await log.read_page("nobody") == [], "an unknown run has no events"
    await log.close()


async def pages_by_numbers_and_times_of_any_size(factory: Factory) -> None:
    """What no database's integer can hold is after everything, or before it."""
    log = factory()
    assert isinstance(log, EventPager), "the log lacks run_ids_page or read_page"
    events = dated_run("r", _NOON_NS)
    await log.append("r", events)
    pages: list[tuple[int, int, list[Event]]] = [
        (_BEYOND, 256, []),
        (-_BEYOND - 1, 256, events),
        (1, _BEYOND, events),
        (1, 0, []),
        (1, -1, []),
    ]
    for from_seq, limit, expected in pages:
        assert await log.read_page("r", from_seq, limit) == expected, f"{limit} events from seq {from_seq} differ"
    for limit, ids in ((_BEYOND, ["r"]), (0, []), (-1, [])):
        assert await log.run_ids_page("", limit) == ids, f"{limit} run ids differ"
    cases: list[tuple[dict[str, Any], int]] = [
        ({"started_after": _LAST_MOMENT}, 0),
        ({"started_after": _FIRST_MOMENT}, 1),
        ({"started_before": _LAST_MOMENT}, 1),
        ({"started_before": _FIRST_MOMENT}, 0),
        ({"started_before": datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12)))}, 1),
        ({"limit": _BEYOND}, 1),
        ({"offset": _BEYOND}, 0),
    ]
    for filters, shown in cases:
        assert len((await _page(log, **filters)).runs) == shown, f"{filters} shows other runs"
    await log.close()


async def refuses_paging_after_close(factory: Factory) -> None:
    """After close every way of listing raises LogClosedError."""
    log = factory()
    assert isinstance(log, RunLister), "the log has no list_runs"
    assert isinstance(log, RunPageLister), "the log has no list_runs_page"
    assert isinstance(log, EventPager), "the log lacks run_ids_page or read_page"
    await log.close()
    uses: dict[str, Callable[[], Awaitable[object]]] = {
        "list_runs": log.list_runs,
        "list_runs_page": log.list_runs_page,
        "run_ids_page": log.run_ids_page,
        "read_page": lambda: log.read_page("r"),
    }
    for use, call in uses.items():
        try:
            await call()
        except LogClosedError:
            continue
        raise AssertionError(f"{use} worked on a closed log")


async def _page(log: EventLog, **options: Any) -> Any:
    assert isinstance(log, RunPageLister), "the log has no list_runs_page"
    return await log.list_runs_page(RunPageOptions(**options))


async def _all_pages(log: EventLog, limit: int, **filters: Any) -> list[RunSummary]:
    shown: list[RunSummary] = []
    page = await _page(log, limit=limit, **filters)
    shown += page.runs
    while page.next_cursor:
        page = await _page(log, limit=limit, cursor=page.next_cursor, **filters)
        assert page.runs, "a cursor led to an empty page"
        shown += page.runs
    return shown
