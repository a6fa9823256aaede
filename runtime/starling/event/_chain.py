"""Appending to a run: each event gets its seq, its link to the one before, and its leaf of the Merkle tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from starling.event._codec import encode_payload
from starling.event._envelope import Event, Linker, event_hash
from starling.event._merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starling.event._payloads import Payload

__all__ = ["Chain"]

_MANY_LEAVES = 256
"""Folded at a time: one by one costs more, and takes its time whenever an event is emitted."""


class Chain:
    """The growing end of one run's chain. Pure: no clock and no IO; not thread-safe.

    It links whatever it is given; which kinds may follow each other is `Lifecycle`'s business. The leaves are kept, so
    that a terminal's root needs no second look at the log: a run of n events costs O(n). Whoever calls `fold` now and
    then keeps O(log n) of them.

    Args:
        run_id: the run.
        head: the last event that exists already; None for a new run.
        leaves: the hash of every event up to and including ``head``, in order. The list is copied.

    Raises:
        ValueError: ``head`` is of another run, or ``leaves`` are not as many as its seq.
    """

    __slots__ = ("_folded", "_head_hash", "_leaves", "_linker", "_next_seq", "_run_id")

    def __init__(self, run_id: str, *, head: Event | None = None, leaves: list[bytes] | None = None) -> None:
        length = head.seq if head else 0
        if head and head.run_id != run_id:
            raise ValueError(f"head is of run {head.run_id!r}, not {run_id!r}")
        if len(leaves or ()) != length:
            raise ValueError(f"{len(leaves or ())} leaves for a chain of {length} events; use Chain.resume(events)")
        self._run_id = run_id
        self._linker = Linker(run_id)
        self._leaves = list(leaves or ())
        self._folded = Frontier()
        self._next_seq = length + 1
        self._head_hash = self._leaves[-1] if self._leaves else None

    @classmethod
    def resume(cls, events: Iterable[Event]) -> Self:
        """Return the chain that goes on after ``events``, all of a run in order.

        Raises:
            ValueError: there are none, or they are not seq 1 to n of one run.
        """
        run = list(events)
        if not run:
            raise ValueError("no events to go on from; use Chain(run_id)")
        if any(event.seq != at or event.run_id != run[0].run_id for at, event in enumerate(run, start=1)):
            raise ValueError(f"the events are not seq 1 to {len(run)} of run {run[0].run_id!r}")
        return cls(run[-1].run_id, head=run[-1], leaves=[event_hash(event) for event in run])

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run_id

    @property
    def next_seq(self) -> int:
        """The seq that the next event will get."""
        return self._next_seq

    @property
    def head_hash(self) -> bytes | None:
        """Hash of the last event; None before the first."""
        return self._head_hash

    def append(self, payload: Payload, ts: int) -> Event:
        """Link ``payload`` to the chain, stamped with ``ts`` (Unix nanoseconds), and return its event.

        Raises:
            UnencodableValueError: see `encode_payload`; the chain is then as it was.
        """
        event, self._head_hash = self._linker.link(
            self._next_seq, self._head_hash, ts, payload.KIND, encode_payload(payload)
        )
        self._leaves.append(self._head_hash)
        self._next_seq += 1
        return event

    def fold(self) -> None:
        """Fold the leaves into the nodes above them if they are many, so that a long run does not keep them all.

        Not done by `append`, which code may be waiting for in line.
        """
        if len(self._leaves) >= _MANY_LEAVES:
            self._folded.fold(self._leaves)
            self._leaves.clear()

    def root(self) -> bytes:
        """Return the Merkle root over all events so far: what a terminal event appended now must hold.

        O(n) in the leaves that were not folded.
        """
        return self._folded.root(self._leaves)
