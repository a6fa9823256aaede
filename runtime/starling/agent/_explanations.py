"""What stands behind a prompt hash that differs: the recorded request, rebuilt from the log, beside today's. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from starling.agent._transcript import recorded_messages
from starling.event import RunStarted
from starling.provider import Request, ToolDefinition, prompt_hash
from starling.step._divergence import NOT_RECORDED, Change, Explanation, changes_between

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Payload, TurnStarted
    from starling.provider import Message
    from starling.step._dialect import Dialect

__all__ = ["explain_prompt", "rebuilt_request"]

_MESSAGE = re.compile(r"messages\[(\d+)\]")
_PARTS = {
    "model": "the model",
    "system_prompt": "the system prompt",
    "messages": "the messages",
    "tools": "the tools",
    "params": "the parameters",
}
_MOST_PARTS = 4
_SAME_REQUEST = Explanation(
    reason=(
        "the request of this turn is the recorded one, and only the estimate of its input tokens differs: another "
        "version of this library made it, or the log was changed"
    ),
    complete=False,
)


def explain_prompt(
    recorded: Sequence[Payload], turn: TurnStarted, request: Request, dialect: Dialect, *, of_agent: bool = True
) -> Explanation:
    """Say what differs between a recorded request and today's, or why that cannot be said.

    Args:
        recorded: the events before the turn.
        turn: the recorded turn.
        request: what today's code asks.
        of_agent: whether an agent's loop made it; what another loop asks follows from its code alone.
    """
    started = recorded[0]
    assert isinstance(started, RunStarted)  # every run begins with it
    if prompt_hash(request) == turn.prompt_hash:
        return _SAME_REQUEST
    if turn.call_id or not of_agent:
        return _made_by_code(request, "a tool" if turn.call_id else "the loop's code")
    was = _rebuilt(started, recorded, request, dialect)
    changes = changes_between(was, request)
    if prompt_hash(was) == turn.prompt_hash:
        return Explanation(
            reason=f"the request of this turn differs from the recorded one in {_parts(changes, was, request)}",
            changes=changes,
        )
    if not changes and not _lacks_tools(started):
        return _of_no_request(turn, request)
    return _not_rebuilt(started, changes, was, request)


def _of_no_request(turn: TurnStarted, request: Request) -> Explanation:
    """The log leads to today's request, and yet another hash was recorded."""
    return Explanation(
        reason=(
            "the recorded hash of this turn's request belongs to no request that can be rebuilt from the log: what the "
            "log leads to is today's request, unchanged. Either the log was changed, or what was asked held something "
            "that is not recorded"
        ),
        changes=(Change(path="prompt_hash", recorded=turn.prompt_hash, produced=prompt_hash(request)),),
        complete=False,
    )


def _rebuilt(started: RunStarted, recorded: Sequence[Payload], request: Request, dialect: Dialect) -> Request:
    """The request that these events lead to; an older log lacks the tools, for which today's stand in."""
    was = rebuilt_request(started, recorded_messages(recorded, dialect))
    return replace(was, tools=request.tools) if _lacks_tools(started) else was


def rebuilt_request(started: RunStarted, messages: tuple[Message, ...]) -> Request:
    """The request of an agent's loop, from how its run was wired and what had been said."""
    tools = tuple(ToolDefinition(name=t.name, description=t.description, schema=t.schema) for t in started.tools)
    return Request(
        model=started.model_id,
        system_prompt=started.system_prompt,
        messages=messages,
        tools=tools or None,
        params=started.params,
    )


def _made_by_code(request: Request, who: str) -> Explanation:
    """A request that follows from nothing in the log."""
    return Explanation(
        reason=(
            f"a request that {who} made with step.llm_call differs from the recorded one (of such requests the "
            "recording holds a hash alone, so what is shown is today's)"
        ),
        changes=tuple(_today(request)),
        complete=False,
    )


def _today(request: Request) -> Iterator[Change]:
    """What a request says, with nothing to hold beside it."""
    if request.system_prompt:
        yield Change(path="system_prompt", recorded=NOT_RECORDED, produced=request.system_prompt)
    for index, message in enumerate(request.messages or ()):
        content = message.content or (message.tool_result.content if message.tool_result else "")
        if content:
            yield Change(path=f"messages[{index}] ({message.role})", recorded=NOT_RECORDED, produced=content)


def _not_rebuilt(started: RunStarted, changes: tuple[Change, ...], was: Request, request: Request) -> Explanation:
    """The log does not lead to the recorded request: something in it is not in the log."""
    lacks_tools = _lacks_tools(started)
    lacking = (
        "the descriptions of the tools, which this older recording lacks, may be what differs"
        if lacks_tools
        else "part of it was not in the form that is recorded"
    )
    shown = f"; as far as it can be, it differs in {_parts(changes, was, request)}" if changes else ""
    return Explanation(
        reason=(
            "the request of this turn differs from the recorded one, which cannot be rebuilt from the log in full: "
            f"{lacking}{shown}"
        ),
        changes=(*changes, *(_descriptions(request) if lacks_tools else ())),
        complete=False,
    )


def _lacks_tools(started: RunStarted) -> bool:
    """Whether a recording holds but the names and hashes of its tools."""
    return bool(started.tool_schemas and not started.tools)


def _descriptions(request: Request) -> Iterator[Change]:
    for tool in request.tools or ():
        yield Change(path=f"tools.{tool.name}.description", recorded=NOT_RECORDED, produced=tool.description)


def _parts(changes: Sequence[Change], was: Request, request: Request) -> str:
    """The parts of a request that differ, in words; a message with its role."""
    named = list(dict.fromkeys(_part(change.path, was, request) for change in changes))
    more = len(named) - _MOST_PARTS
    return ", ".join(named[:_MOST_PARTS]) + (f" and {more} more" if more > 0 else "")


def _part(path: str, was: Request, request: Request) -> str:
    found = _MESSAGE.match(path)
    if found is None:
        field = re.split(r"[.\[ ]", path, maxsplit=1)[0]
        return _PARTS.get(field, field)
    index = int(found[1])
    before, after = was.messages or (), request.messages or ()
    if index >= len(before):
        return f"{found[0]} ({after[index].role}, which the recorded one does not have)"
    if index >= len(after):
        return f"{found[0]} ({before[index].role}, which today's does not have)"
    return f"{found[0]} ({after[index].role})"
