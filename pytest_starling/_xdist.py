"""What controller and workers of pytest-xdist tell each other. Outcomes travel on the reports themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_starling import _variable

if TYPE_CHECKING:
    import pytest

__all__ = ["is_worker", "prepare_worker", "taught_by_controller"]

_KEY = "starling_inherited"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for a controller."""
    return hasattr(config, "workerinput")


def prepare_worker(node: Any) -> None:
    """On the controller: tell a worker what the environment was before pytest began."""
    node.workerinput[_KEY] = _variable.inherited(node.config)


def taught_by_controller(config: pytest.Config) -> None:
    """On a worker: take the controller's word for what the environment was."""
    if is_worker(config):
        told: dict[str, Any] = getattr(config, "workerinput", {})
        _variable.inherits(config, told.get(_KEY))
