"""How strictly a replay compares: the value that `starling.replay` and the plugin's marker end in, checked once built.

A wrong option would be worse than useless: a policy with a typing error runs the tool that was to be stubbed.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from starling.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starling.event import Payload

__all__ = ["Redact", "ReplayOptions", "ToolPolicy", "ignorable_paths", "ignoring"]

ToolPolicy: TypeAlias = Literal["compare", "run", "stub"]
Redact: TypeAlias = "Callable[[Payload], Payload]"
"""Rewrites the content of a payload, or returns it as it is. What it makes of its own result must be that result."""

_POLICIES = get_args(ToolPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How strictly a replay compares.

    Attributes:
        tools: one policy for all tools, or a mapping from tool name to policy (others: ``compare``).
        ignore: payload paths that are not compared, such as ``RunStarted.app_version``.
        compare_cost: prices count as part of the code, so that a changed price is a divergence.
        force_provider: do not insist on the recorded provider, API version and model.
        collect: go on after a divergence as far as possible.
        redact: with what the recording was redacted; applied to what today's code produces before it is compared.

    Raises:
        AgentConfigError: ``tools`` holds something else than policies, ``ignore`` something else than payload paths,
            ``redact`` cannot be called, or another option is neither True nor False.
    """

    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare"
    ignore: frozenset[str] = frozenset()
    compare_cost: bool = False
    force_provider: bool = False
    collect: bool = False
    redact: Redact | None = None

    def __post_init__(self) -> None:
        """Refuse what would be passed over in silence."""
        if not _is_policy(self.tools):
            _check_policies(self.tools)
        if self.ignore or not isinstance(self.ignore, frozenset):
            _check_paths(self.ignore)
            object.__setattr__(self, "ignore", frozenset(self.ignore))  # what a caller gives may change
        for name in ("compare_cost", "force_provider", "collect"):
            if type(getattr(self, name)) is not bool:
                raise _wrong(name, f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.redact is not None and not callable(self.redact):
            raise _wrong("redact", f"redact must be a function from payload to payload, or None, got {self.redact!r}")

    def policy(self, tool: str) -> ToolPolicy:
        """The policy for one tool."""
        return self.tools if isinstance(self.tools, str) else self.tools.get(tool, "compare")


def ignoring(paths: Iterable[str]) -> frozenset[str]:
    """The paths that somebody gives for `ReplayOptions.ignore`; what they are is checked there.

    Raises:
        AgentConfigError: it is one text, which would be taken letter by letter, or no collection of any kind.
    """
    if isinstance(paths, str):
        raise _wrong("ignore", f"ignore takes several payload fields, got the text {paths!r}: put it in a list")
    try:
        return frozenset(paths)
    except TypeError:
        raise _no_paths(paths) from None


@cache
def ignorable_paths() -> frozenset[str]:
    """Every path that ``ReplayOptions.ignore`` may name."""
    from starling.event import Payload

    return frozenset(f"{cls.KIND.name}.{field.name}" for cls in get_args(Payload) for field in fields(cls))


def _is_policy(value: Any) -> bool:
    return isinstance(value, str) and value in _POLICIES


def _check_policies(tools: Any) -> None:
    allowed = f"{', '.join(map(repr, _POLICIES[:-1]))} or {_POLICIES[-1]!r}"
    if not isinstance(tools, Mapping):
        raise _wrong("tools", f"tools must be {allowed}, or a mapping from tool name to one, got {tools!r}")
    for tool, policy in tools.items():
        if not isinstance(tool, str):
            raise _wrong("tools", f"tools must go from the names of tools to policies, got the name {tool!r}")
        if not _is_policy(policy):
            raise _wrong("tools", f"tools must be {allowed} for each tool, got {policy!r} for the tool {tool!r}")


def _check_paths(paths: Any) -> None:
    if not isinstance(paths, AbstractSet):
        raise _no_paths(paths)
    known = ignorable_paths()
    for path in paths:
        if path not in known:
            raise _wrong("ignore", f"ignore names {path!r}, which is no payload field: {_nearest(str(path), known)}")


def _no_paths(paths: object) -> AgentConfigError:
    return _wrong("ignore", f"ignore takes several payload fields, in a list or a set, got {paths!r}")


def _nearest(path: str, known: frozenset[str]) -> str:
    """What to write instead: the field above, one of the kind's fields, or how a path looks."""
    kind, _, rest = path.partition(".")
    whole = f"{kind}.{rest.partition('.')[0].partition('[')[0]}"
    if whole in known:
        return f"fields are ignored as a whole, so write {whole!r}"
    of_kind = sorted(name.partition(".")[2] for name in known if name.startswith(f"{kind}."))
    if of_kind:
        return f"{kind} has {', '.join(of_kind)}"
    return "write Kind.field, such as AssistantMessageCompleted.cost_usd"


def _wrong(field: str, what: str) -> AgentConfigError:
    return AgentConfigError(f"starling: the replay cannot be made as it is asked for: {what}", field=field)
