"""Which exceptions mean that the line failed, and not the request: one table for adapters of ours and of others. Pure.

Strategy: HTTP clients are optional, so their exceptions are known by package and class. Of an exception's classes, the
most derived one that the table holds decides: clients file mistakes (an address without a scheme, a header that no
request can carry) under the base of their transport errors, or under `OSError`. What the table does not hold is judged
by its causes, wherever it keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import StarlingError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["causes", "is_transport_error"]

_HTTPCORE = frozenset({"NetworkError", "ProtocolError", "ProxyError", "TimeoutException"})
_HTTPX = frozenset({"DecodingError", "TransportError"})
_NETWORKS = {
    "aiohttp": frozenset({"BadHttpMessage", "ClientConnectionError", "ClientHttpProxyError", "ClientPayloadError"}),
    "anyio": frozenset({"BrokenResourceError", "ClosedResourceError", "EndOfStream", "IncompleteRead"}),
    "botocore": frozenset(
        {
            "ConnectionClosedError",
            "ConnectionError",
            "IncompleteReadError",
            "ReadTimeoutError",
            "ResponseStreamingError",
        }
    ),
    # DNS (gaierror), refused and reset connections, TLS (ssl.SSLError), timeouts; a stream that ends too soon.
    "builtins": frozenset({"EOFError", "OSError"}),
    "http": frozenset({"BadStatusLine", "IncompleteRead", "LineTooLong", "UnknownProtocol"}),
    "httpcore": _HTTPCORE,
    "httpcore2": _HTTPCORE,
    "httpx": _HTTPX,
    "httpx2": _HTTPX,
    "requests": frozenset({"ChunkedEncodingError", "ConnectionError", "ContentDecodingError", "Timeout"}),
    "urllib": frozenset({"ContentTooShortError"}),
    "urllib3": frozenset(
        {
            *("DecodeError", "EmptyPoolError", "IncompleteRead", "InvalidChunkLength", "InvalidHeader"),
            *("NewConnectionError", "ProtocolError", "ProxyError", "SSLError", "TimeoutError"),
        }
    ),
}
"""What is raised for a line that failed, by package. Not all of it is caused by an OSError: a body that ends too soon
is not."""

_MISTAKES = frozenset({"LocalProtocolError", "UnsupportedProtocol"})
_NOT_THE_NETWORKS = {
    # A file of certificates that is not there, say.
    "builtins": frozenset({"FileExistsError", "FileNotFoundError", "IsADirectoryError", "NotADirectoryError"}),
    "httpcore": _MISTAKES,
    "httpcore2": _MISTAKES,
    "httpx": _MISTAKES,
    "httpx2": _MISTAKES,
    "requests": frozenset({"RequestException"}),
    # An answer with a status, and what may be an unknown scheme; if it was the network, its cause says so.
    "urllib": frozenset({"HTTPError", "URLError"}),
}
"""What stands among these and is something else: a mistake of the caller's, or an answer."""


def is_transport_error(error: BaseException) -> bool:
    """Whether the network caused this: the line failed, or what came over it was no proper answer."""
    return any(_is_networks(link) for link in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what caused it, each before its own causes; SDKs like to wrap the socket's own error."""
    seen: set[int] = set()
    left = [error]
    while left:
        link = left.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            left.extend(_behind(link))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """What an exception was raised from, what it says is its reason (urllib and urllib3 do), the members of a group.

    An error of ours that was merely being handled is another call's, behind which this one was tried.
    """
    handled = None if isinstance(error.__context__, StarlingError) else error.__context__
    chained = error.__cause__ or (None if error.__suppress_context__ else handled)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for found in (chained, getattr(error, "reason", None), *members):
        if isinstance(found, BaseException):
            yield found


def _is_networks(error: BaseException) -> bool:
    for kind in type(error).__mro__:
        package = kind.__module__.partition(".")[0]
        if kind.__name__ in _NETWORKS.get(package, ()):
            return True
        if kind.__name__ in _NOT_THE_NETWORKS.get(package, ()):
            return False
    return False
