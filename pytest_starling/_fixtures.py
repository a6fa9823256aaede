"""The fixtures that tests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_starling._session import GOLDEN, GoldenItem, golden_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starling import Agent, RunResult, SQLiteLog
    from starling.event import Event
    from starling.testing import ScriptedProvider

__all__ = ["GoldenRun", "SeenRun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """One run that a golden test made.

    Attributes:
        run_id: the run; on replay the recorded one's id.
        events: what it wrote so far. On replay: the recording's.
    """

    run_id: str
    events: tuple[Event, ...]

    @property
    def result(self) -> RunResult | None:
        """What the run came to; None while it is under way."""
        from pytest_starling._results import result_of_events

        return result_of_events(self.events)


class GoldenRun:
    """What is recorded or replayed in this test. Call it to run an agent explicitly."""

    def __init__(self, golden: GoldenItem) -> None:
        self._golden = golden

    def __repr__(self) -> str:
        return f"<golden_run: {self.mode} {self._golden.shown_path}>"

    @property
    def mode(self) -> Literal["record", "replay"]:
        """Whether this test is being recorded or replayed."""
        attempt = self._golden.attempt
        return "record" if attempt is not None and not attempt.replaying else "replay"

    @property
    def path(self) -> Path:
        """The fixture's file, there or not."""
        return self._golden.path

    @property
    def runs(self) -> tuple[SeenRun, ...]:
        """The runs that were started so far, in order."""
        attempt = self._golden.attempt
        return tuple(SeenRun(run_id=run.run_id, events=run.events) for run in attempt.runs) if attempt else ()

    def __call__(self, agent: Agent, goal: str) -> RunResult:
        """Run an agent: `starling.Agent.run_sync`, recorded or replayed like any other run of this test."""
        return agent.run_sync(goal)

    async def arun(self, agent: Agent, goal: str) -> RunResult:
        """Run an agent: `starling.Agent.run`."""
        return await agent.run(goal)


@pytest.fixture
def golden_run(request: pytest.FixtureRequest) -> GoldenRun:
    """The golden run of this test: its mode, its file, the runs it made."""
    return GoldenRun(_required(request, "golden_run"))


@pytest.fixture
def golden_run_dir(request: pytest.FixtureRequest) -> Path:
    """The folder in which this test's fixture is kept. Override it for a package, a module or a class."""
    return request.config.stash[GOLDEN].settings.folder


@pytest.fixture
def golden_run_config() -> Mapping[str, Any]:
    """Arguments of the ``golden_run`` marker that hold where the marker is silent. Override it to set some."""
    return {}


@pytest.fixture
def _starling_open(request: pytest.FixtureRequest, golden_run_dir: Path, golden_run_config: Mapping[str, Any]) -> None:
    """Golden tests ask for this first: it opens the recording before any other fixture can start a run."""
    attempt = _required(request, "_starling_open").attempt
    assert attempt is not None, "setup has begun it"
    attempt.load(Path(golden_run_dir), golden_run_config)


@pytest.fixture
def scripted_provider() -> ScriptedProvider:
    """A provider that says what the test writes down: ``scripted_provider.text("hi")``."""
    from starling.testing import ScriptedProvider

    return ScriptedProvider()


@pytest.fixture
def starling_log(tmp_path: Path) -> Iterator[SQLiteLog]:
    """An event log in a temporary SQLite file, closed at the end."""
    from starling import SQLiteLog

    log = SQLiteLog(tmp_path / "starling.db")
    yield log
    log.close_sync()


def _required(request: pytest.FixtureRequest, fixture: str) -> GoldenItem:
    golden = golden_item(request.node) if isinstance(request.node, pytest.Item) else None
    if golden is None:
        pytest.fail(
            f"{request.node.nodeid} asks for the fixture {fixture}, but is no golden test: mark it with "
            "@pytest.mark.golden_run",
            pytrace=False,
        )
    return golden
