"""One client of a vendor's SDK for each event loop, closed with its loop.

Strategy: an adapter object may serve several event loops, one after another (a test suite) or at once (threads). An
HTTP client belongs to the loop that it was first used on, so there is one a loop, built on first use. It is closed when
the loop shuts its asynchronous generators down, as `asyncio.run` and every runner built on `asyncio.Runner` do: that is
the one hook a loop offers, and without it an idle connection would be reported as a leak in somebody else's test.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

T = TypeVar("T")

__all__ = ["LoopClients"]


class LoopClients(Generic[T]):
    """The clients of one adapter.

    Neither function may refer to the adapter: clients are closed when it is collected, and a client that refers to it
    would keep it.

    Args:
        build: makes a client, in the loop that it is for.
        close: closes one, in that loop; None if the clients are not ours to close.
    """

    def __init__(self, build: Callable[[], T], close: Callable[[T], Awaitable[object]] | None) -> None:
        self._build = build
        self._close = close
        # Not weak: a client's connections refer to their loop, so an entry would keep its own key alive.
        self._keepers: dict[asyncio.AbstractEventLoop, _Keeper[T]] = {}
        # An adapter that is dropped while its loop runs on (one built for each call, on the loop behind `run_sync`)
        # must not leave its connections to the garbage collector, which finalizes sockets in any order.
        weakref.finalize(self, _close_dropped, self._keepers).atexit = False

    @property
    def loops(self) -> tuple[asyncio.AbstractEventLoop, ...]:
        """The loops that have a client."""
        return tuple(self._keepers)

    async def get(self) -> T:
        """The running loop's client."""
        loop = asyncio.get_running_loop()
        keeper = self._keepers.get(loop)
        if keeper is None:
            keeper = _Keeper(self._build(), self._close, self._keepers)
            await keeper.open(loop)
        return keeper.client

    async def aclose(self) -> None:
        """Close the running loop's client. The next `get` builds another."""
        keeper = self._keepers.get(asyncio.get_running_loop())
        if keeper is not None:
            await keeper.aclose()


class _Keeper(Generic[T]):
    """Holds one loop's client and closes it when that loop shuts down."""

    def __init__(
        self,
        client: T,
        close: Callable[[T], Awaitable[object]] | None,
        keepers: dict[asyncio.AbstractEventLoop, _Keeper[T]],
    ) -> None:
        self.client = client
        self._close = close
        self._keepers = keepers
        self._keeping: AsyncGenerator[None, None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop's place among the clients; loops that stopped without a word lose theirs."""
        for stopped in [other for other in list(self._keepers) if other.is_closed()]:
            self._keepers.pop(stopped, None)
        self._keepers[loop] = self
        self._keeping = self._keep(loop)
        await anext(self._keeping)

    async def aclose(self) -> None:
        """Give the place up and close the client."""
        if self._keeping is not None:
            await self._keeping.aclose()

    def start_closing(self, loop: asyncio.AbstractEventLoop) -> None:
        """`aclose` without waiting for it; on the keeper's own loop."""
        self._closing = loop.create_task(self.aclose())

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._keepers.pop(loop, None)
            if self._close is not None:
                await self._close(self.client)


def _close_dropped(keepers: dict[asyncio.AbstractEventLoop, _Keeper[T]]) -> None:
    """Close the clients of an adapter that is gone, each on its own loop. Called by the garbage collector."""
    for loop, keeper in list(keepers.items()):
        if loop.is_running():
            with contextlib.suppress(RuntimeError):  # it closed just now, and its clients with it
                loop.call_soon_threadsafe(keeper.start_closing, loop)
