"""A call of `Agent.run` or `Agent.resume` in mode ``tail``: live, and answered by a recording as far as that goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from starling.agent._authorship import dialect_of
from starling.agent._cancellation import as_cancelled
from starling.agent._execute import execute
from starling.agent._explanations import rebuilt_request
from starling.agent._recorded import Recording, cut_off
from starling.agent._transcript import Transcript
from starling.event import RunResumed, RunStarted, encode_payload
from starling.step._compare import carry_over
from starling.step._dialect import OURS, Dialect
from starling.step._frame import enclosing
from starling.step._interruption import Interruption
from starling.step._redaction import redacted
from starling.step._script import Script
from starling.step._tail import TailJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starling.agent._execute import Finished
    from starling.agent._parts import Part
    from starling.agent._wiring import Wiring
    from starling.ambient import KeptRun, Redact, ReplayOptions, RunRecorder, ToolPolicy
    from starling.event import Chain, Event
    from starling.provider import Request

__all__ = ["Tail", "tail_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A recorded run that is followed.

    Attributes:
        passed: how many of its events are behind the seam at which this call goes on; 0 for a new run.
        held: what today's log holds of the run.
        changed: to be called when something differs for the first time.
    """

    kept: KeptRun
    recording: Recording
    passed: int
    held: Sequence[Event]
    changed: Callable[[], None]

    async def carry_on(
        self,
        wiring: Wiring,
        chain: Chain,
        part: Part,
        *,
        committed: Callable[[Sequence[Event]], None],
        asked: Callable[[str, Request], None],
    ) -> Finished:
        """Carry out a part of a run.

        Raises:
            LogWriteError: the recorded process was cut off here, and nothing has differed so far; or the log failed.
        """
        recording = self.recording
        script = Script(recording.events, recording.payloads, recording.options, OURS, skipped=self.kept.skipped)
        script.pass_over(self.passed)
        journal = TailJournal(
            chain,
            wiring.log,
            script,
            changed=self.changed,
            conversation=_Redacted.of(self.held, recording.options.redact),
            committed=committed,
            asked=asked,
            emit_timeout_s=wiring.config.emit_timeout,
        )
        running = execute(wiring, part, journal, run_id=chain.run_id, dialect=OURS)
        try:
            return await as_cancelled(running, recording.payloads[-1], follows=lambda: journal.answers(None))
        except Interruption:  # a seam; what else the environment did has ended the run
            self.kept.reached = journal.seam()
            await journal.commit()
            raise cut_off(chain.run_id, chain.next_seq - 1) from None
        finally:
            self.kept.answered(journal.turns_kept)


class _Redacted:
    """What an agent has said, as its recording has it; see `starling.step._tail.Conversation`.

    Redacted payload by payload, as the recording was: a text has other characters in the JSON of a finished request.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._transcript = Transcript(OURS)
        self._started: RunStarted | None = None

    @classmethod
    def of(cls, held: Sequence[Event], redact: Redact | None) -> _Redacted | None:
        """Behind what the log holds; None if nothing is redacted."""
        if redact is None:
            return None
        conversation = cls(redact)
        for event in held:
            conversation.feed(event)
        return conversation

    def feed(self, event: Event) -> None:
        payload = redacted(event.decode(), self._redact)
        if isinstance(payload, RunStarted):
            self._started = payload
        self._transcript.feed(event.seq - 1, payload)

    def request(self) -> Request:
        assert self._started is not None, "a run begins with it"
        return rebuilt_request(self._started, self._transcript.conversation)


def tail_of(recorder: RunRecorder, held: Sequence[Event], dialect: Dialect) -> Tail | None:
    """What a run that begins, or goes on, can keep; None if it is live from its first event on.

    A run that a tool starts is live if its call is, and makes its call live where it differs.

    Args:
        held: what the log holds of it.
    """
    frame, effect = enclosing()
    outer = frame.run.journal if frame is not None and not effect else None
    leave: Callable[[], None] = _nobody
    if isinstance(outer, TailJournal):
        if not outer.answers(frame):
            return None
        leave = partial(outer.leave, frame)
    kept = recorder.kept
    recording = None if kept is None else Recording.of(kept.events, _compared(kept.options))
    if kept is None or recording is None or {dialect, dialect_of(recording.payloads)} != {OURS}:
        leave()
        return None
    passed = _passed(recording, kept, held)
    if passed is None:
        leave()
        return None
    return Tail(kept=kept, recording=recording, passed=passed, held=held, changed=leave)


def _nobody() -> None:
    """No other run depends on this one."""


def _passed(recording: Recording, kept: KeptRun, held: Sequence[Event]) -> int | None:
    """How much of the recording lies before this call; None if the log holds something else.

    In which order parallel calls came into the log is the environment's, so an earlier call's word counts for more.
    """
    length = len(held)
    if not length or kept.reached == length:
        return length
    resumed = length < len(recording.events) and isinstance(recording.payloads[length], RunResumed)
    return length if resumed and all(_is_same(recording, index, event) for index, event in enumerate(held)) else None


def _is_same(recording: Recording, index: int, event: Event) -> bool:
    recorded, produced = recording.payloads[index], event.decode()
    if recorded.KIND is not produced.KIND:
        return False
    return encode_payload(carry_over(recorded, produced, recording.options)) == recording.events[index].payload


def _compared(options: ReplayOptions) -> ReplayOptions:
    """How a tail compares: today's values flow on, so a tool that a replay runs without comparing is compared."""
    provider = {"RunStarted.provider_id", "RunStarted.api_version"} if options.force_provider else set()
    tools: ToolPolicy | Mapping[str, ToolPolicy]
    if isinstance(options.tools, str):
        tools = _policy(options.tools)
    else:
        tools = {name: _policy(policy) for name, policy in options.tools.items()}
    return replace(options, tools=tools, ignore=options.ignore | provider, collect=False)


def _policy(policy: ToolPolicy) -> ToolPolicy:
    return "compare" if policy == "run" else policy
