"""Remembering something about objects that need not be hashable, for as long as they live."""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

__all__ = ["ByIdentity"]

T = TypeVar("T")


class ByIdentity(Generic[T]):
    """A mapping whose keys are the objects themselves, held weakly."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[Any], T]] = {}

    def __setitem__(self, one: Any, value: T) -> None:
        key = id(one)
        self._kept[key] = weakref.ref(one, lambda _: self._kept.pop(key, None)), value

    def get(self, one: Any) -> T | None:
        """What is known about an object; None if it has never been put in."""
        _, value = self._kept.get(id(one), (None, None))
        return value
