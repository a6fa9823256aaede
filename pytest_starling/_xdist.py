"""What controller and workers of pytest-xdist tell each other. Outcomes travel on the reports themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_starling import _variable

if TYPE_CHECKING:
    import pytest

__all__ = ["prepare_worker", "taught_by_controller", "tell_controller"]

_KEY = "starling_inherited"


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
