"""Exceptions that go through the log: what code looks at when it handles one is there on replay as well."""

from __future__ import annotations

import asyncio
import errno
import json
import pickle
import sys
import types

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
