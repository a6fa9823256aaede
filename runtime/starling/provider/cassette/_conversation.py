"""What a model was asked, as text that two requests share if they ask the same. Pure.

Strategy: a row of entries (who, text) in the order of the conversation, from either vendor's request body or from
today's request. Left out is what differs between clients that ask the same: parameters, ids of calls, cache hints,
reasoning given back, how JSON is spaced. So a cassette that other code made fits an agent that says the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from starling.provider._types import Message, Request
    from starling.provider.cassette._file import Vendor

__all__ = ["asked_then", "asked_today", "difference"]

_Entry: TypeAlias = tuple[str, str]

_MOST_LINES = 40
_LONGEST_LINE = 300
_REASONING = frozenset({"thinking", "redacted_thinking"})


def asked_today(request: Request) -> str:
    """What an agent asks."""
    entries = [("system", request.system_prompt), *(entry for one in request.messages or () for entry in _today(one))]
    return _text(request.model, [tool.name for tool in request.tools or ()], entries)


def asked_then(vendor: Vendor, body: Mapping[str, Any]) -> str:
    """What the body of a recorded request asks."""
    messages = [one for one in body.get("messages") or () if isinstance(one, dict)]
    entries = _openai(messages) if vendor == "openai" else _anthropic(body.get("system"), messages)
    tools = [tool.get("function", tool).get("name", "") for tool in body.get("tools") or ()]
    return _text(str(body.get("model", "")), tools, entries)


def difference(then: str, today: str) -> list[str]:
    """The lines that differ, a few around them: ``-`` recorded, ``+`` today."""
    from difflib import unified_diff

    lines = unified_diff(then.splitlines(), today.splitlines(), n=2, lineterm="")
    shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    more = [f"  … {len(shown) - _MOST_LINES} more lines"] if len(shown) > _MOST_LINES else []
    return [*(_short(line) for line in shown[:_MOST_LINES]), *more]


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _text(model: str, tools: Sequence[str], entries: Iterable[_Entry]) -> str:
    lines = [f"model: {model}", f"tools: {', '.join(sorted(tools)) or 'none'}"]
    for who, text in entries:
        if text:
            lines += [f"{who}:", *(f"  {line}" for line in text.split("\n"))]
    return "\n".join(lines)


def _today(message: Message) -> Iterator[_Entry]:
    if message.tool_result is not None:
        yield "result", _spaced(message.tool_result.content)
        return
    yield message.role, message.content
    for use in message.tool_uses or ():
        yield "call", f"{use.name} {_spaced(use.args or '{}')}"


def _openai(messages: Iterable[dict[str, Any]]) -> Iterator[_Entry]:
    for message in messages:
        role = str(message.get("role", ""))
        who = {"developer": "system", "tool": "result", "function": "result"}.get(role, role)
        for text in _texts(message.get("content")):
            yield who, _spaced(text) if who == "result" else text
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            yield "call", f"{function.get('name', '')} {_spaced(function.get('arguments') or '{}')}"


def _anthropic(system: Any, messages: Iterable[dict[str, Any]]) -> Iterator[_Entry]:
    for text in _texts(system):
        yield "system", text
    for message in messages:
        role, content = str(message.get("role", "")), message.get("content")
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
            yield from _block(role, block)


def _block(role: str, block: dict[str, Any]) -> Iterator[_Entry]:
    match block.get("type"):
        case "tool_use":
            yield "call", f"{block.get('name', '')} {_compact(block.get('input') or {})}"
        case "tool_result":
            for text in _texts(block.get("content")):
                yield "result", _spaced(text)
        case kind if kind not in _REASONING:
            yield role, next(iter(_texts([block])))


def _texts(content: Any) -> list[str]:
    """The texts of a message's content: one text, or a list of parts, of which those that are no text are named."""
    if not isinstance(content, list):
        return [content] if isinstance(content, str) else []
    parts = (part if isinstance(part, dict) else {"type": "text", "text": str(part)} for part in content)
    return [str(part.get("text", "")) if part.get("type") == "text" else f"[{part.get('type')}]" for part in parts]


def _spaced(text: str) -> str:
    """JSON in one way of writing it; other text as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return _compact(json.loads(text))
    except ValueError:
        return text


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
