"""How calls of a tool are made: retries, pauses and time limit, declared where the tool is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from starling.errors import AgentConfigError

__all__ = ["Backoff", "CallPolicy", "default_backoff"]

Backoff: TypeAlias = Callable[[int], float]
"""From the number of the attempt that failed, from 1, to the pause before the next one in seconds."""

_FIRST_PAUSE_S = 0.1
_JITTER = 0.25
_LONGEST_PAUSE_S = 10.0
_DOUBLINGS = 10  # 0.1 s doubled ten times is far past the cap; more would only overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """The optional attributes of a tool.

    Attributes:
        idempotent: calling it twice does no more than calling it once. Required for retries.
        max_attempts: how often a call is tried while it raises `TransientToolError`, the first time included.
        backoff: the pause between attempts; None is `default_backoff`.
        timeout: seconds that one attempt may take; None is no limit.

    Raises:
        AgentConfigError: the values make no sense, or ``max_attempts > 1`` without ``idempotent``.
    """

    idempotent: bool = False
    max_attempts: int = 1
    backoff: Backoff | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Check the values against each other."""
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise _wrong("max_attempts", f"must be a whole number from 1, got {self.max_attempts!r}")
        if self.max_attempts > 1 and not self.idempotent:
            raise _wrong(
                "max_attempts",
                f"is {self.max_attempts}, but only idempotent tools are tried again; "
                "declare idempotent=True if calling twice does no harm",
            )
        if self.backoff is not None and not callable(self.backoff):
            raise _wrong("backoff", f"must be a function from attempt to seconds, got {self.backoff!r}")
        if self.timeout is not None and not _is_duration(self.timeout):
            raise _wrong("timeout", f"must be a positive number of seconds, or None; got {self.timeout!r}")


def default_backoff(attempt: int, rand: Callable[[], float] = random.random) -> float:
    """100 ms after the first attempt, doubled after each, 25 % jitter either way, never above 10 s.

    Args:
        attempt: the attempt that failed, from 1.
        rand: a source of numbers in [0, 1).

    Returns:
        Seconds.
    """
    pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(max(attempt - 1, 0), _DOUBLINGS))
    return min(_LONGEST_PAUSE_S, pause * (1 + _JITTER * (2 * rand() - 1)))


def _is_duration(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value) and value > 0


def _wrong(field: str, problem: str) -> AgentConfigError:
    return AgentConfigError(f"{field} {problem}", field=field)
