"""What is said when today's code does something else than the recording: values and the comparison of two payloads."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from starling._canonical_json import loads
from starling.errors import UnencodableValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.event import Kind, Payload
    from starling.step._raised import Raised

__all__ = ["ABSENT", "NOT_RECORDED", "Change", "Divergence", "DivergenceClass", "Explanation", "changes_between"]

DivergenceClass: TypeAlias = Literal["kind", "payload", "turn_id", "exhausted"]


class _Mark:
    """Stands where one side of a change has no value."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def __repr__(self) -> str:
        return self._text

    def __reduce__(self) -> str:
        return self._name  # pickles and copies as itself


ABSENT = _Mark("ABSENT", "(absent)")
"""The other side of a field that only one side has."""

NOT_RECORDED = _Mark("NOT_RECORDED", "(not recorded)")
"""The recorded side of something of which the recording holds a hash alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that differs. ``path`` is like ``tool_uses[0].args.city``."""

    path: str
    recorded: Any
    produced: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.recorded!r} -> {self.produced!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What stands behind a hash that differs.

    Attributes:
        reason: one sentence for people: what differs, or why that cannot be said.
        changes: the fields that differ, as far as they are known.
        complete: whether the changes account for the hash; otherwise it is a hint at best.
    """

    reason: str
    changes: tuple[Change, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One place where a replay left its recording. Source: seed, "Replay-driven tests".

    Attributes:
        run_id: the recorded run.
        seq: the recorded event that was not reproduced (one past the end for ``exhausted``).
        kind: what was produced; None when the run stopped short.
        expected_kind: what was recorded; None past the end.
        cls: ``kind``, ``payload``, ``turn_id`` or ``exhausted``.
        reason: one sentence for people.
        recorded: the recorded payload, decoded. produced: today's.
        changes: the fields that differ.
        length: how many events the recording has.
        call_id: the tool call inside which it happened; empty outside of tools. tool: the name of that call's tool.
        raised: where a tool failed today, what it raised and where; None where none did.
        cause_seq: with ``collect``, the seq of the divergence that this one merely follows from, being the same change
            seen again (a changed system prompt differs in RunStarted, and then in the request of every turn). 0 for a
            cause of its own. That of a nested run may name a divergence of the run around it.
    """

    run_id: str
    seq: int
    kind: Kind | None
    expected_kind: Kind | None
    cls: DivergenceClass
    reason: str
    recorded: Payload | None = None
    produced: Payload | None = None
    changes: tuple[Change, ...] = ()
    length: int = 0
    call_id: str = ""
    tool: str = ""
    raised: Raised | None = None
    cause_seq: int = 0

    def __str__(self) -> str:
        shown = self.expected_kind or self.kind
        return f"golden run diverged at seq {self.seq} of {self.length} ({shown}): {self.cls}"

    @property
    def text(self) -> str:
        """The headline, the reason, what was raised and the first changes, cut to a readable size."""
        shown = [f"  {_cut(str(change))}" for change in self.changes[:_MOST_CHANGES]]
        more = len(self.changes) - len(shown)
        raised = [f"  raised by the tool: {_cut(str(self.raised))}"] if self.raised else []
        return "\n".join([str(self), self.reason, *raised, *shown, *([f"  ... and {more} more"] if more > 0 else [])])


_MOST_CHANGES = 8
_LONGEST_CHANGE = 400


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_CHANGE else f"{text[: _LONGEST_CHANGE - 3]}..."


def changes_between(recorded: Any, produced: Any) -> tuple[Change, ...]:
    """The fields in which two payloads (or any plain values) differ, in field order.

    Tools are matched by name and their schemas compared as JSON, and as text only where they are equal as JSON; a hash
    whose text differs as well is left out.
    """
    changes = tuple(_walk("", recorded, produced))
    return tuple(change for change in changes if not _follows(change.path, changes))


_EXPLAINED_BY = {
    "system_prompt_hash": "system_prompt",
    "params_hash": "params",
    "tool_schemas": "tools",
    "tool_registry_hash": "tools",
}


def _follows(path: str, changes: tuple[Change, ...]) -> bool:
    """Whether this change only repeats another one as a hash."""
    field = path.partition("[")[0].partition(".")[0]
    cause = _EXPLAINED_BY.get(field)
    return cause is not None and any(change.path.partition("[")[0].partition(".")[0] == cause for change in changes)


def _walk(path: str, recorded: Any, produced: Any) -> Iterator[Change]:
    if _same(recorded, produced):
        return
    if (recorded or produced) and _are_tools(recorded) and _are_tools(produced):
        yield from _walk_tools(path, recorded or (), produced or ())
        return
    before, after = _members(recorded), _members(produced)
    if before is None or after is None or isinstance(recorded, dict) != isinstance(produced, dict):
        yield Change(path=path or "value", recorded=recorded, produced=produced)
        return
    for key in [*before, *(key for key in after if key not in before)]:
        yield from _walk(_join(path, key), before.get(key, ABSENT), after.get(key, ABSENT))


def _are_tools(value: Any) -> bool:
    """Whether this may be a list of tools as a model is told of them, each name once; None stands for no tools."""
    if value is None:
        return True
    if not isinstance(value, list | tuple):
        return False
    names = [getattr(item, "name", None) for item in value]
    return all(hasattr(item, "schema") for item in value) and len(set(names)) == len(names)


def _walk_tools(path: str, recorded: Any, produced: Any) -> Iterator[Change]:
    before = {tool.name: tool for tool in recorded}
    after = {tool.name: tool for tool in produced}
    if list(before) != list(after) and set(before) == set(after):
        yield Change(path=f"{path} (order)", recorded=list(before), produced=list(after))
    for name in [*before, *(name for name in after if name not in before)]:
        yield from _walk_tool(_join(path, name), before.get(name), after.get(name))


def _walk_tool(path: str, recorded: Any, produced: Any) -> Iterator[Change]:
    found = list(_walk(path, _described(recorded), _described(produced)))
    yield from found
    if not found and recorded.schema != produced.schema:  # a schema given as text is hashed as it is given
        yield Change(path=f"{path}.schema (text)", recorded=recorded.schema, produced=produced.schema)


def _described(tool: Any) -> Any:
    """A tool with its schema as a value, so that the property that changed can be named."""
    if tool is None:
        return ABSENT
    try:
        schema = loads(tool.schema) if isinstance(tool.schema, str) else tool.schema
    except UnencodableValueError:
        schema = tool.schema
    return {"description": tool.description, "schema": schema}


def _same(recorded: Any, produced: Any) -> bool:
    """Equal, and of one type where the wire tells them apart (1, 1.0 and True are three values)."""
    return type(recorded) is type(produced) and bool(recorded == produced) and repr(recorded) == repr(produced)


def _members(value: Any) -> dict[Any, Any] | None:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    return None


def _join(path: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)
