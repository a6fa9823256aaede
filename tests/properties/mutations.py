"""Single changes of a program, each with the first event of a recorded run that it can touch.

What is expected is worked out from the log and the program alone. No event means that the recorded run never came to
what was changed, so that it must replay clean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starling.event import ToolCallFailed
from tests.properties.programs import (
    Code,
    Effect,
    Flaky,
    Inner,
    Limits,
    Nested,
    Now,
    Program,
    Raise,
    Rand,
    Return,
    Together,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.properties.programs import Op
    from tests.properties.reading import Attempt, Reading, Step

NEW_EFFECT = Effect(name="new")
NEW_CALL = Inner(tool="nobody", tag="new", number=99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A changed program; ``seqs`` are where the change may be reported, none if it changes nothing."""

    what: str
    program: Program
    seqs: frozenset[int]


def mutations(program: Program, reading: Reading) -> Iterator[Mutation]:
    """Every single change of what the code decides."""
    yield from _of_the_wiring(program)
    yield from _of_the_loop(program, reading)
    for code in program.tools:
        yield from _of_the_end(program, code, reading)
        yield from _of_the_retries(program, code, reading)
        yield from _of_the_body(program, code, reading)


def _first(seqs: Iterable[int]) -> frozenset[int]:
    found = [seq for seq in seqs if seq]
    return frozenset([min(found)] if found else [])


# --- what RunStarted says


def _of_the_wiring(program: Program) -> Iterator[Mutation]:
    changes: dict[str, dict[str, Any]] = {
        "system prompt": {"system_prompt": f"{program.system_prompt}\nBe quick."},
        "params": {"params": {**(program.params or {}), "seed": 1}},
        "app version": {"app_version": "2"},
        "another tool": {"tools": (*program.tools, Code(name="another"))},
        "budget": {"limits": replace(program.limits or Limits(), input_tokens=10**6)},
    }
    if program.tools:
        first, *others = program.tools
        changes["tool left out"] = {"tools": tuple(others)}
        changes["tool description"] = {"tools": (replace(first, description="Does other things."), *others)}
        changes["tool schema"] = {"tools": (replace(first, note="new"), *others)}
        changes["tool name"] = {"tools": (replace(first, name="renamed"), *others)}
    if len(program.tools) > 1:
        changes["order of tools"] = {"tools": program.tools[::-1]}
    for what, change in changes.items():
        yield Mutation(what=what, program=replace(program, **change), seqs=frozenset([1]))


# --- the loop


def _of_the_loop(program: Program, reading: Reading) -> Iterator[Mutation]:
    for limit in {0, 1, 2, program.max_turns + 1} - {program.max_turns}:
        differing = (
            seq for turns, (seq, went_on) in enumerate(reading.decisions()) if (not limit or turns < limit) != went_on
        )
        seqs = frozenset([next(differing, 0)]) - {0}
        yield Mutation(what=f"max_turns={limit}", program=replace(program, max_turns=limit), seqs=seqs)
    other: Any = "fail" if program.tool_errors == "report" else "report"
    yield Mutation(
        what=f"tool_errors={other}",
        program=replace(program, tool_errors=other),
        seqs=_first([reading.after_failures()]),
    )


# --- tools


def _with(program: Program, code: Code, **changes: Any) -> Program:
    """The program with a tool changed. One whose steps then get as far as a wait for ever would hang on replay, too."""
    if "body" in changes and isinstance(code.end, Wait):
        changes["end"] = Return()
    return replace(
        program, tools=tuple(replace(code, **changes) if tool.name == code.name else tool for tool in program.tools)
    )


def _of_the_end(program: Program, code: Code, reading: Reading) -> Iterator[Mutation]:
    """What a tool returns or raises."""
    seqs = _first(reading.end_of(code, attempt) for attempt in reading.attempts_of(code.name))
    for end in (Return(shape=["changed"]), Raise(kind="error", text="changed"), Raise(kind="panic", text="changed")):
        yield Mutation(what=f"{code.name} ends with {end}", program=_with(program, code, end=end), seqs=seqs)
    end = Raise(kind="stop", text="changed")
    stopped = isinstance(code.end, Raise) and code.end.kind == "stop"  # of what ends a run, the log has the class alone
    yield Mutation(
        what=f"{code.name} ends with {end}",
        program=_with(program, code, end=end),
        seqs=frozenset() if stopped else seqs,
    )


def _of_the_retries(program: Program, code: Code, reading: Reading) -> Iterator[Mutation]:
    for attempts in {1, code.attempts + 1} - {code.attempts}:
        touched = (
            attempt.outcome
            for attempt in reading.attempts_of(code.name)
            if _is_transient(code, attempt, reading) and (attempt.number < attempts) != (attempt.number < code.attempts)
        )
        yield Mutation(
            what=f"{code.name} is tried {attempts} times",
            program=_with(program, code, attempts=attempts),
            seqs=_first(touched),
        )


def _is_transient(code: Code, attempt: Attempt, reading: Reading) -> bool:
    """Whether the tool itself asked to be tried again."""
    if not attempt.outcome or not isinstance(reading.at(attempt.outcome), ToolCallFailed):
        return False
    steps = reading.steps(code, attempt)
    if steps and steps[-1].failed:
        return isinstance(steps[-1].op, Flaky)
    return isinstance(code.end, Raise) and code.end.kind == "transient"


# --- steps


def _of_the_body(program: Program, code: Code, reading: Reading) -> Iterator[Mutation]:
    for place in range(len(code.body) + 1):
        if not code.sync:
            yield _spliced(program, code, reading, place, (Nested(calls=(NEW_CALL,), caught=True),), 0)
        yield _spliced(program, code, reading, place, (NEW_EFFECT,), 0)
    for place, op in enumerate(code.body):
        for changed in _changed(op):
            yield from _step_changed(program, code, reading, place, changed)
        yield from _step_left_out(program, code, reading, place)


def _spliced(
    program: Program, code: Code, reading: Reading, place: int, ops: tuple[Op, ...], instead_of: int
) -> Mutation:
    """Steps put in at a place: they show at whatever the attempt did there."""
    body = (*code.body[:place], *ops, *code.body[place + instead_of :])
    seqs = _first(reading.from_place(code, attempt, place) for attempt in reading.attempts_of(code.name))
    return Mutation(what=f"{code.name}[{place}] gets {ops}", program=_with(program, code, body=body), seqs=seqs)


def _made(code: Code, reading: Reading, place: int) -> list[Step]:
    """This step, wherever a replay makes it again."""
    attempts = reading.attempts_of(code.name)
    return [step for attempt in attempts for step in reading.steps(code, attempt) if step.place == place]


def _changed(op: Op) -> Iterator[tuple[Op, int]]:
    """Other forms of a step, each with which of the step's events is the first that differs; -1: one of them all."""
    match op:
        case Now() | Rand():
            yield NEW_EFFECT, 0
        case Effect() | Flaky():
            yield replace(op, name="renamed"), 0
        case Together(effects=effects):
            for at, effect in enumerate(effects):
                yield Together(effects=(*effects[:at], replace(effect, name="renamed"), *effects[at + 1 :])), -1
            yield Together(effects=(NEW_EFFECT, *effects)), 0
        case Nested(calls=calls):
            for at, call in enumerate(calls):
                yield replace(op, calls=(*calls[:at], replace(call, tag="changed"), *calls[at + 1 :])), at
                yield replace(op, calls=(*calls[:at], replace(call, tool="changed"), *calls[at + 1 :])), at
                yield replace(op, calls=(*calls[:at], NEW_CALL, *calls[at:])), at
            if len(calls) > 1:
                yield replace(op, calls=calls[::-1]), 0
                yield replace(op, calls=calls[1:]), 0
                yield replace(op, calls=calls[:-1]), len(calls) - 1


def _step_changed(
    program: Program, code: Code, reading: Reading, place: int, changed: tuple[Op, int]
) -> Iterator[Mutation]:
    op, at = changed
    body = (*code.body[:place], op, *code.body[place + 1 :])
    made = [step.events for step in _made(code, reading, place) if len(step.events) > at and step.events]
    seqs = frozenset(seq for events in made for seq in events) if at < 0 else _first(events[at] for events in made)
    yield Mutation(what=f"{code.name}[{place}] becomes {op}", program=_with(program, code, body=body), seqs=seqs)


def _step_left_out(program: Program, code: Code, reading: Reading, place: int) -> Iterator[Mutation]:
    """Not where a later step asks for the same name: that step then answers for this one, and may be the same code."""
    if _names(code.body[place]) & {name for op in code.body[place + 1 :] for name in _names(op)}:
        return
    body = (*code.body[:place], *code.body[place + 1 :])
    seqs = _first(seq for step in _made(code, reading, place) for seq in step.events[:1])
    yield Mutation(what=f"{code.name}[{place}] left out", program=_with(program, code, body=body), seqs=seqs)


def _names(op: Op) -> set[str]:
    """The names of the effects that a step asks for."""
    match op:
        case Now() | Rand():
            return {type(op).__name__}
        case Effect(name=name) | Flaky(name=name):
            return {name}
        case Together(effects=effects):
            return {effect.name for effect in effects}
    return set()
