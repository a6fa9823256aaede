"""Redaction: what a payload, or a request, becomes before it is kept, and before it is compared. Pure.

What may be rewritten is one table: texts and free-form values. What holds a run together (ids, names, counts, kinds of
errors) may not, so whatever the user's function does, the run stays one that replays. Hashes of what was rewritten are
made again here, as far as they lie in the same payload; what covers several payloads is `starling.replay`'s business.

A request has no payload of its own. Its parts are redacted as the payloads that they would be in a log, so that one
function of the user's does for both.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starling._cbor import decode, encode
from starling.errors import RedactionError, UnencodableValueError
from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    EffectError,
    PlannedToolUse,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    ToolDescription,
    TurnFailed,
    UserMessageAppended,
    decode_payload,
    encode_payload,
    params_hash,
    registry_hash,
    schema_hash,
    text_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starling.ambient import Redact
    from starling.event import Payload
    from starling.provider import Message, Request, ToolDefinition

__all__ = ["map_content", "redacted", "redacted_request"]

_T = TypeVar("_T")

_CONTENT: Mapping[type, tuple[str, ...]] = {
    RunStarted: ("goal", "params", "system_prompt", "tools", "app_version"),
    UserMessageAppended: ("content",),
    ReasoningEmitted: ("content", "signature"),
    AssistantMessageCompleted: ("text", "tool_uses", "provider_request_id"),
    ToolCallScheduled: ("args",),
    ToolCallCompleted: ("result",),
    ToolCallFailed: ("error",),
    SideEffectRecorded: ("value", "error"),
    BudgetExceeded: ("partial_text",),
    RunCompleted: ("final_text",),
    RunFailed: ("error", "cause"),
    RunCancelled: ("reason",),
    RunResumed: ("extra_message",),
    TurnFailed: ("error", "partial_text"),
    ToolDescription: ("description", "schema"),
    PlannedToolUse: ("args",),
    EffectError: ("message", "args", "state"),
}
"""What a redaction may rewrite, by class. Everything else holds the run together."""

_DERIVED: Mapping[type, tuple[str, ...]] = {
    RunStarted: ("params_hash", "system_prompt_hash", "tool_registry_hash", "tool_schemas"),
    AssistantMessageCompleted: ("raw_response_hash",),
    RunCompleted: ("merkle_root",),
    RunFailed: ("merkle_root",),
    RunCancelled: ("merkle_root",),
}
"""What follows from the content, and is made again whatever the redaction says."""

_OURS = "starling/"
"""Begins the names of effects that steer the runtime: marks, not content."""


def redacted(payload: Payload, redact: Redact | None) -> Payload:
    """A payload as it is kept; the very same one if nothing in it is to be rewritten.

    Args:
        redact: given the payload with plain values, returns it or another one in its place.

    Raises:
        RedactionError: what ``redact`` returned is no such payload, or rewrites what holds the run together.
    """
    if redact is None or type(payload) not in _CONTENT or _is_mark(payload):
        return payload
    plain = decode_payload(payload.KIND, encode_payload(payload))
    found: Any = redact(plain)
    if found is plain:
        return payload
    if type(found) is not type(plain):
        raise RedactionError(
            f"a redaction made {type(found).__name__} of a {plain.KIND} payload: return one of the same kind, such as "
            "dataclasses.replace(payload, ...) makes, or the payload as it was"
        )
    return _checked(plain, found)


def redacted_request(request: Request, redact: Redact | None) -> Request:
    """A request that code made, as its hash is taken: each part redacted as the payload that it would be in a log.

    The system prompt, the parameters and the tools are those of a RunStarted, the user's words those of a
    UserMessageAppended; a model's and a tool's are those of the events that record them.
    """
    if redact is None:
        return request
    told = _as_started(request)
    kept = redacted(told, redact)
    messages = request.messages and tuple(_redacted_message(message, redact) for message in request.messages)
    if kept is not told and isinstance(kept, RunStarted):
        tools = request.tools and tuple(map(_with_description, request.tools, kept.tools))
        request = replace(request, system_prompt=kept.system_prompt, params=kept.params, tools=tools)
    return replace(request, messages=messages)


def map_content(payload: _T, change: Callable[[str | bytes], str | bytes]) -> _T:
    """Apply ``change`` to every text and byte string that a redaction may rewrite, map keys included.

    Returns:
        The payload itself if nothing changed.
    """
    changed = {}
    for name in _CONTENT.get(type(payload), ()):
        value = getattr(payload, name)
        mapped = _mapped(value, change)
        if mapped is not value:
            changed[name] = mapped
    return replace(cast("Any", payload), **changed) if changed else payload


# --- payloads


def _is_mark(payload: Payload) -> bool:
    return isinstance(payload, SideEffectRecorded) and payload.name.startswith(_OURS)


def _checked(plain: Payload, found: Payload) -> Payload:
    """What is kept of a redaction's result. Raises `RedactionError` where it goes too far."""
    kept: Payload
    try:
        found = _rehashed(plain, found)
        kept = _content_of(found, plain)
        touched = _touched(kept, found)
    except (UnencodableValueError, TypeError, AttributeError, ValueError) as error:
        raise RedactionError(
            f"a redaction made a {plain.KIND} payload that the log cannot hold ({type(error).__name__})"
        ) from None
    if touched:
        raise RedactionError(
            f"a redaction changed {plain.KIND}.{touched}, which holds the run together; it may rewrite "
            f"{', '.join(_CONTENT[type(plain)])} alone"
        )
    return kept


def _content_of(found: Any, plain: Any) -> Any:
    """The payload as it was, with the content of another one and what follows from that."""
    names = (*_CONTENT[type(plain)], *_DERIVED.get(type(plain), ()))
    return replace(plain, **{name: _merged(getattr(plain, name), getattr(found, name)) for name in names})


def _merged(plain: Any, found: Any) -> Any:
    """A value of one field: nested records keep what is theirs as well."""
    if isinstance(plain, tuple) and plain and type(plain[0]) in _CONTENT:
        return tuple(_merged(was, now) for was, now in zip(plain, found, strict=True))
    if type(plain) in _CONTENT:
        return _content_of(found, plain)
    return found


def _touched(kept: Any, found: Any) -> str:
    """The field that the redaction was not to rewrite; empty if it kept to the rules."""
    if encode_payload(kept) == encode_payload(found):
        return ""
    return next(field.name for field in fields(kept) if getattr(kept, field.name) != getattr(found, field.name))


def _rehashed(plain: Payload, found: Any) -> Any:
    """Make the hashes in a payload again.

    The hash of the vendor's raw answer cannot be made again. It goes where the answer changed: it would be of
    something that is not there any more, and would let anybody try out what that was.
    """
    for name in _DERIVED.get(type(plain), ()):
        found = replace(found, **{name: getattr(plain, name)})
    if isinstance(found, AssistantMessageCompleted) and encode_payload(found) != encode_payload(plain):
        return replace(found, raw_response_hash=None)
    return _rewired(found) if isinstance(found, RunStarted) else found


def _rewired(started: RunStarted) -> RunStarted:
    """RunStarted with the hashes of what it says. An older log lacks the tools; then their hashes stay."""
    texts = {tool.name: tool.schema for tool in started.tools}
    schemas = tuple(
        replace(one, schema_hash=schema_hash(texts[one.name])) if one.name in texts else one
        for one in started.tool_schemas
    )
    return replace(
        started,
        params_hash=params_hash(started.params),
        system_prompt_hash=text_hash(started.system_prompt),
        tool_schemas=schemas,
        tool_registry_hash=registry_hash(schemas),
    )


# --- requests


def _as_started(request: Request) -> RunStarted:
    """What a request takes from the wiring, as a run that is wired so would record it."""
    return RunStarted(
        goal="",
        provider_id="",
        model_id=request.model,
        api_version="",
        params_hash=None,
        params=None if request.params is None else decode(encode(request.params)),
        system_prompt_hash=None,
        system_prompt=request.system_prompt,
        tool_registry_hash=None,
        tool_schemas=(),
        tools=tuple(
            ToolDescription(name=tool.name, description=tool.description, schema=tool.schema)
            for tool in request.tools or ()
        ),
    )


def _with_description(tool: ToolDefinition, kept: ToolDescription) -> ToolDefinition:
    return replace(tool, description=kept.description, schema=kept.schema)


def _redacted_message(message: Message, redact: Redact) -> Message:
    if message.role == "assistant":
        return _redacted_answer(message, redact)
    result = message.tool_result
    if result is not None:
        kind = ToolCallFailed if result.is_error else ToolCallCompleted
        text = _redacted_outcome(result.call_id, result.content, redact, failed=kind is ToolCallFailed)
        result = replace(result, content=text)
    content = (
        message.content
        and cast("UserMessageAppended", redacted(UserMessageAppended(content=message.content), redact)).content
    )
    return replace(message, content=content, tool_result=result)


def _redacted_outcome(call_id: str, content: str, redact: Redact, *, failed: bool) -> str:
    """A tool's answer as the model is shown it."""
    if failed:
        failure = ToolCallFailed(call_id=call_id, error=content, error_type="tool", duration_ms=0, attempt=1)
        return cast("ToolCallFailed", redacted(failure, redact)).error
    answer = ToolCallCompleted(call_id=call_id, result=content, duration_ms=0, attempt=1)
    return cast("str", cast("ToolCallCompleted", redacted(answer, redact)).result)


def _redacted_answer(message: Message, redact: Redact) -> Message:
    """An answer of a model that code shows to a model again; arguments count as the text that is shown."""
    uses = message.tool_uses or ()
    said = AssistantMessageCompleted(
        turn_id="",
        text=message.content,
        tool_uses=tuple(PlannedToolUse(call_id=use.call_id, tool=use.name, args=use.args) for use in uses),
        stop_reason="",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        raw_response_hash=None,
    )
    kept = cast("AssistantMessageCompleted", redacted(said, redact))
    reasoning = tuple(
        replace(block, content=thought.content, signature=thought.signature)
        for block in message.reasoning
        for thought in (cast("ReasoningEmitted", redacted(_as_emitted(block), redact)),)
    )
    planned = tuple(replace(use, args=now.args) for use, now in zip(uses, kept.tool_uses, strict=True))
    return replace(message, content=kept.text, tool_uses=message.tool_uses and planned, reasoning=reasoning)


def _as_emitted(block: Any) -> ReasoningEmitted:
    return ReasoningEmitted(turn_id="", content=block.content, signature=block.signature, redacted=block.redacted)


# --- values


def _mapped(value: Any, change: Callable[[str | bytes], str | bytes]) -> Any:
    """Plain data with its texts changed; the value itself if none did."""
    match value:
        case str() | bytes():
            return change(value) if value else value
        case dict():
            return _mapped_map(value, change)
        case list() | tuple():
            items = [_mapped(one, change) for one in value]
            same = all(now is was for now, was in zip(items, value, strict=True))
            return value if same else type(value)(items)
        case _ if type(value) in _CONTENT:
            return map_content(value, change)
        case _:
            return value


def _mapped_map(value: dict[Any, Any], change: Callable[[str | bytes], str | bytes]) -> dict[Any, Any]:
    """Keys that become the same one are numbered, in the order of what they were."""
    items = {key: _mapped(one, change) for key, one in value.items()}
    renamed = {key: change(key) for key in value if isinstance(key, str | bytes)}
    renamed = {key: now for key, now in renamed.items() if now != key}
    if not renamed:
        return value if all(items[key] is value[key] for key in value) else items
    result = {key: one for key, one in items.items() if key not in renamed}
    for key in sorted(renamed, key=repr):
        result[_free(renamed[key], result)] = items[key]
    return result


def _free(key: str | bytes, taken: Mapping[Any, Any]) -> str | bytes:
    """This key, or the first one numbered after it that is free."""
    wanted, number = key, 1
    while wanted in taken:
        number += 1
        wanted = f"{key} ({number})" if isinstance(key, str) else b"%b (%d)" % (key, number)
    return wanted
