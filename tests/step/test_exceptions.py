"""Exceptions that go through the log: what code looks at when it handles one is there on replay as well."""

from __future__ import annotations

import asyncio
import email
import errno
import http.client
import importlib
import io
import json
import pickle
import sys
import types
import urllib.error
from dataclasses import replace

import pydantic
import pytest

from starling import step, tool
from starling.errors import RateLimitError, RecordedEffectError
from starling.event import EffectError, SideEffectRecorded, decode_payload, encode_payload
from starling.step._exceptions import describe, rebuild
from tests.agent_kit import agent, calls, record, replays


class QuotaError(Exception):
    """Says one text and knows more."""

    def __init__(self, text, *, code=0, tags=()):
        super().__init__(text)
        self.code = code
        self.tags = tags


class CodeError(Exception):
    """Words its own text from an attribute and passes nothing on."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def __str__(self):
        return f"code {self.code}"


class CopiedError(Exception):
    """Says how it wants to be made again."""

    def __init__(self, place, *, depth):
        super().__init__(f"{place} at {depth}")
        self.place, self.depth = place, depth

    def __reduce__(self):
        return _copied, (self.place, self.depth)


def _copied(place, depth):
    return CopiedError(place, depth=depth)


class StrictError(Exception):
    """Its constructor takes what its text does not hold."""

    def __init__(self, *, status, body):
        super().__init__(f"status {status}")
        self.status, self.body = status, body


class HalfError(Exception):
    """Holds one attribute that is plain data and one that is not."""

    def __init__(self, text):
        super().__init__(text)
        self.request_id, self.connection = "r1", object()


class SlottedError(Exception):
    """Keeps what it knows in slots."""

    __slots__ = ("city", "places")

    def __init__(self, city, places):
        super().__init__()
        self.city, self.places = city, places


class UnbuildableError(Exception):
    """Its constructor passes nothing on, so that `copy` could not make it."""

    def __init__(self, status, body):
        self.status, self.body = status, body

    def __str__(self):
        return f"status {self.status}: {self.body.getvalue()}"


class WrappingError(Exception):
    """Holds another exception."""

    def __init__(self, inner):
        super().__init__("wrapped")
        self.inner = inner


class Model(pydantic.BaseModel):
    """Refuses what it is given."""

    count: int
    place: str

    @pydantic.field_validator("place", mode="before")
    @classmethod
    def refuse(cls, value):
        raise ValueError(f"no place: {type(value).__name__}")


def raised_by(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError


def from_another(error, cause):
    error.__cause__ = cause
    return error


def http_error(body):
    headers = email.message_from_string("Retry-After: 3\nX-Tag: a\nX-Tag: b\n\n", http.client.HTTPMessage)
    return urllib.error.HTTPError("http://localhost/x", 503, "not now", headers, body)


def noted(error, note):
    error.add_note(note)
    return error


def parsed(text):
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


# Each with what a handler would look at.
LOOKED_AT = {
    "os error": (FileNotFoundError(2, "No such file", "x.txt"), ("errno", "strerror", "filename", "args")),
    "os error by number": (OSError(errno.ECONNREFUSED, "refused"), ("errno", "strerror")),
    "json": (parsed("[1,"), ("msg", "doc", "pos", "lineno", "colno")),
    "json, long": (parsed("[" + "1," * 20_000), ("msg", "pos", "lineno", "colno")),
    "key": (KeyError("city"), ("args",)),
    "unicode": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ("object", "start", "end", "reason")),
    "exit": (SystemExit(3), ("code",)),
    "import": (ImportError("no", name="x", path="y"), ("name", "path", "msg")),
    "attributes": (QuotaError("full", code=7, tags=["a"]), ("code", "tags", "args")),
    "own text": (CodeError(9), ("code", "args")),
    "own copy": (CopiedError("Oslo", depth=3), ("place", "depth")),
    "strict": (StrictError(status=404, body={"why": [None, 1.5]}), ("status", "body", "args")),
    "half": (HalfError("broken"), ("request_id", "args")),
    "note": (noted(ValueError("x"), "while reading"), ("__notes__", "args")),
    "ours": (RateLimitError("slow down", status=429, retry_after_s=1.5), ("status", "retry_after_s", "provider")),
    "several": (ValueError("a", 1, None), ("args",)),
    "tuples": (KeyError(("a", 1), [(2,)]), ("args",)),
    "order of a map": (ValueError({"zz": 1, "b": 2, 3: (4,)}), ("args",)),
    "what looks like a form": (ValueError({"starling/tuple": [1]}, {"starling/text": 2}), ("args",)),
    "lone surrogate": (
        raised_by("é\ud800".encode),
        ("encoding", "object", "start", "end", "reason", "args"),
    ),
    "name": (raised_by(lambda: no_such_name), ("name", "args")),  # noqa: F821
    "no attribute": (raised_by(lambda: "x".no_such), ("name", "obj", "args")),
    "no module": (raised_by(lambda: importlib.import_module("no_such.module")), ("name", "path", "msg")),
    "syntax": (raised_by(lambda: compile("a b", "f.py", "exec")), ("msg", "filename", "lineno", "text", "args")),
    "slots": (SlottedError("Oslo", (1, 2)), ("city", "places", "args")),
    "stop": (StopAsyncIteration((1, 2)), ("args",)),
}


@pytest.mark.parametrize(("error", "names"), LOOKED_AT.values(), ids=LOOKED_AT)
@pytest.mark.parametrize("blocking", [False, True])
async def test_what_a_handler_looks_at_is_there_on_replay(error, names, blocking):
    seen = []

    def fail():
        raise error

    @tool
    async def t() -> list:
        try:
            step.side_effect_sync("x", fail) if blocking else await step.side_effect("x", fail)
        except (Exception, SystemExit) as raised:
            seen.append((type(raised), str(raised), [getattr(raised, name) for name in names]))
        return [str(part) for part in seen[-1]]

    recorded = await record(agent(calls("t"), t))
    await replays(recorded, agent(calls("t"), t))

    live, replayed = seen
    assert replayed == live


PLAIN = {
    "text": ValueError("no such city"),
    "nothing": ValueError(),
    "timeout": TimeoutError("too late"),
    "not data": ValueError(object()),
}


@pytest.mark.parametrize("error", PLAIN.values(), ids=PLAIN)
def test_what_type_and_text_bring_back_takes_no_more_room(error):
    described = describe(error)

    assert described == EffectError(type=f"builtins.{type(error).__name__}", message=str(error))
    written = encode_payload(SideEffectRecorded(name="x", value=None, error=described))
    assert b"args" not in written
    assert b"state" not in written


def test_an_old_log_holds_type_and_text_only():
    data = encode_payload(SideEffectRecorded(name="x", value=None, error=EffectError(type="a.B", message="m")))
    read = decode_payload(9, data)

    assert (read.error.args, read.error.state) == (None, None)
    rebuilt = rebuild(read.error)
    assert (type(rebuilt).__name__, str(rebuilt)) == ("B", "m")
    assert isinstance(rebuilt, RecordedEffectError)


def test_attributes_survive_a_class_that_is_gone():
    rebuilt = rebuild(EffectError(type="vendor.sdk.QuotaError", message="full", state={"code": 7, "message": "no"}))

    assert isinstance(rebuilt, RecordedEffectError)
    assert (rebuilt.code, rebuilt.recorded_type, str(rebuilt)) == (7, "vendor.sdk.QuotaError", "full")


def test_a_name_in_a_log_never_causes_an_import():
    assert "antigravity" not in sys.modules

    rebuilt = rebuild(EffectError(type="antigravity.FlyError", message="up", args=["up"], state={}))

    assert "antigravity" not in sys.modules
    assert isinstance(rebuilt, RecordedEffectError)


def test_a_name_in_a_log_never_runs_the_code_of_a_module(monkeypatch):
    lazy = types.ModuleType("lazy_vendor")
    lazy.__getattr__ = lambda name: pytest.fail(f"asked for {name}")
    monkeypatch.setitem(sys.modules, "lazy_vendor", lazy)

    assert isinstance(rebuild(EffectError(type="lazy_vendor.QuotaError", message="full")), RecordedEffectError)


@pytest.mark.parametrize(
    "damaged",
    [
        EffectError(type="builtins.OSError", message="m", args={"not": "a list"}),
        EffectError(type="builtins.OSError", message="m", state=["not a map"]),
        EffectError(type="builtins.OSError", message="m", state={1: 2}),
        EffectError(type="builtins.ExceptionGroup", message="m", args=["m", [{"surprise": 1}]]),
        EffectError(type="builtins.ExceptionGroup", message="m", args=["m", "x"]),
        EffectError(type="builtins.UnicodeDecodeError", message="m", args=[1]),
        EffectError(type="builtins.print", message="m"),
        EffectError(type="", message="m"),
    ],
)
def test_what_cannot_be_built_again_still_speaks(damaged):
    assert str(rebuild(damaged)) == "m"


def test_too_much_is_left_out_piece_by_piece():
    error = QuotaError("full", code=7, tags=["x" * 20_000])

    described = describe(error)

    assert described.state == {"code": 7}
    assert described.args is None


@pytest.mark.parametrize(
    "error",
    [
        EffectError(type="vendor.sdk.QuotaError", message="full", state={"code": 7}),
        EffectError(type="builtins.KeyError", message="worded by somebody else"),
        describe(ExceptionGroup("two", [ValueError("a"), KeyError("b")])),
    ],
    ids=["class is gone", "class words it otherwise", "group"],
)
def test_a_rebuilt_exception_pickles(error):
    rebuilt = rebuild(error)
    again = pickle.loads(pickle.dumps(rebuilt))

    assert (type(again).__name__, str(again), vars(again)) == (type(rebuilt).__name__, error.message, vars(rebuilt))


# --- groups


async def test_an_exception_group_comes_back_with_its_members():
    seen = []

    def fail():
        inner = ExceptionGroup("inner", [OSError(errno.ENOENT, "gone")])
        raise ExceptionGroup("outer", [KeyError("city"), inner])

    @tool
    async def t() -> str:
        found = []
        try:
            await step.side_effect("x", fail)
        except* KeyError as keys:
            found.append([error.args for error in keys.exceptions])
        except* OSError as group:
            found.append([error.errno for nested in group.exceptions for error in nested.exceptions])
        seen.append(found)
        return "survived"

    recorded = await record(agent(calls("t"), t))
    await replays(recorded, agent(calls("t"), t))

    assert seen == [[[("city",)], [errno.ENOENT]]] * 2


def test_a_group_of_what_is_no_error_comes_back_as_such():
    rebuilt = rebuild(describe(BaseExceptionGroup("stop", [asyncio.CancelledError(), KeyboardInterrupt()])))

    assert type(rebuilt) is BaseExceptionGroup
    assert [type(member) for member in rebuilt.exceptions] == [asyncio.CancelledError, KeyboardInterrupt]


def test_a_large_group_is_recorded_by_its_text():
    described = describe(ExceptionGroup("many", [ValueError(n) for n in range(100)]))

    assert described == EffectError(type="builtins.ExceptionGroup", message="many (100 sub-exceptions)")
    assert str(rebuild(described)) == described.message


def test_a_group_as_it_was_recorded_at_first():
    member = {"type": "builtins.OSError", "message": "[Errno 2] gone", "args": [2, "gone"]}
    rebuilt = rebuild(EffectError(type="builtins.ExceptionGroup", message="g (1 sub-exception)", args=["g", [member]]))

    assert type(rebuilt) is ExceptionGroup
    assert [error.errno for error in rebuilt.exceptions] == [2]


def test_groups_within_groups_come_back_with_causes():
    inner = ExceptionGroup("inner", [from_another(KeyError(("a", 1)), OSError(2, "gone"))])
    rebuilt = rebuild(through_the_log(ExceptionGroup("outer", [inner])))

    (member,) = rebuilt.exceptions[0].exceptions
    assert (member.args, member.__cause__.errno) == ((("a", 1),), 2)


# --- what stands behind an exception


def through_the_log(error):
    """How an exception reads once it has been in a log."""
    written = SideEffectRecorded(name="x", value=None, error=describe(error))
    return decode_payload(9, encode_payload(written)).error


async def handled(fail, handler):
    """What a handler around an effect finds, live and on replay."""
    found = []

    @tool
    async def t() -> str:
        try:
            await step.side_effect("x", fail)
        except Exception as error:
            found.append((type(error), handler(error)))
        return "survived"

    recorded = await record(agent(calls("t"), t))
    await replays(recorded, agent(calls("t"), t))
    live, replayed = found
    return live, replayed


async def test_an_exception_that_was_raised_from_another():
    def fail():
        try:
            raise FileNotFoundError(2, "gone", "x.txt")
        except FileNotFoundError as error:
            raise ValueError("no settings") from error

    def handler(error):
        return type(error.__cause__), error.__cause__.filename, error.__suppress_context__

    live, replayed = await handled(fail, handler)

    assert replayed == live == (ValueError, (FileNotFoundError, "x.txt", True))


def test_an_exception_among_the_attributes_of_another():
    rebuilt = rebuild(through_the_log(WrappingError(KeyError("city"))))

    assert (type(rebuilt), type(rebuilt.inner), rebuilt.inner.args) == (WrappingError, KeyError, ("city",))


def test_an_exception_that_holds_itself_is_recorded_without():
    error = WrappingError(None)
    error.inner = error.__cause__ = error

    described = describe(error)

    assert described.state is None
    assert str(rebuild(described)) == "wrapped"


def test_the_cause_of_a_class_that_is_gone():
    rebuilt = rebuild(
        EffectError(
            type="vendor.sdk.QuotaError",
            message="full",
            state={"__cause__": {"starling/error": {"type": "builtins.KeyError", "message": "'a'", "args": ["a"]}}},
        )
    )

    assert type(rebuilt.__cause__) is KeyError
    assert vars(rebuilt) == {"recorded_type": "vendor.sdk.QuotaError"}


# --- classes that other libraries make


@pytest.mark.parametrize(
    "place",
    ["Oslo", {"zz": 1, "b": [2]}, object(), ("a", 1), "\ud800", {3, 4}],
    ids=["text", "map", "object", "tuple", "surrogate", "set"],
)
async def test_a_validation_error_of_pydantic(place):
    def handler(error):
        assert isinstance(error, pydantic.ValidationError)
        told = [(one["type"], one["loc"], one["msg"], repr(one["input"])) for one in error.errors()]
        context = [repr(one["ctx"]["error"]) for one in error.errors() if "ctx" in one]
        return told, context, error.error_count(), error.title, str(error).encode("utf-8", "surrogatepass")

    live, replayed = await handled(lambda: Model(count="many", place=place), handler)

    assert replayed == live
    assert live[1][2] == 2


@pytest.mark.parametrize("make_body", [lambda: None, lambda: io.BytesIO(b"not now, later")], ids=["none", "bytes"])
async def test_an_http_error_of_urllib(make_body):
    def handler(error):
        assert isinstance(error, urllib.error.HTTPError)
        assert not hasattr(error, "no_such")
        seen = error.code, error.reason, error.url, error.filename, str(error), error.headers.items()
        many, body = error.headers.get_all("x-tag"), error.read()
        error.close()
        return seen, many, body

    live, replayed = await handled(lambda: raise_(http_error(make_body())), handler)

    assert replayed == live


def raise_(error):
    raise error


def test_a_body_that_was_read_in_part_comes_back_with_the_rest():
    error = http_error(io.BytesIO(b"not now, later"))
    assert error.read(4) == b"not "

    assert rebuild(through_the_log(error)).read() == error.read() == b"now, later"


def test_a_body_that_nobody_has_read_says_that_it_is_not_in_the_recording(tmp_path):
    """Reading it to record it would take it from the code, or wait for a network."""
    path = tmp_path / "body"
    path.write_bytes(b"later")
    with path.open("rb") as body:
        error = http_error(body)
        described = through_the_log(error)
        assert error.read() == b"later"

    rebuilt = rebuild(described)
    assert (type(rebuilt), rebuilt.code, rebuilt.headers["Retry-After"]) == (urllib.error.HTTPError, 503, "3")
    with pytest.raises(io.UnsupportedOperation, match="read it inside of the side effect"):
        rebuilt.read()


def test_a_constructor_is_given_the_attributes_that_are_called_like_its_parameters():
    rebuilt = rebuild(through_the_log(UnbuildableError(503, io.StringIO("later"))))

    assert (type(rebuilt), rebuilt.status, rebuilt.body.read()) == (UnbuildableError, 503, "later")


def test_no_method_but_a_class_method_that_makes_one_is_called():
    for maker, args in (("with_traceback", [None]), ("mro", []), ("no_such", []), ("__init__", ["x"])):
        made_by = {"starling/maker": [maker, args]}
        rebuilt = rebuild(EffectError(type="builtins.ValueError", message="m", args=made_by))
        assert (type(rebuilt), rebuilt.args) == (ValueError, ("m",))


def test_a_class_that_cannot_be_made_to_say_what_it_said_is_that_class_all_the_same():
    """Pydantic's texts hold its version, and its class can have no subclass."""
    described = through_the_log(raised_by(lambda: Model(count="many", place="x")))
    rebuilt = rebuild(replace(described, message=described.message.replace("errors.pydantic.dev", "elsewhere")))

    assert isinstance(rebuilt, pydantic.ValidationError)
    assert rebuilt.error_count() == 2
