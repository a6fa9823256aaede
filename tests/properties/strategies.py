"""hypothesis strategies that draw programs.

They are kept plain, so that what fails shrinks to a few steps: simple alternatives come first, and nothing depends on
what was drawn before but the names of the tools. A tool calls only tools that come after it, so no program recurses.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.properties.programs import (
    Cancel,
    Code,
    Effect,
    Flaky,
    Inner,
    Limits,
    Nested,
    Now,
    Planned,
    Program,
    Raise,
    Rand,
    Return,
    Said,
    Together,
    Unencodable,
    Wait,
)

if TYPE_CHECKING:
    from tests.properties.programs import Op

UNKNOWN = "nobody"
TEXTS = st.sampled_from(["", "a", "größer", "two\nlines", '{"a": 1}', "\N{SNOWMAN}"])
SHAPES: st.SearchStrategy[Any] = st.sampled_from(
    ["ok", None, True, 0, -1, 2**40, 0.5, 1.0, "", "two\nlines", [], [1, [2.0, None]], {"b": 1, "a": {"c": "größer"}}]
)


def mostly(usual: Any, *others: Any, weight: int = 3) -> st.SearchStrategy[Any]:
    """One of the values; the first, to which everything shrinks, so many times as often as each other one."""
    return st.sampled_from([*[usual] * weight, *others, usual])  # the ends of a list are drawn more often


def effects(names: str) -> st.SearchStrategy[Effect]:
    return st.builds(
        Effect,
        name=st.sampled_from(names),
        gives=mostly("value", "error", "nothing", weight=6),
        plain=st.booleans(),
        caught=st.booleans(),
    )


@functools.cache
def ops(callable_names: tuple[str, ...]) -> st.SearchStrategy[Op]:
    """Steps of a tool that may call these."""
    inner = st.builds(
        Inner,
        tool=st.sampled_from([*callable_names * 3, UNKNOWN, *callable_names]),
        tag=st.sampled_from("abc"),
        fits=mostly(True, False, weight=7),
    )
    together = st.lists(effects("xyz"), min_size=2, max_size=3, unique_by=lambda effect: effect.name)
    nested = st.builds(Nested, calls=st.lists(inner, min_size=1, max_size=3).map(tuple), caught=mostly(True, False))
    return st.one_of(
        st.sampled_from([Now(), Rand()]),
        effects("xy"),
        effects("uv"),
        nested if callable_names else effects("xv"),
        together.map(lambda drawn: Together(effects=tuple(drawn))),
        mostly(Flaky(name="flaky", times=0), Flaky(name="flaky", times=2), Cancel(), Flaky(name="flaky", times=1)),
    )


RETURNS = st.builds(Return, shape=SHAPES, shows=st.booleans())
FAILURES = st.sampled_from(
    [
        *(Raise(kind=kind, text="broken") for kind in ("error", "transient", "key", "panic", "recursion", "cancelled")),
        Unencodable(),
        Wait(),
        Wait(stubborn=True),
        Raise(kind="stop", text="broken"),
        Raise(kind="transient", text="broken"),
    ]
)
ENDS = st.one_of(RETURNS, RETURNS, RETURNS, FAILURES, RETURNS)


@functools.cache
def codes(name: str, callable_names: tuple[str, ...]) -> st.SearchStrategy[Code]:
    """A tool of this name, which its errors name."""
    return st.builds(
        Code,
        name=st.just(name),
        body=st.lists(ops(callable_names), max_size=4).map(tuple),
        end=ENDS,
        sync=mostly(False, True),
        attempts=st.sampled_from([1, 2, 3]),
        timeout=mostly(False, True),
    ).map(_settled)


def _settled(code: Code) -> Code:
    """Only async tools dispatch and gather; every call in them has a number."""
    end = replace(code.end, text=f"{code.name} is {code.end.text}") if isinstance(code.end, Raise) else code.end
    body = tuple(op for op in code.body if not code.sync or not isinstance(op, Nested | Together))
    return replace(code, body=tuple(_numbered(op, place) for place, op in enumerate(body)), end=end)


def _numbered(op: Op, place: int) -> Op:
    match op:
        case Nested(calls=calls):
            return replace(op, calls=tuple(replace(call, number=place * 10 + at + 1) for at, call in enumerate(calls)))
        case Together(effects=(first, *others)):
            return Together(effects=(first, *(replace(effect, caught=True) for effect in others)))
    return op


@functools.cache
def saids(names: tuple[str, ...]) -> st.SearchStrategy[Said]:
    """What a model says that has these tools."""
    planned = st.builds(
        Planned,
        tool=st.sampled_from([*names * 5, UNKNOWN, *names]),
        args=mostly("plain", "spaced", "none", "misfit", "malformed", weight=8),
    )
    return st.builds(
        Said,
        text=TEXTS,
        reasoning=st.lists(st.sampled_from(["hm", "so"]), max_size=2).map(tuple),
        calls=st.lists(planned, min_size=1, max_size=4).map(tuple) if names else st.just(()),
        ends=mostly("well", "refused", "broken", "cancelled", "never", weight=40),
        tokens=st.sampled_from([(10, 5), (0, 0), (30, 1), (3, 30)]),
    )


LIMITS = st.builds(
    Limits,
    input_tokens=st.sampled_from([0, 0, 20, 60, 200]),
    output_tokens=st.sampled_from([0, 0, 10, 40]),
    usd=st.sampled_from([0.0, 0.0, 0.00001, 0.0001]),
    wall_clock=mostly(False, True),
)
TOOLS = tuple(
    st.tuples(*(codes(f"t{at}", tuple(f"t{later}" for later in range(at + 1, count))) for at in range(count)))
    for count in range(4)
)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Whole programs; a model that has said all its turns makes the next call fail."""
    tools = draw(st.sampled_from(TOOLS[1:] + TOOLS).flatmap(lambda drawn: drawn))
    names = tuple(code.name for code in tools)
    return Program(
        goal="go",
        system_prompt=draw(st.sampled_from(["", "Be kind.\nBe brief."])),
        params=draw(st.sampled_from([None, {"temperature": 0.5, "stop": ["x"]}])),
        tools=tools,
        turns=(*draw(st.lists(saids(names), min_size=1, max_size=3)), Said(text="done")),
        tool_errors=draw(mostly("report", "fail")),
        max_turns=draw(mostly(0, 1, 2, 3)),
        limits=draw(st.one_of(st.none(), st.none(), st.none(), LIMITS)),
        cancelled_at=draw(mostly(0, 1, 2, 3, 4, 6, 8, 10, 13, 17, 25, weight=50)),
        patient=draw(st.booleans()),
    )


seeds = st.integers(0, 2**16)
