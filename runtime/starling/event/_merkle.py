"""The Merkle root over envelope hashes (see `starling.merkle`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from starling._blake3 import DIGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EMPTY_ROOT", "root"]

EMPTY_ROOT = bytes(DIGEST_SIZE)


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of ``leaves``, the 32-byte hashes of a run's events in order.

    A parent is the BLAKE3 of its two children; a level of odd length repeats its last node. No leaves give 32 zero
    bytes, one leaf is its own root. O(n).
    """
    level = list(leaves) or [EMPTY_ROOT]
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        pairs = iter(level)
        level = [blake3(left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]
