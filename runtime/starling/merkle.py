"""The Merkle root that a run's terminal event commits, for producers of logs other than the agent.

A leaf is the hash of an event's envelope. The root stored in a terminal event covers every event before it:
``root(event_hashes(events[:-1]))``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import event_hash
from starling.event._merkle import root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starling.event import Event

__all__ = ["event_hashes", "root"]


def event_hashes(events: Iterable[Event]) -> list[bytes]:
    """Return the BLAKE3 hash of each event's envelope, in order: the leaves for `root`."""
    return [event_hash(event) for event in events]
