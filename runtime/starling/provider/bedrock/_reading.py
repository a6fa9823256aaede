"""A blocking answer, read from an event loop.

Strategy: a daemon thread a call makes the request and reads the body; what arrives goes into a queue, and the loop is
woken once for all that came since it last looked. The thread stops reading when the loop falls behind, so that a slow
reader slows the vendor down, as on one connection it should. Leaving the block before the answer's end hangs up, which
ends the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.provider.bedrock._connections import Line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["THREAD_NAME", "Answer", "Head", "Reading", "answer_of"]

_MOST_BLOCKS_AHEAD = 256
THREAD_NAME = "starling-bedrock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What comes before the body. ``headers`` has names in lower case."""

    request_id: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose body is still to be read, by blocking."""

    head: Head
    blocks: Iterable[bytes]
    close: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """The thread's last word: what it raised."""

    error: BaseException


class _Ended:
    """The thread's last word: the body is complete."""


_Item: TypeAlias = Head | bytes | _Failed | _Ended


class Reading:
    """One call, for the duration of an ``async with`` block in the loop that made it.

    Args:
        ask: makes the request and blocks until the answer begins; called in the thread, with the caller's context.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._line = Line()
        self._arrived: deque[_Item] = deque()
        self._news = asyncio.Event()
        self._woken = False
        self._room = threading.Semaphore(_MOST_BLOCKS_AHEAD)
        self._over = False

    async def __aenter__(self) -> Self:
        work = copy_context().run
        threading.Thread(target=work, args=(self._read,), name=THREAD_NAME, daemon=True).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self._line.hang_up()
            self._room.release()

    async def head(self) -> Head:
        """What comes before the body. Raises what the request raised."""
        item = await self._next()
        assert isinstance(item, Head)
        return item

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises what reading it raised."""
        while isinstance(item := await self._next(), bytes):
            self._room.release()
            yield item

    async def _next(self) -> _Item:
        while not self._arrived:
            self._news.clear()
            await self._news.wait()
        item = self._arrived.popleft()
        self._over = isinstance(item, _Failed | _Ended)
        if isinstance(item, _Failed):
            raise item.error
        return item

    # --- in the thread

    def _read(self) -> None:
        self._line.use_in_this_context()
        try:
            answer = self._ask()
            try:
                self._tell(answer.head)
                self._read_body(answer.blocks)
            finally:
                answer.close()
        except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for it
            self._tell(_Failed(error=error))
        else:
            self._tell(_Ended())

    def _read_body(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self._room.acquire()
            if self._line.hung_up:
                return
            self._tell(block)

    def _tell(self, item: _Item) -> None:
        self._arrived.append(item)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self._news.set()


def answer_of(response: Mapping[str, Any]) -> Answer:
    """What the SDK's ``converse_stream`` gave, its body as bytes: the hash covers what the vendor sent."""
    about = response["ResponseMetadata"]
    body = response["stream"]._raw_stream
    head = Head(request_id=about.get("RequestId", ""), headers=about.get("HTTPHeaders", {}))
    return Answer(head=head, blocks=body.stream(), close=body.close)
