"""``module:function`` → the function that makes today's agent, or what is wrong with it."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any

from starling.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.agent import Agent, CustomLoop

__all__ = ["agent_factory"]


def agent_factory(name: str) -> Callable[[], Awaitable[Agent | CustomLoop]]:
    """The function behind a name, looked for in the current folder first, as `python -m` does.

    It may be async. What it returns is checked when it is called.

    Raises:
        AgentConfigError: the name is none, its module or function is missing or breaks, or the function wants
            arguments.
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise _wrong(name, "write it as module:function, such as shop.agents:build_agent")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - a text, as sys.path holds them
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    found: Any = _imported(name, module_name)
    for part in path.split("."):
        found = _attribute(name, found, part)
    _check_callable(name, found)

    async def make() -> Agent | CustomLoop:
        return await _made(name, found)

    return make


def _imported(name: str, module_name: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            where = f"there is no module {missing} in the current folder ({os.getcwd()}) or among what is installed"  # noqa: PTH109
            raise _wrong(name, where) from error
        raise _wrong(name, f"importing {module_name} needs the module {missing}, which is not installed") from error
    except Exception as error:
        raise _wrong(name, f"importing {module_name} raised {_told(error)}") from error


def _attribute(name: str, holder: Any, part: str) -> Any:
    try:
        return getattr(holder, part)
    except AttributeError:
        from difflib import get_close_matches

        like = get_close_matches(part, [one for one in dir(holder) if not one.startswith("_")], n=1)
        meant = f"; is {like[0]} meant?" if like else ""
        where = getattr(holder, "__name__", repr(holder))
        raise _wrong(name, f"{where} has no {part}{meant}") from None


def _check_callable(name: str, found: Any) -> None:
    from starling.agent import Agent, CustomLoop

    if isinstance(found, Agent | CustomLoop):
        raise _wrong(
            name, "it is an agent; name a function that makes one, since each run is replayed with a fresh one"
        )
    if not callable(found):
        raise _wrong(name, f"it is {type(found).__name__!r} and cannot be called: name a function that makes an agent")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise _wrong(name, f"it is called without arguments, and cannot be ({error})") from None
    except ValueError:
        return  # a callable that does not say what it takes


async def _made(name: str, factory: Callable[[], Any]) -> Agent | CustomLoop:
    from starling.agent import Agent, CustomLoop

    try:
        made = factory()
        if inspect.isawaitable(made):
            made = await made
    except Exception as error:
        raise _wrong(name, f"it raised {_told(error)}") from error
    if not isinstance(made, Agent | CustomLoop):
        raise _wrong(name, f"it returned {type(made).__name__!r}, and not a starling.Agent")
    return made


def _told(error: BaseException) -> str:
    """The exception, and the line that raised it."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _wrong(name: str, what: str) -> AgentConfigError:
    return AgentConfigError(f"--agent {name}: {what}", field="agent")
