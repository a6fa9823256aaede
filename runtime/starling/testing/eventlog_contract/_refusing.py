"""What does not continue a run is refused, and so is every use after close."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starling.errors import InvalidAppendError, LogClosedError
from starling.testing.eventlog_contract._runs import collect, sample_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.event import Event
    from starling.eventlog import EventLog
    from starling.testing.eventlog_contract._runs import Factory

__all__ = ["Refused", "must_refuse", "refuses_use_after_close", "refuses_what_does_not_continue_the_tail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A batch that must be refused: what is wrong with it, what is in the log before, and the run id given if odd."""

    why: str
    before: Sequence[Event]
    batch: Sequence[Event]
    run_id: str | None = None


def _refused(run_id: str) -> tuple[Refused, ...]:
    run = sample_run(run_id, 4)
    other = sample_run("another", 4)
    wrong_link = replace(run[2], prev_hash=bytes(32))
    return (
        Refused(why="empty run id", before=(), batch=run[:1], run_id=""),
        Refused(why="run id without a UTF-8 form", before=(), batch=run[:1], run_id="\ud800"),
        Refused(why="event with an empty run id", before=(), batch=[replace(run[0], run_id="")]),
        Refused(why="event of another run", before=(), batch=other[:1]),
        Refused(why="event of another run later in the batch", before=(), batch=[run[0], other[1]]),
        Refused(why="first seq 2", before=(), batch=run[1:2]),
        Refused(why="first seq 0", before=(), batch=[replace(run[0], seq=0)]),
        Refused(why="first event with a prev_hash", before=(), batch=[replace(run[0], prev_hash=bytes(32))]),
        Refused(why="gap after the tail", before=run[:2], batch=run[3:4]),
        Refused(why="tail appended again", before=run[:2], batch=run[1:2]),
        Refused(why="whole batch appended again", before=run[:2], batch=run[:2]),
        Refused(why="overlap with the tail", before=run[:2], batch=run[1:3]),
        Refused(why="wrong prev_hash", before=run[:2], batch=[wrong_link]),
        Refused(why="missing prev_hash", before=run[:2], batch=[replace(run[2], prev_hash=None)]),
        Refused(why="gap inside the batch", before=run[:1], batch=[run[1], run[3]]),
        Refused(why="wrong prev_hash inside the batch", before=run[:1], batch=[run[1], wrong_link]),
        Refused(why="batch out of order", before=run[:1], batch=[run[2], run[1]]),
        Refused(why="ts beyond 64 bits", before=(), batch=[replace(run[0], ts=2**63)]),
    )


async def refuses_what_does_not_continue_the_tail(factory: Factory) -> None:
    """Each broken append raises InvalidAppendError and writes nothing; the right events are then still accepted."""
    log = factory()
    for number in range(len(_refused("count"))):
        run_id = f"refused-{number}"
        case = _refused(run_id)[number]
        await log.append(run_id, case.before)
        await must_refuse(log, case.run_id if case.run_id is not None else run_id, case)
        assert await log.read(run_id) == list(case.before), f"{case.why}: part of a refused batch was written"
        run = sample_run(run_id, 4)
        await log.append(run_id, run[len(case.before) :])
        assert await log.read(run_id) == run, f"{case.why}: the run could not go on afterwards"
    await log.close()


async def must_refuse(log: EventLog, run_id: str, case: Refused) -> None:
    try:
        await log.append(run_id, case.batch)
    except InvalidAppendError:
        return
    raise AssertionError(f"{case.why}: was accepted")


async def refuses_use_after_close(factory: Factory) -> None:
    """After close, which may be called twice, everything else raises LogClosedError."""
    log = factory()
    events = sample_run("r")
    await log.append("r", events)
    await log.close()
    await log.close()
    uses: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: log.append("r2", sample_run("r2")),
        "append of an empty batch": lambda: log.append("r", []),
        "read": lambda: log.read("r"),
        "stream": lambda: collect(log.stream("r")),
    }
    for use, call in uses.items():
        try:
            await call()
        except LogClosedError:
            continue
        raise AssertionError(f"{use} worked on a closed log")
