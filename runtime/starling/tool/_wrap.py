"""Middleware around a tool: the model sees the same tool, the call takes another path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starling.tool._protocol import Execute, Middleware, Tool

__all__ = ["wrap"]


class _WrappedTool:
    """A tool whose calls run through middleware. Every other attribute is the inner tool's."""

    __slots__ = ("_execute", "_tool")

    def __init__(self, tool: Tool, execute: Execute) -> None:
        self._tool = tool
        self._execute = execute

    def __getattr__(self, name: str) -> Any:
        # A private name that is missing here is missing: looking it up in _tool would recurse while copying.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._tool, name)

    def __repr__(self) -> str:
        return f"wrap({self._tool!r})"

    @property
    def name(self) -> str:
        return self._tool.name

    @property
    def description(self) -> str:
        return self._tool.description

    @property
    def schema(self) -> str:
        return self._tool.schema

    async def execute(self, args: Any) -> Any:
        return await self._execute(args)


def wrap(tool: Tool, *middleware: Middleware) -> Tool:
    """Put middleware around a tool's `execute`; the last one passed runs first.

    Each is called once, here, with the call path inside of it, and returns the path to take instead: it may look at
    or change arguments and results, raise, or answer without calling the inner path. Name, description, schema and
    the policy attributes stay the tool's.

    Example:
        def timed(inner):
            async def execute(args):
                start = step.now()
                result = await inner(args)
                log.info("took %s", step.now() - start)
                return result
            return execute

        audited = wrap(lookup, timed, authorised)  # authorised, then timed, then lookup

    Args:
        tool: any tool, also one that is wrapped already.
        middleware: functions from the inner call path to the outer one.

    Returns:
        A tool; the one given is not changed.
    """
    execute: Execute = tool.execute
    for layer in middleware:
        execute = layer(execute)
    return _WrappedTool(tool, execute)
