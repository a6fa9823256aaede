"""``starling prune``: old runs go."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starling.cli._list import STATUSES
from starling.cli._logs import add_log, age, moment, opened, positive
from starling.cli._output import add_json, as_time, count, print_json

if TYPE_CHECKING:
    import argparse
    from datetime import timedelta

    from starling.eventlog import PruneReport

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "delete whole runs that are old enough"
DESCRIPTION = """\
Delete whole runs that started before a time. Without --confirm nothing is deleted: how much would be is said. Runs go
whole, the oldest first, in small transactions between which writers get through; an interrupted pruning can be done
again. Runs that have not ended are kept, unless --include-in-progress or --status "in progress" says otherwise.

A SQLite file stays as large as it is until somebody runs VACUUM on it; the room is used for new runs. To keep what
goes, `starling export` it first."""
EXAMPLES = (
    "starling prune log.db --older-than 90d",
    "starling prune log.db --older-than 90d --confirm",
    "starling prune log.db --before 2026-01-01 --status completed --limit 1000 --confirm",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, which runs, and whether it is meant."""
    add_log(parser)
    cutoff = parser.add_mutually_exclusive_group(required=True)
    cutoff.add_argument("--older-than", metavar="AGE", type=age, help="runs that started longer ago: 90d, 12h, 1d12h")
    cutoff.add_argument("--before", metavar="TIME", type=moment, help="runs that started earlier (ISO 8601)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--status", choices=STATUSES, help="only runs that stand so (all that have ended)")
    which.add_argument("--include-in-progress", action="store_true", help="runs that have not ended as well")
    parser.add_argument("--limit", metavar="N", type=positive, help="so many runs at most, the oldest first")
    parser.add_argument("--confirm", action="store_true", help="delete them")
    add_json(parser, "the sums as a JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Prune, or say what would go."""
    from starling.eventlog import prune_runs

    before = arguments.before or _ago(arguments.older_than)
    if arguments.confirm and sys.stderr.isatty():
        print("deleting …", file=sys.stderr)
    async with opened(arguments.log, read_only=not arguments.confirm) as log:
        report = await prune_runs(
            log,
            before=before,
            status=arguments.status,
            include_in_progress=arguments.include_in_progress,
            limit=arguments.limit or 0,
            dry_run=not arguments.confirm,
        )
    if arguments.json:
        print_json({"before": as_time(before), **asdict(report)})
    else:
        print(_words(report, as_time(before)))
    return 0


def _ago(age: timedelta) -> datetime:
    """When that was, or the first moment that there is."""
    now = datetime.now(UTC)
    return now - min(age, now - datetime.min.replace(tzinfo=UTC))


def _words(report: PruneReport, before: str) -> str:
    if not report.matched_runs:
        return f"no such run started before {before}: nothing to delete"
    if report.dry_run:
        size = f"{count(report.matched_runs, 'run')} ({count(report.matched_events, 'event')})"
        return f"would delete {size} that started before {before}; with --confirm they go"
    size = f"{count(report.deleted_runs, 'run')} ({count(report.deleted_events, 'event')})"
    return f"deleted {size} that started before {before}"
