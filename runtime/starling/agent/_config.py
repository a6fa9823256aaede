"""What an agent is told once: model, prompt, limits. Values, checked when a run starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from starling._cbor import written
from starling.errors import AgentConfigError
from starling.step import DEFAULT_MAX_PARALLEL_TOOLS
from starling.tool import call_policy

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from starling.eventlog import EventLog
    from starling.provider import Provider
    from starling.tool import Tool

__all__ = ["Config", "ToolErrors", "check_run_id", "check_wiring"]

ToolErrors: TypeAlias = Literal["fail", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How an agent runs. Source: seed, "Build your first agent".

    Attributes:
        model: the provider's model id; required.
        system_prompt: put before every conversation, and recorded.
        params: the vendor's own parameters (temperature, …), passed through and recorded.
        max_turns: model calls in one run; 0 means no limit, which is not recommended.
        require_raw_response_hash: fail a turn whose answer carries no 32-byte digest.
        app_version: your application's version, recorded beside this library's.
        emit_timeout: seconds that writing to the log may take; 0 means no limit.
        skip_schema_check: do not check the log's schema version before a run. For tests.
        logger: where a run's start and end are logged; by default the logger ``starling``.
        max_parallel_tools: how many tool calls of one turn run at a time.
        tool_errors: ``fail`` ends the run when a tool call fails; ``report`` tells the model, which may recover.
    """

    model: str = ""
    system_prompt: str = ""
    params: dict[str, Any] | None = None
    max_turns: int = 0
    require_raw_response_hash: bool = False
    app_version: str = ""
    emit_timeout: float = 0.0
    skip_schema_check: bool = False
    logger: logging.Logger | None = None
    max_parallel_tools: int = DEFAULT_MAX_PARALLEL_TOOLS
    tool_errors: ToolErrors = "fail"


def check_wiring(
    provider: Provider | None, config: Config, log: EventLog | None, tools: Sequence[Tool], namespace: str
) -> None:
    """Refuse an agent that cannot run.

    Raises:
        AgentConfigError: naming the argument.
    """
    if provider is None:
        raise AgentConfigError("starling: Agent.provider is None; pass a provider", field="provider")
    if log is None:
        raise AgentConfigError("starling: Agent.log is None; pass an event log, such as MemoryLog()", field="log")
    problem = _text_problem(namespace)
    if problem:
        raise AgentConfigError(f"starling: Agent.namespace {problem}", field="namespace")
    if "/" in namespace:
        raise AgentConfigError(
            f"starling: Agent.namespace must not contain '/' (reserved separator); got {namespace!r}", field="namespace"
        )
    _check_config(config)
    _check_tools(tools)


def _text_problem(text: str) -> str:
    """Why a part of a run id is not one that every log can keep; empty if it is."""
    if not isinstance(text, str):
        return f"must be text, got {type(text).__name__}"
    if "\0" in text:
        return f"{text!r} contains a NUL character"
    if written(text) != text:
        return f"{text!r} holds a lone surrogate and has no UTF-8 form"
    return ""


def check_run_id(run_id: str, what: str) -> None:
    """Refuse a run id of the caller's that not every log can keep.

    Args:
        what: the entry point that was given it, for the message.

    Raises:
        AgentConfigError: it is no such id.
    """
    problem = "is empty" if run_id == "" else _text_problem(run_id)
    if problem:
        raise AgentConfigError(f"starling: {what}: run_id {problem}", field="run_id")


def _check_config(config: Config) -> None:
    problems = {
        "model": "is empty; name the provider's model" if not config.model else "",
        "max_turns": "must not be negative" if config.max_turns < 0 else "",
        "emit_timeout": "must not be negative" if config.emit_timeout < 0 else "",
        "max_parallel_tools": "must be 1 or more" if config.max_parallel_tools < 1 else "",
        "tool_errors": "must be 'fail' or 'report'" if config.tool_errors not in ("fail", "report") else "",
    }
    for field, problem in problems.items():
        if problem:
            raise AgentConfigError(f"starling: Agent.config.{field} {problem}", field=f"config.{field}")


def _check_tools(tools: Sequence[Tool]) -> None:
    names: set[str] = set()
    for tool in tools:
        missing = [part for part in ("name", "description", "schema", "execute") if not hasattr(tool, part)]
        if missing:
            raise AgentConfigError(
                f"starling: {tool!r} is not a tool (it lacks {', '.join(missing)}); decorate the function with "
                "@starling.tool",
                field="tools",
            )
        if not isinstance(tool.name, str):
            raise AgentConfigError(
                f"starling: the name of {tool!r} must be text, got {type(tool.name).__name__}", field="tools"
            )
        if written(tool.name) != tool.name:
            raise AgentConfigError(
                f"starling: tool name {tool.name!r} holds a lone surrogate and has no UTF-8 form", field="tools"
            )
        if tool.name in names:
            raise AgentConfigError(f'starling: duplicate tool name "{tool.name}"', field="tools")
        call_policy(tool)
        names.add(tool.name)
