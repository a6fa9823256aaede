"""Rewriting recorded runs so that what must not be kept is in them nowhere. Pure: runs in, runs out.

Strategy: payload by payload, then everything that covers several of them is made anew: the chain, the Merkle root, and
the hashes of the model's requests. Ids, seqs and timestamps stay, so the redacted run is the same one to every reader.

A request that an agent's loop made follows from the events before it: it is built once more from what they have
become. What other code asked (a tool, a loop of the user's own) the log does not hold; it is taken from the session
that recorded the run. Estimates of tokens stay as they were, since budgets were decided by them; a replay with the same
redaction takes them from the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from starling.agent._authorship import dialect_of
from starling.agent._explanations import rebuilt_request
from starling.agent._transcript import Transcript
from starling.errors import RedactionError
from starling.event import (
    AssistantMessageCompleted,
    Chain,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TurnStarted,
    kind_name,
)
from starling.provider import prompt_hash
from starling.step._redaction import redacted, redacted_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starling.ambient import Redact
    from starling.event import Event, Payload
    from starling.provider import Request
    from starling.step._dialect import Dialect

__all__ = ["redact_run"]

_NO_REQUESTS: Mapping[str, Request] = MappingProxyType({})


def redact_run(
    events: Sequence[Event], redact: Redact, *, requests: Mapping[str, Request] = _NO_REQUESTS
) -> tuple[Event, ...]:
    """A finished run, or one that was cut off, as it is kept: redacted, and as valid as it was.

    It replays with the same ``redact`` in its `ReplayOptions`. The function is called with each payload that holds
    content, returns it, or another one of its kind in its place, and must leave what it made as it is when it is called
    with that: a replay goes on with redacted values.

    Args:
        events: the run, valid. redact: see `starling.ambient.Redact`.
        requests: by turn, what code asked a model; see `RecordingSession.requests`. A turn that is neither an agent's
            nor among them keeps the hash of what was really asked.

    Returns:
        The very same events if there was nothing to redact.

    Raises:
        RedactionError: the redaction cannot be applied; ``run_id`` and ``seq`` say where. LogCorruptError: a payload
            cannot be read.
    """
    before = [event.decode() for event in events]
    after = [_redacted(event, payload, redact) for event, payload in zip(events, before, strict=True)]
    after = _without_stale_digests(before, after)
    started = before[0] if before else None
    if isinstance(started, RunStarted):
        prompts = _Prompts(redact=redact, requests=requests, started=started, dialect=dialect_of(before))
        after = _with_prompts(before, after, prompts)
    if all(now is was for now, was in zip(after, before, strict=True)):
        return tuple(events)
    return _chained(events, after)


def _redacted(event: Event, payload: Payload, redact: Redact) -> Payload:
    try:
        once = redacted(payload, redact)
        again = once if once is payload else redacted(once, redact)
    except RedactionError as error:
        raise _at(event, error.message) from None
    if again is not once and again != once:
        raise _at(
            event,
            "the redaction rewrites its own result, so no replay could do the same: let it leave what it has put in",
        )
    return once


def _at(event: Event, what: str) -> RedactionError:
    place = f"run {event.run_id}, seq {event.seq} ({kind_name(event.kind)})"
    return RedactionError(f"{place}: {what}", run_id=event.run_id, seq=event.seq)


def _without_stale_digests(before: Sequence[Payload], after: Sequence[Payload]) -> list[Payload]:
    """The hash of a vendor's raw answer goes where the turn's reasoning was redacted, too; see `redacted`."""
    turns = {
        now.turn_id
        for was, now in zip(before, after, strict=True)
        if isinstance(now, ReasoningEmitted) and now is not was
    }
    return [
        replace(now, raw_response_hash=None)
        if isinstance(now, AssistantMessageCompleted) and now.turn_id in turns and now.raw_response_hash
        else now
        for now in after
    ]


def _chained(events: Sequence[Event], payloads: Sequence[Payload]) -> tuple[Event, ...]:
    """The payloads as the events of a run of the same id, at the same times."""
    chain = Chain(events[0].run_id)
    result = []
    for event, payload in zip(events, payloads, strict=True):
        if isinstance(payload, RunCompleted | RunFailed | RunCancelled):
            payload = replace(payload, merkle_root=chain.root())  # noqa: PLW2901 - it is what is appended
        result.append(chain.append(payload, event.ts))
    return tuple(result)


# --- the hashes of requests


@dataclass(slots=True, kw_only=True)
class _Prompts:
    """Finds the hash that a turn has after the redaction.

    Attributes:
        changed: whether anything that a later request could show has been redacted.
    """

    redact: Redact
    requests: Mapping[str, Request]
    started: RunStarted
    dialect: Dialect
    changed: bool = False
    was: Transcript = field(init=False)
    now: Transcript = field(init=False)

    def __post_init__(self) -> None:
        self.was, self.now = Transcript(self.dialect), Transcript(self.dialect)

    def hash_of(self, turn: TurnStarted, started: RunStarted) -> bytes | None:
        """The hash of the redacted request.

        Args:
            started: the redacted first event.
        """
        request = self.requests.get(turn.turn_id)
        if request is not None:
            return prompt_hash(redacted_request(request, self.redact))
        if turn.call_id or not self.changed:
            return turn.prompt_hash
        if prompt_hash(rebuilt_request(self.started, self.was.conversation)) != turn.prompt_hash:
            return turn.prompt_hash  # an older log, or a loop of the user's own whose requests nobody kept
        return prompt_hash(rebuilt_request(started, self.now.conversation))

    def feed(self, index: int, was: Payload, now: Payload) -> None:
        """Take the next event of the run, as it was and as it is now."""
        self.changed = self.changed or now is not was
        self.was.feed(index, was)
        self.now.feed(index, now)


def _with_prompts(before: Sequence[Payload], after: Sequence[Payload], prompts: _Prompts) -> list[Payload]:
    result: list[Payload] = []
    started = after[0]
    assert isinstance(started, RunStarted)  # a redaction keeps the kind
    for index, (was, now) in enumerate(zip(before, after, strict=True)):
        kept = now
        if isinstance(now, TurnStarted):
            digest = prompts.hash_of(now, started)
            kept = now if digest == now.prompt_hash else replace(now, prompt_hash=digest)
        prompts.feed(index, was, kept)
        result.append(kept)
    return result
