"""A local server that speaks a vendor's wire, for tests without a key: what is the same for every vendor.

Strategy: real sockets on loopback, the standard library's HTTP server, one thread a connection. What is answered is a
script (`_script`); how it looks on the wire is pure (`_wire` and a module a vendor); what belongs here is the
connection: cutting it, holding it open, noticing that the client has gone.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from starling.errors import StarlingError
from starling.testing._script import Fail, Hang, Script, Turn
from starling.testing._wire import ReceivedRequest, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from starling.testing._wire import Part, Wire

__all__ = ["WireServer"]


class WireServer:
    """A server for the duration of a ``with`` block.

    The n-th request gets the n-th turn. A turn that begins with a failure is an HTTP error of that status, without a
    status a connection that breaks; a later failure is an error event in the stream. Answers carry the vendor's header
    for request ids (``req_1``, ``req_2``, …). Functions of the script run in the connection's thread and are not
    awaited.

    Args:
        script: what to answer. Plain turns are sent as a well-behaved server would.
        wire: how that looks.

    Attributes:
        disconnected: set when a client goes away before its answer was complete.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply], wire: Wire) -> None:
        self._script = script
        self.wire = wire
        self._received: list[ReceivedRequest] = []
        self._sent: list[bytearray] = []
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
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """What was asked so far, the oldest first."""
        with self._lock:
            return tuple(self._received)

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """What was streamed so far, one body a request."""
        with self._lock:
            return tuple(bytes(body) for body in self._sent)

    def next_reply(self, request: ReceivedRequest) -> tuple[int, Reply]:
        """Take note of a request; returns its number, from 1, and what to answer. For the connection's thread."""
        replies = self._script.turns if isinstance(self._script, Script) else self._script
        with self._lock:
            self._received.append(request)
            self._sent.append(bytearray())
            number = len(self._received)
        if number > len(replies):
            text = f"the server's script is exhausted: {len(replies)} turns, this is request {number}"
            return number, Reply(turn=Turn(steps=(Fail(error=text, status=400),)))
        reply = replies[number - 1]
        return number, reply if isinstance(reply, Reply) else Reply(turn=reply)

    def note_sent(self, number: int, data: bytes) -> None:
        """Remember what was streamed. For the connection's thread."""
        with self._lock:
            self._sent[number - 1] += data

    def wait_for_hangup(self, connection: socket.socket) -> None:
        """Block until the client has gone or the server stops. For the connection's thread."""
        readable, _, _ = select.select([connection, self._wake], [], [])
        if connection in readable and not connection.recv(1, socket.MSG_PEEK):
            self.disconnected.set()


class _Server(ThreadingHTTPServer):
    """Keeps its connections, so that none outlives the server."""

    daemon_threads = False

    def __init__(self, owner: WireServer) -> None:
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
    # An answer is many small writes; together with delayed acknowledgements each would take 40 ms.
    disable_nagle_algorithm = True
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
        wire = self.server.owner.wire
        own = {wire.request_id_header: f"req_{number}"} if wire.request_id_header else {}
        headers = {**own, **reply.headers}
        failure = reply.turn.failure
        if not wire.knows(self.path.partition("?")[0]):
            self._send_error_body(404, f"no such path: {self.path}", headers)
        elif failure is not None:
            self._fail(failure, headers)
        elif wire.wants_stream(received):
            parts = _parts(wire, reply, received, number)
            self._stream(parts, {"content-type": wire.content_type, **headers}, reply, number)
        else:
            self._send_json(200, wire.whole(reply, received, number), headers)

    def _fail(self, failure: Fail, headers: Mapping[str, str]) -> None:
        if failure.status is None:
            self._break()
            return
        wait = {} if failure.retry_after_s is None else {"retry-after": f"{failure.retry_after_s:g}"}
        self._send_error_body(failure.status, str(failure.error), {**headers, **wait})

    def _send_error_body(self, status: int, message: str, headers: Mapping[str, str]) -> None:
        wire = self.server.owner.wire
        self._send_json(status, wire.error_body(message, status), {**wire.error_headers(status), **headers})

    def _send_json(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        data = json.dumps(body).encode()
        self._send_head(status, {"content-type": "application/json", "content-length": str(len(data)), **headers})
        self.wfile.write(data)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, parts: Sequence[Part], headers: Mapping[str, str], reply: Reply, number: int) -> None:
        self._send_head(200, {"transfer-encoding": "chunked", **headers})
        left = reply.cut_after
        for part in parts:
            if isinstance(part, Hang):
                self._wait_for_hangup()
                return
            if not isinstance(part, bytes):
                part.action()
                continue
            self._send_piece(part if left is None else part[:left], number)
            if left is not None and left <= len(part):
                self._cut(reply)
                return
            left = None if left is None else left - len(part)
        if reply.linger:
            self._wait_for_hangup()
        else:
            self._end_body()

    def _wait_for_hangup(self) -> None:
        self.server.owner.wait_for_hangup(self.connection)
        self._break()

    def _send_piece(self, data: bytes, number: int) -> None:
        """One piece of a chunked body (RFC 9112, section 7.1); an empty one would end it."""
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.server.owner.note_sent(number, data)

    def _end_body(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self, reply: Reply) -> None:
        if reply.clean_cut:
            self._end_body()
        else:
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        _break(self.connection)


def _parts(wire: Wire, reply: Reply, received: ReceivedRequest, number: int) -> Sequence[Part]:
    if reply.body is not None:
        return [reply.body]
    try:
        return list(wire.stream(reply, received, number))
    except StarlingError:
        raise
    except Exception as error:
        # In a thread nobody would see it; the client is told instead.
        raise StarlingError(f"{type(wire).__name__}.stream failed: {error!r}") from error


def _break(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side was faster; there is nothing left to break.
        connection.close()
