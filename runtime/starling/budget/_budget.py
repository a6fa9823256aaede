"""The limits of a run, as a value that is valid once built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling.errors import AgentConfigError

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Four limits on a run; zero switches one off (seed: "Bound your costs").

    Tokens and money count over the whole run, resumed parts included; the wall clock starts anew with a resume.

    Attributes:
        max_input_tokens: estimated prompt tokens, checked before each model call.
        max_output_tokens: tokens produced, checked on each usage report of a stream.
        max_usd: US dollars, checked on each usage report. Models without a price, whose vendor states no cost, are not
            limited by it, so set a token limit besides.
        max_wall_clock: seconds, or a `datetime.timedelta` (stored as seconds), from the start of the run to its end.

    Raises:
        AgentConfigError: a limit is negative, not finite or not a number; ``field`` names it.
    """

    max_input_tokens: int = 0
    max_output_tokens: int = 0
    max_usd: float = 0.0
    max_wall_clock: float | timedelta = 0.0

    def __post_init__(self) -> None:
        """Check every limit and bring both numbers to floats."""
        for name in ("max_input_tokens", "max_output_tokens"):
            _check_tokens(name, getattr(self, name))
        for name in ("max_usd", "max_wall_clock"):
            # Frozen: a timedelta and its seconds must be the same budget, so one form is stored.
            object.__setattr__(self, name, _amount(name, getattr(self, name)))

    @property
    def wall_clock_s(self) -> float:
        """The wall clock limit in seconds, 0.0 if there is none."""
        return _seconds(self.max_wall_clock)

    @property
    def wall_clock_ms(self) -> int:
        """The wall clock limit as RunStarted holds it: whole milliseconds, 0 only if there is none."""
        seconds = self.wall_clock_s
        return max(1, round(seconds * 1000)) if seconds else 0


def _seconds(value: float | timedelta) -> float:
    return float(value) if isinstance(value, int | float) else value.total_seconds()


def _check_tokens(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise AgentConfigError(
            f"Budget.{name} must be a whole number of tokens, got {value!r}; use 0 for no limit", field=name
        )
    if value < 0:
        raise AgentConfigError(f"Budget.{name} must not be negative, got {value}; use 0 for no limit", field=name)


def _amount(name: str, value: object) -> float:
    total_seconds = getattr(value, "total_seconds", None) if name == "max_wall_clock" else None
    number = total_seconds() if total_seconds is not None else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise AgentConfigError(f"Budget.{name} must be a number, got {value!r}; use 0 for no limit", field=name)
    if not math.isfinite(number) or number < 0:
        raise AgentConfigError(
            f"Budget.{name} must be finite and not negative, got {value!r}; use 0 for no limit", field=name
        )
    return float(number)
