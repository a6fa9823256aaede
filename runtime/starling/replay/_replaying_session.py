"""The ambient session that replays: it plays recorded runs back.

Matching (api page, "Recording and replaying"): runs that follow each other match by order; runs that overlapped when
they were recorded match by their exact RunStarted, what is left over by order of start. A run that was started inside
a tool or an effect belongs to it and is only looked for there.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from starling.ambient import ReplayOptions
from starling.errors import LiveCallError, NondeterminismError
from starling.event import Kind, RunStarted, encode_payload
from starling.replay._recordings import check_recording
from starling.step import Divergence
from starling.step._redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.ambient import PatchUse, RunIntent
    from starling.event import Event
    from starling.fixture import FixtureRun

__all__ = ["ReplayingSession", "not_resumed", "unrecorded", "why_unrecorded"]


class ReplayingSession:
    """Plays recorded runs back to whoever starts runs while it is active.

    Raises:
        LogCorruptError: one of the runs is damaged, cut short, or none. SchemaVersionMismatchError: or too new.

    Attributes:
        failures: every divergence and every refused live call, even if the code under test swallowed it.
        played: the recorded runs that were asked for, in that order.
        patches: what the code asked `step.patched` and `step.deprecate_patch`.
    """

    replaying = True

    def __init__(self, runs: Iterable[FixtureRun], options: ReplayOptions | None = None) -> None:
        self.options = options or ReplayOptions()
        self.failures: list[NondeterminismError | LiveCallError] = []
        self.played: list[FixtureRun] = []
        self.patches: list[PatchUse] = []
        self._left = list(runs)
        for run in self._left:
            check_recording(run.run_id, run.events)
        self._groups = _overlapping(self._left)
        self._running: list[FixtureRun] = []
        self._stopped: dict[str, tuple[float, NondeterminismError]] = {}
        self._lock = threading.Lock()

    def begin(self, intent: RunIntent) -> _Player:
        """Give a starting run its recorded counterpart.

        Raises:
            NondeterminismError: every recorded run of this place has been asked for already.
        """
        intent = replace(intent, started=cast("RunStarted", redacted(intent.started, self.options.redact)))
        with self._lock:
            run = self._resumed(intent) if intent.resumes else self._match(intent)
            if run is None:
                error = unrecorded(intent, len(self.played))
                self.failures.append(error)
                raise error
            self._stopped.pop(run.run_id, None)
            if run in self._left:
                self._left.remove(run)
                self.played.append(run)
            self._running.append(run)
        return _Player(self, run)

    def _resumed(self, intent: RunIntent) -> FixtureRun | None:
        """The recorded run that goes on; an earlier call has begun it, or it began before it was recorded."""
        return next((run for run in (*self.played, *self._left) if run.run_id == intent.resumes), None)

    @property
    def running(self) -> frozenset[str]:
        """The runs that go on at this moment."""
        with self._lock:
            return frozenset(run.run_id for run in self._running)

    def end(self, run: FixtureRun) -> None:
        """A run is over, however it went."""
        with self._lock:
            self._running.remove(run)

    def stop(self, run: FixtureRun, seq: int) -> None:
        """A run's log failed, as far as this call goes; unless a later one goes on, the rest is not reproduced."""
        with self._lock:
            self._stopped[run.run_id] = run.ended or math.inf, not_resumed(run.events, seq)

    def refused(self, error: LiveCallError) -> None:
        """Remember a refused call, so that it fails the test even if it is swallowed."""
        self.failures.append(error)

    def patch_used(self, use: PatchUse) -> None:
        """Remember a patch that a replayed run asked for."""
        self.patches.append(use)

    def finish(self, *, before: float = math.inf) -> None:
        """Note recorded runs that nobody asked for; those of effects and skipped calls were not expected.

        Args:
            before: only runs that began, or were resumed to their end, before this instant of the recording session's
                clock; others may still come.
        """
        with self._lock:
            due = [run for run in self._left if run.began < before]
            self._left = [run for run in self._left if run.began >= before]
            self.failures.extend(_not_asked_for(run) for run in due if self._was_due(run))
            given_up = [run_id for run_id, (ended, _) in self._stopped.items() if ended < before or before == math.inf]
            self.failures.extend(self._stopped.pop(run_id)[1] for run_id in given_up)

    def skip(self, run_id: str, call_id: str, before: int | None) -> None:
        """A call of a replayed run was not run (again), or not before that recorded timestamp: its runs are not due."""
        with self._lock:
            self._left = [
                run
                for run in self._left
                if _place(run) != (run_id, call_id) or (before is not None and run.events[0].ts >= before)
            ]

    def _match(self, intent: RunIntent) -> FixtureRun | None:
        place = (intent.parent_run_id, intent.parent_call_id)
        candidates = [run for run in self._left if _place(run) == place and not run.parent_effect]
        if not candidates:
            return None
        first = candidates[0]
        # Runs that overlap today may have missed each other by chance when they were recorded, and the other way round.
        concurrent = any(_place(run) == place for run in self._running)
        group = self._groups[first.run_id]
        overlapping = [run for run in candidates if concurrent or self._groups[run.run_id] == group]
        if len(overlapping) > 1:
            exact = encode_payload(intent.started)
            for run in overlapping:
                if _without_version(run.events[0].payload, intent.started) == exact:
                    return run
        return first

    def _was_due(self, run: FixtureRun) -> bool:
        if not run.parent_run_id:
            return True
        parent_played = any(played.run_id == run.parent_run_id for played in self.played)
        return parent_played and not run.parent_effect


def unrecorded(intent: RunIntent, played: int) -> NondeterminismError:
    """The error for a run that the recording does not have.

    Args:
        played: how many recorded runs were asked for before it.
    """
    divergence = Divergence(
        run_id=intent.parent_run_id,
        seq=1,
        kind=Kind.RunStarted,
        expected_kind=None,
        cls="exhausted",
        reason=why_unrecorded(intent, played),
        produced=intent.started,
        call_id=intent.parent_call_id,
    )
    return NondeterminismError(divergence.text, divergences=(divergence,))


def why_unrecorded(intent: RunIntent, played: int) -> str:
    """What there is to say of such a run."""
    what = f"resumed run {intent.resumes}, which" if intent.resumes else "started a run that"
    where = f" inside call {intent.parent_call_id!r}" if intent.parent_call_id else ""
    before = f"{played} recorded {'run was' if played == 1 else 'runs were'} asked for before it"
    goal = intent.started.goal[:200]
    return f"the code{where} {what} the recording does not have ({before}): goal {goal!r}"


def not_resumed(events: Sequence[Event], seq: int) -> NondeterminismError:
    """The error for a run whose log failed, where the recorded one went on.

    Args:
        seq: the first event that was not reproduced.
    """
    run_id, missing = events[0].run_id, events[seq - 1].decode()
    if missing.KIND is Kind.RunResumed:
        reason = f"the recorded run was resumed here, at seq {seq}, and the code did not resume it"
    else:
        reason = f"the agent's own log failed here, at seq {seq}; the recorded run went on"
    divergence = Divergence(
        run_id=run_id,
        seq=seq,
        kind=None,
        expected_kind=missing.KIND,
        cls="kind",
        reason=reason,
        recorded=missing,
        length=len(events),
    )
    return NondeterminismError(divergence.text, divergences=(divergence,))


def _place(run: FixtureRun) -> tuple[str, str]:
    """Inside what a run was started."""
    return run.parent_run_id, run.parent_call_id


def _overlapping(runs: Sequence[FixtureRun]) -> dict[str, int]:
    """A number for each run: runs of one place have the same if they overlapped, directly or through others."""
    groups: dict[str, int] = {}
    latest: dict[tuple[str, str], float] = {}
    number: dict[tuple[str, str], int] = {}
    for run in sorted(runs, key=lambda run: run.began):
        place = _place(run)
        if run.began >= latest.get(place, 0):
            number[place] = len(groups) + 1
        groups[run.run_id] = number[place]
        latest[place] = max(latest.get(place, 0), run.ended or math.inf)
    return groups


def _without_version(recorded: bytes, produced: RunStarted) -> bytes:
    """A recorded RunStarted with today's library version, which is not the code's decision."""
    from starling.event import decode_payload

    started = decode_payload(Kind.RunStarted, recorded)
    assert isinstance(started, RunStarted)  # by its kind
    return encode_payload(replace(started, starling_version=produced.starling_version))


def _not_asked_for(run: FixtureRun) -> NondeterminismError:
    started = run.events[0].decode()
    goal = started.goal if isinstance(started, RunStarted) else ""
    divergence = Divergence(
        run_id=run.run_id,
        seq=1,
        kind=None,
        expected_kind=Kind.RunStarted,
        cls="kind",
        reason=f"a recorded run was not asked for: goal {goal[:200]!r}",
        recorded=started,
        length=len(run.events),
        call_id=run.parent_call_id,
    )
    return NondeterminismError(divergence.text, divergences=(divergence,))


@dataclass(slots=True, eq=False)
class _Player:
    session: ReplayingSession
    run: FixtureRun

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def events(self) -> Sequence[Event]:
        return self.run.events

    @property
    def options(self) -> ReplayOptions:
        return self.session.options

    def diverged(self, error: NondeterminismError) -> None:
        if error not in self.session.failures:  # a nested run's divergence passes through the outer run, too
            self.session.failures.append(error)

    def stopped(self, seq: int) -> None:
        self.session.stop(self.run, seq)

    def skipped(self, call_id: str, before: int | None) -> None:
        self.session.skip(self.run.run_id, call_id, before)

    def ended(self) -> None:
        self.session.end(self.run)
