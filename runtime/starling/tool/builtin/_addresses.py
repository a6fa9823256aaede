"""Which addresses `fetch` may connect to: those of the public internet, however they are written. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

__all__ = ["Address", "is_public", "parse_address"]

Address: TypeAlias = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1: an IPv4 address in the last 32 bits
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215: leads wherever the local network says


def parse_address(host: str) -> Address | None:
    """The address that a URL's host is written as, None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether packets to this address leave for the public internet.

    Not public are loopback, private, shared, link-local, multicast, unspecified and reserved addresses, and the IPv6
    forms that embed one of them (IPv4-mapped, 6to4, NAT64). Teredo is refused whole: its servers relay to anywhere.
    """
    if isinstance(address, IPv6Address):
        if (embedded := _embedded(address)) is not None:
            return is_public(embedded)
        if address.teredo is not None or address.is_site_local or address in _LOCAL_NAT64:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
