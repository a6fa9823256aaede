"""ULIDs: the ids of runs, turns and minted tool calls (26 characters, Crockford base 32, time first).

Reads the clock and the system's randomness, so only `starling.step` and the edges call it.
"""

from __future__ import annotations

__all__ = ["new"]


def new() -> str:
    """Return a fresh ULID. Two made within one millisecond are not ordered."""
    from ulid import ULID  # imported late: `import starling` stays light

    return str(ULID())
