"""Runs that the tools of a replayed run start (sub-agents): found again in the log that holds it, and replayed too.

A log does not say which run was started inside of which; that is only known to fixtures. But it says when. A nested
run began while an attempt of its call was under way, so among the runs that began in that time it is the first with
the same RunStarted that has not been asked for yet. The log is only searched once a nested run begins.

Attempts that timed out or were cancelled are not run again, so what they started is not looked for. Neither is what
was started inside a side effect. Runs that are alike in every field of RunStarted and began in the time of the same
call are told apart by their order alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from starling.errors import LogError, NondeterminismError, ProviderModelMismatchError
from starling.event import (
    TERMINAL_KINDS,
    Kind,
    RunStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    encode_payload,
)
from starling.eventlog import RunLister
from starling.replay._recordings import check_recording
from starling.replay._replaying_session import not_resumed, unrecorded, why_unrecorded
from starling.step._compare import carry_over
from starling.step._consequences import fold_consequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from starling.ambient import PatchUse, ReplayOptions, RunIntent
    from starling.errors import LiveCallError, StarlingError
    from starling.event import Event
    from starling.eventlog import EventLog, RunSummary
    from starling.step import Divergence

__all__ = ["Attempt", "NestedRuns", "RunIndex", "attempts"]

_NOT_RUN_AGAIN = ("cancelled", "timeout")
_MARGIN_S = 1e-3
"""More than a listing is cut by, and than floats are off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One recorded attempt of a tool call.

    Attributes:
        seq: its ToolCallScheduled. began, ended: Unix nanoseconds.
        runs_again: whether a replay runs it.
        cut_off: whether a crash ended it; the run was resumed then.
    """

    call_id: str
    seq: int
    began: int
    ended: int
    runs_again: bool = True
    cut_off: bool = False

    def holds(self, instant: int) -> bool:
        """Whether it was under way at this time."""
        return self.began <= instant <= self.ended


def attempts(events: Iterable[Event]) -> Iterator[Attempt]:
    """The attempts of all tool calls of a run, each when it ends; a crash or the run's end ends what is open."""
    under_way: dict[str, Event] = {}
    for event in events:
        if event.kind in TERMINAL_KINDS or event.kind == Kind.RunResumed:
            for call_id, began in under_way.items():
                yield Attempt(
                    call_id=call_id,
                    seq=began.seq,
                    began=began.ts,
                    ended=event.ts,
                    runs_again=False,
                    cut_off=event.kind == Kind.RunResumed,
                )
            under_way.clear()
        elif event.kind in (Kind.ToolCallScheduled, Kind.ToolCallCompleted, Kind.ToolCallFailed):
            match event.decode():
                case ToolCallScheduled(call_id=call_id):
                    under_way[call_id] = event
                case ToolCallCompleted(call_id=call_id) | ToolCallFailed(call_id=call_id) as outcome:
                    stopped = isinstance(outcome, ToolCallFailed) and outcome.error_type in _NOT_RUN_AGAIN
                    began = under_way.pop(call_id, event)
                    yield Attempt(
                        call_id=call_id, seq=began.seq, began=began.ts, ended=event.ts, runs_again=not stopped
                    )


class RunIndex:
    """The runs of a log by the time at which they began, listed when that is first asked for.

    Attributes:
        used: the runs that have been played as part of another one.
    """

    def __init__(self, log: EventLog, runs: Sequence[RunSummary] | None = None) -> None:
        self.log = log
        self.used: set[str] = set()
        self._began: list[tuple[float, str]] | None = None if runs is None else _by_time(runs)
        self._first: dict[str, Event] = {}

    async def began_within(self, spans: Sequence[Attempt]) -> list[Event]:
        """The first events of the runs that began in one of these times and are not used yet, in their order."""
        if self._began is None:
            self._began = _by_time(await self.log.list_runs() if isinstance(self.log, RunLister) else ())
        near = {run_id for span in spans for _, run_id in self._near(self._began, span)} - self.used
        firsts = [first for run_id in near if (first := await self._first_of(run_id)) is not None]
        within = [first for first in firsts if any(span.holds(first.ts) for span in spans)]
        return sorted(within, key=lambda first: (first.ts, first.run_id))

    def _near(self, began: list[tuple[float, str]], span: Attempt) -> list[tuple[float, str]]:
        """A first look, at the precision of a listing."""
        start = bisect_left(began, span.began / 1e9 - _MARGIN_S, key=itemgetter(0))
        end = bisect_right(began, span.ended / 1e9 + _MARGIN_S, key=itemgetter(0))
        return began[start:end]

    async def _first_of(self, run_id: str) -> Event | None:
        """How a run begins; read once, since a call may start many runs."""
        if run_id not in self._first:
            events = await self.log.read(run_id)
            if not events:
                return None
            self._first[run_id] = events[0]
        return self._first[run_id]


def _by_time(runs: Iterable[RunSummary]) -> list[tuple[float, str]]:
    return sorted((run.started_at.timestamp(), run.run_id) for run in runs)


class NestedRuns:
    """The ambient session of a replay by hand: plays what the run's tools start from the run's own log.

    Attributes:
        failures: what diverged in nested runs, or was wrong with them, even if a tool swallowed it.
    """

    replaying = True

    def __init__(
        self,
        index: RunIndex,
        events: Sequence[Event],
        options: ReplayOptions,
        on_patch: Callable[[PatchUse], None] = lambda _: None,
    ) -> None:
        self.options = options
        self.failures: list[StarlingError] = []
        self._stopped: dict[str, NondeterminismError] = {}
        self._index = index
        self._on_patch = on_patch
        self._playing = {events[0].run_id: _Place(events=tuple(events))}
        self._paths: dict[str, tuple[int, ...]] = {events[0].run_id: ()}

    async def begin(self, intent: RunIntent) -> _Player:
        """Find the recorded counterpart of a run that a tool starts.

        Raises:
            NondeterminismError: the log does not hold one.
            LogCorruptError: it does, but damaged.
        """
        place = self._playing.get(intent.parent_run_id) or _Place()
        events = await (self._resumed(intent) if intent.resumes else self._match(intent, place))
        if events is None:
            raise self._failed(self._unrecorded(intent))
        try:
            events = check_recording(events[0].run_id, events)
        except LogError as error:
            raise self._failed(error) from None
        run_id = events[0].run_id
        self._playing[run_id] = _Place(events=events)
        self._stopped.pop(run_id, None)
        self._paths[run_id] = (*self._paths.get(intent.parent_run_id, ()), place.seq_at(events[0].ts, intent))
        return _Player(session=self, events=events)

    def refused(self, error: LiveCallError) -> None:
        """Raised where it happened, in the tool; what that comes to is compared."""

    def stop(self, events: Sequence[Event], seq: int) -> None:
        """A nested run's log failed, as far as this call goes; unless a later one goes on, that is a divergence."""
        self._stopped[events[0].run_id] = not_resumed(events, seq)

    def patch_used(self, use: PatchUse) -> None:
        """Hand on what a replayed run asked for."""
        self._on_patch(use)

    def verdict(self, error: NondeterminismError | None) -> StarlingError | None:
        """What a replay came to, nested runs included; None if all was reproduced.

        Args:
            error: what it raised, if anything.
        """
        damaged = next((found for found in self.failures if isinstance(found, LogError)), None)
        diverged = [found for found in self.failures if isinstance(found, NondeterminismError)]
        diverged += self._stopped.values()
        if damaged is not None or isinstance(error, ProviderModelMismatchError):
            return damaged or error
        if not self.options.collect:
            return error or next(iter(diverged), None)
        found = {_identity(one): one for each in (*diverged, *([error] if error else ())) for one in each.divergences}
        if not found:
            return error
        folded = fold_consequences(sorted(found.values(), key=self._position))
        return NondeterminismError(folded[0].text, divergences=folded)

    def _position(self, divergence: Divergence) -> tuple[int, ...]:
        """Where in the recording: that of a nested run stands at the call that started it."""
        return (*self._paths.get(divergence.run_id, ()), divergence.seq)

    async def _resumed(self, intent: RunIntent) -> tuple[Event, ...] | None:
        return tuple(await self._index.log.read(intent.resumes)) or None

    async def _match(self, intent: RunIntent, place: _Place) -> tuple[Event, ...] | None:
        spans = [one for one in place.attempts if one.call_id == intent.parent_call_id and one.runs_again]
        candidates = [first for first in await self._index.began_within(spans) if first.run_id not in self._playing]
        for alike in (self._is_equal, _is_similar):
            for first in candidates:
                if first.run_id not in self._index.used and alike(first, intent.started):
                    self._index.used.add(first.run_id)
                    return tuple(await self._index.log.read(first.run_id))
        return None

    def _is_equal(self, first: Event, started: RunStarted) -> bool:
        recorded = _started(first)
        if recorded is None:
            return False
        if self.options.force_provider:
            started = replace(started, provider_id=recorded.provider_id, api_version=recorded.api_version)
        return encode_payload(carry_over(recorded, started, self.options)) == first.payload

    def _unrecorded(self, intent: RunIntent) -> NondeterminismError:
        """It is the run around it that diverges, where its code starts this one."""
        played = len(self._playing) - 1
        lists = isinstance(self._index.log, RunLister)
        hint = "" if lists else "; this log has no list_runs, so runs that tools started cannot be found in it"
        if intent.not_recorded is None:
            return unrecorded(intent, played)
        return intent.not_recorded(f"{why_unrecorded(intent, played)}{hint}")

    def _failed(self, error: StarlingError) -> StarlingError:
        self.failures.append(error)
        return error


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """A run that is being played, as the place of others."""

    events: tuple[Event, ...] = ()
    _attempts: tuple[Attempt, ...] | None = field(default=None, init=False)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        if self._attempts is None:
            self._attempts = tuple(attempts(self.events))
        return self._attempts

    def seq_at(self, instant: int, intent: RunIntent) -> int:
        """The seq of the attempt of this call that was under way; 0 if none was."""
        return next((a.seq for a in self.attempts if a.call_id == intent.parent_call_id and a.holds(instant)), 0)


@dataclass(slots=True, kw_only=True, eq=False)
class _Player:
    session: NestedRuns
    events: tuple[Event, ...]

    @property
    def run_id(self) -> str:
        return self.events[0].run_id

    @property
    def options(self) -> ReplayOptions:
        return self.session.options

    def diverged(self, error: NondeterminismError) -> None:
        if error not in self.session.failures:  # that of a run inside this one passes through it, too
            self.session.failures.append(error)

    def stopped(self, seq: int) -> None:
        self.session.stop(self.events, seq)

    def skipped(self, call_id: str, before: int | None) -> None:
        """Runs of calls that are not run again are not asked for; see `Attempt.runs_again`."""

    def ended(self) -> None:
        """Nothing is held."""


def _started(first: Event) -> RunStarted | None:
    if first.kind != Kind.RunStarted:
        return None
    payload = first.decode()
    return payload if isinstance(payload, RunStarted) else None


def _is_similar(first: Event, started: RunStarted) -> bool:
    """Whether a recorded run is the one that today's changed sub-agent stands for: then the change can be named."""
    recorded = _started(first)
    if recorded is None:
        return False
    wired_alike = (recorded.system_prompt, recorded.model_id) == (started.system_prompt, started.model_id)
    return recorded.goal == started.goal or wired_alike


def _identity(divergence: Divergence) -> tuple[object, ...]:
    """That of a nested run passes through the runs around it, and is met in each."""
    return divergence.run_id, divergence.seq, divergence.cls, divergence.kind
