"""What a database's integers hold. Whoever asks for more gets an answer, not a driver's error."""

from __future__ import annotations

__all__ = ["INT64_MAX", "INT64_MIN", "within_int64"]

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


def within_int64(number: int) -> int:
    """The number, or the nearest one that a seq or a ts can be: everything comes after it, or before."""
    return min(max(number, INT64_MIN), INT64_MAX)
