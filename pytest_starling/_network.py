"""The network block: while a golden test replays, nothing but loopback and allowed hosts can be reached.

Strategy: an audit hook, so that nothing is patched and every user of Python's `socket` is seen, whatever the thread.
It cannot be taken away again, so it is installed when a golden test first needs it, and looks at one slot that is empty
most of the time. What it refuses is an `OSError`, because that is what lets libraries close their sockets; and since
such errors get swallowed, retried and wrapped, each refusal is remembered here as well.

Host names are refused when they are looked up, which is network, too, and where a name is still known. An audit hook
sees the question and not the answer: the addresses of allowed names are asked for once more, when an address turns up
that is not known.

Not seen: connections made in C or Rust (libpq, pycurl, uvloop, aiodns), and other processes.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_starling._blocked_call import BlockedCall
from pytest_starling._callers import find_caller
from pytest_starling._hosts import AllowedHosts, as_address, as_name, is_local_name, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Self

    from pytest_starling._hosts import Address
    from pytest_starling._settings import Settings
    from starling.errors import NetworkBlockedError

__all__ = ["NetworkBlock"]

_VERBS = {
    "socket.connect": "connects to",
    "socket.sendto": "sends to",
    "socket.sendmsg": "sends to",
    "socket.getaddrinfo": "looks up",
    "socket.gethostbyname": "looks up",
    "socket.gethostbyaddr": "looks up",
    "socket.getnameinfo": "looks up",
}
"""The audit events that are listened to, and what they mean. ``connect_ex`` announces itself as ``connect``."""
_TO_SOCKET = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_OF_PLACES = _TO_SOCKET | {"socket.getnameinfo"}
"""Those that tell a socket's address, as their last argument."""
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_MOST_LINES = 10
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})
_gethostname = socket.gethostname  # what a test puts in its place names no machine


class NetworkBlock:
    """Refuses what leaves this machine, and remembers it.

    Args:
        settings: for the paths that people are shown, and the hosts that are allowed everywhere.
        hosts: further hosts that may be reached.
        live: told of each refusal of a provider's connection.
        during: what is going on, in words that follow "while".
    """

    def __init__(
        self,
        settings: Settings,
        hosts: Iterable[str],
        live: Callable[[NetworkBlockedError], None],
        during: str = "replaying",
    ) -> None:
        self._settings = settings
        self._during = during
        self._live = live
        self._allowed = AllowedHosts()
        self._refused: Counter[BlockedCall] = Counter()
        self._told: set[BlockedCall] = set()
        self._before: NetworkBlock | None = None
        self._addresses = _Addresses()
        self.allow(hosts)

    def allow(self, hosts: Iterable[str]) -> None:
        """Say anew which hosts may be reached beside those of the settings."""
        self._allowed = AllowedHosts((*self._settings.allow_hosts, *hosts))

    def check(self, event: str, arguments: tuple[Any, ...], caller: FrameType) -> None:
        """Let something happen, or not.

        Raises:
            NetworkBlockedError: it would leave this machine.
        """
        __tracebackhide__ = True
        if event in _TO_SOCKET and (arguments[0].family not in _FAMILIES or not isinstance(arguments[1], tuple)):
            return
        host, port = _target(arguments[-1] if event in _OF_PLACES else arguments)
        address = as_address(host)
        if (address and event in _LOOKUPS) or self._may_be_reached(host, address, port, event):
            return  # what is an address already is not looked up anywhere
        raise self._refusal(_VERBS[event], host, address, port, caller)

    @property
    def count(self) -> int:
        """How often something was refused."""
        return self._refused.total()

    def told(self) -> list[str]:
        """A line for each refusal; a provider's is a failure that speaks for itself."""
        calls = [call for call in list(self._refused) if not call.caller.provider]
        self._told.update(calls)
        return self._lines(calls)

    def shortened(self, text: str) -> str:
        """A text that quotes refusals, without what `told` says of them."""
        for call in list(self._refused):
            if not call.caller.provider:
                text = text.replace(call.text, "network blocked, see below")
        return text

    def untold(self, besides: BaseException | None = None) -> list[str]:
        """A line for each refusal that nothing was said of so far.

        Args:
            besides: an exception that shows itself.
        """
        new = [call for call in list(self._refused) if call not in self._told]
        self._told.update(new)
        return self._lines(call for call in new if not (besides and call.text == str(besides)))

    def _lines(self, calls: Iterable[BlockedCall]) -> list[str]:
        lines = [call.line(self._refused[call]) for call in calls]
        more = len(lines) - _MOST_LINES
        return lines if more <= 0 else [*lines[:_MOST_LINES], f"network blocked in {more} more places"]

    def __enter__(self) -> Self:
        """Stand for the whole process: all threads and tasks."""
        if not _slot.installed:
            _slot.installed = True
            sys.addaudithook(_audit_hook(_slot))
        self._before, _slot.block = _slot.block, self
        return self

    def __exit__(self, *_: object) -> None:
        _slot.block = self._before

    def _may_be_reached(self, host: str, address: Address | None, port: int | None, event: str) -> bool:
        if address is None:
            name, looking_up = as_name(host), event not in _TO_SOCKET
            if self._allowed.has_name(name, None if looking_up else port):
                self._addresses.asked(name)
                return True
            return is_local_name(name) or (looking_up and name in _own_names())
        if is_loopback(address) or self._allowed.has_address(address, port):
            return True
        names = self._addresses.names_of(address, self._allowed.names)
        return any(self._allowed.has_name(name, port) for name in names)

    def _refusal(
        self, verb: str, host: str, address: Address | None, port: int | None, frame: FrameType
    ) -> NetworkBlockedError:
        names = self._addresses.known_names_of(address) if address else []
        caller = find_caller(frame, (host, *names))
        place = f"{self._settings.shown(Path(caller.file))}:{caller.line}" if caller.file else _thread()
        name = names[0] if names else ""
        call = BlockedCall(verb=verb, host=host, name=name, port=port, place=place, caller=caller, during=self._during)
        self._refused[call] += 1
        error = call.error()
        if caller.provider and call not in self._told:
            self._told.add(call)
            self._live(error)
        return error


class _Addresses:
    """What the addresses of allowed names are, as far as they were asked for."""

    def __init__(self) -> None:
        self._known: dict[str, set[Address]] = {}
        self._stale: set[str] = set()

    def asked(self, name: str) -> None:
        """Somebody looks an allowed name up: its addresses may be others by now."""
        self._stale.add(name)

    def names_of(self, address: Address, names: Iterable[str]) -> list[str]:
        """The names of an address; asks for those of ``names`` and of what was looked up, if it is not known."""
        found = self.known_names_of(address)
        if found:
            return found
        for name in {*names, *self._stale}:
            if name in self._stale or name not in self._known:
                self._known[name] = self._known.get(name, set()) | _look_up(name)
                self._stale.discard(name)  # this lookup was noted as one, too
        return self.known_names_of(address)

    def known_names_of(self, address: Address) -> list[str]:
        """The names that are known to have an address."""
        return sorted(name for name, addresses in list(self._known.items()) if address in addresses)


def _own_names() -> set[str]:
    own = as_name(_gethostname())
    return {own, own.partition(".")[0]}


def _look_up(name: str) -> set[Address]:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {address for *_, place in answers if (address := as_address(str(place[0]))) is not None}


def _target(arguments: tuple[Any, ...]) -> tuple[str, int | None]:
    """Host and port of a socket address, or of what a lookup asks for."""
    host, port = arguments[0], arguments[1] if len(arguments) > 1 else None
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    text = str(port) if isinstance(port, int | str) else ""
    return host if isinstance(host, str) else "", int(text) if text.isascii() and text.isdigit() else None


def _thread() -> str:
    import threading

    return f"code in thread {threading.current_thread().name!r}"


# --- the hook


class _Slot:
    """Holds the block that stands in this process, if one does."""

    __slots__ = ("block", "installed")

    def __init__(self) -> None:
        self.block: NetworkBlock | None = None
        self.installed = False


_slot = _Slot()


def _audit_hook(slot: _Slot) -> Callable[[str, tuple[Any, ...]], None]:
    """The hook, with what it needs bound to it: it is still called when the interpreter clears its modules."""
    events, caller = frozenset(_VERBS), sys._getframe

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        __tracebackhide__ = True
        block = slot.block
        if block is not None and event in events:
            block.check(event, arguments, caller(1))

    return hook
