"""A tool function's arguments: their JSON Schema, and the check of what the model sent.

Strategy: pydantic builds one model over the function's parameters; it is imported when a schema or a call needs it,
not when a function is decorated. Its verdicts are used, its wording is not: what does not fit is said in our words,
from our schema, because those texts are recorded and a new pydantic must not change them.
"""

from __future__ import annotations

import functools
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from starling._canonical_json import dumps
from starling._cbor import written
from starling.errors import AgentConfigError, ToolError
from starling.tool._schema import child, expectation, normalised, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel, ValidationError

    from starling.tool._signature import Parameter, Signature

__all__ = ["Arguments", "reject_malformed"]

_LONGEST_VALUE = 80
_LONGEST_TEXT = 200
_MOST_PROBLEMS = 20

# pydantic's codes for what a checking function of the user's raised: its own text is the message.
_RAISED = {"value_error", "assertion_error"}
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}

# For each type that says all there is to check: which of its values come back unchanged from JSON and pydantic.
_UNCHANGED: dict[Any, Callable[[Any], bool]] = {
    str: lambda text: written(text) == text,
    int: lambda number: number.bit_length() < 64,
    float: math.isfinite,
    bool: lambda _value: True,
}


def reject_malformed(tool_name: str, args: Any) -> None:
    """Refuse arguments that are not JSON: bytes stand for the text that the model wrote in its place.

    Raises:
        ToolError: ``args`` is bytes. The message quotes the beginning, so that the model can see its mistake.
    """
    if isinstance(args, bytes | bytearray):
        text = _bounded(args.decode("utf-8", "replace"), _LONGEST_TEXT)
        raise ToolError(f'arguments of tool "{tool_name}" are not valid JSON: {text}')


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The parameters of one tool, compiled when they are first needed."""

    tool: str
    signature: Signature

    @functools.cached_property
    def model(self) -> type[BaseModel]:
        """A model with a field a parameter.

        Raises:
            AgentConfigError: pydantic cannot check a parameter's type.
        """
        from pydantic import ConfigDict, Field, create_model
        from pydantic.errors import PydanticUserError

        # Fields are numbered and carry the parameter as alias: a parameter may be called json, copy or _x.
        fields: dict[str, Any] = {
            f"p{index}": (Annotated[parameter.annotation, Field(alias=parameter.name)], _default(parameter))
            for index, parameter in enumerate(self.signature.parameters)
        }
        try:
            return create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
        except (PydanticUserError, TypeError, NameError) as error:
            raise self._unusable(error) from error

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The normalised JSON Schema: an object, ``additionalProperties: false`` at the top.

        Raises:
            AgentConfigError: a parameter's type has no JSON Schema.
        """
        from pydantic.errors import PydanticUserError
        from pydantic.json_schema import GenerateJsonSchema

        class Generator(GenerateJsonSchema):
            # A default that JSON cannot hold is left out of the schema, without a word: the function still has it.
            ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - pydantic's own type

        try:
            derived: dict[str, Any] = normalised(self.model.model_json_schema(schema_generator=Generator))
        except (PydanticUserError, TypeError) as error:
            raise self._unusable(error) from error
        return derived

    @functools.cached_property
    def schema_text(self) -> str:
        """The same as canonical JSON. Raises `AgentConfigError` likewise."""
        return dumps(self.schema)

    def checked(self, args: Any) -> dict[str, Any]:
        """The keyword arguments to call the function with.

        Values are taken as pydantic's lax JSON mode takes them: ``"3"`` and ``3.0`` pass for an integer, an ISO date
        for a `datetime.date`; annotate with `pydantic.Strict` where that is too kind. ``null`` stands for no
        arguments. The values are the function's own: changing them changes nothing that was recorded.

        Raises:
            ToolError: something does not fit; the message names every such place.
        """
        given = {} if args is None else args
        if self._fits_as_it_is(given):
            return dict(given)
        try:
            values = self.model.model_validate_json(dumps(given))
        except ValueError as error:
            from pydantic import ValidationError

            if not isinstance(error, ValidationError):
                raise
            raise ToolError(self._misfits(given, error)) from error
        given_fields = values.model_fields_set
        return {
            name: getattr(values, field)
            for field, name, always in self._keywords
            # An absent argument is left to the function's own default, whose identity may matter.
            if always or field in given_fields
        }

    def _fits_as_it_is(self, given: Any) -> bool:
        """Whether pydantic would find nothing wrong and nothing to convert. Where this is False, it is asked."""
        types = self._types
        if types is None or type(given) is not dict:
            return False
        for name, value in given.items():
            kind = type(value)  # a name of another class may equal what it is not
            if type(name) is not str or types.get(name) is not kind or not _UNCHANGED[kind](value):
                return False
        return len(given) == len(types) or self._required <= given.keys()

    @functools.cached_property
    def _types(self) -> dict[str, type] | None:
        """The types of the parameters, if each is one of a few, and so is its default; None otherwise."""
        parameters = self.signature.parameters
        if any(not any(p.annotation is kind for kind in _UNCHANGED) for p in parameters):
            return None
        usual = {*_UNCHANGED, type(None)}  # others mean something to pydantic
        if any(type(p.default) not in usual and p.default is not inspect.Parameter.empty for p in parameters):
            return None
        return {parameter.name: parameter.annotation for parameter in parameters}

    @functools.cached_property
    def _required(self) -> frozenset[str]:
        """The parameters without a default."""
        return frozenset(p.name for p in self.signature.parameters if p.default is inspect.Parameter.empty)

    @functools.cached_property
    def _keywords(self) -> tuple[tuple[str, str, bool], ...]:
        """For each parameter: the model's field, the parameter's name, and whether pydantic knows its default."""
        parameters = zip(self.model.model_fields, self.signature.parameters, strict=True)
        return tuple((field, parameter.name, _is_field(parameter.default)) for field, parameter in parameters)

    def _misfits(self, args: Any, error: ValidationError) -> str:
        problems = sorted({_problem(found, args, self.schema) for found in error.errors(include_url=False)})
        shown = [f"{path}: {problem}" if path else problem for path, problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            shown.append(f"and {len(problems) - _MOST_PROBLEMS} more")
        return f'arguments do not fit tool "{self.tool}": {"; ".join(shown)}'

    def _unusable(self, error: Exception) -> AgentConfigError:
        name, annotation = next(filter(_is_unusable, self._annotations()), ("?", "?"))
        reason = str(error).partition("\n")[0]
        return AgentConfigError(
            f'tool "{self.tool}": no JSON Schema can be derived for parameter "{name}: {_type_name(annotation)}" '
            f"({reason}); give it a type that JSON can carry, or the tool a schema= and the parameter Any",
            field=name,
        )

    def _annotations(self) -> list[tuple[str, Any]]:
        return [(parameter.name, parameter.annotation) for parameter in self.signature.parameters]


def _default(parameter: Parameter) -> Any:
    return ... if parameter.default is inspect.Parameter.empty else parameter.default


def _is_field(default: Any) -> bool:
    from pydantic.fields import FieldInfo

    return isinstance(default, FieldInfo)


def _is_unusable(parameter: tuple[str, Any]) -> bool:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        TypeAdapter(parameter[1]).json_schema()
    except (PydanticUserError, TypeError, NameError):
        return True
    return False


def _type_name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _problem(found: Mapping[str, Any], args: Any, root: Mapping[str, Any]) -> tuple[str, str]:
    """One of pydantic's findings as (path, text), both ours."""
    location = found["loc"]
    if found["type"] == "missing":
        *location, absent = location
    steps, value, schema = _locate(location, args, root)
    if found["type"] == "missing" and len(steps) == len(location):
        return _path([*steps, absent]), "is required"
    path = _path(steps)
    if found["type"] in _UNKNOWN:
        return path, "is not an argument of this tool" if len(steps) == 1 else "is not allowed here"
    if found["type"] in _RAISED or _is_users_own(found["type"]):
        return path, str(found.get("ctx", {}).get("error", found["msg"]))
    return path, f"expected {expectation(schema, root)}, got {_bounded(dumps(value), _LONGEST_VALUE)}"


def _locate(
    location: Sequence[int | str], args: Any, root: Mapping[str, Any]
) -> tuple[list[int | str], Any, Mapping[str, Any]]:
    """Follow pydantic's location through the data and our schema, as far as both know it.

    Where a type has alternatives, pydantic names the one it tried inside the location. Such names are its own, and
    what is wrong with each alternative helps nobody: the problem is then told of the place that has alternatives.
    """
    steps: list[int | str] = []
    value, schema = args, root
    for step in location:
        if not _holds(value, step) or (inner := child(schema, step, root)) is None:
            break
        steps.append(step)
        value, schema = value[step], inner
    else:
        return steps, value, schema
    unknown_argument = len(location) == len(steps) + 1 and _holds(value, location[-1]) and _is_closed(schema, root)
    return ([*steps, location[-1]], value[location[-1]], {}) if unknown_argument else (steps, value, schema)


def _holds(value: Any, step: int | str) -> bool:
    if isinstance(step, int):
        return isinstance(value, list) and step < len(value)
    return isinstance(value, dict) and step in value


def _is_closed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    return resolved(schema, root).get("additionalProperties") is False


def _is_users_own(code: str) -> bool:
    from typing import get_args

    from pydantic_core.core_schema import ErrorType

    return code not in get_args(ErrorType)


def _path(steps: list[int | str]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _bounded(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"
