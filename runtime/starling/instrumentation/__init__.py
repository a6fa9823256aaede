"""What a run tells whoever measures it: one protocol, and a form that does nothing.

Strategy: the runtime calls plain methods with plain values; which metrics library they end up in is the business of
whoever implements the protocol. Labels and meanings follow the seed's table "Operations, Metrics".
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Metrics", "NoMetrics"]


@runtime_checkable
class Metrics(Protocol):
    """Receives what happens in runs. Called on the run's event loop; must not block or raise. Seconds throughout."""

    def run_started(self) -> None:
        """A run began or was resumed."""
        ...

    def run_ended(self, status: str, error_type: str, duration_s: float) -> None:
        """A run ended. ``status`` is ``completed``, ``failed`` or ``cancelled``."""
        ...

    def provider_called(self, model: str, status: str, duration_s: float) -> None:
        """A model call ended. ``status`` is ``ok`` or ``error``."""
        ...

    def tokens_used(self, model: str, kind: str, count: int) -> None:
        """Tokens of one model call. ``kind`` is ``input``, ``output``, ``cache_read`` or ``cache_create``."""
        ...

    def tool_called(self, tool: str, status: str, error_type: str, duration_s: float) -> None:
        """An attempt of a tool call ended. ``status`` is ``ok`` or ``error``."""
        ...

    def budget_exceeded(self, axis: str) -> None:
        """A budget axis tripped."""
        ...


class NoMetrics:
    """Measures nothing."""

    def run_started(self) -> None:
        """Do nothing."""

    def run_ended(self, status: str, error_type: str, duration_s: float) -> None:
        """Do nothing."""

    def provider_called(self, model: str, status: str, duration_s: float) -> None:
        """Do nothing."""

    def tokens_used(self, model: str, kind: str, count: int) -> None:
        """Do nothing."""

    def tool_called(self, tool: str, status: str, error_type: str, duration_s: float) -> None:
        """Do nothing."""

    def budget_exceeded(self, axis: str) -> None:
        """Do nothing."""
