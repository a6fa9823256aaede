"""How far a replay has got: which recorded events were reproduced, asked by owner. Indexes in, indexes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.step._tree import Node

__all__ = ["Progress"]


class Progress:
    """Which events of a recording of this length were reproduced. Not thread-safe."""

    __slots__ = ("_taken",)

    def __init__(self, length: int) -> None:
        self._taken = bytearray(length)

    def take(self, index: int) -> None:
        """Mark an event as reproduced."""
        self._taken[index] = 1

    def take_until(self, node: Node, index: int) -> list[int]:
        """Mark what a call did up to ``index``, its nested calls included, and return what was left of that."""
        taken = [own for own in node.own if own <= index and not self._taken[own]]
        for own in taken:
            self.take(own)
            if own in node.children:
                taken = taken + self.take_until(node.children[own], len(self._taken))
        return taken

    def is_taken(self, index: int) -> bool:
        """Whether an event was reproduced."""
        return bool(self._taken[index])

    def next_own(self, node: Node) -> int | None:
        """The first of a node's own events that is left. Amortised O(1): ``node.passed`` remembers the prefix."""
        while node.passed < len(node.own) and self._taken[node.own[node.passed]]:
            node.passed += 1
        return node.own[node.passed] if node.passed < len(node.own) else None

    def left(self, node: Node) -> Iterator[int]:
        """What is left of a node's own events, lazily: callers look at the first few."""
        self.next_own(node)
        return (node.own[at] for at in range(node.passed, len(node.own)) if not self._taken[node.own[at]])

    def next_child(self, node: Node) -> int | None:
        """The first call of this node that was not dispatched yet."""
        return next((index for index in node.children if not self._taken[index]), None)

    def first_left(self, start: int) -> int:
        """The first event from ``start`` on that is left; the length if none is."""
        index = self._taken.find(0, start)
        return index if index >= 0 else len(self._taken)

    def after(self, node: Node) -> int:
        """Where a node that has nothing left goes on: at what was not reproduced yet, or past the end."""
        return self.first_left(node.own[-1] + 1 if node.own else 0)
