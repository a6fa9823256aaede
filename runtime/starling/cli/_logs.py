"""What commands name: a log, a run in it, a time, an age, a number. From text to value, and back to safe text."""

from __future__ import annotations

import argparse
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starling.errors import LogCorruptError, LogError, RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starling.eventlog import EventLog

__all__ = ["add_log", "add_run", "age", "moment", "opened", "positive", "run_named", "shown"]

_LOG = "a SQLite file, a golden fixture, or the URL of a database (postgresql://…)"
_RUN = "a run id, or the beginning of one that no other run has"
_MOST_CANDIDATES = 8
_MOST = 2**63 - 1  # what a database can count to

_URL = re.compile(r"(?P<scheme>\w+://)(?:[^/?#]*@)?(?P<place>[^?#]*)")
_KEYWORDS = re.compile(r"postgres(?:ql)?:(?!//)", re.IGNORECASE)
_AGE = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}


def add_log(parser: argparse.ArgumentParser) -> None:
    """The log that a command is about."""
    parser.add_argument("log", metavar="LOG", help=_LOG)


def add_run(parser: argparse.ArgumentParser, *, optional: str = "") -> None:
    """One run of the log. ``optional`` says what is meant where none is named."""
    if optional:
        parser.add_argument("run_id", metavar="RUN", nargs="?", help=f"{_RUN}; without it, {optional}")
    else:
        parser.add_argument("run_id", metavar="RUN", help=_RUN)


@asynccontextmanager
async def opened(name: str, *, read_only: bool = True) -> AsyncIterator[EventLog]:
    """A log, for as long as a command needs it.

    Raises:
        LogError: it cannot be opened.
    """
    from starling.eventlog import open_log

    log = open_log(name, read_only=read_only)
    try:
        yield log
    finally:
        await log.close()


async def run_named(log: EventLog, text: str) -> str:
    """The id of the run that is meant: that id, or the one that begins so. As git, an exact id wins.

    Raises:
        RunNotFoundError: there is none. A damaged run that lacks its first event answers to its whole id only.
        LogError: several begin so.
    """
    from starling.eventlog import RunPageLister, RunPageOptions, events_of

    try:
        async for _ in events_of(log, text):
            return text
    except LogCorruptError as error:
        if error.run_id == text:  # it is there, and what it is asked for will say what is wrong with it
            return text
        raise
    found: list[str] = []
    if text and isinstance(log, RunPageLister):
        page = await log.list_runs_page(RunPageOptions(prefix=text, limit=_MOST_CANDIDATES + 1, count=False))
        found = [run.run_id for run in page.runs]
    if not found:
        raise RunNotFoundError(f"there is no run {text!r} in the log: `starling list` shows what it holds", run_id=text)
    if len(found) > 1:
        more = ", …" if len(found) > _MOST_CANDIDATES else ""
        raise LogError(f"several runs begin with {text!r}: {', '.join(found[:_MOST_CANDIDATES])}{more}")
    return found[0]


def shown(name: str) -> str:
    """A log's name without what may be secret in it: user, password and parameters of a URL, all of libpq's form."""
    keywords, url = _KEYWORDS.match(name), _URL.match(name)
    if keywords:
        return f"{keywords[0]}…"
    return f"{url['scheme']}{url['place']}" if url else name


def moment(text: str) -> datetime:
    """A time as ISO 8601 writes it; one without a zone is UTC. For argparse."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write it as 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None
    return found if found.utcoffset() is not None else found.replace(tzinfo=UTC)


def age(text: str) -> timedelta:
    """A length of time such as ``90d``, ``2160h`` or ``1d12h``. For argparse."""
    if not text or _AGE.sub("", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write it as 90d, 12h, 1d12h (w, d, h, m, s)")
    try:
        return timedelta(seconds=sum(float(count) * _SECONDS[unit] for count, unit in _AGE.findall(text)))
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None


def positive(text: str) -> int:
    """A count or a seq: 1 or more, up to what a database can count to. For argparse."""
    try:
        found = int(text)
    except ValueError:
        found = 0
    if not 1 <= found <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 2**63-1")
    return found
