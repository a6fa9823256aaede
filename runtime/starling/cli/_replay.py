"""``starling replay``: does today's code do what the log says?"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from starling.cli._logs import add_log, add_run, opened, run_named, shown
from starling.cli._output import Progress, add_json, add_progress, coloured, count, print_json, print_table, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from starling.agent import Agent, CustomLoop
    from starling.errors import StarlingError
    from starling.eventlog import EventLog

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "replay recorded runs with today's code"
DESCRIPTION = """\
Execute recorded runs again with an agent of today's code, and require that it does the same. The provider is never
called, and its key is not needed: what the model, the clock and side effects gave is taken from the log. Tools run, and
what they return is compared; with --tools stub they do not run. What they do outside of starling.step they do again, so
on the log of a service think of --tools stub.

The agent comes from a function without arguments, imported from the current folder; it is called once a run. A run that
another one's tool started is replayed as part of that one.

Exit code 0: everything replays; 1: a run diverges, is damaged or has not ended; 2: the agent or the log cannot be
used."""
EXAMPLES = (
    "starling replay log.db 01JZ8 --agent shop.agents:build_agent",
    "starling replay log.db --all --agent shop.agents:build_agent --tools stub",
)
_MOST_EXPLAINED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, with which agent, and what is compared."""
    add_log(parser)
    add_run(parser, optional="the only one that the log holds")
    parser.add_argument(
        "--agent", metavar="MODULE:FUNCTION", required=True, help="the function that makes today's agent"
    )
    parser.add_argument("--all", action="store_true", help="replay every run of the log, with a table at the end")
    parser.add_argument("--force", action="store_true", help="accept another provider or API version than recorded")
    parser.add_argument(
        "--tools",
        choices=("compare", "run", "stub"),
        default="compare",
        help="run tools and compare what they return (compare), only run them, or do not run them (stub)",
    )
    parser.add_argument(
        "--ignore",
        metavar="FIELD",
        action="append",
        default=[],
        help="do not compare this field of a payload, such as RunStarted.app_version; may be given more than once",
    )
    add_json(parser, "a JSON object for each run")
    add_progress(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Replay."""
    with _as_replaying_process():
        return await _replay(arguments)


async def _replay(arguments: argparse.Namespace) -> int:
    async with opened(arguments.log) as log:
        with redirect_stdout(sys.stderr):  # what the user's code prints is not what this command says
            verdicts = await _verdicts(log, arguments)
        failures = {run_id: error for run_id, error in verdicts.items() if error is not None}
        if arguments.json:
            for run_id, error in verdicts.items():
                print_json(_of_verdict(run_id, error))
        else:
            await _tell(log, failures, arguments)
    if arguments.all and not arguments.json:
        _print_table(verdicts)
    elif not failures and not arguments.json:
        print(f"{coloured('replays', 'green')}  {printable(', '.join(verdicts))}")
    return int(bool(failures))


async def _verdicts(log: EventLog, arguments: argparse.Namespace) -> dict[str, StarlingError | None]:
    """Each run that was replayed, in order; None for one that does what it did."""
    from starling.cli._factory import agent_factory
    from starling.replay import replay_all

    verdicts: dict[str, StarlingError | None] = {}
    factory = agent_factory(arguments.agent)
    wanted = None if arguments.all else [await _one_run(log, arguments.run_id)]
    with Progress(arguments.progress) as progress:

        async def make() -> Agent | CustomLoop:
            progress.at(f"{count(len(verdicts), 'run')} replayed")
            return await factory()

        await replay_all(
            log,
            make,
            run_ids=wanted,
            tools=arguments.tools,
            ignore=arguments.ignore,
            force_provider=arguments.force,
            on_run=verdicts.__setitem__,
        )
    return verdicts


async def _one_run(log: EventLog, text: str | None) -> str:
    from starling.errors import StarlingError
    from starling.eventlog import RunPageLister, RunPageOptions

    if text is not None:
        return await run_named(log, text)
    page = await log.list_runs_page(RunPageOptions(limit=2)) if isinstance(log, RunPageLister) else None
    if page is None or len(page.runs) != 1:
        held = count(page.total_matching or 0, "run") if page else "runs"
        raise StarlingError(f"the log holds {held}: name the one to replay, or give --all")
    return page.runs[0].run_id


@contextmanager
def _as_replaying_process() -> Iterator[None]:
    """Let adapters be built without a key, and refuse to reach a provider, in this process and its children."""
    from starling.ambient import REPLAY_VARIABLE

    before = os.environ.get(REPLAY_VARIABLE)
    os.environ[REPLAY_VARIABLE] = "active"
    try:
        yield
    finally:
        os.environ.pop(REPLAY_VARIABLE)
        if before is not None:
            os.environ[REPLAY_VARIABLE] = before


# --- what is said


async def _tell(log: EventLog, failures: Mapping[str, StarlingError], arguments: argparse.Namespace) -> None:
    for error in list(failures.values())[:_MOST_EXPLAINED]:
        for line in await _explained(log, error, arguments.log):
            print(line)
        print()
    if len(failures) > _MOST_EXPLAINED:
        another = f"`starling replay {shown(arguments.log)} RUN` shows another"
        print(f"The first {_MOST_EXPLAINED} of {len(failures)}; {another}\n")


async def _explained(log: EventLog, error: StarlingError, name: str) -> list[str]:
    """A failure in the words of the pytest plugin."""
    from starling.errors import NondeterminismError
    from starling.explain import SHORT, explain, headline
    from starling.replay import FixtureRun

    if not isinstance(error, NondeterminismError) or not error.divergences:
        return [coloured(printable(error.message), "red")]
    first = error.divergence
    events = tuple(await log.read(first.run_id)) if first.run_id else ()
    runs = [FixtureRun(run_id=first.run_id, events=events, began=1, ended=2)] if events else []
    more = f"for the recorded side, starling show {shown(name)} {first.run_id} --seq {first.seq}"
    lines = explain(first, runs, fixture="", recorded_at="", more=more, limits=SHORT)
    text = "\n".join(lines).rstrip().replace("pass force_provider=True", "give --force")
    return [coloured(printable(headline(first, runs)), "red"), "", text]


def _print_table(verdicts: Mapping[str, StarlingError | None]) -> None:
    if verdicts:
        print_table(("RUN", "REPLAY", "WHERE"), [(run_id, *_brief(error)) for run_id, error in verdicts.items()])
    failed = sum(error is not None for error in verdicts.values())
    print(f"{count(len(verdicts), 'run')}: {len(verdicts) - failed:,} replay, {failed:,} do not")


def _brief(error: StarlingError | None) -> tuple[str, str]:
    from starling.errors import NondeterminismError

    if error is None:
        return "yes", ""
    if isinstance(error, NondeterminismError) and error.divergences:
        first = error.divergence
        return "no", f"seq {first.seq} of {first.length} ({first.expected_kind or first.kind}): {first.cls}"
    return "no", type(error).__name__


def _of_verdict(run_id: str, error: StarlingError | None) -> dict[str, Any]:
    first = getattr(error, "divergence", None)
    return {
        "run_id": run_id,
        "replays": error is None,
        "error": "" if error is None else error.message,
        "divergence": first
        and {
            "run_id": first.run_id,
            "seq": first.seq,
            "class": first.cls,
            "recorded": first.expected_kind and first.expected_kind.name,
            "produced": first.kind and first.kind.name,
            "fields": [change.path for change in first.changes],
        },
    }
