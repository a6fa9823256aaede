"""A function's parameters, as far as a tool needs to know them. Pure: no pydantic, so that decorating stays light."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from starling.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Parameter", "Signature", "read_signature"]

_UNSUPPORTED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only",
    inspect.Parameter.VAR_POSITIONAL: "is variadic (*)",
    inspect.Parameter.VAR_KEYWORD: "is variadic (**)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter with its annotation resolved. ``default`` is `inspect.Parameter.empty` if it is required."""

    name: str
    annotation: Any
    default: Any


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A function's parameters, whose annotations are resolved when they are first needed.

    They may name what is defined later in the module, so a name that is unknown while decorating is no error yet.
    ``names_in_scope`` are the local names where the function was decorated, for types defined inside a function.
    """

    tool: str
    function: Callable[..., Any]
    bare: Mapping[str, inspect.Parameter]
    names_in_scope: Mapping[str, Any] = field(repr=False)

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in order.

        Raises:
            AgentConfigError: an annotation names something that does not exist.
        """
        return tuple(
            Parameter(name=name, annotation=self._annotation(name, bare.annotation), default=bare.default)
            for name, bare in self.bare.items()
        )

    def _annotation(self, name: str, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        holder = SimpleNamespace(__annotations__={name: annotation})
        namespace = getattr(self.function, "__globals__", {})
        try:
            # One at a time: a return annotation under `if TYPE_CHECKING` is nobody's concern here.
            return typing.get_type_hints(holder, namespace, dict(self.names_in_scope), include_extras=True)[name]
        except Exception as error:
            raise AgentConfigError(
                f'tool "{self.tool}": the annotation {annotation!r} of parameter "{name}" cannot be resolved '
                f"({type(error).__name__}: {error}); import its names outside `if TYPE_CHECKING` and define them in "
                "the module, or in the function that holds the tool, before the tool",
                field=name,
            ) from error


def read_signature(
    function: Callable[..., Any], tool: str, names_in_scope: Mapping[str, Any], *, must_annotate: bool
) -> Signature:
    """The signature of a function that is about to become a tool.

    Args:
        function: a function or bound method, sync or async.
        tool: the tool's name, for messages.
        names_in_scope: local names that annotations may use.
        must_annotate: refuse parameters without annotation (their schema would tell the model nothing).

    Raises:
        AgentConfigError: a parameter cannot be passed by name, or is not annotated.
    """
    bare = inspect.signature(function).parameters
    for name, parameter in bare.items():
        _check(parameter, tool, first=name == next(iter(bare)), must_annotate=must_annotate)
    plain = inspect.unwrap(getattr(function, "__func__", function))
    return Signature(tool=tool, function=plain, bare=bare, names_in_scope=_mentioned(bare, names_in_scope))


def _mentioned(bare: Mapping[str, inspect.Parameter], names_in_scope: Mapping[str, Any]) -> dict[str, Any]:
    """The names that annotations mention: a tool must not keep everything alive that stood around it."""
    words = {word for parameter in bare.values() for word in re.findall(r"\w+", str(parameter.annotation))}
    return {name: value for name, value in names_in_scope.items() if name in words}


def _check(parameter: inspect.Parameter, tool: str, *, first: bool, must_annotate: bool) -> None:
    name = parameter.name
    if parameter.kind in _UNSUPPORTED:
        raise AgentConfigError(
            f'tool "{tool}": parameter "{name}" {_UNSUPPORTED[parameter.kind]}, but a model passes arguments by name; '
            "give the function ordinary named parameters",
            field=name,
        )
    if parameter.annotation is not inspect.Parameter.empty or not must_annotate:
        return
    if first and name in {"self", "cls"}:
        remedy = "decorate the bound method instead: tool(obj.method)"
    else:
        remedy = f'annotate it, with typing.Any if every JSON value will do: "{name}: Any"'
    raise AgentConfigError(f'tool "{tool}": parameter "{name}" has no annotation; {remedy}', field=name)
