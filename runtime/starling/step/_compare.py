"""What is compared on replay, and what is not: one table of the fields that the environment decides. Pure."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from starling.event import (
    AssistantMessageCompleted,
    Kind,
    RunStarted,
    SideEffectRecorded,
    ToolCallFailed,
    ToolCallScheduled,
)
from starling.step._divergence import Divergence, changes_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.ambient import ReplayOptions
    from starling.event import Payload
    from starling.step._divergence import Change, DivergenceClass

__all__ = ["carry_over", "describe", "ignorable_paths"]

_ENVIRONMENT: Mapping[Kind, tuple[str, ...]] = {
    Kind.RunStarted: ("starling_version",),
    Kind.ToolCallCompleted: ("duration_ms",),
    Kind.ToolCallFailed: ("duration_ms",),
    Kind.SideEffectRecorded: ("value", "error", "ordinal"),
    Kind.RunCompleted: ("duration_ms", "merkle_root"),
    Kind.RunFailed: ("duration_ms", "merkle_root"),
    Kind.RunCancelled: ("duration_ms", "merkle_root"),
}
"""Fields that the environment decides: carried over from the recording before anything is compared."""

_COSTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.AssistantMessageCompleted: ("cost_usd",),
    Kind.RunCompleted: ("total_cost_usd",),
}
"""Fields that follow from the price table: carried over too, unless prices are to be compared."""


def carry_over(recorded: Payload, produced: Payload, options: ReplayOptions) -> Payload:
    """Today's payload with what the environment decided, and what is ignored, taken from the recorded one."""
    kind = recorded.KIND
    names = set(_ENVIRONMENT.get(kind, ()))
    if options.ignore:
        names.update(path.partition(".")[2] for path in options.ignore if path.startswith(f"{kind.name}."))
    if not options.compare_cost:
        names.update(_COSTS.get(kind, ()))
    if isinstance(recorded, RunStarted) and not recorded.tools:
        names.add("tools")
    return replace(produced, **{name: getattr(recorded, name) for name in names}) if names else produced


def describe(
    recorded: Payload | None,
    produced: Payload | None,
    options: ReplayOptions,
    *,
    run_id: str,
    seq: int,
    length: int,
    call_id: str,
    explained: tuple[Change, ...],
) -> Divergence:
    """The divergence of two payloads; ``explained`` are changes that say more than the payloads' own fields."""
    if recorded is not None and produced is not None and recorded.KIND is produced.KIND:
        produced = carry_over(recorded, produced, options)
    cls, reason = _classify(recorded, produced)
    return Divergence(
        run_id=run_id,
        seq=seq,
        kind=None if produced is None else produced.KIND,
        expected_kind=None if recorded is None else recorded.KIND,
        cls=cls,
        reason=reason,
        recorded=recorded,
        produced=produced,
        changes=explained or (changes_between(recorded, produced) if cls in ("payload", "turn_id") else ()),
        length=length,
        call_id=call_id,
    )


def _classify(recorded: Payload | None, produced: Payload | None) -> tuple[DivergenceClass, str]:
    if recorded is None:
        return "exhausted", f"the recording ends here, but the code went on with {_name(produced)}"
    if produced is None:
        return "kind", f"the code stopped, but the recording goes on with {_name(recorded)}"
    if recorded.KIND is not produced.KIND:
        return "kind", f"recorded was {_name(recorded)}, but the code produced {_name(produced)}"
    if getattr(recorded, "turn_id", None) != getattr(produced, "turn_id", None):
        return "turn_id", f"{recorded.KIND} names another turn than recorded"
    return "payload", f"{recorded.KIND} differs from the recorded one"


def _name(payload: Payload | None) -> str:
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
        case AssistantMessageCompleted(tool_uses=uses) if uses:
            return "AssistantMessageCompleted that calls " + ", ".join(use.tool for use in uses)
        case _:
            return str(payload.KIND)


def ignorable_paths() -> frozenset[str]:
    """Every path that ``ReplayOptions.ignore`` may name."""
    from typing import get_args

    from starling.event import Payload

    return frozenset(f"{cls.KIND.name}.{field.name}" for cls in get_args(Payload) for field in fields(cls))
