"""The environment variable that tells this process and its children that they replay.

Its name and values are those of `starling.ambient.REPLAY_VARIABLE`, written out here because a session without golden
tests must not import the runtime.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACTIVE", "READY", "VARIABLE", "announce", "inherited", "inherits", "set_to", "withdraw"]

VARIABLE = "STARLING_REPLAY"
READY = "ready"
"""Adapters may be built without a key."""
ACTIVE = "active"
"""Besides, no provider may be reached."""

_INHERITED = pytest.StashKey[str | None]()


def announce(config: pytest.Config) -> None:
    """Let agents be built without keys while test modules are imported; what stood there comes back at the end."""
    if _INHERITED in config.stash:
        return
    config.stash[_INHERITED] = os.environ.get(VARIABLE)
    os.environ.setdefault(VARIABLE, READY)
    config.add_cleanup(lambda: withdraw(config))


def withdraw(config: pytest.Config) -> None:
    """Give the variable the value that it had before pytest began."""
    _assign(inherited(config))


def inherited(config: pytest.Config) -> str | None:
    """The variable's value before pytest began."""
    return config.stash.get(_INHERITED, None)


def inherits(config: pytest.Config, value: str | None) -> None:
    """Correct what was found at the start: a worker process finds its controller's announcement."""
    config.stash[_INHERITED] = value


@contextmanager
def set_to(value: str | None) -> Iterator[None]:
    """Give the variable a value (None: remove it) for a while."""
    before = os.environ.get(VARIABLE)
    _assign(value)
    try:
        yield
    finally:
        _assign(before)


def _assign(value: str | None) -> None:
    if value is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = value
