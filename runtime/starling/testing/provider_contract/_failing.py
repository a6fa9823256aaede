"""Failures are classed, half an answer is none, and a call that is given up is let go."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.errors import (
    AuthError,
    InvalidStreamError,
    LiveCallError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider import EndChunk, TextChunk, assemble
from starling.testing._script import Script, Turn
from starling.testing.provider_contract._subject import collect, failure_of, request, times_out

if TYPE_CHECKING:
    from starling.provider import Chunk
    from starling.testing.provider_contract._subject import Factory, Subject

__all__ = [
    "a_failure_is_one_request",
    "answers_do_not_mix",
    "cancelling_ends_the_call",
    "closing_the_iterator_ends_the_call",
    "errors_in_the_stream_are_raised",
    "failures_are_classed",
    "half_an_answer_is_an_error",
    "refuses_while_replaying",
    "serves_several_event_loops",
]

_CLASSES: dict[int, type[ProviderError]] = {
    400: ProviderError,
    401: AuthError,
    403: AuthError,
    404: ProviderError,
    429: RateLimitError,
    500: ServerError,
    503: ServerError,
}


async def failures_are_classed(factory: Factory) -> None:
    """The status decides the class; the vendor's words and its wish to wait are kept; a broken line is the network."""
    for status, kind in _CLASSES.items():
        async with factory(Script().error("the vendor's words", status=status, retry_after_s=3.0)) as subject:
            error = await failure_of(subject.provider)
        assert type(error) is kind, f"status {status} is raised as {type(error).__name__}, not as {kind.__name__}"
        assert error.status == status, f"status {status} is recorded as {error.status}"
        assert "the vendor's words" in str(error), f"status {status}: the vendor's words are lost in {error}"
        if status == 429:
            assert error.retry_after_s == 3.0, f"retry-after arrived as {error.retry_after_s}"
    async with factory(Script().error(ConnectionResetError("broken"))) as subject:
        error = await failure_of(subject.provider)
    assert type(error) is NetworkError, f"a broken connection is raised as {type(error).__name__}"


async def a_failure_is_one_request(factory: Factory) -> None:
    """Nothing is tried again behind the agent's back: the call after a failure gets the next answer."""
    async with factory(Script().error("down", status=500).text("up").turn().text("later")) as subject:
        await failure_of(subject.provider)
        text = assemble(await collect(subject.provider)).text
    assert text == "up", "the failed call was tried again: retries belong to the agent"


async def errors_in_the_stream_are_raised(factory: Factory) -> None:
    """A failure in the middle of an answer is a ProviderError, and no end comes before it."""
    async with factory(Script().text("half").error("overloaded", status=503)) as subject:
        seen: list[Chunk] = []
        try:
            async with times_out():
                async for chunk in subject.provider.stream(request()):
                    seen.append(chunk)  # noqa: PERF401 - what came before the failure is looked at
        except ProviderError:
            pass
        else:
            raise AssertionError("the failure was taken for the end of the answer")
    assert not any(isinstance(chunk, EndChunk) for chunk in seen), "an EndChunk came before the failure"


async def half_an_answer_is_an_error(factory: Factory) -> None:
    """An answer that stops before its end is a NetworkError or an InvalidStreamError."""
    async with factory(Script([Turn(steps=(TextChunk(text="half"),))])) as subject:
        try:
            assemble(await collect(subject.provider))
        except (NetworkError, InvalidStreamError):
            return
    raise AssertionError("half an answer was taken for a whole one")


async def cancelling_ends_the_call(factory: Factory) -> None:
    """A cancelled call ends at once, and the vendor sees its connection close."""
    async with factory(Script().text("half").hang()) as subject:
        started = asyncio.Event()

        async def read() -> None:
            async for _ in subject.provider.stream(request()):
                started.set()

        task = asyncio.create_task(read())
        async with times_out():
            await started.wait()
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled(), "the cancellation was swallowed"
        await _let_go(subject)


async def closing_the_iterator_ends_the_call(factory: Factory) -> None:
    """Closing the iterator in the middle of an answer closes the connection."""
    async with factory(Script().text("half").hang()) as subject:
        stream: Any = subject.provider.stream(request())
        if not hasattr(stream, "aclose"):
            return
        async with times_out(), aclosing(stream):
            await anext(stream)
        await _let_go(subject)


async def _let_go(subject: Subject) -> None:
    if subject.disconnected is not None:
        gone = await asyncio.to_thread(subject.disconnected.wait, 30)
        assert gone, "the vendor still waits: the connection was left open"


async def answers_do_not_mix(factory: Factory) -> None:
    """One object serves several calls at a time."""
    texts = ("one", "two", "three")
    script = Script()
    for text in texts:
        script.text(text).turn()
    async with factory(script) as subject:
        answers = await asyncio.gather(*(collect(subject.provider) for _ in texts))
    assert sorted(assemble(chunks).text for chunks in answers) == sorted(texts), "answers were mixed up"


async def serves_several_event_loops(factory: Factory) -> None:
    """One object serves event loops one after another, and the first again."""
    texts = ["one", "two", "three", "four"]
    script = Script()
    for text in texts:
        script.text(text).turn()

    def in_a_loop_of_its_own() -> str:
        return assemble(asyncio.run(collect(subject.provider))).text

    async with factory(script) as subject:
        seen = [assemble(await collect(subject.provider)).text]
        seen += [await asyncio.to_thread(in_a_loop_of_its_own) for _ in range(2)]
        seen.append(assemble(await collect(subject.provider)).text)
    assert seen == texts, f"the answers were {seen}"


class _Replaying:
    """A session in which no provider may be reached."""

    replaying = True

    def __init__(self) -> None:
        self.refusals = 0

    def begin(self, intent: ambient.RunIntent) -> Any:
        """No run starts here."""
        raise AssertionError(intent)

    def refused(self, error: LiveCallError) -> None:
        """Counted."""
        del error
        self.refusals += 1

    def patch_used(self, use: ambient.PatchUse) -> None:
        """No run asks here."""
        raise AssertionError(use)


async def refuses_while_replaying(factory: Factory) -> None:
    """While a recording is replayed nothing is sent: call `starling.ambient.refuse_live_call` before anything else."""
    session = _Replaying()
    async with factory(Script().text("x")) as subject:
        with ambient.override(session):
            try:
                await collect(subject.provider)
            except LiveCallError:
                pass
            else:
                raise AssertionError("the vendor was asked while a recording is replayed")
        assert session.refusals, "the session was not told: raise through starling.ambient.refuse_live_call"
        assert subject.sent is None or not subject.sent(), "something was sent before the call was refused"
