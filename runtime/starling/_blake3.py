"""BLAKE3-256, the one hash of the format (chain links, Merkle nodes, content hashes)."""

from __future__ import annotations

from blake3 import blake3

__all__ = ["DIGEST_SIZE", "digest"]

DIGEST_SIZE = 32


def digest(data: bytes, /) -> bytes:
    """Return the 32-byte BLAKE3 digest of ``data``."""
    return blake3(data).digest()
