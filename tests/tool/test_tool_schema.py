"""Derived schemas: what each type becomes, and that nothing in them depends on who generated them."""

import json
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from starling._canonical_json import dumps
from starling.errors import AgentConfigError
from starling.tool import tool
from starling.tool._schema import child, expectation, normalised


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Book(BaseModel):
    """A printed work."""

    title: str
    year: int = 0


class Tree(BaseModel):
    children: list["Tree"] = []


@dataclass
class Point:
    x: float
    label: str | None = None


class Options(TypedDict, total=False):
    depth: int


class Pair(NamedTuple):
    left: int
    right: str


BOOK = {
    "description": "A printed work.",
    "properties": {"title": {"type": "string"}, "year": {"default": 0, "type": "integer"}},
    "required": ["title"],
    "type": "object",
}


def derived(annotation, **default):
    def f(value): ...

    f.__annotations__ = {"value": annotation}
    if default:
        f.__defaults__ = (default["default"],)
    return json.loads(tool(f).schema)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (list[int], {"items": {"type": "integer"}, "type": "array"}),
        (dict[str, int], {"additionalProperties": {"type": "integer"}, "type": "object"}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - both spellings
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Literal[1], {"const": 1, "type": "integer"}),
        (date, {"format": "date", "type": "string"}),
        (
            Annotated[str, Field(description="City.", min_length=2)],
            {"description": "City.", "minLength": 2, "type": "string"},
        ),
        (Annotated[int, Field(title="Value")], {"type": "integer"}),
        (Annotated[int, Field(title="How many of them")], {"title": "How many of them", "type": "integer"}),
    ],
    ids=str,
)
def test_a_parameters_schema(annotation, schema):
    assert derived(annotation) == {
        "additionalProperties": False,
        "properties": {"value": schema},
        "required": ["value"],
        "type": "object",
    }


@pytest.mark.parametrize(
    ("annotation", "definitions"),
    [
        (Color, {"Color": {"enum": ["red", "blue"], "type": "string"}}),
        (Book, {"Book": BOOK}),
        (
            Tree,
            {
                "Tree": {
                    "properties": {"children": {"default": [], "items": {"$ref": "#/$defs/Tree"}, "type": "array"}},
                    "type": "object",
                }
            },
        ),
        (Options, {"Options": {"properties": {"depth": {"type": "integer"}}, "type": "object"}}),
    ],
    ids=str,
)
def test_named_types_are_referred_to(annotation, definitions):
    schema = derived(annotation)
    assert schema["properties"] == {"value": {"$ref": f"#/$defs/{annotation.__name__}"}}
    found = schema["$defs"]
    for definition in found.values():
        if definition.get("type") == "object" and annotation is Options:
            definition.pop("additionalProperties", None)
    assert found == definitions


def test_a_dataclass_is_an_object():
    point = derived(Point)["$defs"]["Point"]
    assert point["properties"] == {
        "x": {"type": "number"},
        "label": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    }
    assert point["required"] == ["x"]


def test_a_property_called_title_stays():
    assert "title" in derived(Book)["$defs"]["Book"]["properties"]

    @tool
    def f(title: str) -> None: ...

    assert json.loads(f.schema)["properties"] == {"title": {"type": "string"}}


def test_defaults_stand_in_the_schema_and_data_in_them_is_not_touched():
    schema = derived(dict[str, str], default={"title": "Kept"})
    assert schema["properties"]["value"]["default"] == {"title": "Kept"}
    assert "required" not in schema


def test_no_parameters_is_an_empty_object():
    @tool
    def f() -> None: ...

    assert f.schema == '{"additionalProperties":false,"properties":{},"type":"object"}'


def test_the_text_is_canonical():
    @tool
    def f(zeta: int, alpha: Color = Color.BLUE, ümlaut: float = 1.0) -> None: ...  # noqa: PLC2401 - as a user may

    assert f.schema == dumps(json.loads(f.schema))
    assert f.schema.index("alpha") < f.schema.index("zeta")
    assert "ümlaut" in f.schema
    assert " " not in f.schema


def test_a_models_own_title_is_dropped_with_the_generated_ones():
    class Named(BaseModel):
        model_config = ConfigDict(title="A Title")
        n: int

    assert "title" not in derived(Named)["$defs"]["Named"]


def test_pythons_own_typed_dict_is_refused_with_the_way_out_where_pydantic_refuses_it():
    import sys
    import typing

    class Native(typing.TypedDict):
        a: int

    if sys.version_info >= (3, 12):
        assert derived(Native)["$defs"]
    else:
        with pytest.raises(AgentConfigError, match=r"typing_extensions\.TypedDict"):
            derived(Native)


KEYS = st.sampled_from(["title", "properties", "items", "anyOf", "default", "enum", "$defs", "x", "Title"])
SCHEMAS = st.recursive(
    st.none() | st.integers() | st.sampled_from(["Title", "X", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(SCHEMAS)
def test_normalising_twice_changes_nothing_more(schema):
    assert normalised(normalised(schema)) == normalised(schema)


@given(st.dictionaries(st.text(), st.integers()))
def test_normalising_keeps_every_property(properties):
    schema = {"properties": {name: {"title": "T", "default": value} for name, value in properties.items()}}
    kept = normalised(schema)["properties"]
    assert {name: part["default"] for name, part in kept.items()} == properties


ROOT = {"$defs": {"P": {"type": "object", "properties": {"x": {"type": "integer"}}}}}


@pytest.mark.parametrize(
    ("schema", "step", "found"),
    [
        ({"$ref": "#/$defs/P"}, "x", {"type": "integer"}),
        ({"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}, "x", {"type": "integer"}),
        ({"anyOf": [{"$ref": "#/$defs/P"}, {"type": "string"}]}, "x", None),
        ({"items": {"type": "string"}}, 3, {"type": "string"}),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, 0, {"type": "string"}),
        ({"prefixItems": [{"type": "string"}]}, 1, None),
        ({"additionalProperties": {"type": "null"}}, "any", {"type": "null"}),
        ({"additionalProperties": False}, "any", None),
        ({"$ref": "#/$defs/Nowhere"}, "x", None),
        ({}, "x", None),
    ],
)
def test_walking_down_a_schema(schema, step, found):
    assert child(schema, step, ROOT) == found


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer (minimum 1, maximum 9)"),
        ({"type": "string", "format": "date"}, "string (format date)"),
        ({"enum": ["a", 2, None]}, 'one of "a", 2, null'),
        ({"const": "x"}, '"x"'),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"oneOf": [{"$ref": "#/$defs/P"}, {"$ref": "#/$defs/P"}]}, "object"),
        ({"type": "object", "required": ["a", "b"]}, 'object (required ["a","b"])'),
        ({}, "another value"),
    ],
)
def test_expectations_in_words(schema, words):
    assert expectation(schema, ROOT) == words
