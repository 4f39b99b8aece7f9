"""The measurements: each makes a proxy, drives it and tells what one unit of work cost."""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc
from collections.abc import Callable

from benchmarks.micro.mesh import Mesh, Proxy
from benchmarks.micro.sockets import MESSAGE, expect
from benchmarks.micro.stopwatch import Stopwatch
from tcpmesh.net.epoll.network import READ_SIZE

BATCH = 64
"""Connections that are busy at once."""

MESSAGE_LOOPS = 200
CONNECTION_LOOPS = 10
BULK_BYTES = 128 << 20
IDLE_BATCHES = 15

Make = Callable[[], Proxy]

Cost = Callable[[Make, Stopwatch], float]
"""One of the measurements below."""


def message(make: Make, watch: Stopwatch) -> float:
    """Microseconds to pass one small message from one side to the other."""
    mesh = Mesh(make())
    mesh.open(BATCH, Stopwatch())
    spent = exchange(mesh.clients, mesh.servers, watch, mesh.proxy.serve)
    _finish(mesh)
    return spent


def exchange(
    clients: list[socket.socket],
    servers: list[socket.socket],
    watch: Stopwatch,
    serve: Callable[[], object],
) -> float:
    """Clients ask, servers answer, in turns; microseconds for each message."""
    for _ in range(MESSAGE_LOOPS):
        for sources, sinks in ((clients, servers), (servers, clients)):
            for sock in sources:
                sock.send(MESSAGE)
            watch.measure(serve)
            for sock in sinks:
                expect(sock)
    return watch.lap() / 1000 / (MESSAGE_LOOPS * 2 * len(clients))


def connection(make: Make, watch: Stopwatch) -> float:
    """Microseconds from accept to close of both sides, one message included."""
    mesh = Mesh(make())
    for _ in range(CONNECTION_LOOPS):
        mesh.open(BATCH, watch)
        mesh.close(watch)
    _finish(mesh)
    return watch.lap() / 1000 / (CONNECTION_LOOPS * BATCH)


def bulk(make: Make, watch: Stopwatch) -> float:
    """Milliseconds to pass on a GB, in pieces that the sockets' buffers hold."""
    mesh = Mesh(make())
    mesh.open(1, Stopwatch())
    spent = pump(mesh.clients[0], mesh.servers[0], watch, mesh.proxy.serve)
    _finish(mesh)
    return spent


def pump(
    client: socket.socket, server: socket.socket, watch: Stopwatch, serve: Callable[[], object]
) -> float:
    """Keep half a MiB on its way from client to server; milliseconds for each GB."""
    piece, sink = memoryview(bytes(READ_SIZE)), bytearray(4 * READ_SIZE)
    client.setblocking(False)
    server.setblocking(False)
    sent = received = 0
    while received < BULK_BYTES:
        try:
            while sent < received + 2 * READ_SIZE:
                sent += client.send(piece[: received + 2 * READ_SIZE - sent])
        except BlockingIOError:
            pass
        watch.measure(serve)
        try:
            received += server.recv_into(sink)
        except BlockingIOError:
            continue
    return watch.lap() / 1e6 / (received / 1e9)


def idle(make: Make) -> float:
    """Bytes that Python's allocator holds for one relayed connection that waits."""
    mesh = Mesh(make())
    mesh.open(BATCH, Stopwatch())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(IDLE_BATCHES):
        mesh.open(BATCH, Stopwatch())
    gc.collect()
    ours = sum(sys.getsizeof(sock) for sock in (*mesh.clients[BATCH:], *mesh.servers[BATCH:]))
    held = tracemalloc.get_traced_memory()[0] - before - ours
    tracemalloc.stop()
    _finish(mesh)
    return held / (IDLE_BATCHES * BATCH)


def garbage(make: Make) -> float:
    """Objects per connection that only the garbage collector can free."""
    mesh = Mesh(make())
    mesh.open(BATCH, Stopwatch())
    mesh.close(Stopwatch())
    gc.collect()
    gc.disable()
    mesh.open(BATCH, Stopwatch())
    mesh.close(Stopwatch())
    found = gc.collect()
    gc.enable()
    mesh.proxy.stop()
    return found / BATCH


def _finish(mesh: Mesh) -> None:
    mesh.close(Stopwatch())
    mesh.proxy.stop()
