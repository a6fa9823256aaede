"""The record of an effect that was asked for and has no outcome: it was cut off, or its call ended without it.

It keeps the numbers of later requests right, and on replay the code waits there again for what cut it off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import EffectError
from starling.event import SideEffectRecorded as Effect

if TYPE_CHECKING:
    from starling.event import Payload

__all__ = ["ABANDONED", "cut_off", "is_abandoned", "is_cut_off", "left_behind"]

ABANDONED = "starling/abandoned"
"""Stands for the type of the exception that such an effect raised."""

_LEFT_BEHIND = "left behind"
_NONE = EffectError(type="", message="")


def cut_off(call_id: str, name: str) -> Effect:
    """The record of an effect that was cancelled: a timeout expired, a sibling failed, a race was lost."""
    return _abandoned(call_id, name, "")


def left_behind(call_id: str, name: str) -> Effect:
    """The record of an effect that was still going on when its call ended."""
    return _abandoned(call_id, name, _LEFT_BEHIND)


def _abandoned(call_id: str, name: str, message: str) -> Effect:
    return Effect(name=name, value=None, call_id=call_id, error=EffectError(type=ABANDONED, message=message))


def is_abandoned(payload: Payload) -> bool:
    """Whether an event is either record."""
    return _error(payload).type == ABANDONED


def is_cut_off(payload: Payload) -> bool:
    """Whether an event is the record of an effect that something cancelled."""
    error = _error(payload)
    return error.type == ABANDONED and error.message != _LEFT_BEHIND


def _error(payload: Payload) -> EffectError:
    return payload.error if isinstance(payload, Effect) and payload.error is not None else _NONE
