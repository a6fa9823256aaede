"""What a test is given as ``golden_run``: the session of this test, as far as a test should see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_starling._results import result_of_events

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_starling._session import GoldenItem
    from starling import Agent, RunResult
    from starling.event import Event

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

    @property
    def transcript(self) -> str:
        """What was said and done in the runs so far, as text for a snapshot.

        Ids, times, token counts and costs are left out, so that a snapshot differs only where the conversation does.
        """
        from starling.replay import transcript

        texts = [transcript(run.events) for run in self.runs]
        return texts[0] if len(texts) == 1 else "\n\n".join(f"# run {n}\n{text}" for n, text in enumerate(texts, 1))

    def __call__(self, agent: Agent, goal: str) -> RunResult:
        """Run an agent: `starling.Agent.run_sync`, recorded or replayed like any other run of this test."""
        return agent.run_sync(goal)

    async def arun(self, agent: Agent, goal: str) -> RunResult:
        """Run an agent: `starling.Agent.run`."""
        return await agent.run(goal)
