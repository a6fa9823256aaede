"""Tools made from functions."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from starling._callable_module import make_callable
from starling._canonical_json import dumps, loads
from starling.errors import AgentConfigError, UnencodableValueError
from starling.tool._arguments import Arguments, reject_malformed
from starling.tool._plain import to_plain
from starling.tool._policy import Backoff, CallPolicy
from starling.tool._signature import read_signature
from starling.tool._threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from starling.tool._protocol import Tool

__all__ = ["FunctionTool", "call_policy", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FunctionTool(Generic[P, R]):
    """A function as a tool; made by `tool`. Calling it calls the function, unchecked and unrecorded.

    Attributes:
        function: the function itself.
        name: what the model calls it by.
        description: what the model is told of it.
        arguments: its parameters, compiled when first needed.
        given_schema: the schema that was passed to `tool`, None if it is derived.
        policy: retries, pauses and time limit.
        is_sync: whether calls run in a worker thread.
    """

    function: Callable[P, R]
    name: str
    description: str
    arguments: Arguments = field(repr=False)
    given_schema: str | None = field(repr=False)
    policy: CallPolicy = field(repr=False)
    is_sync: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look at the function once."""
        object.__setattr__(self, "is_sync", not inspect.iscoroutinefunction(self.function))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it had not been decorated."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, R]:
        """The function, for `inspect`."""
        return self.function

    @property
    def schema(self) -> str:
        """JSON Schema text: as given, else derived, normalised and canonical.

        Raises:
            AgentConfigError: none can be derived; the message names the parameter.
        """
        return self.arguments.schema_text if self.given_schema is None else self.given_schema

    @property
    def schema_derived(self) -> bool:
        """Whether the schema comes from the signature."""
        return self.given_schema is None

    @property
    def idempotent(self) -> bool:
        """See `CallPolicy`."""
        return self.policy.idempotent

    @property
    def max_attempts(self) -> int:
        """See `CallPolicy`."""
        return self.policy.max_attempts

    @property
    def backoff(self) -> Backoff | None:
        """See `CallPolicy`."""
        return self.policy.backoff

    @property
    def timeout(self) -> float | None:
        """See `CallPolicy`."""
        return self.policy.timeout

    async def execute(self, args: Any) -> Any:
        """Check the arguments, call the function (in a thread if it is sync), and make the result plain data.

        Args:
            args: decoded JSON; bytes where the model's text was not JSON.

        Raises:
            ToolError: the arguments do not fit, or are no JSON.
            UnencodableValueError: the result has no JSON form.
            Exception: what the function raises.
        """
        reject_malformed(self.name, args)
        # The check made sure of the keywords, which the type checker cannot know.
        call = functools.partial(cast("Callable[..., Any]", self.function), **self.arguments.checked(args))
        result: Any = await run_in_thread(call) if self.is_sync else call()
        if inspect.isawaitable(result):
            result = await result
        return to_plain(result)


def call_policy(tool: Tool) -> CallPolicy:
    """The policy of any tool; what it does not say is the default.

    Raises:
        AgentConfigError: as `CallPolicy`, naming the tool.
    """
    if type(tool) is FunctionTool:
        return tool.policy
    try:
        return CallPolicy(
            idempotent=bool(getattr(tool, "idempotent", False)),
            max_attempts=getattr(tool, "max_attempts", 1),
            backoff=getattr(tool, "backoff", None),
            timeout=getattr(tool, "timeout", None),
        )
    except AgentConfigError as error:
        raise AgentConfigError(f'tool "{tool.name}": {error}', field=error.field) from None


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    schema: str | Mapping[str, Any] | None = None,
    idempotent: bool = False,
    max_attempts: int = 1,
    backoff: Backoff | None = None,
    timeout: float | None = None,
) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    schema: str | Mapping[str, Any] | None = None,
    idempotent: bool = False,
    max_attempts: int = 1,
    backoff: Backoff | None = None,
    timeout: float | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    schema: str | Mapping[str, Any] | None = None,
    idempotent: bool = False,
    max_attempts: int = 1,
    backoff: Backoff | None = None,
    timeout: float | None = None,
) -> Any:
    """Make a tool from a typed function, sync or async: ``@tool``, ``@tool(...)`` or ``tool(obj.method)``.

    The function's parameters are the tool's arguments, by name; `typing.Annotated` with `pydantic.Field` describes
    them to the model. A parameter that is a pydantic model is one argument that is an object. A sync function runs in
    a worker thread, with the context carried along.

    Args:
        function: the function; left out when there are options.
        name: what the model calls it by; the function's name if None. Letters, digits, ``_`` and ``-``, at most 64,
            which is what every vendor takes.
        description: what the model is told; the whole docstring if None.
        schema: JSON Schema to show instead of the derived one. Text is used byte for byte, a mapping as canonical
            JSON. Arguments are still checked against the signature, where parameters may then lack annotations.
        idempotent: calling it twice does no more than calling it once.
        max_attempts: how often a call that raises `TransientToolError` is tried; more than 1 needs ``idempotent``.
        backoff: from the attempt that failed, from 1, to seconds to wait; `default_backoff` if None.
        timeout: seconds for one attempt; a sync function is then abandoned in its thread.

    Returns:
        A `FunctionTool`, or the decorator that makes one.

    Raises:
        AgentConfigError: the function or an option cannot make a tool; ``field`` names it. Annotations are looked at
            when the schema is first needed.
    """
    names_in_scope = _local_names(sys._getframe(1))

    def make(made_from: Callable[..., Any]) -> FunctionTool[..., Any]:
        tool_name = _checked_name(made_from, name)
        arguments = Arguments(
            tool=tool_name,
            signature=read_signature(made_from, tool_name, names_in_scope, must_annotate=schema is None),
        )
        return FunctionTool(
            function=made_from,
            name=tool_name,
            description=(inspect.getdoc(made_from) or "") if description is None else description,
            arguments=arguments,
            given_schema=None if schema is None else _checked_schema(tool_name, schema),
            policy=_checked_policy(tool_name, idempotent, max_attempts, backoff, timeout),
        )

    return make if function is None else make(function)


def _local_names(caller: FrameType | None) -> dict[str, Any]:
    """The local names where a decorator is written, which annotations there may use."""
    while caller is not None and caller.f_globals.get("__name__") == make_callable.__module__:
        caller = caller.f_back  # `starling.tool` was called as a function
    return {} if caller is None or caller.f_locals is caller.f_globals else dict(caller.f_locals)


def _checked_name(function: Callable[..., Any], name: str | None) -> str:
    if isinstance(function, FunctionTool):
        raise AgentConfigError(f'"{function.name}" is a tool already; decorate it once', field="function")
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise AgentConfigError(
            f"tool() takes a function or a bound method, got {function!r}; wrap it in a function", field="function"
        )
    tool_name = function.__name__ if name is None else name
    if not _NAME.fullmatch(tool_name):
        raise AgentConfigError(
            f"{tool_name!r} cannot be a tool's name: vendors take 1 to 64 letters, digits, _ and -; pass name=",
            field="name",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AgentConfigError(f'tool "{tool_name}" is a generator; return a list instead', field="function")
    return tool_name


def _checked_schema(tool_name: str, schema: str | Mapping[str, Any]) -> str:
    try:
        text = schema if isinstance(schema, str) else dumps(dict(schema))
        if isinstance(loads(text), dict):
            return text
        problem = "is not an object"
    except UnencodableValueError as error:
        problem = f"is not JSON: {error}"
    raise AgentConfigError(f'tool "{tool_name}": the schema {problem}; pass a JSON Schema object', field="schema")


def _checked_policy(
    tool_name: str, idempotent: bool, max_attempts: int, backoff: Backoff | None, timeout: float | None
) -> CallPolicy:
    try:
        return CallPolicy(idempotent=idempotent, max_attempts=max_attempts, backoff=backoff, timeout=timeout)
    except AgentConfigError as error:
        raise AgentConfigError(f'tool "{tool_name}": {error}', field=error.field) from None
