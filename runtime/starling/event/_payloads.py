"""One value class a kind: the fields, in the order of the format's tables, named as on the wire.

The classes are the single statement of the payload schema. `_codec` and `_json` read it from here: a field's
annotation is its wire type, and a field made with `_optional` is left out of the bytes while it is empty. Other
defaults are a convenience for writers and are always written. Durations are milliseconds, money is US dollars.

`Any` marks a free-form value: plain data (or `starling._cbor.Raw`, already encoded) when written, plain when read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

from starling.event._kinds import SCHEMA_VERSION, Kind

__all__ = [
    "OPTIONAL",
    "AssistantMessageCompleted",
    "BudgetExceeded",
    "BudgetLimits",
    "ContextTruncated",
    "EffectError",
    "Payload",
    "PlannedToolUse",
    "ReasoningEmitted",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunResumed",
    "RunStarted",
    "SideEffectRecorded",
    "Terminal",
    "ToolCallCompleted",
    "ToolCallFailed",
    "ToolCallScheduled",
    "ToolDescription",
    "ToolSchema",
    "TurnFailed",
    "TurnStarted",
    "UserMessageAppended",
]

Uint32: TypeAlias = int
Uint64: TypeAlias = int
OPTIONAL = "starling.optional"

_T = TypeVar("_T")


def _optional(empty: _T) -> _T:
    """A field that is left out of the bytes while it is ``empty``: an old log lacks it, an old reader skips it."""
    return field(default=empty, metadata={OPTIONAL: True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSchema:
    """A tool's name and the BLAKE3 of its schema's JSON bytes."""

    name: str
    schema_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDescription:
    """A tool as the model is told of it; ``schema`` is JSON text. Lets a divergence show what changed in a tool."""

    name: str
    description: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """The limits that a run was started with; an axis at zero is not limited."""

    max_input_tokens: int = _optional(0)
    max_output_tokens: int = _optional(0)
    max_usd: float = _optional(0.0)
    max_wall_clock_ms: int = _optional(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedToolUse:
    """A tool call that the model asked for. ``call_id`` is the provider's."""

    call_id: str
    tool: str
    args: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectError:
    """An exception as it is recorded: its qualified name, its text, and what those two alone would not bring back.

    ``args`` is the list of its constructor's arguments, or a map of one key, ``starling/maker``, to the name of the
    class method that makes it and the list of that one's. ``state`` holds its attributes by name, ``__cause__`` among
    them. Both are plain data; what is none has a form, a map of one key that begins with ``starling/``.
    """

    type: str
    message: str
    args: Any = _optional(None)  # noqa: RUF009 - it is `field`
    state: Any = _optional(None)  # noqa: RUF009 - it is `field`


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event: everything that the run was wired with. A hash is None where its input is empty."""

    KIND: ClassVar[Kind] = Kind.RunStarted

    schema_version: Uint32 = SCHEMA_VERSION
    goal: str
    provider_id: str
    model_id: str
    api_version: str
    params_hash: bytes | None
    params: Any
    system_prompt_hash: bytes | None
    system_prompt: str
    tool_registry_hash: bytes | None
    tool_schemas: tuple[ToolSchema, ...]
    budget: BudgetLimits | None = _optional(None)  # noqa: RUF009 - it is `field`
    starling_version: str = _optional("")
    app_version: str = _optional("")
    tools: tuple[ToolDescription, ...] = _optional(())


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessageAppended:
    """A user message put into a run in progress: the extra message of a resume."""

    KIND: ClassVar[Kind] = Kind.UserMessageAppended

    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """A model call is about to be made. ``input_tokens`` is the estimate, ``prompt_hash`` covers the request.

    ``call_id`` is the tool call whose code makes it; the loop's own turns have none.
    """

    KIND: ClassVar[Kind] = Kind.TurnStarted

    turn_id: str
    prompt_hash: bytes | None
    input_tokens: int
    call_id: str = _optional("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningEmitted:
    """A block of the model's reasoning. Where ``redacted``, ``content`` is the vendor's opaque text."""

    KIND: ClassVar[Kind] = Kind.ReasoningEmitted

    turn_id: str
    content: str
    sensitive: bool = True
    signature: bytes = _optional(b"")
    redacted: bool = _optional(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessageCompleted:
    """A turn's whole answer, with the vendor's own token counts. Closes the turn."""

    KIND: ClassVar[Kind] = Kind.AssistantMessageCompleted

    turn_id: str
    text: str
    tool_uses: tuple[PlannedToolUse, ...] = _optional(())
    stop_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = _optional(0)
    cache_create_tokens: int = _optional(0)
    cost_usd: float
    raw_response_hash: bytes | None
    provider_request_id: str = _optional("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallScheduled:
    """A tool is about to be run. ``attempt`` counts from 1; ``parent_call_id`` is the call that dispatched this one."""

    KIND: ClassVar[Kind] = Kind.ToolCallScheduled

    call_id: str
    turn_id: str
    tool: str
    args: Any
    attempt: Uint32
    idemp_key: str = _optional("")
    parent_call_id: str = _optional("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallCompleted:
    """A tool returned ``result``. Closes the call of that id and attempt."""

    KIND: ClassVar[Kind] = Kind.ToolCallCompleted

    call_id: str
    result: Any
    duration_ms: int
    attempt: Uint32


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallFailed:
    """A tool failed. ``error_type``: ``tool``, ``panic``, ``cancelled`` or ``timeout``. Closes the call.

    ``final`` says that no further attempt follows.
    """

    KIND: ClassVar[Kind] = Kind.ToolCallFailed

    call_id: str
    error: str
    error_type: str
    duration_ms: int
    attempt: Uint32
    final: bool = _optional(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffectRecorded:
    """Something that the run took from its surroundings: a clock, a random number, a `step.side_effect`.

    ``call_id`` is the tool call it belongs to, ``error`` how it failed (``value`` is then None), and ``ordinal``
    its place among the effects of its name, where that is not the order in which they finished.
    """

    KIND: ClassVar[Kind] = Kind.SideEffectRecorded

    name: str
    value: Any
    call_id: str = _optional("")
    error: EffectError | None = _optional(None)  # noqa: RUF009 - it is `field`
    ordinal: Uint32 = _optional(0)  # noqa: RUF009 - it is `field`


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded:
    """A budget axis tripped. ``limit``: ``input_tokens``, ``output_tokens``, ``usd`` or ``wall_clock``.

    ``where``: ``pre_call``, ``mid_stream`` or ``post_call``. ``partial_text`` and the partial counts are what a
    stream had brought when it was cut. Closes the turn.
    """

    KIND: ClassVar[Kind] = Kind.BudgetExceeded

    limit: str
    cap: float
    actual: float
    where: str
    turn_id: str = _optional("")
    call_id: str = _optional("")
    partial_text: str = _optional("")
    partial_tokens: int = _optional(0)
    partial_input_tokens: int = _optional(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTruncated:
    """Reserved: messages were dropped to fit the context window. Read and validated, never written here."""

    KIND: ClassVar[Kind] = Kind.ContextTruncated

    strategy: str
    tokens_before: int
    tokens_after: int
    messages_before: Uint32
    messages_after: Uint32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompleted:
    """Terminal: the model answered without asking for tools. Totals over the run."""

    KIND: ClassVar[Kind] = Kind.RunCompleted

    final_text: str
    turn_count: Uint32
    tool_call_count: Uint32
    total_cost_usd: float
    total_input_tokens: int
    total_output_tokens: int
    duration_ms: int
    merkle_root: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """Terminal: ``error_type`` is ``budget``, ``max_turns``, ``tool``, ``provider`` or ``internal``.

    ``cause`` is what the provider raised, where that ended the run.
    """

    KIND: ClassVar[Kind] = Kind.RunFailed

    error: str
    error_type: str
    merkle_root: bytes | None
    duration_ms: int
    cause: EffectError | None = _optional(None)  # noqa: RUF009 - it is `field`


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    """Terminal: the run was cancelled from outside."""

    KIND: ClassVar[Kind] = Kind.RunCancelled

    reason: str
    merkle_root: bytes | None
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """A seam: another process goes on after ``at_seq``. ``pending_calls`` had no outcome by then."""

    KIND: ClassVar[Kind] = Kind.RunResumed

    at_seq: Uint64
    extra_message: str = _optional("")
    reissue_tools: bool
    pending_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed:
    """Reserved: a turn broke in mid-stream and will be tried again. Read and validated, never written here."""

    KIND: ClassVar[Kind] = Kind.TurnFailed

    turn_id: str
    error: str
    error_type: str
    partial_text: str = _optional("")


Terminal: TypeAlias = RunCompleted | RunFailed | RunCancelled
Payload: TypeAlias = (
    RunStarted
    | UserMessageAppended
    | TurnStarted
    | ReasoningEmitted
    | AssistantMessageCompleted
    | ToolCallScheduled
    | ToolCallCompleted
    | ToolCallFailed
    | SideEffectRecorded
    | BudgetExceeded
    | ContextTruncated
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunResumed
    | TurnFailed
)
