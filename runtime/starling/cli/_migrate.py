"""``starling migrate``: a log's storage as this version of the library writes it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from starling.cli._logs import add_log, opened
from starling.cli._output import add_json, print_json

if TYPE_CHECKING:
    import argparse

    from starling.eventlog import MigrationReport

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "bring a log's tables up to date"
DESCRIPTION = """\
Bring the tables of a log to the schema that this version writes, forward only and in one transaction. Run it where you
release. A SQLite log is brought up to date by whoever opens it for writing; a database is not, unless its program says
auto_migrate.

Exit code of --dry-run: 0 where nothing is to be done, 1 where something is."""
EXAMPLES = ("starling migrate --dry-run log.db", "starling migrate postgresql:///agents")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, and whether to touch it."""
    add_log(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_json(parser, "the versions as a JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Migrate, or say what that would do."""
    from starling.eventlog import migrate

    async with opened(arguments.log) as log:  # for reading, since opening a SQLite file for writing migrates it
        report = await migrate(log, dry_run=True)
    if not arguments.dry_run:  # also where no version is pending: our own indexes may be missing
        async with opened(arguments.log, read_only=False) as log:
            await migrate(log)
        report = replace(report, dry_run=False)
    if arguments.json:
        print_json(asdict(report))
    else:
        print(_words(report))
    return int(bool(report.applied) and arguments.dry_run)


def _words(report: MigrationReport) -> str:
    if not report.applied:
        return f"schema version {report.from_version}: up to date"
    does = "would bring" if report.dry_run else "brought"
    return f"{does} the schema from version {report.from_version} to {report.to_version}"
