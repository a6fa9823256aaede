"""What every translation of a request does alike: refuse, take parameters, read schemas, show arguments again. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from starling.errors import ProviderError
from starling.provider._errors import provider_error_text

if TYPE_CHECKING:
    from starling.provider._types import Request, ToolDefinition

__all__ = ["STATED_ALREADY", "arguments_object", "given_params", "refuse", "schema_of"]

STATED_ALREADY = "is stated by the request already; give it once"
"""Why a parameter is refused that says what the request says."""

_INVALID_ARGUMENTS = "INVALID_JSON"
"""The key under which a call's arguments are shown to the model again that are no JSON object, as Anthropic's page
"Fine-grained tool streaming" proposes."""


def refuse(provider: str, field: str, why: str) -> NoReturn:
    """Refuse a request before anything is sent.

    Args:
        provider: the provider's id.
        field: what cannot be sent, such as ``params.n``.
        why: why not, or what to do instead.

    Raises:
        ProviderError: always; its ``field`` is the field.
    """
    text = provider_error_text(provider, f"{field} cannot be sent: {why}")
    raise ProviderError(text, provider=provider, field=field)


def given_params(request: Request, provider: str) -> dict[str, Any]:
    """The vendor's own parameters as a fresh dict; refuses what is no mapping, and numbers that JSON does not have."""
    given = {} if request.params is None else request.params
    if not isinstance(given, Mapping):
        refuse(provider, "params", f"must be a mapping of parameter names, not {type(given).__name__}")
    for name, value in given.items():
        if not _is_finite(value):
            refuse(provider, f"params.{name}", "JSON has no NaN and no Infinity")
    return dict(given)


def schema_of(tool: ToolDefinition, provider: str) -> Any:
    """The tool's schema as a value, None if it has none; refuses what is not JSON."""
    if not tool.schema:
        return None
    try:
        return _value_of(tool.schema)
    except (ValueError, RecursionError) as error:
        refuse(provider, f'the schema of tool "{tool.name}"', f"is not JSON ({error})")


def arguments_object(text: str) -> dict[str, Any]:
    """A call's arguments for a wire that takes objects only; what is none is shown to the model as it wrote it."""
    try:
        value = _value_of(text or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {_INVALID_ARGUMENTS: text}


def _value_of(text: str | bytes) -> Any:
    """What JSON text says, if it can be written as JSON again: Python reads NaN, and 1e999 as Infinity."""
    value = json.loads(text, parse_constant=_not_json)
    if not _is_finite(value):
        _not_json("a number is too large")
    return value


def _is_finite(value: object) -> bool:
    """Whether all numbers in a value of a request are such as JSON has."""
    match value:
        case float():
            return math.isfinite(value)
        case Mapping():
            return all(map(_is_finite, value.values()))
        case list() | tuple():
            return all(map(_is_finite, value))
    return True


def _not_json(word: str) -> NoReturn:
    """NaN and Infinity, which Python would read."""
    raise ValueError(word)
