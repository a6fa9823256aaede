"""`tool`: what becomes a tool, what does not, and what a call does."""

import asyncio
import contextvars
import inspect
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import starling.tool
from starling.errors import AgentConfigError, ToolError, UnencodableValueError
from starling.tool import FunctionTool, Tool, tool


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Overflow does not happen.
    """
    return a + b


async def test_a_typed_function_becomes_a_tool():
    assert add.name == "add"
    assert add.description == "Add two numbers.\n\nOverflow does not happen."
    assert json.loads(add.schema) == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert (add.idempotent, add.max_attempts, add.backoff, add.timeout) == (False, 1, None, None)
    assert add.schema_derived
    assert await add.execute({"a": 1}) == 3
    assert await add.execute({"a": 1, "b": 5}) == 6


def test_a_tool_can_still_be_called_and_inspected_as_the_function_it_was():
    assert add(1, b=4) == 5
    assert str(inspect.signature(add)) == "(a: int, b: int = 2) -> int"


async def test_an_async_function_becomes_a_tool():
    @tool
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    assert not double.is_sync
    assert await double.execute({"n": 4}) == 8
    assert await double(4) == 8
    assert double.description == ""


async def test_every_option_is_kept():
    def pause(attempt: int) -> float:
        return attempt / 10

    @tool(
        name="find",
        description="Finds it.",
        schema='{"type": "object"}',
        idempotent=True,
        max_attempts=3,
        backoff=pause,
        timeout=1.5,
    )
    def lookup(query: str) -> str:
        """Not this."""
        return query

    assert (lookup.name, lookup.description, lookup.schema) == ("find", "Finds it.", '{"type": "object"}')
    assert (lookup.idempotent, lookup.max_attempts, lookup.backoff, lookup.timeout) == (True, 3, pause, 1.5)
    assert not lookup.schema_derived
    assert await lookup.execute({"query": "x"}) == "x"


def test_a_schema_given_as_text_is_used_byte_for_byte_and_as_a_mapping_canonically():
    text = '{ "type" : "object",\n "title":"Kept" }'
    assert tool(lambda: None, name="a", schema=text).schema == text
    assert tool(lambda: None, name="b", schema={"type": "object", "a": 1.0}).schema == '{"a":1.0,"type":"object"}'


async def test_with_a_schema_of_its_own_a_tool_may_take_anything():
    @tool(schema={"type": "object", "properties": {"q": {"enum": ["a"]}}})
    def find(q, limit=3):
        return [q, limit]

    assert await find.execute({"q": {"x": None}}) == [{"x": None}, 3]


async def test_a_bound_method_becomes_a_tool():
    class Shop:
        def __init__(self, stock: int) -> None:
            self.stock = stock

        def left(self, sold: int) -> int:
            """What is left."""
            return self.stock - sold

        async def price(self, item: str) -> str:
            return f"{item}: {self.stock}"

    left, price = tool(Shop(10).left), tool(Shop(7).price, name="item_price")
    assert (left.name, left.description) == ("left", "What is left.")
    assert await left.execute({"sold": 3}) == 7
    assert await price.execute({"item": "tea"}) == "tea: 7"


async def test_a_sync_function_runs_off_the_loop_with_the_callers_context():
    variable = contextvars.ContextVar("variable", default="unset")
    release = threading.Event()

    @tool
    def blocked() -> list[Any]:
        release.wait()
        return [variable.get(), threading.current_thread().daemon, threading.current_thread().name]

    variable.set("from the caller")
    call = asyncio.create_task(blocked.execute({}))
    await asyncio.sleep(0)  # it is started, and the loop goes on while it blocks
    release.set()
    assert await call == ["from the caller", True, "starling-worker"]


async def test_a_sync_function_that_returns_an_awaitable_is_awaited():
    async def later() -> int:
        return 5

    @tool
    def soon() -> Any:
        return later()

    assert await soon.execute({}) == 5


async def test_results_become_plain_data():
    @dataclass
    class Point:
        x: int

    class City(BaseModel):
        name: str

    @tool
    def places() -> Any:
        return Point(1), City(name="Rome"), None

    assert await places.execute({}) == [{"x": 1}, {"name": "Rome"}, None]


async def test_a_result_without_json_form_is_an_error_that_names_the_place():
    @tool
    def picture() -> Any:
        return {"images": [b"\x89PNG"]}

    with pytest.raises(UnencodableValueError, match=r"images\[0\] is bytes") as caught:
        await picture.execute({})
    assert caught.value.field == "images[0]"


async def test_what_the_function_raises_comes_through_unchanged():
    boom = KeyError("boom")

    @tool
    def fail_in_thread() -> None:
        raise boom

    @tool
    async def fail_in_loop() -> None:
        raise boom

    for failing in (fail_in_thread, fail_in_loop):
        with pytest.raises(KeyError) as caught:
            await failing.execute({})
        assert caught.value is boom


async def test_changing_an_argument_does_not_change_what_the_caller_passed():
    @tool
    def consume(items: list[Any], options: Any) -> int:
        items.clear()
        options["seen"] = True
        return 0

    args = {"items": [1, {"a": 2}], "options": {}}
    await consume.execute(args)
    assert args == {"items": [1, {"a": 2}], "options": {}}


async def test_a_default_keeps_its_identity():
    sentinel = object()

    @tool
    def f(a: Any = sentinel) -> bool:
        return a is sentinel

    assert await f.execute({}) is True
    assert json.loads(f.schema)["properties"] == {"a": {}}


async def test_a_pydantic_field_as_default_gives_its_default():
    @tool
    def f(a: int = Field(default=7, ge=1, description="How many.")) -> int:
        return a

    assert await f.execute({}) == 7
    assert json.loads(f.schema)["properties"]["a"] == {
        "default": 7,
        "description": "How many.",
        "minimum": 1,
        "type": "integer",
    }


async def test_parameters_may_have_names_that_pydantic_models_use_themselves():
    @tool
    def f(json: int, copy: str, model_config: int, _private: int, schema: int = 1) -> Any:
        return [json, copy, model_config, _private, schema]

    assert await f.execute({"json": 1, "copy": "c", "model_config": 2, "_private": 3}) == [1, "c", 2, 3, 1]


def positional_only(a: int, /) -> None: ...
def variadic(*a: int) -> None: ...
def keywords(**a: int) -> None: ...
def bare(a) -> None: ...
def method_like(self, a: int) -> None: ...
def generator(a: int):
    yield a


async def async_generator(a: int):
    yield a


@pytest.mark.parametrize(
    ("function", "options", "field", "message"),
    [
        (positional_only, {}, "a", 'parameter "a" is positional-only'),
        (variadic, {}, "a", r'parameter "a" is variadic \(\*\)'),
        (keywords, {}, "a", r'parameter "a" is variadic \(\*\*\)'),
        (keywords, {"schema": {}}, "a", r'parameter "a" is variadic \(\*\*\)'),
        (bare, {}, "a", 'parameter "a" has no annotation; annotate it'),
        (method_like, {}, "self", r"tool\(obj.method\)"),
        (generator, {}, "function", 'tool "generator" is a generator'),
        (async_generator, {}, "function", 'tool "async_generator" is a generator'),
        (lambda: None, {}, "name", "'<lambda>' cannot be a tool's name"),
        (lambda: None, {"name": ""}, "name", "'' cannot be a tool's name"),
        (lambda: None, {"name": "a b"}, "name", "'a b' cannot be a tool's name"),
        (lambda: None, {"name": "a" * 65}, "name", "cannot be a tool's name"),
        (lambda: None, {"name": "a\n"}, "name", "cannot be a tool's name"),
        (add, {}, "function", '"add" is a tool already'),
        (int, {}, "function", "takes a function or a bound method"),
        (len, {}, "function", "takes a function or a bound method"),
        (add.function, {"schema": "{"}, "schema", "the schema is not JSON"),
        (add.function, {"schema": "[]"}, "schema", "the schema is not an object"),
        (add.function, {"schema": {"a": float("nan")}}, "schema", "the schema is not JSON"),
        (add.function, {"max_attempts": 2}, "max_attempts", 'tool "add": max_attempts is 2, but only idempotent'),
        (add.function, {"max_attempts": 0}, "max_attempts", "must be a whole number from 1, got 0"),
        (add.function, {"max_attempts": True}, "max_attempts", "must be a whole number from 1, got True"),
        (add.function, {"timeout": 0}, "timeout", "must be a positive number of seconds"),
        (add.function, {"timeout": -1.0}, "timeout", "must be a positive number of seconds"),
        (add.function, {"timeout": float("inf")}, "timeout", "must be a positive number of seconds"),
        (add.function, {"backoff": 3}, "backoff", "must be a function from attempt to seconds"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_while_decorating(function, options, field, message):
    with pytest.raises(AgentConfigError, match=message) as caught:
        tool(function, **options)
    assert caught.value.field == field


def test_a_type_without_schema_is_named_when_the_schema_is_first_needed():
    class Socket: ...

    @tool
    def f(fine: int, s: list[Socket]) -> None: ...

    with pytest.raises(
        AgentConfigError, match=r'tool "f": no JSON Schema can be derived for parameter "s: list'
    ) as caught:
        _ = f.schema
    assert caught.value.field == "s"


def test_a_callable_parameter_has_no_schema():
    from collections.abc import Callable

    @tool
    def f(callback: Callable[[], int]) -> None: ...

    with pytest.raises(AgentConfigError, match='parameter "callback'):
        _ = f.schema


def test_an_annotation_that_does_not_exist_is_named_when_it_is_first_needed():
    def f(a: int, b: "Nowhere") -> "NorHere": ...  # noqa: F821

    broken = tool(f)
    with pytest.raises(AgentConfigError, match="annotation 'Nowhere' of parameter \"b\" cannot be resolved") as caught:
        _ = broken.schema
    assert caught.value.field == "b"


def test_a_return_annotation_is_nobodys_concern():
    @tool
    def f(a: int) -> "OnlyForTypeCheckers": ...  # noqa: F821

    assert "integer" in f.schema


async def test_types_that_are_local_to_a_function_are_found():
    class Local(BaseModel):
        n: int

    @tool
    def f(a: "Local", b: "Annotated[list[Local], Field(description='many')]") -> int:
        return a.n + sum(one.n for one in b)

    assert await f.execute({"a": {"n": 1}, "b": [{"n": 2}]}) == 3


async def test_the_package_itself_is_the_decorator_too():
    class Local(BaseModel):
        n: int

    @starling.tool
    def f(a: "Local") -> int:
        return a.n

    @starling.tool(name="named")
    def g(a: "Local") -> int:
        return a.n

    assert (f.name, g.name) == ("f", "named")
    assert [await made.execute({"a": {"n": 3}}) for made in (f, g)] == [3, 3]


def test_a_tool_keeps_only_those_local_names_that_its_annotations_mention():
    class Local(BaseModel):
        n: int

    big = object()

    @tool
    def f(a: "Local") -> None: ...

    assert big not in f.arguments.signature.names_in_scope.values()
    assert f.arguments.signature.names_in_scope == {"Local": Local}


@tool
def forward(a: "DefinedLater") -> int:
    return a.n


class DefinedLater(BaseModel):
    n: int


async def test_types_that_are_defined_after_the_tool_are_found():
    assert await forward.execute({"a": {"n": 3}}) == 3


async def test_decorators_below_are_seen_through():
    import functools

    def shouting(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs).upper()

        return wrapper

    @tool
    @shouting
    def greet(name: str) -> str:
        """Greet."""
        return f"hi {name}"

    assert (greet.name, greet.description) == ("greet", "Greet.")
    assert await greet.execute({"name": "bo"}) == "HI BO"


async def test_arguments_that_are_no_json_are_quoted():
    with pytest.raises(ToolError, match=r'^arguments of tool "add" are not valid JSON: {"a": 1$'):
        await add.execute(b'{"a": 1')


async def test_a_tool_of_ones_own_takes_ten_lines():
    class Echo:
        name = "echo"
        description = "Says it again."
        schema = '{"type":"object"}'

        async def execute(self, args: Any) -> Any:
            return args

    echo: Tool = Echo()
    assert await echo.execute({"a": 1}) == {"a": 1}
    assert isinstance(add, FunctionTool)


def test_public_names():
    assert sorted(starling.tool.__all__) == [
        "Backoff",
        "CallPolicy",
        "Execute",
        "FunctionTool",
        "Middleware",
        "Tool",
        "ToolError",
        "TransientToolError",
        "call_policy",
        "default_backoff",
        "reject_malformed",
        "run_in_thread",
        "to_plain",
        "tool",
        "wrap",
    ]
    assert all(hasattr(starling.tool, name) for name in starling.tool.__all__)


def test_importing_decorating_and_plain_results_stay_light():
    program = """
import sys
from starling.tool import tool, to_plain
from starling.tool.builtin import fetch, read_file

@tool
def f(a: int) -> int:
    return a

fetch(), read_file(".")
to_plain({"a": [1, 2.0, None, True, "x", (1,)]})
heavy = {"pydantic", "pydantic_core", "httpx", "httpcore", "anyio", "sqlite3", "openai"} & set(sys.modules)
assert not heavy, heavy
f.schema
assert "pydantic" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
