"""Replaying, in a session, a run that its caller cancelled: today's caller gets the time to do so again.

A caller's own `asyncio.timeout` turns the cancellation it made into a TimeoutError, and no other one. So the recorded
cancellation is not raised before today's caller has had as long as the recorded one took. And a cancellation that
comes while the replay is still on its way waits until the replay has got as far: when it comes is the environment's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starling.event import RunCancelled
from starling.step._interruption import cuts_short

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.agent._execute import Finished
    from starling.event import Payload

__all__ = ["as_cancelled"]

_GRACE_S = 1.0
"""How much longer than the recorded caller today's may take, and how long the replay may take once cancelled."""
_LONGEST_WAIT_S = 10.0


async def as_cancelled(
    replaying: Awaitable[Finished], last: Payload, *, follows: Callable[[], bool] = lambda: True
) -> Finished:
    """Replay a run; if its caller cancelled it, let today's caller do so.

    Args:
        replaying: the replay. last: the run's last recorded event.
        follows: whether the run still is the recorded one; if not, it is cancelled at once like any other.
    """
    if not isinstance(last, RunCancelled) or not cuts_short(last):
        return await replaying
    now = asyncio.get_running_loop().time
    until = now() + min(last.duration_ms / 1000 + _GRACE_S, _LONGEST_WAIT_S)
    task = asyncio.create_task(_ending(replaying))
    cancelled = await _end_of(task, follows)
    finished: Finished
    finished, error = task.result()
    if error is not None:
        raise error
    if not isinstance(finished.error, asyncio.CancelledError):  # it has become another run
        if cancelled is not None:
            raise cancelled
        return finished
    try:
        if cancelled is not None:
            raise cancelled
        await asyncio.sleep(until - now())
    except asyncio.CancelledError as todays:
        todays.__dict__.update(vars(finished.error))  # what the run came to, as on the recorded one
        raise
    return finished


async def _ending(replaying: Awaitable[Finished]) -> tuple[Any, BaseException | None]:
    """Only a cancellation gets out of the task; others would stop the event loop."""
    try:
        return await replaying, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - raised by the caller
        return None, error


async def _end_of(task: asyncio.Task[Any], follows: Callable[[], bool]) -> asyncio.CancelledError | None:
    """Wait until a replay has ended; one that takes too long after a cancellation is cancelled itself.

    Returns:
        The cancellation of the caller that came meanwhile.
    """
    cancelled: asyncio.CancelledError | None = None
    grace: float | None = None
    while not task.done():
        try:
            await asyncio.wait([task], timeout=grace)
            if not task.done():
                task.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
            grace = _GRACE_S if follows() else None
            if grace is None:
                task.cancel()
    return cancelled
