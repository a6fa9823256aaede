"""A loop of the user's own around `starling.step`, recorded and replayed as an agent's is.

The loop is a coroutine function; what it takes from the world goes through `starling.step`, and what it dispatches are
the loop's tools. Everything around it is what `Agent` has: the journal, commits, budgets, sessions, the terminal event.
Source: seed, "step"; wire-format page, "a loop of a user's own".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from starling._cbor import written
from starling._version import RECORDED_AS
from starling.agent._blocking import run_blocking
from starling.agent._config import Config, check_run_id
from starling.agent._live import run_from
from starling.agent._recorded import replay_recorded
from starling.agent._wiring import Wiring, recordable, run_started
from starling.errors import AgentConfigError, LogError, ProviderError
from starling.event import RunResumed
from starling.instrumentation import NoMetrics
from starling.provider import ProviderInfo
from starling.step import _texts
from starling.step._frame import enclosing
from starling.step._interruption import Interruption
from starling.step._invoke import in_own_task, times_cancelled
from starling.step._replay import ReplayJournal
from starling.step._tail import TailJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from starling.agent._execute import Finished
    from starling.agent._recorded import Recording
    from starling.agent._result import RunResult
    from starling.budget import Budget
    from starling.event import Event, Payload, RunStarted
    from starling.eventlog import EventLog
    from starling.instrumentation import Metrics
    from starling.provider import Chunk, Provider, Request
    from starling.step import Divergence
    from starling.step._journal import Journal
    from starling.step._run import Run
    from starling.tool import Tool

__all__ = ["CustomLoop"]

_NOBODY = "none"
"""Provider and model of a loop that has none, as the original records it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomLoop:
    """A loop of your own as a run: recorded while it runs, and replayed by `starling.replay` and the pytest plugin.

    The loop's own code is compared in its order, as that of an agent is. What is to happen at the same time goes into
    one `step.call_tools`; side effects may be gathered among themselves. The loop must wait for what it starts: once it
    has returned, `starling.step` refuses its code.

    Such a run cannot be resumed, because nobody knows where in the loop it was. A process that was killed leaves an
    unfinished run in the log, which stays readable.

    Attributes:
        body: the loop; takes nothing and returns the final text. What it raises ends the run in RunFailed.
        log: where runs are written.
        goal: what the run is about; recorded first.
        tools: what the loop may dispatch, by name.
        provider: who answers `step.llm_call`, if the loop makes such calls.
        config: model, limits and so on, as for an agent; ``max_turns`` and ``tool_errors`` are the loop's own business.
        budget: limits on tokens, money and time.
        namespace: put before the run ids that are minted, with a slash.
        metrics: told what happens.
        started: recorded first in place of what follows from the other fields, but for the library's version.
    """

    body: Callable[[], Awaitable[str]]
    log: EventLog
    goal: str = ""
    tools: Sequence[Tool] = ()
    provider: Provider | None = None
    config: Config = field(default_factory=lambda: Config(model=_NOBODY))
    budget: Budget | None = None
    namespace: str = ""
    metrics: Metrics | None = None
    started: RunStarted | None = None

    async def run(self, run_id: str = "") -> RunResult:
        """Run the loop to its end and return what came of it.

        Args:
            run_id: an id that no run in the log has, taken as it is; minted when empty.

        Raises:
            AgentConfigError: the loop is wired wrongly; nothing was run.
            RunFailedError: the loop raised, or a budget tripped; a subclass says why.
            RunInUseError: the log holds a run of that id.
            LogWriteError: the log did not take an event.
            asyncio.CancelledError: after RunCancelled was written.
            NondeterminismError: only while a recording is replayed.
        """
        if run_id:
            check_run_id(run_id, "CustomLoop.run")
        wiring = self._wiring()
        return await run_from(wiring, self._started(wiring), run_id)

    def run_sync(self, run_id: str = "") -> RunResult:
        """`run`, blocking. Works with and without a running event loop in this thread; see `Agent.run_sync`."""
        return run_blocking(lambda: self.run(run_id))

    async def _replay(
        self,
        recording: Recording,
        observe: Callable[[Sequence[Event]], None] | None = None,
        watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    ) -> Finished:
        """Go through a recorded run, with today's goal. For `starling.replay`."""
        wiring = self._wiring()
        _refuse_seams(recording)
        return await replay_recorded(wiring, self._started(wiring), recording, observe=observe, watch=watch)

    def _wiring(self) -> Wiring:
        if not callable(self.body):
            raise AgentConfigError(
                f"starling: CustomLoop.body must be a coroutine function, got {type(self.body).__name__}", field="body"
            )
        return Wiring(
            provider=_Nobody() if self.provider is None else self.provider,
            config=self.config,
            log=self.log,
            tools=tuple(self.tools),
            budget=self.budget,
            namespace=self.namespace,
            metrics=self.metrics or NoMetrics(),
            body=lambda run: _carried_out(self._carry_out, run),
        )

    async def _carry_out(self) -> str:
        """The loop, entered from this module, by which `starling.replay` knows the user's code on the stack."""
        return await self.body()

    def _started(self, wiring: Wiring) -> RunStarted:
        wiring.check()
        if self.started is None:
            return run_started(wiring, self.goal)
        return recordable(replace(self.started, starling_version=RECORDED_AS))


async def _carried_out(body: Callable[[], Awaitable[str]], run: Run) -> str:
    """Run the loop to its final text. What failed in it ends the run, even if the loop caught that."""
    frame, _ = enclosing()
    assert frame is not None  # the run's own, see `_execute`
    cancels = times_cancelled()
    text: Any = None
    raised: BaseException | None = None
    try:
        text = await _until_stopped(body, run.journal)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised below, unless something else is
        raised = error
    finally:
        run.journal.close(frame)
    if times_cancelled() > cancels:
        raise asyncio.CancelledError from raised
    if frame.failure is not None:
        raise frame.failure
    if isinstance(raised, asyncio.CancelledError):  # nobody cancelled the run
        raise RuntimeError(_texts.said(raised) or _texts.CANCELLED) from raised  # noqa: TRY004 - it is no wrong type
    if raised is not None:
        raise raised
    if not isinstance(text, str):
        raise TypeError(_texts.no_final_text(type(text).__name__))
    return written(text)


async def _until_stopped(body: Callable[[], Awaitable[str]], journal: Journal) -> Any:
    """Run the loop; on replay no further than where the environment stopped the recorded one, whatever it waits for."""
    if not isinstance(journal, ReplayJournal | TailJournal):
        return await in_own_task(body)
    cancels = times_cancelled()
    try:
        return await in_own_task(body, until=lambda: journal.cut_off() is not None)
    except BaseException:
        end = journal.cut_off()
        if end is None or times_cancelled() > cancels:
            raise
        raise Interruption(end) from None


class _Nobody:
    """Stands where a loop has no provider."""

    def info(self) -> ProviderInfo:
        return ProviderInfo(id=_NOBODY, api_version="")

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        raise ProviderError(
            f"this loop has no provider, but asked for an answer of model {request.model!r}; pass "
            "CustomLoop(provider=...)"
        )
        yield


def _refuse_seams(recording: Recording) -> None:
    """Nobody knows where in a loop of the user's own a process was cut off."""
    for event, payload in zip(recording.events, recording.payloads, strict=True):
        if isinstance(payload, RunResumed):
            raise LogError(
                f"run {event.run_id} was resumed (RunResumed at seq {event.seq}), and a loop of your own cannot be "
                "entered in the middle. Nothing was run. Replay it with the agent that resumed it, or record the loop "
                "again",
                run_id=event.run_id,
                seq=event.seq,
            )
