"""Which hosts may be reached: ``allow_hosts`` → a value that answers for names and addresses. Pure.

An entry is a host name (``db.internal``), an address (``10.1.2.3``), a network (``10.0.0.0/8``) or a pattern in which
``*`` stands for any characters (``*.internal``, ``10.*``), each with ``:port`` behind it or not. An IPv6 address with a
port stands in brackets. Loopback needs no entry.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Address", "AllowedHosts", "as_address", "as_name", "is_local_name", "is_loopback", "wrong_hosts"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[\w.*-]+", re.ASCII)
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedHost:
    """One entry of a list.

    Attributes:
        pattern: a name in lower case, in which ``*`` stands for any characters; empty for a network.
        network: addresses, one or many; None for a name.
        port: the only port that is meant; None for all.
    """

    pattern: str = ""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        """The name, where it is one and no pattern; such a name can be asked for its addresses."""
        return "" if "*" in self.pattern else self.pattern

    def fits_port(self, port: int | None) -> bool:
        """Whether a port is meant. None stands for one that is not known yet."""
        return self.port is None or port is None or self.port == port

    def fits_text(self, text: str) -> bool:
        """Whether a name, or an address as it is written, is meant."""
        pattern = ".*".join(map(re.escape, self.pattern.split("*")))
        return bool(self.pattern) and re.fullmatch(pattern, text) is not None

    def fits_address(self, address: Address) -> bool:
        """Whether an address is meant, without asking anybody for the addresses of a name."""
        if self.network is not None:
            return address in self.network
        return "*" in self.pattern and self.fits_text(str(address))


class AllowedHosts:
    """The hosts that may be reached beside loopback.

    Args:
        entries: see above.

    Raises:
        ValueError: an entry is none of these; the message says which, and what to write.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = tuple(_parsed(entry) for entry in dict.fromkeys(entries))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that were written out."""
        return tuple(dict.fromkeys(entry.name for entry in self._entries if entry.name))

    def has_name(self, name: str, port: int | None) -> bool:
        """Whether a host of this name may be reached at a port (None: at any)."""
        return any(entry.fits_text(name) for entry in self._entries if entry.fits_port(port))

    def has_address(self, address: Address, port: int | None) -> bool:
        """Whether an address may be reached, whatever its names are."""
        return any(entry.fits_address(address) for entry in self._entries if entry.fits_port(port))


def wrong_hosts(entries: Iterable[str]) -> list[str]:
    """One sentence for each entry that is no host."""
    problems = []
    for entry in entries:
        try:
            _parsed(entry)
        except ValueError as error:
            problems.append(str(error))
    return problems


def as_address(text: str) -> Address | None:
    """An address however it is written, IPv4 inside IPv6 as the IPv4 address that it is; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))  # 127.1 and 0x7f000001, as the resolver reads them
        except (OSError, ValueError):
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def as_name(text: str) -> str:
    """A host name in the one spelling in which names are compared."""
    name = text.rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def is_loopback(address: Address) -> bool:
    """Whether an address is this machine: the unspecified one is, too, for whoever connects to it."""
    return address.is_loopback or address.is_unspecified


def is_local_name(name: str) -> bool:
    """Whether a name stands for loopback without asking anybody (RFC 6761, section 6.3), or for no host at all."""
    return name in {"", "localhost", "localhost.localdomain", "ip6-localhost"} or name.endswith(".localhost")


def _parsed(entry: str) -> AllowedHost:
    host, port = _split(entry.strip())
    if port is not None and port not in _PORTS:
        raise ValueError(f"{entry!r} has no port behind its colon: write host or host:port")
    try:
        return AllowedHost(network=ipaddress.ip_network(host, strict=False), port=port)
    except ValueError:
        name = as_name(host)
    if not _NAME.fullmatch(name):
        cure = " A host stands alone, without scheme and path." if "/" in entry else ""
        raise ValueError(f"{entry!r} is no host name, address or network.{cure}")
    return AllowedHost(pattern=name, port=port)


def _split(entry: str) -> tuple[str, int | None]:
    """Host and port; port -1 if what stands there is none."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, None if not rest else _port(rest.removeprefix(":"))
    if entry.count(":") != 1 or "://" in entry:
        return entry, None  # an IPv6 address, or no port
    host, _, port = entry.partition(":")
    return host, _port(port)


def _port(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1
