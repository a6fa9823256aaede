"""What a run reaches outside of its process: hosts and programs, and who asks for them."""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import TYPE_CHECKING

from starling.replay._sources import package

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Reached"]

_STARTING = frozenset({"asyncio", "os", "subprocess"})


class Reached:
    """Knows the helpers of Python's own that connect and start programs for whoever calls them.

    Attributes:
        events: the audit events that are of interest.
    """

    events = frozenset(
        {
            "os.system",
            "socket.connect",
            "socket.getaddrinfo",
            "socket.gethostbyaddr",
            "socket.gethostbyname",
            "socket.getnameinfo",
            "socket.sendmsg",
            "socket.sendto",
            "subprocess.Popen",
        }
    )

    def __init__(self) -> None:
        connecting = importlib.import_module("socket")
        self._looking_up = _code_of(getattr(connecting, "getaddrinfo", None))
        self._connecting = _code_of(getattr(connecting, "create_connection", None))

    def host(self, event: str, caller: FrameType) -> tuple[str, FrameType | None]:
        """A host is asked for, or connected to; returns the call and who made it."""
        author: FrameType | None = caller
        if author is not None and author.f_code is self._looking_up:
            author = author.f_back
        if author is not None and author.f_code is self._connecting:  # it looks up, then connects
            return "socket.connect", author.f_back
        return event, author

    def program(self, caller: FrameType) -> tuple[str, FrameType]:
        """A program is started; returns the call and who made it."""
        what, author = "os.system", caller
        while author.f_back is not None and package(author) in _STARTING:
            what, author = f"{package(author)}.{author.f_code.co_qualname}".removesuffix(".__init__"), author.f_back
        return what, author


def _code_of(function: object) -> CodeType | None:
    return function.__code__ if isinstance(function, FunctionType) else None
