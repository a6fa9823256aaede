"""What an agent consists of, and the first event that follows from it. Pure, but for asking the parts who they are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from starling._cbor import Raw, encode, written
from starling._version import RECORDED_AS
from starling.agent._config import check_wiring
from starling.errors import AgentConfigError, UnencodableValueError
from starling.event import (
    BudgetLimits,
    RunStarted,
    ToolDescription,
    ToolSchema,
    encode_payload,
    params_hash,
    registry_hash,
    schema_hash,
    text_hash,
)
from starling.instrumentation import NoMetrics
from starling.provider import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.agent._config import Config
    from starling.budget import Budget
    from starling.eventlog import EventLog
    from starling.instrumentation import Metrics
    from starling.provider import Provider
    from starling.step._run import Run
    from starling.tool import Tool

__all__ = ["Wiring", "asyncio_loop", "recordable", "run_started"]

_Recorded: TypeAlias = tuple[tuple[ToolSchema, ...], bytes | None, tuple[ToolDescription, ...]]
_TEXT = frozenset({str})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What an agent consists of, checked.

    Attributes:
        body: a loop of the user's own, to its final text; None for an agent's.
        told: the tools as the model is told of them where a replay redacts that; empty: as they describe themselves.
    """

    provider: Provider
    config: Config
    log: EventLog
    tools: tuple[Tool, ...] = ()
    budget: Budget | None = None
    namespace: str = ""
    metrics: Metrics = field(default_factory=NoMetrics)
    body: Callable[[Run], Awaitable[str]] | None = None
    told: tuple[ToolDefinition, ...] = ()

    def check(self) -> None:
        """Refuse a wiring that cannot run, or cannot run here.

        Raises:
            AgentConfigError: it says what is wrong.
        """
        asyncio_loop()
        check_wiring(self.provider, self.config, self.log, self.tools, self.namespace)

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """The tools as the model is told of them, in the agent's order."""
        return self.told or tuple(
            ToolDefinition(name=tool.name, description=tool.description, schema=tool.schema) for tool in self.tools
        )

    def telling(self, started: RunStarted) -> Wiring:
        """The same parts, with what the model is told of them as this first event has it."""
        config = replace(self.config, system_prompt=started.system_prompt, params=started.params)
        told = tuple(ToolDefinition(name=t.name, description=t.description, schema=t.schema) for t in started.tools)
        return replace(self, config=config, told=told)

    @property
    def logger(self) -> logging.Logger:
        """Where the run's start and end are logged."""
        return self.config.logger or logging.getLogger("starling")


def asyncio_loop() -> asyncio.AbstractEventLoop:
    """The loop that the caller runs on.

    Raises:
        AgentConfigError: it is another library's.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise AgentConfigError(
            "starling: agents run on asyncio, and this coroutine is run by something else, such as trio. Call "
            "run_sync, which brings a loop of its own, or run the test on asyncio (with anyio: a fixture anyio_backend "
            "that returns 'asyncio')"
        ) from None


def run_started(wiring: Wiring, goal: str) -> RunStarted:
    """The first event of a run with this wiring.

    Raises:
        AgentConfigError: a part of it has no place in the log, such as a goal that is not text.
    """
    if not isinstance(goal, str):
        raise AgentConfigError(f"starling: the goal must be text, got {type(goal).__name__}", field="goal")
    goal = written(goal)  # what a replay will take from the log
    info, config, definitions = wiring.provider.info(), wiring.config, wiring.definitions
    params = None if config.params is None else Raw(encode(config.params, max_depth=31))
    schemas, of_registry, tools = _as_recorded(definitions)
    started = RunStarted(
        goal=goal,
        provider_id=info.id,
        model_id=config.model,
        api_version=info.api_version,
        params_hash=params_hash(params),
        params=params,
        system_prompt_hash=text_hash(config.system_prompt),
        system_prompt=config.system_prompt,
        tool_registry_hash=of_registry,
        tool_schemas=schemas,
        budget=_limits(wiring.budget),
        starling_version=RECORDED_AS,
        app_version=config.app_version,
        tools=tools,
    )
    return recordable(started)


def _as_recorded(definitions: tuple[ToolDefinition, ...]) -> _Recorded:
    """The tools as a run's first event has them. They are mostly those of the run before."""
    texts = [text for tool in definitions for text in (tool.name, tool.description, tool.schema)]
    if _TEXT.issuperset(map(type, texts)):
        return _recorded_texts(*texts)
    return _recorded_texts.__wrapped__(*texts)  # what is no text may equal something else


@lru_cache(maxsize=16)
def _recorded_texts(*texts: str) -> _Recorded:
    """Of each tool name, description and schema, one behind the other."""
    tools = tuple(
        ToolDescription(name=name, description=description, schema=schema)
        for name, description, schema in zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    )
    schemas = tuple(
        ToolSchema(name=tool.name, schema_hash=schema_hash(tool.schema))
        for tool in sorted(tools, key=lambda tool: tool.name.encode())
    )
    return schemas, registry_hash(schemas), tools


def recordable(started: RunStarted) -> RunStarted:
    """The same, if the log can hold it.

    Raises:
        AgentConfigError: naming the field that it cannot.
    """
    try:
        encode_payload(started)
    except UnencodableValueError as error:
        raise AgentConfigError(
            f"starling: the run cannot be recorded as it is wired: {error.message}", field=error.field
        ) from error
    return started


def _limits(budget: Budget | None) -> BudgetLimits | None:
    if budget is None:
        return None
    return BudgetLimits(
        max_input_tokens=budget.max_input_tokens,
        max_output_tokens=budget.max_output_tokens,
        max_usd=budget.max_usd,
        max_wall_clock_ms=budget.wall_clock_ms,
    )
