"""Hooks of pytest-starling, for conftest files and other plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import os

    from starling import Divergence
    from starling.event import Kind, Payload

__all__ = ["pytest_starling_divergence", "pytest_starling_fixture_path", "pytest_starling_redact"]


@pytest.hookspec(firstresult=True)
def pytest_starling_fixture_path(item: pytest.Item) -> str | os.PathLike[str] | None:
    """Say where the fixture of a golden test is kept; None leaves the decision to others.

    A relative path starts at the directory of the configuration file. Asked once per test, after collection; the
    marker's ``path`` argument goes before it.
    """


@pytest.hookspec
def pytest_starling_redact(kind: Kind, payload: Payload) -> Payload | None:
    """Return a payload of a run as it may be kept, or None where there is nothing to redact.

    Asked at saving for each payload of a recording, and on replay for what today's code produces, before that is
    compared with the recording. Return another payload of the same kind, made with ``dataclasses.replace``. Texts and
    free-form values may be rewritten; ids, names and counts hold the run together and may not. Hashes follow by
    themselves. Decide by content: a text that the model is told, or that a tool returns, stands in several payloads.
    What was put in must be left as it is when it is seen again.

    Args:
        kind: what the payload records. payload: a value of `starling.event`, with plain data.
    """


@pytest.hookspec
def pytest_starling_divergence(item: pytest.Item, divergence: Divergence) -> None:
    """A golden test diverged from its recording. Called once per divergence, the first cause first.

    Not called for the trial replay with which ``--record-golden`` finds out what has to be recorded.
    """
