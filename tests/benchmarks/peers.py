"""What the benchmark's own checks are tried on: a web backend in a few lines, and a proxy that
damages what it passes on.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Damage = Callable[[bytes], bytes]
"""Makes something else of a piece on its way to the client."""


class Listening:
    """Serves each connection in a thread of its own, until `stop`.

    :ivar port: where, on loopback.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.port: int = self._listening.getsockname()[1]

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and end the thread that accepts."""
        for sock in self._open:
            shut(sock)
        self._thread.join(5)
        for sock in self._open:
            sock.close()

    def serve(self, sock: socket.socket) -> None:
        """Be there for one connection; subclasses say how."""
        raise NotImplementedError

    def _accept(self) -> None:
        try:
            while True:
                sock = self._listening.accept()[0]
                self._open.append(sock)
                threading.Thread(target=self._served, args=(sock,), daemon=True).start()
        except OSError:
            return

    def _served(self, sock: socket.socket) -> None:
        try:
            self.serve(sock)
        except OSError:
            pass
        finally:
            shut(sock)
            sock.close()


class EchoBackend(Listening):
    """Answers `/echo?id=TEXT` with the text, one request after the other.

    :ivar answered: how many requests so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    def serve(self, sock: socket.socket) -> None:
        """Answer until the client leaves."""
        with sock.makefile("rb") as lines:
            while line := lines.readline():
                while lines.readline() not in (b"\r\n", b""):
                    continue
                body = line.split()[1].partition(b"=")[2]
                self.answered += 1
                head = (
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                sock.sendall(head + body)


class DamagingProxy(Listening):
    """Passes all on to a port of loopback, but what goes to the client as `damage` makes it."""

    def __init__(self, backend: int, damage: Damage) -> None:
        super().__init__()
        self._backend = backend
        self._damage = damage

    def serve(self, sock: socket.socket) -> None:
        """Pass on until one side ends."""
        with socket.create_connection(("127.0.0.1", self._backend), timeout=10) as backend:
            upwards = threading.Thread(target=_pass_on, args=(sock, backend, bytes), daemon=True)
            upwards.start()
            _pass_on(backend, sock, self._damage)
            shut(sock)
            upwards.join(5)


def _pass_on(source: socket.socket, sink: socket.socket, damage: Damage) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(damage(data))
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def shut(sock: socket.socket) -> None:
    """Wake whoever waits for this socket."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
