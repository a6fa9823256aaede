"""A local server that speaks OpenAI's chat-completions wire, for tests without a key.

Strategy: real sockets on loopback, the standard library's HTTP server, one thread a connection. What is answered is a
script (`_script`); how it looks on the wire is pure (`_openai_wire`); what belongs here is the connection: cutting it,
holding it open, noticing that the client has gone.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from starling.errors import StarlingError
from starling.testing._openai_wire import completion, error_body, stream_parts
from starling.testing._script import Fail, Hang, Script, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from starling.testing._openai_wire import Part

__all__ = ["OpenAIServer", "ReceivedRequest", "Reply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A turn, and how the server is to misbehave while it answers.

    Attributes:
        turn: what the model says.
        cut_after: the connection breaks after this many bytes of the body; None sends all of it.
        clean_cut: with ``cut_after``, the body ends there as if it were complete.
        done: whether the end marker is sent.
        linger: the body is never ended, though all of it was sent.
        fragment: characters of tool arguments that one event carries.
        headers: further headers of the answer.
    """

    turn: Turn
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


class OpenAIServer:
    """A server for the duration of a ``with`` block.

    Use::

        with OpenAIServer(Script().text("hi")) as server:
            provider = OpenAI(base_url=server.base_url, api_key="")

    The n-th request gets the n-th turn. A turn that begins with a failure is an HTTP error of that status, without a
    status a connection that breaks; a later failure is an error event in the stream. Answers carry ``x-request-id``
    (``req_1``, ``req_2``, …). Functions of the script run in the connection's thread and are not awaited.

    Args:
        script: what to answer. Plain turns are sent as a well-behaved server would.

    Attributes:
        disconnected: set when a client goes away before its answer was complete.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        self._script = script
        self._received: list[ReceivedRequest] = []
        self._lock = threading.Lock()
        self.disconnected = threading.Event()

    def __enter__(self) -> Self:
        self._wake, self._waker = socket.socketpair()
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waker.close()
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()
        self._wake.close()

    @property
    def base_url(self) -> str:
        """The endpoint, as a client's ``base_url``."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """What was asked so far, the oldest first."""
        with self._lock:
            return tuple(self._received)

    def next_reply(self, request: ReceivedRequest) -> tuple[int, Reply]:
        """Take note of a request; returns its number, from 1, and what to answer. For the connection's thread."""
        replies = self._script.turns if isinstance(self._script, Script) else self._script
        with self._lock:
            self._received.append(request)
            number = len(self._received)
        if number > len(replies):
            text = f"the server's script is exhausted: {len(replies)} turns, this is request {number}"
            return number, Reply(turn=Turn(steps=(Fail(error=text, status=400),)))
        reply = replies[number - 1]
        return number, reply if isinstance(reply, Reply) else Reply(turn=reply)

    def wait_for_hangup(self, connection: socket.socket) -> None:
        """Block until the client has gone or the server stops. For the connection's thread."""
        readable, _, _ = select.select([connection, self._wake], [], [])
        if connection in readable and not connection.recv(1, socket.MSG_PEEK):
            self.disconnected.set()


class _Server(ThreadingHTTPServer):
    """Keeps its connections, so that none outlives the server."""

    daemon_threads = False

    def __init__(self, owner: OpenAIServer) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection in."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Let a connection go."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Break what is still open; the threads that serve it end then."""
        for connection in list(self._connections):
            _break(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not an error of the server's; it was noted where it was noticed."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a test's output is not an access log."""

    def do_POST(self) -> None:
        """Answer one request."""
        received = self._receive()
        number, reply = self.server.owner.next_reply(received)
        try:
            self._answer(received, number, reply)
        except StarlingError as error:
            self._send_error_body(500, str(error), {})
        except ConnectionError:
            self.server.owner.disconnected.set()
            self.close_connection = True

    def _receive(self) -> ReceivedRequest:
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(raw or b"null")
        return ReceivedRequest(path=self.path, headers=headers, body=body, peer=self.client_address)

    def _answer(self, received: ReceivedRequest, number: int, reply: Reply) -> None:
        headers = {"x-request-id": f"req_{number}", **reply.headers}
        failure = reply.turn.failure
        if not self.path.endswith("/chat/completions"):
            self._send_error_body(404, f"no such path: {self.path}", headers)
        elif failure is not None:
            self._fail(failure, headers)
        elif received.body.get("stream"):
            self._stream(_parts(received.body, number, reply), headers, reply)
        else:
            model = received.body.get("model", "")
            self._send_json(200, completion(reply.turn, model=model, completion_id=f"chatcmpl-{number}"), headers)

    def _fail(self, failure: Fail, headers: Mapping[str, str]) -> None:
        if failure.status is None:
            self._break()
            return
        wait = {} if failure.retry_after_s is None else {"retry-after": f"{failure.retry_after_s:g}"}
        self._send_error_body(failure.status, str(failure.error), {**headers, **wait})

    def _send_error_body(self, status: int, message: str, headers: Mapping[str, str]) -> None:
        self._send_json(status, error_body(message, status), headers)

    def _send_json(self, status: int, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        data = json.dumps(body).encode()
        self._send_head(status, {"content-type": "application/json", "content-length": str(len(data)), **headers})
        self.wfile.write(data)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, parts: list[Part], headers: Mapping[str, str], reply: Reply) -> None:
        self._send_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers})
        left = reply.cut_after
        for part in parts:
            if isinstance(part, Hang):
                self._wait_for_hangup()
                return
            if not isinstance(part, bytes):
                part.action()
                continue
            self._send_chunk(part if left is None else part[:left])
            if left is not None and left <= len(part):
                self._cut(reply)
                return
            left = None if left is None else left - len(part)
        if reply.linger:
            self._wait_for_hangup()
        else:
            self._send_chunk(b"", last=True)

    def _wait_for_hangup(self) -> None:
        self.server.owner.wait_for_hangup(self.connection)
        self._break()

    def _send_chunk(self, data: bytes, *, last: bool = False) -> None:
        """One piece of a chunked body (RFC 9112, section 7.1); an empty one would end it."""
        if data or last:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _cut(self, reply: Reply) -> None:
        if reply.clean_cut:
            self._send_chunk(b"", last=True)
        else:
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        _break(self.connection)


def _parts(body: dict[str, Any], number: int, reply: Reply) -> list[Part]:
    return stream_parts(
        reply.turn,
        model=body.get("model", ""),
        completion_id=f"chatcmpl-{number}",
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        fragment=reply.fragment,
        done=reply.done,
    )


def _break(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side was faster; there is nothing left to break.
        connection.close()
