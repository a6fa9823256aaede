"""A provider that says what the test wrote down, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING

from starling import ambient
from starling.provider import Capabilities, ProviderInfo, wrap_http_status
from starling.testing._script import Do, Fail, Hang, Script, Step, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from starling.provider import Chunk, Request

__all__ = ["ScriptedProvider"]


class ScriptedProvider(Script):
    """A deterministic provider: the n-th call gets the n-th turn.

    Write the turns as on `Script`::

        provider = ScriptedProvider()
        provider.tool_call("weather", {"city": "Oslo"}).turn().text("It rains.")

    or give exact chunks: ``ScriptedProvider([[TextChunk(text="hi"), EndChunk(stop_reason="stop")]])``.

    One object plays one conversation; `reset` starts it over. Calls from several threads or tasks each take the next
    turn.

    Args:
        turns: turns exactly as given, before those that are built.
        provider_id: as recorded in RunStarted.
        api_version: as recorded in RunStarted.
    """

    def __init__(
        self,
        turns: Sequence[Turn | Sequence[Step]] = (),
        *,
        provider_id: str = "scripted",
        api_version: str = "v0",
    ) -> None:
        super().__init__(turns)
        self._info = ProviderInfo(id=provider_id, api_version=api_version)
        self._requests: list[Request] = []
        self._skipped = 0
        self._lock = threading.Lock()

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was asked so far, the oldest first."""
        return tuple(self._requests)

    def info(self) -> ProviderInfo:
        """Provider id and API version, as recorded."""
        return self._info

    def capabilities(self) -> Capabilities:
        """What a script can hold. What a request asks for is ignored: the script is the answer."""
        return Capabilities(tools=True, reasoning=True, reasoning_signatures=True, request_id=True)

    def reset(self) -> None:
        """Forget the requests and play from the first turn again."""
        with self._lock:
            self._requests.clear()
            self._skipped = 0

    def skip_turn(self) -> None:
        """Count a call that a recording has answered (mode ``tail``), so that the next one gets the turn behind it."""
        with self._lock:
            self._skipped += 1

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Play the next turn.

        Raises:
            LiveCallError: a recording is being replayed.
            ProviderError: there is no next turn, or the turn is a failure.
        """
        ambient.refuse_live_call(f"{self._info.id} {request.model}")
        return self._play(self._next_turn(request))

    def _next_turn(self, request: Request) -> Turn:
        with self._lock:
            turns = self.turns
            self._requests.append(request)
            asked = len(self._requests) + self._skipped
        return turns[asked - 1] if asked <= len(turns) else _exhausted(scripted=len(turns), asked=asked)

    async def _play(self, turn: Turn) -> AsyncGenerator[Chunk, None]:
        for step in turn.steps:
            match step:
                case Fail():
                    raise self._failure(step)
                case Hang():
                    await asyncio.Event().wait()
                case Do():
                    outcome = step.action()
                    if inspect.isawaitable(outcome):
                        await outcome
                case _:
                    yield step

    def _failure(self, step: Fail) -> Exception:
        if isinstance(step.error, Exception):
            return step.error
        return wrap_http_status(step.error, step.status, provider=self._info.id, retry_after_s=step.retry_after_s)


def _exhausted(*, scripted: int, asked: int) -> Turn:
    text = f"scripted provider exhausted: {scripted} turns were scripted, this is call {asked}"
    return Turn(steps=(Fail(error=text),))
