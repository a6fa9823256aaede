"""Where a replay writes: the agent's own log receives the run as well, as far as it does not hold it already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starling.errors import InvalidAppendError, LogWriteError, RunInUseError
from starling.event import TERMINAL_KINDS, Chain, event_hash
from starling.step import _texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from starling.event import Event
    from starling.eventlog import EventLog

__all__ = ["delivery"]


async def delivery(
    log: EventLog,
    recorded: Sequence[Event],
    observe: Callable[[Sequence[Event]], None] | None,
    *,
    goes_on: bool,
) -> Callable[[Sequence[Event]], Awaitable[None]] | None:
    """What takes the reproduced events of a run, in order; None if nobody does.

    The log may hold a part of the run: an earlier replay that diverged. A run of that id which is another one is left
    as it is, unless today's code goes on with it.

    Args:
        observe: given each batch. goes_on: the code under test resumes the run that the log holds.
    """
    run_id = recorded[0].run_id
    stored = await log.read(run_id)
    held = len(stored)
    same = not stored or (held <= len(recorded) and event_hash(stored[-1]) == event_hash(recorded[held - 1]))
    chain = Chain.resume(stored) if goes_on and not same else None
    if not same and not goes_on:
        held = len(recorded)

    if held >= len(recorded) and chain is None and observe is None:
        return None

    async def deliver(events: Sequence[Event]) -> None:
        missing = [event for event in events if event.seq > held]
        if missing:
            await _append(log, missing if chain is None else list(_linked(chain, missing)))
        if observe is not None:
            observe(events)

    return deliver


def _linked(chain: Chain, events: Iterable[Event]) -> Iterable[Event]:
    """The same events behind another beginning: what began the run today was stamped today."""
    for event in events:
        payload: Any = event.decode()
        if event.kind in TERMINAL_KINDS:
            payload = replace(payload, merkle_root=chain.root())
        yield chain.append(payload, event.ts)


async def _append(log: EventLog, events: Sequence[Event]) -> None:
    """Write to the agent's own log on replay; what fails there is the log's fault, not a divergence."""
    first = events[0]
    try:
        await log.append(first.run_id, events)
    except InvalidAppendError as error:
        if not await _holds(log, events[-1]):  # another process may replay the same recording
            raise RunInUseError(
                f"run {first.run_id}: another writer is at work on it in the agent's own log, which is to receive what "
                f"is replayed from seq {first.seq} on: {error}. Give each process that replays a log of its own",
                run_id=first.run_id,
                seq=first.seq,
            ) from error
    except Exception as error:
        raise LogWriteError(
            f"run {first.run_id}: the agent's own log did not take what was replayed from seq {first.seq} on: "
            f"{_texts.said(error)}",
            run_id=first.run_id,
            seq=first.seq,
        ) from error


async def _holds(log: EventLog, event: Event) -> bool:
    try:
        stored = await log.read(event.run_id)
    except Exception:  # noqa: BLE001 - the storage is down as well; the first error is the one to report
        return False
    return len(stored) >= event.seq and event_hash(stored[event.seq - 1]) == event_hash(event)
