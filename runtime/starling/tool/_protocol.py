"""What the agent needs of a tool, and of middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

__all__ = ["Execute", "Middleware", "Tool"]

Execute: TypeAlias = Callable[[Any], Awaitable[Any]]
"""What `Tool.execute` is: decoded JSON arguments in, JSON-able result out."""

Middleware: TypeAlias = Callable[[Execute], Execute]
"""Takes the call path inside of it and returns its own; it need not call the inner one."""


class Tool(Protocol):
    """Anything with these three attributes and this method.

    Use it directly for schemas made at run time; otherwise `starling.tool.tool` keeps schema and code together.
    Plain attributes will do, and so will these optional ones, which `starling.tool.call_policy` reads and explains:
    ``idempotent``, ``max_attempts``, ``backoff``, ``timeout``, ``schema_derived``.
    """

    @property
    def name(self) -> str:
        """The name the model calls it by, unique within an agent."""
        ...

    @property
    def description(self) -> str:
        """What the model is told of it."""
        ...

    @property
    def schema(self) -> str:
        """JSON Schema of the arguments, as text. Replay compares its bytes."""
        ...

    async def execute(self, args: Any) -> Any:
        """Do it.

        Args:
            args: the arguments as decoded JSON, most often a dict; the log has them already, so changing them in
                place has no effect there.

        Returns:
            Plain data, or what `starling.tool.to_plain` makes plain data of.

        Raises:
            ToolError: the call failed; the text is for the model. Any other exception does the same.
            TransientToolError: the same, and trying again may help.
        """
        ...
