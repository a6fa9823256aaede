"""What a model is to say, written down: the script that the scripted provider plays and the wire servers speak.

Strategy: a script is a list of turns, one a model call; a turn is a tuple of steps. Most steps are chunks; the others
are what chunks cannot say: fail, hang, run a function. The builder fills in what a test does not care about (call
ids, token counts, stop reason), the same way every time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.provider import (
    Chunk,
    EndChunk,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self

__all__ = ["DEFAULT_USAGE", "Do", "Fail", "Hang", "Script", "Step", "Turn"]

DEFAULT_USAGE = Usage(input_tokens=10, output_tokens=5)
"""The token counts of a turn that states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The call fails here: at the opening if it is the first step, else in the middle of the stream.

    Attributes:
        error: raised as it is, or the message of a provider error.
        status: the HTTP status that classes a message; None for a failure without one.
        retry_after_s: seconds the vendor asks to wait.
    """

    error: Exception | str
    status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Nothing more comes, for ever; only cancelling the call ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Run a function of the test's at this point; what it returns is awaited if it can be."""

    action: Callable[[], Awaitable[object] | object]


Step: TypeAlias = Chunk | Fail | Hang | Do


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One model call's answer: exactly these steps, in this order."""

    steps: tuple[Step, ...] = ()

    @property
    def failure(self) -> Fail | None:
        """The failure to open the call with, if that is what the turn is."""
        first = self.steps[0] if self.steps else None
        return first if isinstance(first, Fail) else None


class Script:
    """Builds turns, one call after another; every method returns the script.

    Steps go to the turn at hand; `turn` ends it and so does whatever ends a call (`error`, `hang`). A turn gets the
    token counts and the stop reason that it does not state. ``Script().text("hi")`` is a whole turn.

    Args:
        turns: turns to begin with, each exactly as given: a `Turn` or its chunks.
    """

    def __init__(self, turns: Sequence[Turn | Sequence[Step]] = ()) -> None:
        self._turns = [turn if isinstance(turn, Turn) else Turn(steps=tuple(turn)) for turn in turns]
        self._open: list[Step] | None = None
        self._calls = 0

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns so far, the one at hand completed."""
        at_hand = () if self._open is None else (_completed(self._open),)
        return (*self._turns, *at_hand)

    def text(self, text: str) -> Self:
        """A piece of the answer's text."""
        return self._add(TextChunk(text=text))

    def reasoning(self, text: str, signature: bytes = b"") -> Self:
        """A piece of reasoning; a signature closes the block."""
        return self._add(ReasoningChunk(text=text, signature=signature))

    def redacted(self, text: str, signature: bytes = b"") -> Self:
        """A reasoning block that the vendor encrypted."""
        return self._add(RedactedThinkingChunk(text=text, signature=signature))

    def tool_call(self, name: str, args: dict[str, Any] | str | None = None, call_id: str | None = None) -> Self:
        """A planned call.

        Args:
            name: the tool's name.
            args: the arguments, or their text exactly as the model is to write it.
            call_id: by default ``call_1``, ``call_2``, … through the whole script.
        """
        self._calls += 1
        name_of_call = f"call_{self._calls}" if call_id is None else call_id
        raw = args if isinstance(args, str) else json.dumps(args or {}, ensure_ascii=False)
        return self._add(
            ToolUseStart(call_id=name_of_call, name=name),
            ToolUseDelta(call_id=name_of_call, args=raw),
            ToolUseEnd(call_id=name_of_call),
        )

    def usage(
        self,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_create_tokens: int = 0,
        *,
        cost_usd: float | None = None,
    ) -> Self:
        """Token counts, cumulative within the turn, at this point of the stream; the cost, if the vendor says it."""
        counts = Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_create_tokens=cache_create_tokens,
            cost_usd=cost_usd,
        )
        return self._add(UsageChunk(usage=counts))

    def end(self, stop_reason: str = "stop", *, raw_response_hash: bytes | None = None, request_id: str = "") -> Self:
        """End the turn's answer, stating what its last chunk says. Ends the turn."""
        end = EndChunk(stop_reason=stop_reason, raw_response_hash=raw_response_hash, request_id=request_id)
        return self._add(end).turn()

    def error(self, error: Exception | str, status: int | None = None, retry_after_s: float | None = None) -> Self:
        """The call fails here. Ends the turn.

        Args:
            error: raised as it is, or the message of a provider error.
            status: the HTTP status of a message; it decides the error's class.
            retry_after_s: seconds the vendor asks to wait.
        """
        return self._add(Fail(error=error, status=status, retry_after_s=retry_after_s)).turn()

    def hang(self) -> Self:
        """The call never goes on from here; only cancelling it ends it. Ends the turn."""
        return self._add(Hang()).turn()

    def do(self, action: Callable[[], Awaitable[object] | object]) -> Self:
        """Run ``action`` when the stream gets here, such as to cancel the run. Its result is awaited if it can be."""
        return self._add(Do(action=action))

    def turn(self) -> Self:
        """End the turn at hand; the next step opens another. Does nothing between turns."""
        if self._open is not None:
            self._turns.append(_completed(self._open))
            self._open = None
        return self

    def _add(self, *steps: Step) -> Self:
        self._open = [*(self._open or ()), *steps]
        return self


def _completed(steps: list[Step]) -> Turn:
    """The turn with the token counts and the end that it does not state; what fails or hangs has neither."""
    kinds = {type(step) for step in steps}
    if kinds & {Fail, Hang, EndChunk}:
        counts = [UsageChunk(usage=DEFAULT_USAGE)] if EndChunk in kinds and UsageChunk not in kinds else []
        return Turn(steps=(*steps[:-1], *counts, steps[-1]))
    usage = () if UsageChunk in kinds else (UsageChunk(usage=DEFAULT_USAGE),)
    stop_reason = "tool_calls" if ToolUseStart in kinds else "stop"
    return Turn(steps=(*steps, *usage, EndChunk(stop_reason=stop_reason)))
