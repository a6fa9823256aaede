"""What is compared on replay, and what is not: one table of the fields that the environment decides. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starling.event import (
    AssistantMessageCompleted,
    Kind,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    ToolDescription,
)
from starling.step._divergence import NOT_RECORDED, Divergence, changes_between
from starling.step._redaction import redacted
from starling.step._served import PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.ambient import ReplayOptions
    from starling.event import Payload
    from starling.step._divergence import Change, DivergenceClass, Explanation
    from starling.step._raised import Raised

__all__ = ["carry_over", "describe"]

_ENVIRONMENT: Mapping[Kind, tuple[str, ...]] = {
    Kind.RunStarted: ("starling_version",),
    Kind.RunResumed: ("at_seq", "pending_calls"),
    Kind.ToolCallCompleted: ("duration_ms",),
    Kind.ToolCallFailed: ("duration_ms",),
    Kind.SideEffectRecorded: ("value", "error", "ordinal"),
    Kind.RunCompleted: ("duration_ms", "merkle_root"),
    Kind.RunFailed: ("duration_ms", "merkle_root", "cause"),
    Kind.RunCancelled: ("duration_ms", "merkle_root"),
}
"""Fields that the environment decides: carried over from the recording before anything is compared."""

_COSTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.AssistantMessageCompleted: ("cost_usd",),
    Kind.RunCompleted: ("total_cost_usd",),
}
"""Fields that follow from the price table: carried over too, unless prices are to be compared."""


_HASHES = {
    "RunStarted.system_prompt": ("system_prompt_hash",),
    "RunStarted.params": ("params_hash",),
    "RunStarted.tools": ("tool_schemas", "tool_registry_hash"),
}
"""Fields that are hashes of another one: ignored with it."""

_ENDS = (ToolCallCompleted, ToolCallFailed, RunCompleted, RunFailed, RunCancelled)
"""What code makes last: of a call, and of the run's own."""


def carry_over(recorded: Payload, produced: Payload, options: ReplayOptions) -> Payload:
    """Today's payload as it is compared.

    It is redacted first, if the recording was; then what the environment decided, and what is ignored, is taken from
    the recorded one.
    """
    if options.redact is not None:
        produced = redacted(produced, options.redact)
    names = _not_compared(recorded.KIND, options.ignore, options.compare_cost)
    if isinstance(recorded, RunStarted) and not recorded.tools:
        names |= {"tools"}
    for name in names:
        if getattr(produced, name) is not getattr(recorded, name):
            return replace(produced, **{name: getattr(recorded, name) for name in names})
    return produced


@lru_cache(maxsize=256)
def _not_compared(kind: Kind, ignore: frozenset[str], compare_cost: bool) -> frozenset[str]:
    """The fields that are taken from the recording."""
    names = set(_ENVIRONMENT.get(kind, ()))
    for path in ignore:
        if path.startswith(f"{kind.name}."):
            names.update((path.partition(".")[2], *_HASHES.get(path, ())))
    if not compare_cost:
        names.update(_COSTS.get(kind, ()))
    return frozenset(names)


def describe(
    recorded: Payload | None,
    produced: Payload | None,
    options: ReplayOptions,
    *,
    run_id: str,
    seq: int,
    length: int,
    call_id: str,
    tool: str = "",
    explained: Explanation | None = None,
    raised: Raised | None = None,
) -> Divergence:
    """The divergence of two payloads.

    Args:
        explained: what stands behind a prompt's hash. raised: what stands behind a tool's failure, but for its text, or
            behind what ended the run.
    """
    if produced is not None:
        produced = redacted(produced, options.redact)
    today = produced
    if recorded is not None and produced is not None and recorded.KIND is produced.KIND:
        produced = carry_over(recorded, produced, options)
    cls, reason = _classify(recorded, produced)
    changes = _changes(recorded, produced, today, options) if cls in ("payload", "turn_id") else ()
    if explained is not None:
        reason, changes = explained.reason, (*_beside_the_hash(changes, explained), *explained.changes)
    return Divergence(
        run_id=run_id,
        seq=seq,
        kind=None if produced is None else produced.KIND,
        expected_kind=None if recorded is None else recorded.KIND,
        cls=cls,
        reason=reason,
        recorded=recorded,
        produced=produced,
        changes=changes,
        length=length,
        call_id=call_id,
        tool=tool,
        raised=_told(raised, produced),
    )


def _told(raised: Raised | None, produced: Payload | None) -> Raised | None:
    """What a tool raised: a failure has its text, what ended the run brings its own, redacted like one."""
    match produced:
        case ToolCallFailed(error=error) if raised is not None:
            return replace(raised, text=error)
        case RunCancelled():
            return raised
        case _:
            return None


def _changes(
    recorded: Payload | None, produced: Payload | None, today: Payload | None, options: ReplayOptions
) -> tuple[Change, ...]:
    if isinstance(recorded, RunStarted) and isinstance(produced, RunStarted) and isinstance(today, RunStarted):
        recorded, produced = _with_tools(recorded, produced, today, options)
    return changes_between(recorded, produced)


def _with_tools(
    recorded: RunStarted, produced: RunStarted, today: RunStarted, options: ReplayOptions
) -> tuple[RunStarted, RunStarted]:
    """Both sides with their tools, where an older log holds but names and hashes: what has today's hash is today's."""
    if recorded.tools or "RunStarted.tools" in options.ignore:
        return recorded, produced
    hashes = {schema.name: schema.schema_hash for schema in recorded.tool_schemas}
    now = {schema.name: schema.schema_hash for schema in today.tool_schemas}
    known = [tool for tool in today.tools if tool.name in hashes]
    unknown: Any = NOT_RECORDED
    tools = (
        *(tool if hashes[tool.name] == now.get(tool.name) else replace(tool, schema=unknown) for tool in known),
        *(
            ToolDescription(name=name, description=unknown, schema=unknown)
            for name in hashes
            if name not in {tool.name for tool in known}
        ),
    )
    return replace(recorded, tools=tools), replace(produced, tools=today.tools)


def _beside_the_hash(changes: tuple[Change, ...], explained: Explanation) -> tuple[Change, ...]:
    """What else differs; the estimate follows from the request, so it is told only if the request cannot be shown."""
    told = {"prompt_hash", "input_tokens"} if explained.complete else {"prompt_hash"}
    return tuple(change for change in changes if change.path not in told)


def _classify(recorded: Payload | None, produced: Payload | None) -> tuple[DivergenceClass, str]:
    if isinstance(recorded, SideEffectRecorded) and recorded.name.startswith(PATCH):
        return "kind", _unasked(recorded.name.removeprefix(PATCH), produced)
    if recorded is None:
        return "exhausted", f"the recording ends here, but the code went on with {_name(produced)}"
    if produced is None:
        return "kind", f"the code stopped, but the recording goes on with {_name(recorded)}"
    if recorded.KIND is not produced.KIND:
        return "kind", f"recorded was {_name(recorded)}, but the code produced {_name(produced)}"
    if getattr(recorded, "turn_id", None) != getattr(produced, "turn_id", None):
        return "turn_id", f"{recorded.KIND} names another turn than recorded"
    return "payload", f"{recorded.KIND} differs from the recorded one"


def _unasked(patch_id: str, produced: Payload | None) -> str:
    """Why a patch's mark is not reproduced. Where the code has not ended yet, it may ask later."""
    keep = f"keep step.deprecate_patch({patch_id!r}) in its place until this is recorded again"
    if produced is None or isinstance(produced, _ENDS):
        return (
            f"the recording was made with step.patched({patch_id!r}), which the code does not ask for here any more: "
            f"{keep}"
        )
    return (
        f"the recording was made with step.patched({patch_id!r}) asked for at this place, and the code came to "
        f"{_name(produced)} without it. If it asks later, let it ask where it did; if it does not ask any more, {keep}"
    )


def _name(payload: Payload | None) -> str:  # noqa: PLR0911 - a table of cases
    """A payload in a few words."""
    match payload:
        case None:
            return "nothing"
        case SideEffectRecorded(name=name):
            return f"SideEffectRecorded {name!r}"
        case ToolCallScheduled(tool=tool, call_id=call_id):
            return f"ToolCallScheduled of {tool!r} (call {call_id})"
        case ToolCallFailed(error=error, call_id=call_id):
            return f"ToolCallFailed (call {call_id}): {error[:200]}"
        case RunCancelled(reason=reason):
            return f"RunCancelled ({reason})"
        case AssistantMessageCompleted(tool_uses=uses) if uses:
            return "AssistantMessageCompleted that calls " + ", ".join(use.tool for use in uses)
        case _:
            return str(payload.KIND)
