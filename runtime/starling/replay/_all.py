"""Replaying every run of a log."""

from __future__ import annotations

from dataclasses import replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from starling import ambient
from starling.agent._blocking import run_blocking
from starling.ambient import ReplayOptions, ignoring
from starling.errors import AgentConfigError, LogError, StarlingError
from starling.event import TERMINAL_KINDS, RunStarted, encode_payload, validate_prefix
from starling.eventlog import RunLister
from starling.replay._nested import RunIndex, attempts
from starling.replay._verify import go_through, read_recording

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from starling.agent import Agent, CustomLoop
    from starling.ambient import PatchUse, Redact, ToolPolicy
    from starling.event import Event
    from starling.eventlog import EventLog
    from starling.replay._nested import Attempt

    Factory: TypeAlias = Callable[[], Agent | CustomLoop | Awaitable[Agent | CustomLoop]]

__all__ = ["replay_all", "replay_all_sync"]


async def replay_all(
    log: EventLog,
    factory: Factory,
    *,
    run_ids: Iterable[str] | None = None,
    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare",
    ignore: Iterable[str] = (),
    compare_cost: bool = False,
    force_provider: bool = False,
    collect: bool = False,
    redact: Redact | None = None,
    on_run: Callable[[str, StarlingError | None], None] | None = None,
    on_patch: Callable[[PatchUse], None] = lambda _: None,
) -> dict[str, StarlingError]:
    """Replay every run of a log, each with a fresh agent, and return all that do not replay.

    A run that the tool of another one started (a sub-agent's) is replayed as part of that one, by the agent that the
    tool makes, and has no verdict of its own. Where that did not come about (the tool is stubbed, it started the run
    inside a side effect, the outer run diverged before) it is left out too, if it shows that it is another agent's:
    it began while a tool call of an earlier run was under way, and was wired in another way than that run. Damaged
    runs are reported in any case, and runs that ``run_ids`` names are always replayed with the factory's agent. A run
    that never ended counts as damaged, unless it shows in the same way that it was inside of a tool call that a crash
    cut off: the outer run was resumed without it.

    Args:
        log: holds the recordings.
        factory: makes today's agent; called once a run. Its adapters need no key; nothing is sent while it works.
            Source: seed, "replay", ``Factory``.
        run_ids: which runs, in this order; all of the log's, the oldest first, if None.
        on_run: told of each verdict as it is found, None for a run that replays.
        on_patch: told of each `step.patched` and `step.deprecate_patch` that today's code asks for; collect what it is
            given for `starling.replay.unneeded_patches`.
        tools, ignore, compare_cost, force_provider, collect, redact: as for `starling.replay`; with ``collect`` the
            errors hold all divergences of their run.

    Returns:
        What is wrong by run id; empty if everything replays. `NondeterminismError` for a divergence, `LogCorruptError`
        for a run that is damaged or never ended, `RunNotFoundError` for an id that the log does not hold.

    Raises:
        LogError: the log cannot list its runs and no ``run_ids`` are given, or it cannot be read.

    Besides, whatever the factory raises, and `AgentConfigError` if its agent cannot run at all, or ``tools`` or
    ``ignore`` is wrong.
    """
    options = ReplayOptions(
        tools=tools,
        ignore=ignoring(ignore),
        compare_cost=compare_cost,
        force_provider=force_provider,
        collect=collect,
        redact=redact,
    )
    whole = _Whole(log=log, factory=factory, options=options, on_patch=on_patch)
    await whole.list_runs(named=run_ids is not None)
    failures: dict[str, StarlingError] = {}
    for run_id in whole.run_ids if run_ids is None else dict.fromkeys(run_ids):
        error = await whole.verdict(run_id, named=run_ids is not None)
        if error is not None:
            failures[run_id] = error
        if on_run is not None:
            on_run(run_id, error)
    return failures


def replay_all_sync(log: EventLog, factory: Factory, **options: Any) -> dict[str, StarlingError]:
    """`replay_all`, blocking."""
    return run_blocking(lambda: replay_all(log, factory, **options))


class _Whole:
    """A log on its way through `replay_all`: what is known of it so far.

    Attributes:
        run_ids: all runs, the one that began first first, so that an outer run comes before those inside it.
    """

    def __init__(
        self, *, log: EventLog, factory: Factory, options: ReplayOptions, on_patch: Callable[[PatchUse], None]
    ) -> None:
        self.run_ids: tuple[str, ...] = ()
        self._log = log
        self._factory = factory
        self._options = options
        self._on_patch = on_patch
        self._index = RunIndex(log)
        self._calls: list[tuple[bytes, Attempt]] = []

    async def list_runs(self, *, named: bool) -> None:
        """Ask the log what it holds; one that cannot say so serves for runs that are named."""
        if isinstance(self._log, RunLister):
            runs = await self._log.list_runs()
            self._index = RunIndex(self._log, runs)
            self.run_ids = tuple(run.run_id for run in reversed(runs))
        elif not named:
            raise LogError(
                f"{self._log!r} has no list_runs, so its runs are not known: pass run_ids, or give it that method "
                "(starling.eventlog.RunLister)"
            )

    async def verdict(self, run_id: str, *, named: bool) -> StarlingError | None:
        """What is wrong with one run; None if it replays, or is part of another one."""
        try:
            events = await read_recording(self._log, run_id)
        except LogError as error:
            return None if not named and await self._was_left_by_a_crash(run_id) else error
        wiring = _wiring(events[0])
        if not named:
            inside = run_id in self._index.used or self._began_inside_another(events[0].ts, wiring)
            self._calls.extend((wiring, attempt) for attempt in attempts(events))
            if inside:
                return None
        return await self._replayed(events, await self._agent())

    async def _agent(self) -> Agent | CustomLoop:
        with ambient.building_for_replay():
            made = self._factory()
            return await made if isawaitable(made) else made

    async def _replayed(self, events: Sequence[Event], agent: Agent | CustomLoop) -> StarlingError | None:
        try:
            await go_through(events, agent, self._index, self._options, on_patch=self._on_patch)
        except AgentConfigError:
            raise  # no verdict on this run: none would replay
        except StarlingError as error:
            return error
        return None

    async def _was_left_by_a_crash(self, run_id: str) -> bool:
        """Whether this is a sub-agent's run whose process was killed, and which the resumed outer run did without."""
        try:
            run = await self._log.read(run_id)
            if not run or run[-1].kind in TERMINAL_KINDS:
                return False
            validate_prefix(run)
            wiring = _wiring(run[0])
        except LogError:
            return False
        return any(
            call.cut_off and call.holds(run[0].ts) and call.holds(run[-1].ts) and wiring != other
            for other, call in self._calls
        )

    def _began_inside_another(self, instant: int, wiring: bytes) -> bool:
        """Whether this is some tool's sub-agent: an agent unlike the one whose tool call was under way.

        Runs come in the order in which they began, so calls that had ended before are of no further use.
        """
        self._calls = [(other, call) for other, call in self._calls if call.ended >= instant]
        return any(call.holds(instant) and wiring != other for other, call in self._calls)


def _wiring(first: Event) -> bytes:
    """What stands in RunStarted, but for what may differ from run to run of one agent."""
    started = first.decode()
    assert isinstance(started, RunStarted)  # a recording is checked when it is read
    return encode_payload(replace(started, goal="", starling_version="", app_version=""))
