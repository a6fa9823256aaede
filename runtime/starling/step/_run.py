"""One run while it executes: what its steps share. The agent loop makes it; a loop of a user's own may, too."""

from __future__ import annotations

import asyncio
import logging  # noqa: TC003 - a dataclass field names it
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starling.step._meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starling.event import BudgetExceeded, Payload
    from starling.instrumentation import Metrics
    from starling.provider import Provider
    from starling.step._dialect import Dialect
    from starling.step._frame import Frame
    from starling.step._journal import Journal
    from starling.tool import Tool

__all__ = ["DEFAULT_MAX_PARALLEL_TOOLS", "Run", "Unfinished"]

DEFAULT_MAX_PARALLEL_TOOLS = 8
"""How many tool calls of one batch run at a time. Source: seed, "Parallel tool calls"."""


def _random_64() -> int:
    return secrets.randbits(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """As much of a turn's answer as had come when the time was over; ``output_tokens`` as reported until then."""

    turn_id: str
    text: str
    output_tokens: int


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """What the steps of one run share.

    Attributes:
        journal: where events go to and come from.
        tools: by name.
        require_raw_response_hash: fail a turn whose end carries no 32-byte digest.
        max_parallel_tools: how many calls of one batch run at a time.
        own_loop: the loop is the user's own, so that what it asks the model follows from its code alone.
        out_of_time: whether the run's wall-clock budget has expired; asked when a tool or an answer is cancelled.
        unfinished: the answer that it cut off, if it did.
        clock: Unix nanoseconds, for `step.now`. random: 64 random bits, for `step.random`.
        open_calls: the ids, chosen by the model or by code, of calls that have not ended.
        turn: held while a model call is under way.
        started_ns: monotonic nanoseconds at the start of this process's part of the run.
    """

    run_id: str
    journal: Journal
    provider: Provider
    tools: Mapping[str, Tool]
    meter: Meter = field(default_factory=Meter)
    dialect: Dialect
    require_raw_response_hash: bool = False
    max_parallel_tools: int = DEFAULT_MAX_PARALLEL_TOOLS
    own_loop: bool = False
    out_of_time: Callable[[], bool] = bool
    unfinished: Unfinished | None = None
    clock: Callable[[], int] = time.time_ns
    random: Callable[[], int] = _random_64
    metrics: Metrics
    logger: logging.Logger
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    started_ns: int = field(default_factory=time.monotonic_ns)
    open_calls: set[str] = field(default_factory=set)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _commits: set[asyncio.Task[None]] = field(default_factory=set)

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """Put an event of the run itself into the journal and count it; ``frame`` says whose code makes it."""
        recorded = self.journal.emit(payload, frame)
        self.meter.observe(recorded)
        return recorded

    def tripped_again(self, recorded: BudgetExceeded) -> BudgetExceeded:
        """A recorded trip as it is told again: on replay, as today's budget would; a live run keeps what is recorded.

        That stands in a log then, and a limit that did not trip would be no more than a lie there.
        """
        return self.meter.tripped_again(recorded) if self.journal.replaying else recorded

    def elapsed_ms(self) -> int:
        """Milliseconds since this process began to execute the run."""
        return (time.monotonic_ns() - self.started_ns) // 1_000_000

    def commit_blocking(self) -> None:
        """Commit from sync code: a worker thread waits; on the run's own loop it happens in line or right after."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self.loop or self.journal.commits_in_line:
            self.journal.commit_from_thread()
            return
        task = self.loop.create_task(self.journal.commit())
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
