"""Whole runs, valid by construction: events in a legal order, linked, with the totals that they add up to.

Strategy: what is drawn is a plan, a plain value made of lists, because those shrink well; a pure function tells it as
events. Everything has a short name that says where it stands (``T2``, ``T2-c1``), so what is left can be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import strategies as st

from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    Chain,
    PlannedToolUse,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    ToolDescription,
    ToolSchema,
    TurnStarted,
    UserMessageAppended,
    params_hash,
    registry_hash,
    schema_hash,
    text_hash,
    totals,
)
from starling.testing.strategies._payloads import free_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from starling.event import Event, Payload

__all__ = ["runs"]

_TOOLS = ("look", "pay", "write")
_SCHEMA = '{"type":"object"}'
_START_NS = 1_700_000_000_000_000_000


def runs(*, ended: bool = True) -> st.SearchStrategy[list[Event]]:
    """The events of one run, in order.

    Args:
        ended: whole runs, which `starling.event.validate` accepts; False: beginnings of runs that have not come to
            their end, which `validate_prefix` accepts.
    """
    return _RUNS if ended else _RUNS.flatmap(_beginnings)


def _beginnings(events: list[Event]) -> st.SearchStrategy[list[Event]]:
    return st.integers(1, len(events) - 1).map(lambda length: events[:length])


# --- the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    name: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """An attempt that failed, and was followed by another."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """``fails``: its last attempt does, with that text; None: it returns ``result``."""

    tool: str
    args: Any
    steps: Sequence[_Effect | _Failed]
    fails: str | None
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crash:
    """Another process goes on after so many further events of a turn, or at its end; perhaps with a message."""

    after: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """``order``: which of the calls that are at work goes on next, again and again; then the first."""

    thoughts: Sequence[str]
    text: str
    calls: Sequence[_Call]
    order: Sequence[int]
    tokens: tuple[int, int]
    crash: _Crash | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """``gap_ns``: the time between two events. ``words``: what the last event has to say."""

    number: int
    goal: str
    prompt: str
    params: dict[str, int] | None
    gap_ns: int
    turns: Sequence[_Turn]
    end: Literal["answered", "refused", "over budget", "cancelled"]
    last: _Turn
    words: str


_WORDS = st.text(max_size=12)
_COUNTS = st.integers(0, 1000)
_EFFECTS = st.builds(_Effect, name=st.sampled_from(["now", "rand", "fetch"]), value=free_form())
_CALLS = st.builds(
    _Call,
    tool=st.sampled_from(_TOOLS),
    args=st.dictionaries(_WORDS, _COUNTS | _WORDS, max_size=2),
    steps=st.lists(_EFFECTS | st.builds(_Failed, error=_WORDS), max_size=3),
    fails=st.none() | _WORDS,
    result=free_form(),
)
_CRASHES = st.builds(_Crash, after=st.integers(0, 8), message=_WORDS)


def _turns(
    calls: st.SearchStrategy[Sequence[_Call]], crash: st.SearchStrategy[_Crash | None]
) -> st.SearchStrategy[_Turn]:
    return st.builds(
        _Turn,
        thoughts=st.lists(_WORDS, max_size=2),
        text=_WORDS,
        calls=calls,
        order=st.lists(st.integers(0, 2), max_size=8),
        tokens=st.tuples(_COUNTS, _COUNTS),
        crash=crash,
    )


_PLANS = st.builds(
    _Plan,
    number=st.integers(1, 9),
    goal=_WORDS,
    prompt=_WORDS,
    params=st.none() | st.dictionaries(_WORDS, _COUNTS, max_size=2),
    gap_ns=st.integers(0, 10**9),
    turns=st.lists(_turns(st.lists(_CALLS, min_size=1, max_size=3), st.none() | _CRASHES), max_size=4),
    end=st.sampled_from(["answered", "refused", "over budget", "cancelled"]),
    last=_turns(st.just(()), st.none()),
    words=_WORDS,
)


# --- its telling


def _told(plan: _Plan) -> list[Event]:
    """The plan as a run."""
    chain = Chain(f"run-{plan.number}")
    events: list[Event] = []
    for payload in _payloads(plan):
        events.append(chain.append(payload, _START_NS + plan.gap_ns * len(events)))
    terminal = replace(_terminal(plan, events), merkle_root=chain.root())
    return [*events, chain.append(terminal, _START_NS + plan.gap_ns * len(events))]


_RUNS = _PLANS.map(_told)


def _payloads(plan: _Plan) -> Iterator[Payload]:
    """Everything but the last event."""
    seq = 1
    yield _started(plan)
    for number, turn in enumerate(plan.turns, 1):
        payloads = _until_crash(turn.crash, list(_turn(f"T{number}", turn)), seq)
        yield from payloads
        seq += len(payloads)
    if plan.end == "answered":
        yield from _turn("T-last", plan.last)
    elif plan.end == "refused":
        yield _asked("T-last")
    elif plan.end == "over budget":
        yield BudgetExceeded(limit="usd", cap=1.0, actual=2.0, where="pre_call")


def _started(plan: _Plan) -> RunStarted:
    schemas = tuple(ToolSchema(name=name, schema_hash=schema_hash(_SCHEMA)) for name in _TOOLS)
    return RunStarted(
        goal=plan.goal,
        provider_id="scripted",
        model_id="m",
        api_version="v0",
        params_hash=params_hash(plan.params),
        params=plan.params,
        system_prompt_hash=text_hash(plan.prompt),
        system_prompt=plan.prompt,
        tool_registry_hash=registry_hash(schemas),
        tool_schemas=schemas,
        tools=tuple(ToolDescription(name=name, description="", schema=_SCHEMA) for name in _TOOLS),
    )


def _asked(turn_id: str) -> TurnStarted:
    return TurnStarted(turn_id=turn_id, prompt_hash=text_hash(turn_id), input_tokens=1)


def _turn(turn_id: str, turn: _Turn) -> Iterator[Payload]:
    yield _asked(turn_id)
    for thought in turn.thoughts:
        yield ReasoningEmitted(turn_id=turn_id, content=thought)
    plan = [(f"{turn_id}-c{number}", call) for number, call in enumerate(turn.calls, 1)]
    yield AssistantMessageCompleted(
        turn_id=turn_id,
        text=turn.text,
        tool_uses=tuple(PlannedToolUse(call_id=call_id, tool=call.tool, args=call.args) for call_id, call in plan),
        stop_reason="tool_calls" if plan else "stop",
        input_tokens=turn.tokens[0],
        output_tokens=turn.tokens[1],
        cost_usd=sum(turn.tokens) / 1024,  # sums of these are exact
        raw_response_hash=text_hash(turn_id),
    )
    yield from (_scheduled(turn_id, call_id, call, 1) for call_id, call in plan)
    yield from _interleaved([_work(turn_id, call_id, call) for call_id, call in plan], turn.order)


def _scheduled(turn_id: str, call_id: str, call: _Call, attempt: int) -> ToolCallScheduled:
    return ToolCallScheduled(call_id=call_id, turn_id=turn_id, tool=call.tool, args=call.args, attempt=attempt)


def _work(turn_id: str, call_id: str, call: _Call) -> list[Payload]:
    """What a call does, from its start to its end."""
    did: list[Payload] = []
    attempt = 1
    for step in call.steps:
        if isinstance(step, _Effect):
            did.append(SideEffectRecorded(name=step.name, value=step.value, call_id=call_id))
        else:
            did += [_broke(call_id, step.error, attempt), _scheduled(turn_id, call_id, call, attempt + 1)]
            attempt += 1
    if call.fails is not None:
        return [*did, _broke(call_id, call.fails, attempt)]
    return [*did, ToolCallCompleted(call_id=call_id, result=call.result, duration_ms=1, attempt=attempt)]


def _broke(call_id: str, error: str, attempt: int) -> ToolCallFailed:
    return ToolCallFailed(call_id=call_id, error=error, error_type="tool", duration_ms=1, attempt=attempt)


def _interleaved(works: Iterable[list[Payload]], order: Sequence[int]) -> Iterator[Payload]:
    left, choices = list(works), iter(order)
    while left:
        work = left[next(choices, 0) % len(left)]
        yield work.pop(0)
        left = [one for one in left if one]


def _until_crash(crash: _Crash | None, payloads: list[Payload], seq: int) -> list[Payload]:
    """The events of a turn, and the seam that ends it, if the process dies. ``seq``: of the event before it."""
    if crash is None:
        return payloads
    done = payloads[: crash.after + 1]
    scheduled = sum(isinstance(payload, ToolCallScheduled) for payload in done)
    ended = sum(isinstance(payload, ToolCallCompleted | ToolCallFailed) for payload in done)
    seam = RunResumed(
        at_seq=seq + len(done), extra_message=crash.message, reissue_tools=False, pending_calls=scheduled - ended
    )
    return [*done, seam, *([UserMessageAppended(content=crash.message)] if crash.message else [])]


def _terminal(plan: _Plan, events: Sequence[Event]) -> RunCompleted | RunFailed | RunCancelled:
    sums = totals(events)
    duration_ms = sums.duration_ns // 1_000_000
    match plan.end:
        case "cancelled":
            return RunCancelled(reason=plan.words, merkle_root=None, duration_ms=duration_ms)
        case "answered":
            return RunCompleted(
                final_text=plan.last.text,
                turn_count=sums.turns,
                tool_call_count=sums.tool_calls,
                total_cost_usd=sums.cost_usd,
                total_input_tokens=sums.input_tokens,
                total_output_tokens=sums.output_tokens,
                duration_ms=duration_ms,
                merkle_root=None,
            )
    error_type = "provider" if plan.end == "refused" else "budget"
    return RunFailed(error=plan.words, error_type=error_type, merkle_root=None, duration_ms=duration_ms)
