"""JSON Schema as plain data: made independent of who generated it, walked, and put into words. Pure.

What belongs here knows schemas as pydantic generates them, but not pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from starling._canonical_json import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["child", "expectation", "normalised", "resolved"]

Schema: TypeAlias = "Mapping[str, Any]"

_DATA = {"const", "default", "enum", "example", "examples"}  # their values are data, not schemas
_NAMED = {"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"}  # name → schema

_LIMITS = (
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
)


def normalised(schema: Any, name: str = "") -> Any:
    """The schema without the titles that a generator makes up.

    A title at a property goes if it only repeats the property's name (``"Max Hits"`` for ``max_hits``); elsewhere
    titles are class names and always go. A property that is *called* title stays, and so does all data (defaults,
    enum values).

    Args:
        schema: a JSON Schema, or a part of one.
        name: the property it describes, "" for anything else.
    """
    if isinstance(schema, list):
        return [normalised(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        keyword: _normalised_keyword(keyword, value)
        for keyword, value in schema.items()
        if not (keyword == "title" and isinstance(value, str) and _is_generated(value, name))
    }


def _normalised_keyword(keyword: str, value: Any) -> Any:
    if keyword in _DATA:
        return value
    if keyword in _NAMED and isinstance(value, dict):
        return {name: normalised(part, name if keyword == "properties" else "") for name, part in value.items()}
    return normalised(value)


def _is_generated(title: str, name: str) -> bool:
    return not name or _letters(title) == _letters(name)


def _letters(text: str) -> str:
    return text.replace("_", "").replace(" ", "").casefold()


def resolved(schema: Schema, root: Schema) -> Schema:
    """The schema itself, its reference followed, and an optional one reduced to what it is when it is not null."""
    while True:
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(schema["$ref"].rsplit("/", 1)[-1], {})
        elif len(branches := _not_null(schema)) == 1:
            schema = branches[0]
        else:
            return schema


def _not_null(schema: Schema) -> list[Schema]:
    return [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]


def child(schema: Schema, step: str | int, root: Schema) -> Schema | None:
    """The schema of one property or item, or None where the schema does not say (alternatives, anything goes).

    Args:
        schema: of the object or list.
        step: a property's name, or an item's index.
        root: the whole schema, for its definitions.
    """
    schema = resolved(schema, root)
    if isinstance(step, int):
        prefix: Sequence[Schema] = schema.get("prefixItems", ())
        found = prefix[step] if step < len(prefix) else schema.get("items")
    else:
        found = schema.get("properties", {}).get(step, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def expectation(schema: Schema, root: Schema) -> str:
    """What a value must be, in the words of JSON Schema: ``integer (minimum 1)``, ``one of "a", "b"``."""
    if "$ref" in schema:
        return expectation(resolved(schema, root), root)
    if "const" in schema:
        return dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(dumps(value) for value in schema["enum"])
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(expectation(branch, root) for branch in branches))
    return _type_with_limits(schema)


def _type_with_limits(schema: Schema) -> str:
    kind = str(schema.get("type", "another value"))
    limits = ", ".join(f"{keyword} {_bare(schema[keyword])}" for keyword in _LIMITS if keyword in schema)
    return f"{kind} ({limits})" if limits else kind


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
