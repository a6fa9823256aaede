"""The agent: configuration and dependencies, and every way to start it. Holds no state of a run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starling.agent._blocking import run_blocking
from starling.agent._config import check_run_id
from starling.agent._live import resume_run, run_goal
from starling.agent._recorded import Recording, replay_recorded
from starling.agent._stream import Done, news_of
from starling.agent._wiring import Wiring, asyncio_loop, run_started
from starling.instrumentation import NoMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from starling.agent._config import Config
    from starling.agent._execute import Finished
    from starling.agent._result import RunResult
    from starling.agent._stream import AgentEvent
    from starling.budget import Budget
    from starling.event import Event, Payload
    from starling.eventlog import EventLog
    from starling.instrumentation import Metrics
    from starling.provider import Provider
    from starling.step import Divergence
    from starling.tool import Tool

__all__ = ["Agent"]


class Agent:
    """An LLM agent whose every run is an append-only event log. Source: seed, "Build your first agent".

    Two agents that are wired alike are interchangeable: all state of a run lives in the log.

    Args:
        provider: who answers, such as `starling.provider.openai.OpenAI`.
        config: model, prompt and limits.
        log: where runs are written, such as `starling.SQLiteLog` or `starling.MemoryLog`.
        tools: what the model may call; their names must be unique.
        budget: limits on tokens, money and time.
        namespace: put before the run ids that `run` and the streams make, with a slash; must not contain one.
            `run_with_id` takes its id as it is.
        metrics: told what happens, see `starling.instrumentation.Metrics`.
    """

    def __init__(  # noqa: PLR0917 - the order is part of the public interface
        self,
        provider: Provider,
        config: Config,
        log: EventLog,
        tools: Iterable[Tool] = (),
        budget: Budget | None = None,
        namespace: str = "",
        metrics: Metrics | None = None,
    ) -> None:
        self.provider = provider
        self.config = config
        self.log = log
        self.tools = tuple(tools)
        self.budget = budget
        self.namespace = namespace
        self.metrics = metrics

    async def run(self, goal: str) -> RunResult:
        """Run to the end and return what came of it.

        Raises:
            AgentConfigError: the agent is wired wrongly; nothing was run.
            RunFailedError: the run ended in RunFailed; a subclass says why, ``.result`` holds what happened until then.
            LogWriteError: the log did not take an event; the run can be resumed.
            asyncio.CancelledError: after RunCancelled was written.
            NondeterminismError: only while a recording is replayed.
        """
        return await run_goal(self._wiring(), goal, "")

    async def run_with_id(self, run_id: str, goal: str) -> RunResult:
        """`run` under an id of the caller's, which no run in the log may have.

        The id is taken as it is, without the agent's namespace.

        Raises:
            AgentConfigError: the id is not one that every log can keep; nothing was run.
            RunInUseError: the log holds a run of that id.
        """
        check_run_id(run_id, "run_with_id")
        return await run_goal(self._wiring(), goal, run_id)

    def run_sync(self, goal: str) -> RunResult:
        """`run`, blocking. Works with and without a running event loop in this thread.

        Inside a running loop that loop waits too: a tool that needs it (a server on the caller's own loop) would wait
        for itself.
        """
        return run_blocking(lambda: self.run(goal))

    def run_with_id_sync(self, run_id: str, goal: str) -> RunResult:
        """`run_with_id`, blocking; see `run_sync`."""
        return run_blocking(lambda: self.run_with_id(run_id, goal))

    async def resume(self, run_id: str, extra_message: str = "", reissue_tools: bool = True) -> RunResult:
        """Go on with a run whose process ended before the run did. Source: seed, "Resume after crash".

        The conversation is rebuilt from the log and a RunResumed event marks the seam. What had finished is not done
        again: tool calls that have an outcome, and what calls that were cut off had recorded with `starling.step`
        (`side_effect`, `now`, `random`, nested calls). Calls that were cut off are issued again under fresh ids, calls
        that the model had planned and that never were issued are issued now. Turns, tokens and money are counted on;
        the wall clock starts anew. A model call that was cut off is made again; it does not count for
        ``Config.max_turns``.

        Args:
            run_id: as it is in the log, namespace included.
            extra_message: said to the model as the user, after the results of the turn that was cut off.
            reissue_tools: False refuses a run with calls that were cut off: they may have taken effect already.

        Raises:
            RunNotFoundError: the log holds no such run.
            RunAlreadyTerminalError: the run has ended.
            PartialToolCallError: calls were cut off, and ``reissue_tools`` is False; nothing was written.
            RunInUseError: another process goes on with it.
            SchemaVersionMismatchError: a newer version of the library wrote it.
            LogCorruptError: the log is damaged.

        Besides, whatever `run` raises.
        """
        return await resume_run(self._wiring(), run_id, extra_message, reissue_tools=reissue_tools)

    def resume_sync(self, run_id: str, extra_message: str = "", reissue_tools: bool = True) -> RunResult:
        """`resume`, blocking; see `run_sync`."""
        return run_blocking(lambda: self.resume(run_id, extra_message, reissue_tools))

    async def stream(self, goal: str) -> AsyncGenerator[Event, None]:
        """Run and yield every event once it is in the log, up to and including the terminal one.

        Closing the generator early cancels the run. Errors of the run are raised after its last event.
        """
        async with aclosing(self._observed(goal)) as items:
            async for item in items:
                if isinstance(item, Done):
                    if item.error is not None:
                        raise item.error
                else:
                    yield item

    async def run_stream(self, goal: str) -> AsyncGenerator[AgentEvent, None]:
        """Run and yield typed news: `TextDelta`, `ToolCallStarted`, `ToolCallEnded`, and one final `Done`.

        Errors of the run are not raised but carried by `Done`; closing the generator early cancels the run.
        """
        async with aclosing(self._observed(goal)) as items:
            async for item in items:
                news = item if isinstance(item, Done) else news_of(item)
                if news is not None:
                    yield news

    async def _observed(self, goal: str) -> AsyncGenerator[Event | Done, None]:
        """Events as they are committed, then one `Done`."""
        queue: asyncio.Queue[Event | Done] = asyncio.Queue()
        loop = asyncio_loop()
        run_id = ""

        def observe(events: Sequence[Event]) -> None:
            # A sync tool commits from its own thread; its events must reach the queue before what follows them.
            nonlocal run_id
            loop.call_soon_threadsafe(put, events)
            run_id = next((event.run_id for event in events), run_id)

        def put(events: Sequence[Event]) -> None:
            for event in events:
                queue.put_nowait(event)

        task = asyncio.create_task(run_goal(self._wiring(), goal, "", observe))
        task.add_done_callback(lambda ended: loop.call_soon(queue.put_nowait, _done(ended, run_id)))
        try:
            while True:
                item = await queue.get()
                yield item
                if isinstance(item, Done):
                    return
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _replay(
        self,
        recording: Recording,
        observe: Callable[[Sequence[Event]], None] | None = None,
        watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    ) -> Finished:
        """Go through a recorded run, its recorded goal included. For `starling.replay`.

        Args:
            observe: given each batch of reproduced events, in order. watch: told of each event, as it is reproduced.
        """
        wiring = self._wiring()
        wiring.check()
        started = run_started(wiring, recording.started.goal)
        return await replay_recorded(wiring, started, recording, observe=observe, watch=watch)

    def _wiring(self) -> Wiring:
        return Wiring(
            provider=self.provider,
            config=self.config,
            log=self.log,
            tools=self.tools,
            budget=self.budget,
            namespace=self.namespace,
            metrics=self.metrics or NoMetrics(),
        )


def _done(task: asyncio.Task[RunResult], run_id: str) -> Done:
    error: BaseException | None = asyncio.CancelledError() if task.cancelled() else task.exception()
    result: Any = task.result() if error is None else getattr(error, "result", None)
    return Done(
        run_id=run_id,
        terminal_kind=result.terminal_kind if result else None,
        final_text=result.final_text if result else "",
        result=result,
        error=error,
    )
