"""Which events may be appended to a run: pure rules, the same for every backend.

They guard the chain's links (run id, seq, prev_hash), which is what makes a tail a tail. What events mean, and in which
order kinds may come, is `starling.event.validate`'s business. Source: seed, "Persist runs".
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from starling.errors import InvalidAppendError
from starling.event import event_hash
from starling.eventlog._int64 import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event

__all__ = ["EMPTY_RUN", "Head", "Heads", "advanced_elsewhere", "continue_run", "head_of"]

_HEADS_KEPT = 1024
"""Runs whose head is remembered; a service's abandoned runs must not pile up."""
_LARGEST_KEPT = 1 << 16
"""Bytes of the payload of a head that is remembered; a larger one is read again."""


class Head(NamedTuple):  # one is made for every event: a frozen dataclass takes twice as long
    """The end of a run: the last event with its seq and hash, which the next event must continue."""

    seq: int
    hash: bytes | None
    event: Event | None


EMPTY_RUN = Head(seq=0, hash=None, event=None)
"""The head of a run without events. The first event continues it by having seq 1 and no prev_hash."""


def head_of(event: Event) -> Head:
    """The head of a run whose last event this is."""
    return Head(event.seq, event_hash(event), event)


class Heads:
    """The heads of the runs that are being written, so that an append reads nothing. Usable from several threads.

    A head is forgotten before an append and remembered after it, since it is unknown while that is under way. One that
    is out of date does no harm: the storage has the last word.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, Head] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, run_id: str) -> Head | None:
        """The run's head, if it is known."""
        return self._heads.get(run_id)

    def forget(self, run_id: str) -> None:
        """It is unknown from now on."""
        with self._lock:
            self._heads.pop(run_id, None)

    def forget_all(self) -> None:
        """All of them are."""
        with self._lock:
            self._heads.clear()

    def remember(self, run_id: str, head: Head) -> None:
        """It is known now, in the place of the run that was written longest ago if there are many."""
        if head.event is not None and len(head.event.payload) > _LARGEST_KEPT:
            return
        with self._lock:
            if len(self._heads) >= _HEADS_KEPT:
                del self._heads[next(iter(self._heads))]
            self._heads[run_id] = head


def advanced_elsewhere(path: str, run_id: str, seq: int) -> InvalidAppendError:
    """The error of an append that another process was quicker than."""
    return InvalidAppendError(
        f"{path}: run {run_id} was changed by another process before seq {seq} could be written; nothing was written. "
        "Let one process at a time write a run",
        path=path,
        run_id=run_id,
        seq=seq,
    )


def continue_run(run_id: str, head: Head, events: Sequence[Event]) -> Head:
    """The head after ``events`` were appended to a run that ends in ``head``.

    Raises:
        InvalidAppendError: they do not continue it; the text names the first one that does not, and why.
    """
    if head.seq == 0:  # else it is the id of a run that was stored
        _check_run_id(run_id)
    for event in events:
        fault = _fault(run_id, head, event)
        if fault:
            raise InvalidAppendError(f"run {run_id}: {fault}; nothing was written", run_id=run_id, seq=event.seq)
        head = Head(event.seq, event_hash(event), event)
    return head


def _check_run_id(run_id: str) -> None:
    if not run_id:
        raise InvalidAppendError("append needs a run id, got an empty one", run_id=run_id)
    if not _is_storable_text(run_id):
        raise InvalidAppendError(f"run id {run_id!r} holds a lone surrogate and has no UTF-8 form", run_id=run_id)


def _fault(run_id: str, head: Head, event: Event) -> str:
    if event.run_id != run_id:
        return f"the event belongs to run {event.run_id!r}" if event.run_id else "the event has an empty run id"
    if event.seq != head.seq + 1:
        return _seq_fault(head, event)
    if event.prev_hash != head.hash:
        return _prev_hash_fault(head)
    if not INT64_MIN <= event.ts <= INT64_MAX:
        return f"seq {event.seq}: ts {event.ts} does not fit 64 bits"
    if not 0 <= event.kind <= INT64_MAX:
        return f"seq {event.seq}: kind {event.kind} is negative or does not fit 64 bits"
    return ""


def _seq_fault(head: Head, event: Event) -> str:
    if head.seq == 0:
        return f"the first event must have seq 1, got {event.seq}"
    return f"expected seq {head.seq + 1}, got {event.seq}"


def _prev_hash_fault(head: Head) -> str:
    if head.seq == 0:
        return "the first event must have no prev_hash"
    return f"prev_hash of seq {head.seq + 1} is not the hash of seq {head.seq}"


def _is_storable_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
