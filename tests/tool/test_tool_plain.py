"""`to_plain`: what tools return, as plain data."""

import dataclasses
import enum
import math
import uuid
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling._canonical_json import dumps
from starling.errors import UnencodableValueError
from starling.tool import _plain, to_plain

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_is_unchanged(value):
    plain = to_plain(value)
    assert plain == value
    assert repr(plain) == repr(value)


@given(
    st.recursive(PLAIN | st.floats() | st.binary(max_size=2), lambda inner: st.lists(inner) | st.tuples(inner, inner))
)
def test_the_short_way_agrees_with_the_walk(value):
    def outcome(convert):
        try:
            return repr(convert(value))
        except UnencodableValueError as error:
            return str(error), error.field

    assert outcome(to_plain) == outcome(lambda value: _plain._plain(value, "", 0))


def test_the_result_shares_nothing_that_can_change():
    inner = [1]
    plain = to_plain({"a": inner})
    inner.append(2)
    assert plain == {"a": [1]}


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Shape(enum.Enum):
    PAIR = (1, 2)


class Model(pydantic.BaseModel):
    when: date
    inner: "Model | None" = None
    tags: set[str] = set()


@dataclasses.dataclass
class Node:
    level: Level
    next: "Node | None" = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    model: Model


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Pair(NamedTuple):
    a: int
    b: str


CASES = [
    ((1, (2,)), [1, [2]]),
    (Pair(1, "x"), [1, "x"]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    (Level.LOW, 1),
    (Word.YES, "yes"),
    (Shape.PAIR, [1, 2]),
    (Text("t"), "t"),
    (Number(3), 3),
    (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), "2024-02-29T12:30:00+00:00"),
    (date(2024, 2, 29), "2024-02-29"),
    (time(1, 2), "01:02:00"),
    (Decimal("1.10"), "1.10"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("a/b"), "a/b"),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": (1,)}), {"a": [1]}),
    (UserDict(a=1), {"a": 1}),
    ({1: "a", Word.YES: "b", date(2024, 1, 1): "c"}, {"1": "a", "yes": "b", "2024-01-01": "c"}),
    (Node(Level.LOW, Node(Level.LOW)), {"level": 1, "next": {"level": 1, "next": None}}),
    (
        Slotted(Model(when=date(2024, 1, 1), inner=Model(when=date(2024, 1, 2)))),
        {
            "model": {
                "when": "2024-01-01",
                "inner": {"when": "2024-01-02", "inner": None, "tags": []},
                "tags": [],
            }
        },
    ),
]


@pytest.mark.parametrize(("value", "plain"), CASES, ids=lambda value: type(value).__name__)
def test_common_types_have_an_obvious_form(value, plain):
    found = to_plain(value)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(("value", "plain"), CASES, ids=lambda value: type(value).__name__)
def test_the_form_is_the_same_inside_of_something(value, plain):
    assert to_plain({"a": [value]}) == {"a": [plain]}


@given(st.sets(st.text() | st.integers()))
def test_sets_are_ordered_by_their_json_whatever_the_hash_seed(values):
    plain = to_plain(values)
    assert plain == sorted(plain, key=dumps)
    assert set(plain) == values


def test_exact_types_of_subclasses():
    assert type(to_plain(Text("t"))) is str
    assert type(to_plain(Number(1))) is int
    assert type(to_plain(Level.LOW)) is int


CYCLE = []
CYCLE.append(CYCLE)


class Opaque(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    thing: object


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        (b"x", "", "the value is bytes, which JSON does not have; decode them, or return base64 text"),
        ({"a": [{"b": bytearray(b"x")}]}, "a[0].b", r"a\[0\].b is bytes"),
        ([math.nan], "[0]", r"\[0\] is nan, which JSON does not have"),
        ({"a": -math.inf}, "a", "a is -inf"),
        ({"a": object()}, "a", "a is of type object, which has no JSON form; return plain data"),
        ((x for x in ()), "", "the value is of type generator"),
        (Model, "", "the value is of type ModelMetaclass"),
        (Node, "", "the value is of type type"),
        ({1: "a", "1": "b"}, "", "the value has two keys that both become '1'"),
        ({"a": {None: 1}}, "a", "a has a key of type NoneType; keys must be text or whole numbers"),
        ({True: 1}, "", "has a key of type bool"),
        ({1.5: 1}, "", "has a key of type float"),
        ({(1, 2): 1}, "", "has a key of type tuple"),
        (CYCLE, "[0]" * 65, "nested deeper than 64 levels, or contains itself"),
        ([Opaque(thing=object())], "[0]", r"\[0\] is a Opaque that pydantic cannot turn into JSON"),
        ({1, b"x"}, "{}", r"{} is bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_has_no_json_form_is_refused_with_its_place(value, field, message):
    with pytest.raises(UnencodableValueError, match=message) as caught:
        to_plain(value)
    assert caught.value.field == field
