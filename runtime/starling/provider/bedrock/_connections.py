"""Hanging up on a blocking call: which connection a call uses, and breaking it from another thread.

Strategy: boto3 blocks, and offers nothing to stop a call with. Shutting its socket down does: whoever reads from it or
writes to it is woken with the end of the stream. So the client's connection classes are given a base that tells the
call at hand, which the thread carries as a context variable, when they come to serve it. A connection belongs to the
call that took it last; one that has gone back to the pool is not touched.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from starling.provider._sdk import require_sdk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Line", "watch_connections"]

_at_hand: ContextVar[Line] = ContextVar("starling_bedrock_line")
_lock = threading.Lock()
"""Guards who owns which connection; held for a few assignments and one system call that does not block."""


class Line:
    """What a call holds of the network: at most one connection, until it is hung up."""

    def __init__(self) -> None:
        self._connection: _WatchedConnection | None = None
        self.hung_up = False

    def use_in_this_context(self) -> None:
        """The calls that this thread makes from now on are this line's."""
        _at_hand.set(self)

    def take(self, connection: _WatchedConnection) -> None:
        """A connection serves this line from now on.

        Raises:
            ConnectionAbortedError: too late, the line was hung up.
        """
        with _lock:
            if self.hung_up:
                raise ConnectionAbortedError("the call was given up")
            self._connection = connection
            connection.line = self
            was_broken, connection.broken = connection.broken, False
        if was_broken:
            connection.close()  # it opens again by itself

    def hang_up(self) -> None:
        """Break the connection, now or as soon as there is one. From any thread; the thread that uses it is woken."""
        with _lock:
            self.hung_up = True
            connection = self._connection
            if connection is not None and connection.line is self:
                connection.broken = True
                _shut_down(connection.sock)


class _WatchedConnection:
    """Before a connection class of the SDK's: tells the line at hand what serves it."""

    sock: Any
    close: Callable[[], None]
    line: Line | None = None
    broken = False

    def connect(self) -> None:
        """Connect, unless the call was given up before or meanwhile."""
        self._tell()
        super().connect()  # type: ignore[misc]
        self._tell()

    def request(self, *args: Any, **options: Any) -> Any:
        """Send a request, unless the call was given up."""
        self._tell()
        return super().request(*args, **options)  # type: ignore[misc]

    def _tell(self) -> None:
        line = _at_hand.get(None)
        if line is not None:
            line.take(self)


class _StayingPool:
    """Before a pool class of the SDK's: takes a redirect for the answer that it is.

    The SDK follows none, but prepares for it, and fails over its own headers where the answer is a 303.
    """

    def urlopen(self, *args: Any, **options: Any) -> Any:
        """Send a request, and no other."""
        return super().urlopen(*args, **{**options, "redirect": False})  # type: ignore[misc]


def watch_connections(client: Any) -> None:
    """Let a client's future connections be hung up by their `Line`, those through proxies included."""
    client._endpoint.http_session._pool_classes_by_scheme.update(_pool_classes())


@cache
def _pool_classes() -> dict[str, type]:
    sdk = require_sdk("botocore.awsrequest", extra="bedrock")
    return {
        "http": _pool_class(sdk.AWSHTTPConnectionPool, sdk.AWSHTTPConnection),
        "https": _pool_class(sdk.AWSHTTPSConnectionPool, sdk.AWSHTTPSConnection),
    }


def _pool_class(pool: type, connection: type) -> type:
    watched = type(f"Watched{connection.__name__}", (_WatchedConnection, connection), {})
    return type(f"Watched{pool.__name__}", (_StayingPool, pool), {"ConnectionCls": watched})


def _shut_down(sock: Any) -> None:
    # TLS inside TLS (a proxy) is no socket, but holds one. The plain shutdown leaves TLS state to the reading thread.
    plain = sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)
    if plain is not None:
        with contextlib.suppress(OSError):  # it is not connected any more
            socket.socket.shutdown(plain, socket.SHUT_RDWR)
