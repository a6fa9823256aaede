"""How far a replay has got: which recorded events were reproduced, asked by owner. Indexes in, indexes out."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.step._tree import Node

__all__ = ["Progress"]


class Progress:
    """Which events of a recording of this length were reproduced.

    Asking is amortised O(1): each node remembers a prefix in which nothing is left. Reading is thread-safe, because an
    older prefix that overwrites a newer one is still right; who acts on the answer holds a lock.
    """

    __slots__ = ("_taken",)

    def __init__(self, length: int) -> None:
        self._taken = bytearray(length)

    def take(self, index: int) -> None:
        """Mark an event as reproduced."""
        self._taken[index] = 1

    def take_until(self, node: Node, index: int) -> list[int]:
        """Mark what a call did up to ``index``, its nested calls included, and return what was left of that."""
        taken: list[int] = []
        pending = [(node, index)]
        while pending:
            call, last = pending.pop()
            for own in takewhile(last.__ge__, self.left(call)):
                self.take(own)
                taken.append(own)
                if own in call.children:
                    pending.append((call.children[own], len(self._taken)))
        return taken

    def is_taken(self, index: int) -> bool:
        """Whether an event was reproduced."""
        return bool(self._taken[index])

    def next_own(self, node: Node) -> int | None:
        """The first of a node's own events that is left."""
        own, at, taken = node.own, node.passed, self._taken
        while at < len(own) and taken[own[at]]:  # `_skip_taken`, but for the call: this is asked for every event
            at += 1
        node.passed = at
        return own[at] if at < len(own) else None

    def left(self, node: Node) -> Iterator[int]:
        """What is left of a node's own events, lazily: callers look at the first few."""
        node.passed = self._skip_taken(node.own, node.passed)
        return self._left(node.own, node.passed)

    def next_child(self, node: Node) -> int | None:
        """The first call of this node that was not dispatched yet."""
        node.dispatched = at = self._skip_taken(node.calls, node.dispatched)
        return node.calls[at] if at < len(node.calls) else None

    def children_left(self, node: Node) -> Iterator[int]:
        """The calls of this node that were not dispatched yet, lazily as in `left`."""
        node.dispatched = self._skip_taken(node.calls, node.dispatched)
        return self._left(node.calls, node.dispatched)

    def overtaken(self, node: Node, index: int) -> bool:
        """Whether this call, or one it made, has reproduced something that was recorded after ``index``.

        Then its strands run in another order today, and ``index`` may be on its way. O(the call); asked only where
        an order does not fit.
        """
        pending = [node]
        while pending:
            call = pending.pop()
            if any(own > index and self._taken[own] for own in call.own):
                return True
            pending.extend(call.children.values())
        return False

    def _skip_taken(self, indexes: Sequence[int], start: int) -> int:
        while start < len(indexes) and self._taken[indexes[start]]:
            start += 1
        return start

    def _left(self, indexes: Sequence[int], start: int) -> Iterator[int]:
        return (indexes[at] for at in range(start, len(indexes)) if not self._taken[indexes[at]])

    def first_left(self, start: int) -> int:
        """The first event from ``start`` on that is left; the length if none is."""
        index = self._taken.find(0, start)
        return index if index >= 0 else len(self._taken)
