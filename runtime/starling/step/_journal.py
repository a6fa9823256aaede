"""What a run's code writes to, whatever stands behind it: `_live`, `_tail` or `_replay`.

The rest of the package does not know which one it talks to, except where it must not touch the world (`replaying`), or
where a recording has what it would ask the world for (`answers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starling.errors import CassetteError, LogWriteError, NondeterminismError, RedactionError, RunInUseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from starling.event import Payload, Terminal, ToolCallCompleted, ToolCallFailed, ToolCallScheduled
    from starling.event import SideEffectRecorded as Effect
    from starling.provider import Request
    from starling.step._frame import Frame
    from starling.step._served import Served

__all__ = ["NOT_FOR_THE_LOG", "PUT_OFF_S", "Journal"]

NOT_FOR_THE_LOG = (NondeterminismError, RedactionError, CassetteError, LogWriteError, RunInUseError)
"""Failures of the run that are no events: the recording has no place for them, or the log takes nothing any more."""

PUT_OFF_S = 10.0
"""How long what an orphan had abandoned is put off: by then, what cut it off has mostly done so again."""

T = TypeVar("T")


class Journal(Protocol):
    """Takes what the code decides and gives what the environment decided."""

    replaying: bool

    def answers(self, frame: Frame) -> bool:
        """Whether a recording answers what code in this frame asks next."""
        ...

    def asks(self, turn_id: str, request: Request, *, by_code: bool) -> Request:
        """The request that the next turn is about, as it is hashed.

        Args:
            by_code: it was made by code of the user's, and not by an agent's loop.
        """
        ...

    def estimate(self, frame: Frame, tokens: int) -> int:
        """The estimate of the next turn's input tokens that counts."""
        ...

    def emit(self, payload: Payload, frame: Frame | None = None) -> Payload:
        """An event of the run itself, made by a call's code if ``frame`` is one. Returns what stands in the log."""
        ...

    def emit_terminal(self, payload: Terminal) -> Terminal:
        """The last event; its Merkle root is filled in here."""
        ...

    async def turn_to_dispatch(self, parent: Frame, payload: ToolCallScheduled) -> None:
        """Wait until it is this call's turn among those that ``parent`` dispatches; its id is not known yet."""
        ...

    async def in_turn(self, parent: Frame, frames: Sequence[Frame], running: Awaitable[T]) -> T:
        """What calls that ``parent`` dispatched come to, when it is that answer's turn."""
        ...

    async def turn_to_end(self, frame: Frame, attempt: int) -> None:
        """Wait until an attempt may end whose function has."""
        ...

    async def cut_off_again(self, frame: Frame, outcome: ToolCallCompleted | ToolCallFailed) -> None:
        """Where a call that is not run had been cancelled by the code that dispatched it: wait until it does so again.

        Ends in the cancellation. Returns where nothing is to be waited for, or nothing comes.
        """
        ...

    async def turn_to_ask(self, frame: Frame) -> None:
        """Wait until it is this frame's turn to call the model."""
        ...

    async def turn_to_hear(self, frame: Frame) -> None:
        """Wait until it is the turn of the model's answer."""
        ...

    def schedule(self, parent: Frame, payload: ToolCallScheduled, served: Served | None = None) -> Any:
        """The first attempt of a call that ``parent`` dispatches. Returns the new frame's ``node``.

        Args:
            served: what is left of the call that this one is reissued for.
        """
        ...

    def reschedule(self, frame: Frame, payload: ToolCallScheduled) -> None:
        """A further attempt of the call of this frame."""
        ...

    def outcome(self, frame: Frame, payload: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
        """How an attempt ended. Returns what stands in the log."""
        ...

    async def broken_off(self, frame: Frame, attempt: int, error: BaseException) -> BaseException:
        """What an attempt ends in whose tool raised what is no error: nothing is written of that."""
        ...

    def open_attempt(self, frame: Frame) -> int:
        """The attempt of this frame's call that needs an outcome from here; 0 if none does."""
        ...

    def close(self, frame: Frame) -> None:
        """The run's own code has ended; nothing of it can be recorded any more."""
        ...

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome of an attempt that is not to be run; None if it is."""
        ...

    def forgo(self, frame: Frame) -> ToolCallCompleted | ToolCallFailed | None:
        """The outcome with which the run goes on after this call diverged; None if it ends with that."""
        ...

    def completion_order(self, frames: Sequence[Frame]) -> list[int] | None:
        """The order in which a batch must be run one by one; None if it runs in parallel."""
        ...

    async def answer(self, frame: Frame, name: str, request: int, *, waits: bool) -> Effect | None:
        """The recorded effect for this request, in its turn and durable; None when it has to be carried out.

        Live, one that the orphan had abandoned is returned as well: it is not recorded yet.

        Args:
            waits: whether other code runs while the effect is carried out.
        """
        ...

    def answer_at_once(self, frame: Frame, name: str, request: int) -> Effect | None:
        """The same for sync code. In a thread it waits for its turn as well."""
        ...

    def effect(self, frame: Frame, payload: Effect, request: int) -> None:
        """An effect that was carried out."""
        ...

    def patched(self, frame: Frame, name: str) -> bool:
        """Whether this call takes the new way of a patch; ``name`` is the patch's mark."""
        ...

    def drop_patch(self, frame: Frame, name: str) -> bool:
        """Accept the mark of a patch whose old way is gone. Returns whether there is one."""
        ...

    def turn_id(self, frame: Frame) -> str:
        """The id of the turn that begins."""
        ...

    def call_id(self, parent: Frame) -> str:
        """The id of a call that the code did not name."""
        ...

    async def commit(self) -> None:
        """Make everything emitted so far durable."""
        ...

    @property
    def commits_in_line(self) -> bool:
        """Whether a commit needs no event loop."""
        ...

    def commit_from_thread(self) -> None:
        """The same, from a worker thread."""
        ...
