"""``starling doctor``: what stands in the way."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from starling import __version__
from starling.cli._logs import opened, positive, shown
from starling.cli._output import add_json, coloured, count, print_json, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Iterator, Sequence

    from starling.cli._validate import Verdict
    from starling.eventlog import EventLog

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "check the installation, and a log"
DESCRIPTION = """\
Say what is installed, which environment variables are set (never what to), and of a log: whether it can be opened, its
schema, whether its newest runs are valid, whether it can be written. Nothing is changed: what is written for the test
is rolled back. --read-only leaves that out, for roles that may not write.

Exit code 0: nothing stands in the way; 1: something does."""
EXAMPLES = ("starling doctor", "starling doctor --runs 100 log.db")

_PACKAGES = ("pydantic", "cbor2", "blake3", "python-ulid", "pytest")
_EXTRAS = ("openai", "anthropic", "google-genai", "boto3", "psycopg", "httpx", "syrupy", "hypothesis", "vcrpy")
_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OPENROUTER_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_REGION",
    "PGHOST",
    "PGUSER",
    "PGPASSWORD",
    "STARLING_REPLAY",
    "CI",
    "NO_COLOR",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, if one is meant, and how closely to look at it."""
    parser.add_argument("log", metavar="LOG", nargs="?", help="also look at this log")
    parser.add_argument(
        "--runs", metavar="N", type=positive, default=20, help="how many of its newest runs to validate (20)"
    )
    parser.add_argument("--read-only", action="store_true", help="do not try to write")
    add_json(parser, "a JSON object for each finding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line. ``state`` is ``ok``, ``failed``, ``skipped`` or, where nothing can be wrong, ``info``."""

    check: str
    state: str
    text: str


async def run(arguments: argparse.Namespace) -> int:
    """Look at everything."""
    failed = False
    async for finding in _findings(arguments):
        failed = failed or finding.state == "failed"
        _tell(finding, as_json=arguments.json)
    return int(failed)


async def _findings(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    for finding in _installation():
        yield finding
    if arguments.log is not None:
        async for finding in _of_log(arguments):
            yield finding


def _installation() -> Iterator[Finding]:
    yield Finding(check="version", state="info", text=f"pytest-starling {__version__}")
    system = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Finding(check="python", state="info", text=system)
    versions = {name: _version(name) for name in (*_PACKAGES, *_EXTRAS)}
    missing = [name for name in _PACKAGES if not versions[name]]
    text = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding(check="packages", state="failed" if missing else "ok", text=text)
    for name in missing:
        yield Finding(check="packages", state="failed", text=f"{name} is not installed: pip install pytest-starling")
    known = ", ".join(f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in _VARIABLES)
    yield Finding(check="environment", state="info", text=known)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


async def _of_log(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    from starling.errors import StarlingError

    try:
        async with opened(arguments.log) as log:
            yield Finding(check="open", state="ok", text=shown(arguments.log))
            schema = await _schema(log)
            yield schema
            if schema.state == "failed":  # nothing can be read or written, for that reason
                for check in ("runs", "write"):
                    yield Finding(check=check, state="skipped", text="the schema comes first")
                return
            yield await _newest_runs(log, arguments.runs)
    except StarlingError as error:
        yield Finding(check="open", state="failed", text=error.message)
        return
    yield await _writing(arguments)


async def _schema(log: EventLog) -> Finding:
    from starling.errors import StarlingError
    from starling.eventlog import preflight, schema_version

    try:
        await preflight(log)
        return Finding(check="schema", state="ok", text=f"version {await schema_version(log)}")
    except StarlingError as error:
        return Finding(check="schema", state="failed", text=error.message)


async def _writing(arguments: argparse.Namespace) -> Finding:
    """A write that is rolled back. Opening for writing would migrate an old log and create a missing one."""
    from starling.errors import ReadOnlyError, StarlingError
    from starling.eventlog import WriteChecker, preflight

    if arguments.read_only:
        return Finding(check="write", state="skipped", text="--read-only was given")
    try:
        async with opened(arguments.log) as log:
            await preflight(log)
        async with opened(arguments.log, read_only=False) as log:
            if not isinstance(log, WriteChecker):
                return Finding(check="write", state="skipped", text=f"{type(log).__name__} cannot try a write")
            await log.check_writable()
    except ReadOnlyError as error:
        return Finding(check="write", state="skipped", text=error.message)
    except StarlingError as error:
        return Finding(check="write", state="failed", text=error.message)
    return Finding(check="write", state="ok", text="a write was tried, and rolled back")


async def _newest_runs(log: EventLog, wanted: int) -> Finding:
    from starling.errors import StarlingError
    from starling.eventlog import RunPageLister, RunPageOptions

    if not isinstance(log, RunPageLister):
        return Finding(check="runs", state="skipped", text=f"{type(log).__name__} cannot list its runs")
    try:
        page = await log.list_runs_page(RunPageOptions(limit=wanted))
        verdicts = [await _verdict(log, run.run_id) for run in page.runs]
    except StarlingError as error:
        return Finding(check="runs", state="failed", text=error.message)
    wrong = [verdict.error for verdict in verdicts if verdict.state == "damaged"]
    return Finding(
        check="runs",
        state="failed" if wrong else "ok",
        text="; ".join((_tally(page.total_matching or 0, [verdict.state for verdict in verdicts]), *wrong)),
    )


async def _verdict(log: EventLog, run_id: str) -> Verdict:
    from starling.cli._validate import Verdict, judge
    from starling.errors import LogCorruptError

    try:
        return judge(run_id, await log.read(run_id))
    except LogCorruptError as error:
        return Verdict(run_id=run_id, state="damaged", error=error.message)


def _tally(total: int, states: Sequence[str]) -> str:
    """``1 run: 1 in progress``; ``30 runs, of the newest 20: 19 valid, 1 damaged``."""
    some = f", of the newest {len(states):,}" if len(states) < total else ""
    numbers = [f"{states.count(state):,} {state}" for state in ("valid", "in progress", "damaged") if state in states]
    return f"{count(total, 'run')}{some}{': ' if numbers else ''}{', '.join(numbers)}"


_COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow", "info": "cyan"}


def _tell(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(finding))
    else:
        print(
            f"{coloured(f'{finding.state:<8}', _COLOURS[finding.state])} {finding.check:<12} {printable(finding.text)}"
        )
