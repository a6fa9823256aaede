"""``starling list``: which runs a log holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from starling.cli._logs import add_log, moment, opened, positive
from starling.cli._output import add_json, as_time, count, duration, of_summary, print_json, print_table, status

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from starling.eventlog import EventLog, RunPage, RunSummary

__all__ = ["DESCRIPTION", "EXAMPLES", "STATUSES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "list the runs of a log, newest first"
DESCRIPTION = """\
List the runs of a log, the one that started last first, with what they used. Filters narrow each other. Times are UTC.

A listing is no proof: a damaged run may be missing from it. `starling validate` sees every run."""
EXAMPLES = (
    "starling list log.db --status failed --after 2026-11-01",
    "starling list log.db --all --json | jq -r 'select(.cost_usd > 1) | .run_id'",
)
STATUSES = ("completed", "failed", "cancelled", "in progress")
_PAGE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, and which of its runs."""
    add_log(parser)
    parser.add_argument("--status", choices=STATUSES, help="only runs that stand so")
    parser.add_argument("--query", metavar="TEXT", default="", help="only runs whose id contains this, in either case")
    parser.add_argument("--prefix", metavar="TEXT", default="", help='only runs whose id begins so, such as "support/"')
    parser.add_argument("--after", metavar="TIME", type=moment, help="only runs that started then or later (ISO 8601)")
    parser.add_argument("--before", metavar="TIME", type=moment, help="only runs that started earlier")
    parser.add_argument("--tools", action="store_true", help="only runs that called a tool")
    parser.add_argument("-n", "--limit", metavar="N", type=positive, default=50, help="how many runs (50)")
    parser.add_argument("--all", action="store_true", help="all of them, however many there are")
    add_json(parser, "a JSON object for each run")


async def run(arguments: argparse.Namespace) -> int:
    """List the runs."""
    shown = matching = 0
    async with opened(arguments.log) as log:
        async for page in _pages(log, arguments):
            if arguments.json:
                for one in page.runs:
                    print_json(of_summary(one))
            else:
                print_table(_HEAD, [_row(one) for one in page.runs], right=_RIGHT, go_on=bool(shown))
            shown += len(page.runs)
            matching = page.total_matching or matching
    if not shown and _filters(arguments):
        print("no run fits", file=sys.stderr)
    if matching > shown:
        print(f"{count(matching - shown, 'more run')}: see --limit and --all", file=sys.stderr)
    return 0


def _filters(arguments: argparse.Namespace) -> bool:
    wanted = (arguments.status, arguments.query, arguments.prefix, arguments.after, arguments.before, arguments.tools)
    return any(wanted)


async def _pages(log: EventLog, arguments: argparse.Namespace) -> AsyncIterator[RunPage]:
    """The pages of what is wanted, the first with the number of all that match."""
    from starling.errors import LogError
    from starling.eventlog import RunPageLister, RunPageOptions

    if not isinstance(log, RunPageLister):
        raise LogError(f"{log!r} cannot list its runs")
    left, cursor = (sys.maxsize if arguments.all else arguments.limit), ""
    while left:
        options = RunPageOptions(
            limit=min(left, _PAGE),
            cursor=cursor,
            status=arguments.status,
            query=arguments.query,
            prefix=arguments.prefix,
            started_after=arguments.after,
            started_before=arguments.before,
            require_tool_calls=arguments.tools,
            count=not cursor and not arguments.all,
        )
        page = await log.list_runs_page(options)
        yield page
        left, cursor = left - len(page.runs), page.next_cursor
        if not cursor:
            return


_HEAD = ("RUN", "STARTED", "STATUS", "EVENTS", "TURNS", "CALLS", "TOKENS IN", "OUT", "USD", "TOOK")
_RIGHT = frozenset(range(3, len(_HEAD)))


def _row(run: RunSummary) -> tuple[str, ...]:
    numbers = (run.last_seq, run.turn_count, run.tool_call_count, run.input_tokens, run.output_tokens)
    return (
        run.run_id,
        as_time(run.started_at),
        status(run),
        *(f"{number:,}" for number in numbers),
        f"{run.cost_usd:.4f}",
        duration(run.duration_ms),
    )
