"""What hostile peers are made of: servers of threads, sockets that reset, many of them at once."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

Serve = Callable[[socket.socket], object]


class Server:
    """Accepts, and serves each connection in a thread of its own, until it is closed."""

    def __init__(self, stack: ExitStack, serve: Serve) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._sock.getsockname()[1]
        self.serve = serve
        self.accepted = 0
        self._open: set[socket.socket] = set()
        stack.callback(self._close)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._guard, args=(sock,), daemon=True).start()

    def _guard(self, sock: socket.socket) -> None:
        self._open.add(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(30)
        with suppress(OSError, ValueError):
            self.serve(sock)
        self._open.discard(sock)
        sock.close()

    def hang_up(self) -> None:
        """End the connections that are open."""
        for sock in tuple(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self.hang_up()


def swallow(sock: socket.socket) -> None:
    """Read until the peer ends."""
    while sock.recv(1 << 16):
        pass


def connect(port: int, size: int = 0) -> socket.socket:
    """A connection to the proxy; with a size, with so small a buffer for what comes."""
    sock = socket.socket()
    if size:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", port))
    return sock


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def until(seconds: float) -> Iterator[int]:
    """Count up for so many seconds."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1


@contextmanager
def crowd(port: int, size: int, window: int = 0) -> Iterator[list[socket.socket]]:
    """So many connections, which are all reset in the end."""
    socks: list[socket.socket] = []
    try:
        for _ in range(size):
            with suppress(OSError):
                socks.append(connect(port, window))
        yield socks
    finally:
        for sock in socks:
            reset(sock)


def together(number: int, act: Callable[[], object]) -> None:
    """Do something in so many threads until all are done; connections that fail are no error."""

    def guarded() -> None:
        with suppress(OSError):
            act()

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
