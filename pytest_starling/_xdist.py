"""What controller and workers of pytest-xdist tell each other. Outcomes travel on the reports themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_starling import _variable

if TYPE_CHECKING:
    import pytest

__all__ = [
    "is_worker",
    "prepare_worker",
    "taught_by_controller",
    "tell_at_end",
    "tell_controller",
    "told_by_worker",
]

_KEY = "starling_inherited"
_END = "starling_end"


def prepare_worker(node: Any) -> None:
    """On the controller: tell a worker what the environment was before pytest began."""
    node.workerinput[_KEY] = _variable.inherited(node.config)


def taught_by_controller(config: pytest.Config) -> None:
    """On a worker: take the controller's word for what the environment was."""
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    if told is not None:
        _variable.inherits(config, told.get(_KEY))


def tell_controller(session: pytest.Session, error: Exception) -> None:
    """On a worker: let the controller end with an error's text; it shows why a worker stopped, not what it raised."""
    if hasattr(session.config, "workerinput"):
        session.shouldstop = "\n".join(str(line) for line in error.args)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for a controller, which tells people about them."""
    return hasattr(config, "workerinput")


def tell_at_end(config: pytest.Config, told: dict[str, Any]) -> None:
    """On a worker: leave word for the controller, in plain data."""
    output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    output[_END] = told


def told_by_worker(node: Any) -> dict[str, Any] | None:
    """On the controller: what a worker left; None if it crashed, or had nothing to say."""
    told: dict[str, Any] | None = getattr(node, "workeroutput", {}).get(_END)
    return told
