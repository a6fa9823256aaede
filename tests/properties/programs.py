"""A small language for random agents: what the code does, what the model says, and what the surroundings do to both.

A program is a value. `run` makes an agent of it, `mutations` changes it, `reading` finds its steps in a log. A tool's
body is a row of steps; each leaves one event in the log, or a known number of them, so that what a change can touch
can be worked out from the log alone.

Not in the language, because replay does not promise it (docs/design.md): strands of one tool that ask for effects of
the same name one after another, and parallel tools that both call the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

# --- what a tool does


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """`step.now()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rand:
    """`step.random()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A side effect.

    Attributes:
        gives: a value; or its callable raises, or never returns.
        plain: an ordinary function as the callable, not a coroutine function.
        caught: the tool goes on when the effect fails.
    """

    name: str
    gives: Literal["value", "error", "nothing"] = "value"
    plain: bool = False
    caught: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky:
    """An effect that says "not yet" so many times in a call; the tool then fails, and may be tried again."""

    name: str
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Effects of different names under one `asyncio.gather`."""

    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A call that a tool dispatches. ``number`` tells it from the others of its tool, wherever it stands."""

    tool: str
    tag: str
    fits: bool = True
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """`step.call_tool` for one call, `step.call_tools` for several. ``caught``: the tool goes on when one fails."""

    calls: tuple[Inner, ...]
    caught: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Somebody cancels the run at this moment. No part of the code: a replayed tool does nothing here."""


Op: TypeAlias = Now | Rand | Effect | Flaky | Together | Nested | Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """The tool returns ``shape``; with ``shows``, what its steps gave as well."""

    shape: Any = "ok"
    shows: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """The tool raises, with ``text``; ``stop`` is an exception that is no error and ends the whole run."""

    kind: Literal["error", "key", "transient", "panic", "recursion", "cancelled", "stop"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unencodable:
    """The tool returns something that no log can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The tool never ends of itself. ``stubborn``: when it is told to, it returns as if nothing were."""

    stubborn: bool = False


End: TypeAlias = Return | Raise | Unencodable | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A tool.

    Attributes:
        sync: an ordinary function, which runs in a thread.
        timeout: whether an attempt is given `run.TIMEOUT_S`.
    """

    name: str
    body: tuple[Op, ...] = ()
    end: End = Return()
    sync: bool = False
    description: str = "Does things."
    note: str = ""
    attempts: int = 1
    timeout: bool = False


# --- what the model says


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call that the model plans; ``args`` says how well it writes them."""

    tool: str
    args: Literal["plain", "spaced", "none", "misfit", "malformed"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer of the model.

    Attributes:
        reasoning: blocks of text; a signature closes each.
        ends: as it should; with a provider error (before or after the text); cut by a cancellation; never.
        tokens: input and output, as the vendor counts them.
    """

    text: str = ""
    reasoning: tuple[str, ...] = ()
    calls: tuple[Planned, ...] = ()
    ends: Literal["well", "refused", "broken", "cancelled", "never"] = "well"
    tokens: tuple[int, int] = (10, 5)


# --- all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A budget; zero is no limit. ``wall_clock``: whether there is one (`run.WALL_CLOCK_S`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    wall_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An agent, its model and its surroundings.

    Attributes:
        cancelled_at: the run is cancelled as soon as the event of this seq is in the log; 0 for never.
        patient: the log awaits, as a server's does, instead of answering in line.
    """

    goal: str = "go"
    system_prompt: str = ""
    params: dict[str, Any] | None = None
    app_version: str = ""
    tools: tuple[Code, ...] = ()
    turns: tuple[Said, ...] = ()
    tool_errors: Literal["fail", "report"] = "fail"
    max_turns: int = 0
    limits: Limits | None = None
    cancelled_at: int = 0
    patient: bool = False

    def tool(self, name: str) -> Code | None:
        """The tool of this name, if the agent has it."""
        return next((tool for tool in self.tools if tool.name == name), None)
