"""The Merkle root over envelope hashes (see `starling.merkle`)."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

from blake3 import blake3

from starling._blake3 import DIGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EMPTY_ROOT", "Frontier", "root"]

EMPTY_ROOT = bytes(DIGEST_SIZE)


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of ``leaves``, the 32-byte hashes of a run's events in order.

    A parent is the BLAKE3 of its two children; a level of odd length repeats its last node. No leaves give 32 zero
    bytes, one leaf is its own root. O(n).
    """
    level = list(leaves) or [EMPTY_ROOT]
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def _parents(level: list[bytes]) -> list[bytes]:
    if len(level) % 2:
        level = [*level, level[-1]]
    hasher, parents = blake3(), []
    begin, feed, end = hasher.reset, hasher.update, hasher.digest  # a new hasher costs as much as the hash
    for both in map(add, level[::2], level[1::2]):
        begin()
        feed(both)
        parents.append(end())
    return parents


class Frontier:
    """Leaves of which only those nodes are kept that the root of more of them depends on: one a level at most."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = []

    def fold(self, leaves: Sequence[bytes]) -> None:
        """Take the next leaves."""
        nodes, at = list(leaves), 0
        while nodes:
            if at == len(self._levels):
                self._levels.append([])
            level = self._levels[at] + nodes
            paired = len(level) // 2 * 2
            self._levels[at] = level[paired:]
            nodes, at = _parents(level[:paired]), at + 1

    def root(self, leaves: Sequence[bytes] = ()) -> bytes:
        """Return `root` of what was folded and of these leaves behind it."""
        *below, top = self._levels or [[]]
        nodes = list(leaves)
        for level in below:
            nodes = _parents(level + nodes)
        return root(top + nodes)
