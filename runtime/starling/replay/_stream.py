"""A replay step by step, recorded beside produced, for whoever shows it while it goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starling.ambient import ReplayOptions, ignoring
from starling.errors import NondeterminismError
from starling.replay._nested import RunIndex
from starling.replay._verify import go_through, read_recording
from starling.step._consequences import fold_consequences

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence

    from starling.agent import Agent, CustomLoop
    from starling.ambient import ToolPolicy
    from starling.event import Event, Payload
    from starling.eventlog import EventLog
    from starling.step import Change, Divergence

__all__ = ["ReplayStep", "replay_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStep:
    """One event of a recording, and what became of it. Source: seed, "replay", ``ReplayStep``.

    Attributes:
        seq: its place in the recording; one past the end for what today's code added there.
        recorded: the event; None past the end.
        produced: today's payload, with what the environment decided taken over from the recording. The recorded one
            for what the code does not make: model output, effects, calls that are not run. None when the replay did
            not get there.
        changes: the fields that differ.
        diverged: whether this is where the replay left its recording.
        divergence: then what there is to say; that of a nested run says so by its ``run_id``.
    """

    seq: int
    recorded: Event | None = None
    produced: Payload | None = None
    changes: tuple[Change, ...] = ()
    diverged: bool = False
    divergence: Divergence | None = None


async def replay_stream(
    log: EventLog,
    run_id: str,
    agent: Agent | CustomLoop,
    *,
    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare",
    ignore: Iterable[str] = (),
    compare_cost: bool = False,
    force_provider: bool = False,
    collect: bool = False,
) -> AsyncGenerator[ReplayStep, None]:
    """Replay a run and yield its events in recorded order, each as soon as the ones before it are reproduced.

    The last step has ``diverged`` set when the replay did not reach the recorded end; a divergence is not raised. With
    ``collect`` the steps go on behind it. Closing the generator early stops the replay.

    Args:
        log: holds the recording. run_id: which one.
        agent: today's wiring.
        tools, ignore, compare_cost, force_provider, collect: as for `starling.replay`.

    Raises:
        RunNotFoundError: the log does not hold the run. LogCorruptError: it is damaged, cut short, or no run.
        AgentConfigError: ``tools`` or ``ignore`` is wrong; it says what may stand there.
    """
    options = ReplayOptions(
        tools=tools,
        ignore=ignoring(ignore),
        compare_cost=compare_cost,
        force_provider=force_provider,
        collect=collect,
    )
    events = await read_recording(log, run_id)
    steps = _Steps(events=events)
    task = asyncio.create_task(
        go_through(events, agent, RunIndex(log), options, observe=steps.reached, watch=steps.watch)
    )
    task.add_done_callback(lambda _: steps.queue.put_nowait(None))
    try:
        while (step := await steps.queue.get()) is not None:
            yield step
        for step in steps.last(_divergences(task)):
            yield step
    finally:
        await _stop(task)


async def _stop(task: asyncio.Task[None]) -> None:
    """Leave nothing behind: neither the replay, nor an error of it that nobody will ask for."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def _divergences(task: asyncio.Task[None]) -> Sequence[Divergence]:
    """What the replay diverged in; other errors of it are raised."""
    try:
        task.result()
    except NondeterminismError as error:
        return error.divergences
    return ()


@dataclass(slots=True, kw_only=True, eq=False)
class _Steps:
    """What is known of each event so far, and how far the steps have been given out."""

    events: Sequence[Event]
    queue: asyncio.Queue[ReplayStep | None] = field(default_factory=asyncio.Queue)
    _seen: dict[int, tuple[Payload, Divergence | None]] = field(default_factory=dict)
    _given: int = 0
    _told: list[Divergence] = field(default_factory=list)

    def watch(self, index: int, produced: Payload, divergence: Divergence | None) -> None:
        """An event was reproduced, in whatever order; called in the thread of the code that did."""
        self._seen[index + 1] = produced, divergence

    def reached(self, batch: Sequence[Event]) -> None:
        """Everything up to here is reproduced."""
        for event in batch:
            self.queue.put_nowait(self._step(event.seq, None))
            self._given = event.seq

    def last(self, divergences: Sequence[Divergence]) -> Iterator[ReplayStep]:
        """What is left when the replay has ended: up to the last divergence, if there is one.

        That of a nested run stands at the first event of this one that was not reproduced.
        """
        left = range(self._given + 1, len(self.events) + 2)
        missing = next(seq for seq in left if seq not in self._seen)
        found: dict[int, Divergence] = {}
        for divergence in divergences:
            found.setdefault(divergence.seq if self._is_own(divergence) else missing, divergence)
        for seq in range(self._given + 1, max(found, default=0) + 1):
            yield self._step(seq, found.get(seq))

    def _step(self, seq: int, divergence: Divergence | None) -> ReplayStep:
        produced, seen = self._seen.pop(seq, (None, None))
        divergence = self._folded(divergence or seen)
        if divergence is not None and self._is_own(divergence):
            produced = divergence.produced
        return ReplayStep(
            seq=seq,
            recorded=self.events[seq - 1] if seq <= len(self.events) else None,
            produced=produced,
            changes=divergence.changes if divergence else (),
            diverged=divergence is not None,
            divergence=divergence,
        )

    def _is_own(self, divergence: Divergence) -> bool:
        return divergence.run_id == self.events[0].run_id

    def _folded(self, divergence: Divergence | None) -> Divergence | None:
        """The same, with its cause if it follows from an earlier one."""
        if divergence is None:
            return None
        self._told.append(divergence)
        return fold_consequences(self._told)[-1]
