"""What a local server is told, what it is asked, and how a vendor's answers look: values and one small interface. Pure.

Strategy: a vendor's wire is a `Wire`, whose functions take a turn and give bytes; `_wire_server` does the rest for
every vendor alike. A streamed answer is a list of pieces and of the steps that only the server can take (`Hang`, `Do`),
built before a byte is sent, so that what a wire cannot carry fails up front.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.errors import StarlingError
from starling.provider import Usage, UsageChunk
from starling.testing._script import Do, Hang, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Part", "ReceivedRequest", "Reply", "Wire", "json_bytes", "last_usage", "no_words", "pieces", "sse_event"]

Part: TypeAlias = bytes | Hang | Do
"""A piece of a streamed body, or what the server does at that point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A turn, and how the server is to misbehave while it answers.

    Attributes:
        turn: what the model says.
        body: the streamed body byte for byte, in place of what the turn would look like; such as a recorded one.
        cut_after: the connection breaks after this many bytes of the body; None sends all of it.
        clean_cut: with ``cut_after``, the body ends there as if it were complete.
        done: whether the end marker is sent, where the wire has one.
        linger: the body is never ended, though all of it was sent.
        fragment: characters of tool arguments that one event carries.
        headers: further headers of the answer.
    """

    turn: Turn = field(default_factory=Turn)
    body: bytes | None = None
    cut_after: int | None = None
    clean_cut: bool = False
    done: bool = True
    linger: bool = False
    fragment: int = 5
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """What a client sent: header names in lower case, the body parsed.

    ``peer`` is the client's address; requests that share it came over one connection.
    """

    path: str
    headers: Mapping[str, str]
    body: Any
    peer: tuple[str, int]


class Wire:
    """How a vendor's answers look. Subclass it: `stream` has no default. As it is, it serves replies with a ``body``.

    Attributes:
        content_type: of a streamed answer.
        request_id_header: where the vendor puts its id of the request; "" if nowhere.
    """

    content_type = "text/event-stream"
    request_id_header = "x-request-id"

    def knows(self, path: str) -> bool:
        """Whether the vendor answers requests to this path."""
        del path
        return True

    def wants_stream(self, request: ReceivedRequest) -> bool:
        """Whether the answer is to be streamed."""
        del request
        return True

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> Sequence[Part]:
        """A streamed answer to the request of that number, which counts from 1.

        Raises:
            StarlingError: the turn holds something that this wire has no words for.
        """
        del reply, request, number
        raise StarlingError(f"{type(self).__name__} cannot show a turn: define its stream(), or give Reply(body=…)")

    def whole(self, reply: Reply, request: ReceivedRequest, number: int) -> Any:
        """The answer as one JSON value, for requests that do not stream. Raises as `stream` does."""
        del reply, request, number
        raise StarlingError("this server streams every answer; ask it for a stream")

    def error_body(self, message: str, status: int) -> Any:
        """An HTTP error's JSON body."""
        del status
        return {"error": {"message": message}}

    def error_headers(self, status: int) -> Mapping[str, str]:
        """Further headers of an HTTP error."""
        del status
        return {}


def sse_event(body: Any, *, name: str = "") -> bytes:
    """One server-sent event that holds JSON."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json_bytes(body) + b"\n\n"


def json_bytes(body: Any) -> bytes:
    """JSON as vendors stream it. What has no UTF-8, half of a surrogate pair, is escaped."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def pieces(text: str, length: int) -> list[str]:
    """The text cut into pieces of that length, as vendors stream arguments."""
    return [text[at : at + length] for at in range(0, len(text), length)]


def last_usage(turn: Turn) -> Usage | None:
    """The final token counts of a turn, None if it states none."""
    counts = [step.usage for step in turn.steps if isinstance(step, UsageChunk)]
    return counts[-1] if counts else None


def no_words(vendor: str, what: str) -> StarlingError:
    """The error for a turn that holds what this vendor's wire cannot carry."""
    return StarlingError(f"{vendor}'s wire cannot carry {what} as scripted; take it out of the script")
