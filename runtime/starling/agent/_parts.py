"""What one process does of a run: all of it, or what is left behind a crash. Pure: payloads in, values out.

A live run and a resumed one, live or on replay, differ in how they begin and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling.agent._loop import Conversation, LeftOver, converse
from starling.agent._messages import user_message
from starling.agent._transcript import Transcript
from starling.event import RunResumed, UserMessageAppended
from starling.step._meter import Meter
from starling.step._served import left_by
from starling.step._tree import build_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.agent._transcript import OpenTurn, PlannedCall
    from starling.agent._wiring import Wiring
    from starling.event import Payload, RunStarted
    from starling.provider import Message
    from starling.step._dialect import Dialect
    from starling.step._run import Run

__all__ = ["Part", "beginning", "continuation", "misstated_seam", "orphans", "seam_after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process does of a run.

    Attributes:
        opening: the events it begins with.
        body: goes on from there to the run's final text.
        meter: what the run had used before it.
    """

    opening: tuple[Payload, ...]
    body: Callable[[Run], Awaitable[str]]
    meter: Meter


def beginning(wiring: Wiring, started: RunStarted) -> Part:
    """A run from its first event on."""
    body = wiring.body or _conversing(wiring, (user_message(started.goal),))
    return Part(opening=(started,), body=body, meter=_meter(wiring))


def seam_after(payloads: Sequence[Payload], dialect: Dialect, *, extra_message: str, reissue_tools: bool) -> RunResumed:
    """The event with which a run goes on after these."""
    return RunResumed(
        at_seq=len(payloads),
        extra_message=extra_message,
        reissue_tools=reissue_tools,
        pending_calls=len(orphans(payloads, dialect)),
    )


def misstated_seam(payloads: Sequence[Payload], dialect: Dialect) -> tuple[int, str] | None:
    """The first RunResumed that says what the events before it do not bear out: its index, and what is wrong.

    Which calls the original program counts that other calls had made, its logs do not tell.
    """
    for index, seam in enumerate(payloads):
        if not isinstance(seam, RunResumed):
            continue
        true = seam_after(payloads[:index], dialect, extra_message=seam.extra_message, reissue_tools=seam.reissue_tools)
        if seam.at_seq != true.at_seq:
            return index, f"at_seq is {seam.at_seq}, not {true.at_seq}"
        if seam.pending_calls != true.pending_calls and dialect.owned_effects:
            return index, f"pending_calls is {seam.pending_calls}, not {true.pending_calls}"
        if seam.pending_calls and not seam.reissue_tools:
            return index, f"reissue_tools is False, with {seam.pending_calls} call(s) cut off"
    return None


def orphans(payloads: Sequence[Payload], dialect: Dialect) -> tuple[PlannedCall, ...]:
    """The calls that were issued and have no outcome."""
    turn = Transcript.of(payloads, dialect).open_turn
    return tuple(call for call in turn.calls if call.is_orphan) if turn else ()


def continuation(wiring: Wiring, payloads: Sequence[Payload], seam: RunResumed, dialect: Dialect) -> Part:
    """What another process does of a run.

    Args:
        payloads: everything before the seam.
    """
    said = (UserMessageAppended(content=seam.extra_message),) if seam.extra_message else ()
    opening = (seam, *said)
    transcript = Transcript.of([*payloads, *opening], dialect)
    meter = _meter(wiring)
    for payload in payloads:
        meter.observe(payload)
    left = _left(payloads, transcript.open_turn, dialect)
    return Part(opening=opening, body=_conversing(wiring, tuple(transcript.messages), left), meter=meter)


def _left(payloads: Sequence[Payload], turn: OpenTurn | None, dialect: Dialect) -> LeftOver | None:
    if turn is None:
        return None
    root = build_tree(payloads, owned_effects=dialect.owned_effects)
    return LeftOver(turn=turn, served=tuple(left_by(payloads, root, call.begun) for call in turn.calls))


def _conversing(
    wiring: Wiring, messages: tuple[Message, ...], left: LeftOver | None = None
) -> Callable[[Run], Awaitable[str]]:
    """The agent's own loop, on from what was said and from the turn that the process before did not finish."""
    conversation = Conversation(config=wiring.config, tools=wiring.definitions, messages=messages)
    return lambda run: converse(run, conversation, left)


def _meter(wiring: Wiring) -> Meter:
    return Meter(budget=wiring.budget, model=wiring.config.model)
