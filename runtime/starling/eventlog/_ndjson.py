"""One event as one line of NDJSON, and back. Pure.

A line holds the envelope, the original's JSON projection of the payload for readers (and ``jq``), and the two things
that make it exact: the payload's own bytes and the event's hash. Reading goes by the bytes; a projection that says
something else was edited by hand, and is refused rather than passed over.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from starling.errors import LogCorruptError
from starling.event import Event, Kind, event_hash, kind_name, to_json

__all__ = ["event_of_line", "line_of_event"]


def line_of_event(event: Event) -> str:
    """The line of an event, without its newline. ``payload`` is null where the payload cannot be read."""
    return (
        f'{{"run_id":{json.dumps(event.run_id, ensure_ascii=False)},"seq":{event.seq}'
        f',"prev_hash":{_text(event.prev_hash)},"ts":{event.ts}'
        f',"kind":{int(event.kind)},"kind_name":{json.dumps(kind_name(event.kind))}'
        f',"payload":{_projection(event)},"payload_cbor":{_text(event.payload)},"hash":{_text(event_hash(event))}}}'
    )


def event_of_line(line: str | bytes) -> Event:
    """The event in a line.

    Raises:
        LogCorruptError: it is no such line, or its parts contradict one another; the text says which, not where.
    """
    found = _object(line)
    try:
        kind = _of_type(found, "kind", int)
        event = Event(
            run_id=_of_type(found, "run_id", str),
            seq=_of_type(found, "seq", int),
            prev_hash=None if found["prev_hash"] is None else _bytes(found, "prev_hash"),
            ts=_of_type(found, "ts", int),
            kind=Kind(kind) if kind in _KINDS else kind,
            payload=_bytes(found, "payload_cbor"),
        )
    except KeyError as error:
        raise LogCorruptError(f"the field {error.args[0]} is missing: this is no line of `starling export`") from None
    if _bytes(found, "hash") != event_hash(event):
        raise LogCorruptError("its hash is not that of the event: the line was changed", field="hash")
    _check_projection(found.get("payload"), event)
    return event


_KINDS = frozenset(Kind)


def _projection(event: Event) -> str:
    try:
        return to_json(event)
    except LogCorruptError:
        return "null"


def _check_projection(told: Any, event: Event) -> None:
    """What a newer or older version of this library may have added or lacked is no contradiction."""
    actual = json.loads(_projection(event))
    if told is None or actual is None:  # a version that could not read the payload told nothing of it
        return
    if type(told) is not dict:
        raise LogCorruptError(
            f"payload must be a map or null, found {type(told).__name__}: events cannot be edited", field="payload"
        )
    for name in told.keys() & actual.keys():
        if told[name] != actual[name]:
            raise LogCorruptError(
                f"payload.{name} is not what payload_cbor holds: events cannot be edited", field=f"payload.{name}"
            )


def _object(line: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LogCorruptError(f"not JSON ({error})") from error
    if type(found) is not dict:
        raise LogCorruptError("not a JSON object")
    return found


def _of_type(found: dict[str, Any], name: str, wanted: type) -> Any:
    if type(found[name]) is not wanted:
        raise LogCorruptError(f"{name} must be {wanted.__name__}, found {type(found[name]).__name__}", field=name)
    return found[name]


def _bytes(found: dict[str, Any], name: str) -> bytes:
    try:
        return b64decode(_of_type(found, name, str), validate=True)
    except ValueError as error:
        raise LogCorruptError(f"{name} is no base64", field=name) from error


def _text(data: bytes | None) -> str:
    return "null" if data is None else f'"{b64encode(data).decode()}"'
