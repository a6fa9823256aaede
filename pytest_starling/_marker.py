"""The ``golden_run`` marker → a checked value. The closest marker counts, as a whole.

One table says what each argument may be; it serves the marker and the ``golden_run_config`` fixture.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

from pytest_starling._location import has_stray_brace, is_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from starling.replay import Redact, ReplayOptions, ToolPolicy

__all__ = ["GoldenMark", "configured", "parse", "unknown_paths"]

_POLICIES = ("compare", "run", "stub")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenMark:
    """What a test's marker says.

    Attributes:
        path: where the fixture is kept, from the directory of the configuration file; may hold ``{class}``,
            ``{function}`` and ``{id}``. None: the default place.
        tools: how tools are replayed: one policy, or a mapping from tool name to policy.
        ignore: payload fields that are not compared, such as ``AssistantMessageCompleted.cost_usd``.
        allow_hosts: hosts that may be reached while replaying.
        force_provider: do not insist on the recorded provider, API version and model.
        compare_cost: a changed price is a divergence; None leaves it to the ini key.
        max_age: days after which a recording is called stale; None for never.
        given: the arguments that were written down.
    """

    path: str | None = None
    tools: str | Mapping[str, str] = "compare"
    ignore: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    force_provider: bool = False
    compare_cost: bool | None = None
    max_age: float | None = None
    given: frozenset[str] = frozenset()

    def options(self, *, compare_cost: bool, redact: Redact | None = None) -> ReplayOptions:
        """How strictly to compare. ``compare_cost`` holds where the marker is silent; ``redact`` is the project's."""
        from starling.replay import ReplayOptions

        return ReplayOptions(
            tools=cast("ToolPolicy | Mapping[str, ToolPolicy]", self.tools),  # checked by the table below
            ignore=frozenset(self.ignore),
            force_provider=self.force_provider,
            compare_cost=compare_cost if self.compare_cost is None else self.compare_cost,
            redact=redact,
        )


def parse(mark: pytest.Mark) -> tuple[GoldenMark, list[str]]:
    """Read a marker.

    Returns:
        Its value, and one sentence for each thing that is wrong with it; the value counts if there is none.
    """
    problems: list[str] = []
    arguments = dict(mark.kwargs)
    if mark.args:
        arguments.setdefault("path", mark.args[0])
        if len(mark.args) > 1:
            problems.append(f"takes one argument by position, the path, and got {len(mark.args)}")
        elif "path" in mark.kwargs:
            problems.append("got path twice, by position and by name")
    return _checked(GoldenMark(), arguments, problems), problems


def configured(mark: GoldenMark, defaults: object) -> tuple[GoldenMark, list[str]]:
    """The marker with what ``golden_run_config`` says where the marker itself is silent."""
    if not isinstance(defaults, Mapping):
        return mark, [f"must return a mapping of marker arguments, not {type(defaults).__name__}"]
    if not defaults:
        return mark, []
    problems = ["cannot set path: override golden_run_dir"] if "path" in defaults else []
    open_fields = {name: value for name, value in defaults.items() if name not in mark.given and name != "path"}
    merged = _checked(mark, open_fields, problems)
    if merged.ignore != mark.ignore:
        problems.extend(unknown_paths(merged.ignore))
    return merged, problems


def unknown_paths(ignore: Iterable[str]) -> list[str]:
    """One sentence for each path that names no payload field. Imports the runtime."""
    from starling.replay import ignorable_paths

    known = ignorable_paths()
    return [
        f"ignores {path!r}, which is no payload field; write Kind.field, such as AssistantMessageCompleted.cost_usd"
        for path in ignore
        if path not in known
    ]


def _checked(mark: GoldenMark, arguments: Mapping[str, Any], problems: list[str]) -> GoldenMark:
    accepted: dict[str, Any] = {}
    for name, value in arguments.items():
        rule = _RULES.get(name)
        if rule is None:
            problems.append(f"has no argument {name!r}; it takes {', '.join(_RULES)}")
        elif not rule.accepts(value):
            problems.append(rule.fault(value) or f"needs {rule.wanted} for {name}, got {value!r}")
        else:
            accepted[name] = rule.convert(value)
    return replace(mark, **accepted, given=mark.given | frozenset(accepted))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What an argument may be, in code and in words, what is wrong in one of many values, and how it is kept."""

    accepts: Callable[[Any], bool]
    wanted: str
    fault: Callable[[Any], str] = lambda _: ""
    convert: Callable[[Any], Any] = lambda value: value


def _is_policies(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(tool, str) and policy in _POLICIES for tool, policy in value.items())
    return isinstance(value, str) and value in _POLICIES


def _wrong_placeholder(value: Any) -> str:
    if not is_path(value):
        return ""
    return (
        f"has a brace in path that belongs to no placeholder, in {value!r}; there are {{class}}, {{function}}, {{id}}"
    )


def _wrong_policy(value: Any) -> str:
    """Which tool has a policy that is none."""
    wrong = [(tool, one) for tool, one in value.items() if one not in _POLICIES] if isinstance(value, Mapping) else []
    found = ", ".join(f"{policy!r} for the tool {tool}" for tool, policy in wrong)
    return f"is wrong in tools: {found} is none of {', '.join(_POLICIES)}" if wrong else ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(one, str) for one in value)


def _is_hosts(value: Any) -> bool:
    if not value or not _is_texts(value):
        return _is_texts(value)
    from pytest_starling._hosts import wrong_hosts

    return not wrong_hosts(value)


def _is_days(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


_RULES: Mapping[str, _Rule] = {
    "path": _Rule(
        accepts=lambda value: value is None or (is_path(value) and not has_stray_brace(os.fspath(value))),
        wanted="a path or None",
        fault=_wrong_placeholder,
        convert=lambda value: None if value is None else os.fspath(value),
    ),
    "tools": _Rule(
        accepts=_is_policies,
        wanted='"compare", "run" or "stub", or a mapping from tool name to one,',
        fault=_wrong_policy,
    ),
    "ignore": _Rule(
        accepts=_is_texts, wanted="a sequence of payload paths", convert=lambda value: tuple(sorted(value))
    ),
    "allow_hosts": _Rule(
        accepts=_is_hosts,
        wanted='a sequence of host names, addresses or networks (such as "db.internal:5432", "*.internal", '
        '"10.0.0.0/8")',
        convert=lambda value: tuple(sorted(value)),
    ),
    "force_provider": _Rule(accepts=lambda value: isinstance(value, bool), wanted="True or False"),
    "compare_cost": _Rule(accepts=lambda value: value is None or isinstance(value, bool), wanted="True, False or None"),
    "max_age": _Rule(accepts=_is_days, wanted="a positive number of days or None"),
}
assert {*_RULES, "given"} == {field.name for field in fields(GoldenMark)}
