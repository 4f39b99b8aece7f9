"""The floor of each measurement: the system calls that the work cannot do without, in a bare
loop.
"""

from __future__ import annotations

import os
import select
import socket

from benchmarks.micro.costs import BATCH, CONNECTION_LOOPS, exchange, pump
from benchmarks.micro.sockets import MESSAGE, expect, listening, pair
from benchmarks.micro.stopwatch import Stopwatch
from tcpmesh.net.epoll.network import READ_SIZE
from tcpmesh.net.epoll.poller import WATCH


def message() -> float:
    """Microseconds of one message's share of an epoll_wait, its read and its write."""
    front, back = [pair() for _ in range(BATCH)], [pair() for _ in range(BATCH)]
    epoll, buffer = select.epoll(), memoryview(bytearray(READ_SIZE))
    vector = [buffer]
    other = {}
    for (_, down), (up, _) in zip(front, back, strict=True):
        other[down.fileno()], other[up.fileno()] = up.fileno(), down.fileno()
    for fd in other:
        epoll.register(fd, WATCH)
    epoll.poll(0)

    def serve() -> None:
        for fd, mask in epoll.poll(0, 256):
            if mask & select.EPOLLIN:
                os.write(other[fd], buffer[: os.readv(fd, vector)])

    spent = exchange(
        [client for client, _ in front], [server for _, server in back], Stopwatch(), serve
    )
    epoll.close()
    for one, two in (*front, *back):
        one.close()
        two.close()
    return spent


def bulk() -> float:
    """Milliseconds to read and write a GB with one buffer, and no more thought."""
    (client, source), (sink, server) = pair(), pair()
    source.setblocking(False)
    sink.setblocking(True)
    vector = [memoryview(bytearray(READ_SIZE))]

    def serve() -> None:
        try:
            while size := os.readv(source.fileno(), vector):
                os.write(sink.fileno(), vector[0][:size])
                if size < READ_SIZE:
                    return
        except BlockingIOError:
            return

    spent = pump(client, server, Stopwatch(), serve)
    for sock in (client, source, sink, server):
        sock.close()
    return spent


class _Batch:
    """Connections that go through the stages of their lives together."""

    def __init__(self, front: socket.socket, upstream: tuple[str, int]) -> None:
        self._front = front
        self._upstream = upstream
        self._epoll = select.epoll()
        self._vector = [memoryview(bytearray(READ_SIZE))]
        self._down: list[int] = []
        self._up: list[int] = []

    def begin(self) -> None:
        """Accept and connect."""
        for _ in range(BATCH):
            fd = self._front._accept()[0]  # type: ignore[attr-defined]
            os.set_blocking(fd, False)
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect_ex(self._upstream)
            self._down.append(fd)
            self._up.append(sock.detach())
            self._epoll.register(self._down[-1], WATCH)
            self._epoll.register(self._up[-1], WATCH)
        self._epoll.poll(0, 256)

    def relay(self) -> None:
        """Pass on one message."""
        for source, sink in zip(self._down, self._up, strict=True):
            os.write(sink, self._vector[0][: os.readv(source, self._vector)])

    def half_close(self) -> None:
        """Pass on the client's end of stream."""
        self._epoll.poll(0, 256)
        for source, sink in zip(self._down, self._up, strict=True):
            os.readv(source, self._vector)
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, sink)
            sock.shutdown(socket.SHUT_WR)
            sock.detach()

    def end(self) -> None:
        """See the server's end of stream and close both sides."""
        self._epoll.poll(0, 256)
        for source, sink in zip(self._down, self._up, strict=True):
            os.readv(sink, self._vector)
            os.close(source)
            os.close(sink)
        self._epoll.close()


def connection() -> float:
    """Microseconds of the system calls from accept to close of both sides, one message included."""
    watch = Stopwatch()
    with listening() as front, listening() as back:
        for _ in range(CONNECTION_LOOPS):
            batch = _Batch(front, back.getsockname())
            clients = [socket.create_connection(front.getsockname()) for _ in range(BATCH)]
            for client in clients:
                client.send(MESSAGE)
            watch.measure(batch.begin)
            servers = [back.accept()[0] for _ in range(BATCH)]
            watch.measure(batch.relay)
            for client in clients:
                client.close()
            watch.measure(batch.half_close)
            for server in servers:
                expect(server)
                server.close()
            watch.measure(batch.end)
    return watch.lap() / 1000 / (CONNECTION_LOOPS * BATCH)
