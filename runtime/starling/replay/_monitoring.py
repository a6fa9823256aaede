"""Seeing calls with `sys.monitoring`, from Python 3.12 on.

Strategy: the few functions written in Python that matter announce themselves (local events), so that all others run at
full speed. Functions written in C cannot; calls of them are seen where they stand, in all threads, and a place in code
that does not matter is never heard of again once it was. Tracers and profilers have tools of their own.

Two of the interpreter's tools have no purpose of their own; where both are in use, this way is closed.
"""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, MethodDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType

    from starling.replay._audience import Audience

__all__ = ["Monitoring"]

_UNNAMED_TOOLS = (4, 3)


class Monitoring:
    """Our tool, as long as there is anybody to tell."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._monitoring: Any = getattr(sys, "monitoring", None)  # typed for 3.11, which has none
        self._tool: int | None = None
        self._codes: dict[int, CodeType] = {}

    def follow(self) -> bool:
        """See what today's audience wants to hear of, in all threads; False if that cannot be done in this way."""
        watched = bool(self._audience.watchers)
        if self._tool is None and not (watched and self._begin()):
            return False
        if self._codes is self._audience.codes:
            return True
        self._listen_to(self._audience.codes)
        if watched:
            self._monitoring.restart_events()  # in places that did not matter to the audience before
        else:
            self._end()
        return True

    def _begin(self) -> bool:
        monitoring = self._monitoring
        free = (tool for tool in _UNNAMED_TOOLS if monitoring and monitoring.get_tool(tool) is None)
        self._tool = next(free, None)
        if self._tool is None:
            return False
        monitoring.use_tool_id(self._tool, "starling")
        monitoring.register_callback(self._tool, monitoring.events.CALL, self._callback())
        monitoring.register_callback(self._tool, monitoring.events.PY_START, self._entered)
        monitoring.set_events(self._tool, monitoring.events.CALL)
        return True

    def _end(self) -> None:
        monitoring, tool = self._monitoring, self._tool
        monitoring.set_events(tool, 0)
        for event in (monitoring.events.CALL, monitoring.events.PY_START):
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)
        self._tool = None

    def _listen_to(self, codes: dict[int, CodeType]) -> None:
        """Have these functions announce themselves, and no others."""
        announced = self._monitoring.events.PY_START
        for key in self._codes.keys() - codes.keys():
            self._monitoring.set_local_events(self._tool, self._codes[key], 0)
        for key in codes.keys() - self._codes.keys():
            self._monitoring.set_local_events(self._tool, codes[key], announced)
        self._codes = codes

    def _entered(self, _code: CodeType, _offset: int) -> None:
        self._audience.entered(sys._getframe(1))

    def _callback(self) -> Any:
        """What is called for every call in the project's code, so that the order of its questions is what it costs."""
        audience, silent, caller = self._audience, self._monitoring.DISABLE, sys._getframe

        def called(code: CodeType, _offset: int, function: Any, first: Any) -> Any:
            if not audience.hears(code.co_filename):
                return silent
            kind = type(function)
            if kind is BuiltinFunctionType:
                if function.__name__ in audience.names:
                    audience.called(function, caller(1))
            elif kind is MethodDescriptorType and function.__name__ in audience.names:
                bound = _bound(function, first)
                if bound is not None:
                    audience.called(bound, caller(1))
            return None

        return called


def _bound(method: MethodDescriptorType, instance: Any) -> BuiltinFunctionType | None:
    """A method as a profile function is told of it; None if the call is going to be refused."""
    return method.__get__(instance) if isinstance(instance, method.__objclass__) else None
