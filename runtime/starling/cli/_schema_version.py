"""``starling schema-version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.cli._logs import add_log, opened

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "print the schema version of a log"
DESCRIPTION = """\
Print the schema version that the tables of a log are at; 0 before the first migration. `starling doctor LOG` says
whether this version of pytest-starling can work with it, `starling migrate LOG` moves it forward."""
EXAMPLES = ("starling schema-version log.db",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log."""
    add_log(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from starling.eventlog import schema_version

    async with opened(arguments.log) as log:
        print(await schema_version(log))
    return 0
