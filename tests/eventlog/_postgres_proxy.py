"""A network between a log and its server that loses what it is told to lose."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes on between a loopback port and the server's socket.

    Attributes:
        lose: ``"answers"`` hangs up instead of passing on the next thing that the server says, which it says when it has
            done what it was asked for; ``"requests"`` hangs up instead of passing on the next thing that it is asked.
    """

    def __init__(self, server_socket: str) -> None:
        self.lose = ""
        self._server_socket = server_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [self._start(self._accept)]

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def close(self) -> None:
        self._hang_up(self._listener, *self._open)
        for thread in list(self._threads):
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server_socket)
            self._open += [client, server]
            self._threads.append(self._start(self._pass_on, client, server, "requests"))
            self._threads.append(self._start(self._pass_on, server, client, "answers"))

    def _pass_on(self, source: socket.socket, target: socket.socket, what: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.lose == what:
                    break
                target.sendall(data)
        self._hang_up(source, target)

    @staticmethod
    def _hang_up(*sockets: socket.socket) -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @staticmethod
    def _start(work, *arguments) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread
