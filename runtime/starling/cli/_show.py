"""``starling show``: one run, event by event."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starling.cli._logs import add_log, add_run, opened, positive, run_named
from starling.cli._output import (
    add_json,
    as_time,
    coloured,
    count,
    duration,
    of_summary,
    print_json,
    print_table,
    status,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from starling.event import Event, RunStarted

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "show one run, event by event"
DESCRIPTION = """\
Show one run: what it was started with and what it used, then each event on a line, with the time since the start.

  --transcript  what was said and done instead, as `starling textconv` puts it
  --seq N       all of one event instead, payload and hashes, as JSON

Nothing is validated; `starling validate LOG RUN` does that."""
EXAMPLES = ("starling show log.db 01JZ8", "starling show log.db 01JZ8 --seq 7 | jq .payload")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and in what form it is shown."""
    add_log(parser)
    add_run(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--transcript", action="store_true", help="print what was said and done, without ids and times")
    form.add_argument("--seq", metavar="N", type=positive, help="print all of the event with this seq, as JSON")
    add_json(form, "one JSON object: the sums, and all events")  # type: ignore[arg-type]  # a group adds arguments, too


async def run(arguments: argparse.Namespace) -> int:
    """Show the run."""
    from starling.errors import RunNotFoundError
    from starling.eventlog._summary import summarize
    from starling.replay import transcript

    async with opened(arguments.log) as log:
        run_id = await run_named(log, arguments.run_id)
        events = await log.read(run_id)
    if arguments.transcript:
        print(transcript(events))
    elif arguments.seq:
        wanted = next((event for event in events if event.seq == arguments.seq), None)
        if wanted is None:
            raise RunNotFoundError(f"run {run_id} has no event with seq {arguments.seq}", run_id=run_id)
        print_json(_of_event(wanted), indent=2)
    elif arguments.json:
        print_json({**of_summary(summarize(events)), "log": [_of_event(event) for event in events]})
    else:
        _print(events)
    return 0


def _of_event(event: Event) -> dict[str, Any]:
    """An event for JSON, its payload decoded: `starling export` shows what is encoded inside of it as it is."""
    from starling.errors import StarlingError
    from starling.event import event_hash, kind_name

    try:
        payload = _plain(asdict(event.decode()))
    except StarlingError as error:
        payload = {"unreadable": error.message}
    return {
        "seq": event.seq,
        "ts": event.ts,
        "kind": kind_name(event.kind),
        "payload": payload,
        "prev_hash": event.prev_hash.hex() if event.prev_hash else None,
        "hash": event_hash(event).hex(),
    }


def _plain(value: Any) -> Any:
    """A decoded value in JSON's terms: bytes in hex, keys as text."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key if isinstance(key, str) else str(_plain(key)): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value


def _print(events: Sequence[Event]) -> None:
    from starling.event import kind_name
    from starling.explain import brief, tool_names

    print_table(_NO_HEAD, _facts(events), go_on=True)
    print()
    names, start = tool_names(events), events[0].ts
    for event in events:
        offset = f"+{duration(max(0, event.ts - start) // 1_000_000)}"
        kind = coloured(f"{kind_name(event.kind):<25}", "cyan")
        print(f"{event.seq:>5}  {offset:>8}  {kind} {brief(_payload(event), names)}".rstrip())


_NO_HEAD = ("", "")


def _facts(events: Sequence[Event]) -> list[tuple[str, str]]:
    from starling.eventlog._summary import summarize

    run, started = summarize(events), _payload(events[0])
    end = getattr(_payload(events[-1]), "merkle_root", None)
    facts = [
        ("run", run.run_id),
        ("status", status(run)),
        ("started", as_time(run.started_at)),
        ("took", duration(run.duration_ms)),
        *_wiring(started),
        ("turns", f"{run.turn_count:,}, {count(run.tool_call_count, 'tool call')}"),
        ("tokens", f"{run.input_tokens:,} in, {run.output_tokens:,} out, ${run.cost_usd:.4f}"),
    ]
    return [*facts, ("root", end.hex())] if end else facts


def _wiring(started: RunStarted | Any) -> list[tuple[str, str]]:
    from starling.event import RunStarted

    if not isinstance(started, RunStarted):
        return []
    versions = [f"starling {started.starling_version}"] if started.starling_version else []
    versions += [f"app {started.app_version}"] if started.app_version else []
    model = f"{started.model_id} ({started.provider_id} {started.api_version})"
    return [("model", model), *([("versions", ", ".join(versions))] if versions else [])]


def _payload(event: Event) -> Any:
    from starling.errors import StarlingError

    try:
        return event.decode()
    except StarlingError:
        return None
