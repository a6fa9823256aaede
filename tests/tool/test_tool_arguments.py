"""Arguments that do not fit: what is accepted, and the exact words for what is not (they are recorded)."""

import json
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Optional

import pydantic
import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from starling.errors import ToolError, UnencodableValueError
from starling.tool import reject_malformed, tool


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: str
    count: int = 1

    @field_validator("name")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        if value == "custom":
            raise PydanticCustomError("shop_rule", "no {what} here", {"what": "custom names"})
        return value


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


@dataclass
class Point:
    x: int


class Options(TypedDict):
    depth: int


@tool
def f(
    city: str = "",
    days: int = 0,
    color: Color = Color.RED,
    item: Item | None = None,
    items: list[Item] = (),
    prices: Optional[dict[str, float]] = None,  # noqa: UP045 - both spellings
    either: int | bool | None = None,
    pet: Cat | Dog | None = None,
    pair: tuple[int, str] = (1, ""),
    point: Point | None = None,
    options: Options | None = None,
    when: date | None = None,
    small: Annotated[int, Field(ge=1, le=9)] = 1,
    strict: Annotated[int, pydantic.Strict()] = 1,
) -> Any:
    return None


@pytest.mark.parametrize(
    ("args", "problems"),
    [
        ({"days": "three"}, 'days: expected integer, got "three"'),
        ({"days": 1.5}, "days: expected integer, got 1.5"),
        ({"days": None}, "days: expected integer, got null"),
        ({"city": 3}, "city: expected string, got 3"),
        ({"color": "green"}, 'color: expected one of "red", "blue", got "green"'),
        ({"item": 3}, 'item: expected object (required ["name"]) or null, got 3'),
        ({"item": {}}, "item.name: is required"),
        ({"item": {"name": "a", "count": []}}, "item.count: expected integer, got []"),
        ({"items": [{"name": "a"}, {"count": 1}]}, "items[1].name: is required"),
        ({"item": {"name": " "}}, "item.name: must not be blank"),
        ({"item": {"name": "custom"}}, "item.name: no custom names here"),
        ({"prices": {"tea": "dear"}}, 'prices.tea: expected number, got "dear"'),
        ({"either": [1]}, "either: expected integer or boolean or null, got [1]"),
        (
            {"pet": {"kind": "cat"}},
            'pet: expected object (required ["kind","lives"]) or object (required ["kind"]) or null, got {"kind":"cat"}',
        ),
        ({"pair": [1]}, "pair[1]: is required"),
        ({"pair": ["x", "y"]}, 'pair[0]: expected integer, got "x"'),
        ({"point": {"x": "far"}}, 'point.x: expected integer, got "far"'),
        ({"options": {}}, "options.depth: is required"),
        ({"when": "tomorrow"}, 'when: expected string (format date) or null, got "tomorrow"'),
        ({"small": 12}, "small: expected integer (minimum 1, maximum 9), got 12"),
        ({"strict": "1"}, 'strict: expected integer, got "1"'),
        ({"colour": "red"}, "colour: is not an argument of this tool"),
        ([], "expected object, got []"),
        ("text", 'expected object, got "text"'),
        (7, "expected object, got 7"),
    ],
    ids=lambda value: json.dumps(value) if not isinstance(value, str) else "",
)
async def test_what_does_not_fit_is_said_with_place_expectation_and_value(args, problems):
    with pytest.raises(ToolError) as caught:
        await f.execute(args)
    assert str(caught.value) == f'arguments do not fit tool "f": {problems}'


async def test_every_problem_is_listed_in_order_of_place():
    @tool
    def lookup(city: str, days: int, a: int = 1) -> None: ...

    with pytest.raises(ToolError) as caught:
        await lookup.execute({"days": "three", "zone": 1, "a": None})
    assert str(caught.value) == (
        'arguments do not fit tool "lookup": a: expected integer, got null; city: is required; '
        'days: expected integer, got "three"; zone: is not an argument of this tool'
    )


async def test_long_values_and_many_problems_are_cut():
    @tool
    def sums(numbers: list[int]) -> None: ...

    with pytest.raises(ToolError) as caught:
        await sums.execute({"numbers": ["x" * 500] * 30})
    text = str(caught.value)
    assert text.count("expected integer") == 20
    assert text.endswith("and 10 more")
    assert "x" * 79 + "…" in text
    assert "x" * 80 not in text


async def test_closed_objects_inside_refuse_what_they_do_not_know():
    class Closed(BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        a: int = 1

    @tool
    def g(closed: Closed) -> None: ...

    with pytest.raises(ToolError, match=r"closed\.b: is not allowed here$"):
        await g.execute({"closed": {"b": 1}})


async def test_no_word_of_pydantic_reaches_the_text():
    bad = {
        "city": [], "days": {}, "color": 1, "item": [], "items": {}, "prices": [], "either": "x", "pet": 1, "pair": {},
        "point": [], "options": 1, "when": [], "small": 0, "strict": 1.5,
    }  # fmt: skip
    with pytest.raises(ToolError) as caught:
        await f.execute(bad)
    text = str(caught.value)
    assert not any(word in text for word in ("Input should", "valid", "pydantic", "Field required"))
    assert sorted(bad) == [problem.split(":")[0] for problem in text.split('"f": ')[1].split("; ")]


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ({"days": "3"}, {"days": 3}),
        ({"days": 3.0}, {"days": 3}),
        ({"color": "blue"}, {"color": Color.BLUE}),
        ({"when": "2024-02-29"}, {"when": date(2024, 2, 29)}),
        ({"pair": [1, "a"]}, {"pair": (1, "a")}),
        ({"item": {"name": "x"}}, {"item": Item(name="x")}),
        ({"item": {"name": "x", "unknown": 1}}, {"item": Item(name="x")}),
        ({"point": {"x": 1}}, {"point": Point(1)}),
        ({"options": {"depth": 1}}, {"options": {"depth": 1}}),
        ({"pet": {"kind": "dog"}}, {"pet": Dog(kind="dog")}),
        ({}, {}),
        (None, {}),
    ],
    ids=str,
)
def test_what_json_can_mean_is_accepted(args, values):
    assert f.arguments.checked(args) == values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["name", "x"]), inner),
    max_leaves=10,
)
NAMES = st.sampled_from([parameter.name for parameter in f.arguments.signature.parameters]) | st.text(max_size=3)


@given(JSON | st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json_at_all_either_fits_or_is_said_not_to_fit(args):
    try:
        fits = set(f.arguments.checked(args)) == set(args or ())
    except ToolError as error:
        fits = str(error).startswith('arguments do not fit tool "f": ')
    assert fits


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_numbers_and_text_arrive_exactly(number, real, text):
    @tool
    def g(a: int, b: float, c: str, d: Any) -> None: ...

    clean = text.encode("utf-8", "replace").decode()
    given = {"a": number, "b": real, "c": clean, "d": [number, real, clean]}
    assert g.arguments.checked(given) == given


def test_malformed_text_is_quoted_and_bounded():
    with pytest.raises(ToolError) as caught:
        reject_malformed("t", b'{"a": \xff' + b"x" * 500)
    assert str(caught.value) == 'arguments of tool "t" are not valid JSON: {"a": \ufffd' + "x" * 193 + "…"


@pytest.mark.parametrize("args", [None, "", {}, [], 0, "bytes"])
def test_decoded_arguments_are_not_malformed(args):
    reject_malformed("t", args)


# --- arguments of which the types say it all


class Word(str):
    """Text of a class of its own."""

    __slots__ = ()


@tool
def plain(city: str, days: int = 1, *, exact: float = 1.0, urgent: bool = False, note: str = None) -> None: ...  # noqa: RUF013


class Loose(str):
    """Text that equals the same in capitals."""

    __slots__ = ()

    def __eq__(self, other):
        return self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**62, 2**70),
    st.floats(),
    st.text(st.characters(), max_size=3),
    st.text(max_size=2).map(Word),
    st.lists(st.integers(), max_size=1),
    st.just(b"x"),
)
names = st.sampled_from(["city", "days", "exact", "urgent", "note", "p0", Word("note"), Loose("CITY"), 0])
sent = st.dictionaries(names, odd, max_size=6)
fitting = st.fixed_dictionaries(
    {"city": st.text(st.characters())},
    optional={
        "days": st.integers(),
        "exact": st.floats(allow_nan=False, allow_infinity=False),
        "urgent": st.booleans(),
        "note": st.text(),
    },
)


def checked_or_fault(arguments, args):
    try:
        values = arguments.checked(args)
    except (ToolError, UnencodableValueError) as error:
        return type(error), str(error)
    return {name: (type(value), repr(value)) for name, value in values.items()}


@given(sent | fitting | st.none() | odd)
def test_arguments_that_fit_as_they_are_are_what_pydantic_makes_of_them(args):
    arguments = plain.arguments
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(arguments), "_fits_as_it_is", lambda *_: False)
        asked = checked_or_fault(arguments, args)
    assert checked_or_fault(arguments, args) == asked


def test_pydantic_is_not_asked_where_the_types_say_it_all(monkeypatch):
    monkeypatch.setattr(type(plain.arguments), "model", property(lambda _: pytest.fail("pydantic was asked")))
    args = {"days": 2, "city": "Bodø", "exact": 0.5, "urgent": True}
    values = plain.arguments.checked(args)
    assert values == args
    assert values is not args
    assert plain.arguments.checked({"city": ""}) == {"city": ""}


def default_that_means_something(value):
    def function(days: int = value) -> None: ...

    return tool(function).arguments


def test_a_name_that_equals_a_parameters_is_none_of_it():
    with pytest.raises(ToolError, match="city: is required"):
        plain.arguments.checked({Loose("CITY"): "Bodø"})


@pytest.mark.parametrize("default", [..., Field(), Field(default=3), pydantic_core.PydanticUndefined, int])
def test_pydantic_is_asked_what_a_default_of_its_own_means(default):
    arguments = default_that_means_something(default)
    assert not arguments._fits_as_it_is({})
    assert arguments.checked({"days": 4}) == {"days": 4}


@pytest.mark.parametrize("annotation", [Any, date, Annotated[int, Field(gt=2)], int | None, dict, Color, Word])
def test_pydantic_is_asked_about_every_other_type(annotation):
    def function(x) -> None: ...

    function.__annotations__["x"] = annotation
    assert not tool(function).arguments._fits_as_it_is({"x": 3})
