"""Connections of every kind and end leave the garbage collector nothing to do, for it is set to
look seldom.

The proxy is in this process, on real sockets, so that the collector can be asked;
`TCPMESH_CONNECTIONS` says how many there are.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import free_port
from tcpmesh.testing.mesh import Mesh
from tests.integration.test_serve import bootstrap, cluster, listener, received, reset, tcp

CONNECTIONS = int(os.environ.get("TCPMESH_CONNECTIONS", "240"))
WORKERS = 12
BULK = bytes(3 << 20)

Make = Callable[[], socket.socket]


def ask(make: Make) -> None:
    """Question, FIN, answer, FIN."""
    with make() as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        received(sock)


def break_off(make: Make) -> None:
    """A reset with a question on its way."""
    sock = make()
    sock.sendall(b"question")
    reset(sock)


def leave(make: Make) -> None:
    """Nothing but a close."""
    make().close()


def be_reset(make: Make) -> None:
    """The backend resets."""
    with make() as sock:
        sock.sendall(b"reset")
        with contextlib.suppress(ConnectionResetError):
            received(sock)


def fill(make: Make) -> None:
    """So many bytes that they go through a pipe."""
    with make() as sock:
        sock.sendall(BULK)
        sock.shutdown(socket.SHUT_WR)
        received(sock)


def fill_and_break_off(make: Make) -> None:
    """The same, and a reset while the pipe is full, for the backend does not read on."""
    sock = make()
    sock.sendall(b"hold ")
    sock.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        sock.sendall(8 * BULK)
    reset(sock)


def wait_for_the_end(make: Make) -> None:
    """Say nothing until the proxy closes: an idle timeout, a host that refuses or one that never
    answers.
    """
    with make() as sock, contextlib.suppress(ConnectionResetError):
        received(sock)


class Backend:
    """A server of threads that does what the first bytes say."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                first = sock.recv(5)
                if first == b"reset":
                    reset(sock)
                    return
                if first == b"hold ":
                    threading.Event().wait(0.3)
                received(sock)
                sock.sendall(b"answer")
        except OSError:
            pass

    def close(self) -> None:
        """Accept no more."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class GarbageTests(SynchronousTestCase):
    """A proxy over the fast transports."""

    def setUp(self) -> None:
        """Listeners with upstreams that answer, refuse and are silent."""
        from twisted.internet.selectreactor import SelectReactor

        from tcpmesh.net.epoll.network import EpollNetwork

        self.backend = Backend()
        self.addCleanup(self.backend.close)
        self.silent = socket.create_server(("127.0.0.1", 0), backlog=0)
        fillers = [socket.socket() for _ in range(2)]
        for each in (self.silent, *fillers):
            self.addCleanup(each.close)
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(self.silent.getsockname())
        self.reactor: Any = SelectReactor()
        self.network = EpollNetwork(self.reactor)
        self.addCleanup(self.network.stop)
        hosts = {
            "up": (self.backend.sock.getsockname()[1], ""),
            "dead": (free_port(), ""),
            "silent": (self.silent.getsockname()[1], ", connect_timeout: 0.05s"),
        }
        self.ports = {name: free_port() for name in (*hosts, "idle")}
        listeners = "".join(
            listener(n, tcp("127.0.0.1", self.ports[n]), f"cluster: {n}, max_connect_attempts: 2")
            for n in hosts
        )
        listeners += listener(
            "idle", tcp("127.0.0.1", self.ports["idle"]), "cluster: up, idle_timeout: 0.05s"
        )
        clusters = "".join(
            cluster(name, tcp("127.0.0.1", port), more) for name, (port, more) in hosts.items()
        )
        self.mesh = Mesh(bootstrap(listeners, clusters), self.network)  # type: ignore[arg-type]

    def connect(self, name: str) -> Make:
        """What connects to a listener."""
        return lambda: socket.create_connection(("127.0.0.1", self.ports[name]))

    def play(self, connections: int) -> None:
        """Let the clients come and go."""
        kinds = [
            (each, "up")
            for each in (
                ask,
                break_off,
                leave,
                be_reset,
                ask,
                break_off,
                leave,
                be_reset,
                fill,
                fill_and_break_off,
            )
        ]
        kinds += [(wait_for_the_end, name) for name in ("dead", "silent", "idle")]
        numbers = iter(range(connections))
        lock, flaws = threading.Lock(), []

        def work() -> None:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                client, name = kinds[number % len(kinds)]
                try:
                    client(self.connect(name))
                except OSError as e:
                    flaws.append(f"{client}: {e!r}")

        threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or self.mesh.stat(
            "cluster.up.upstream_cx_active"
        ):
            self.reactor.iterate(0.01)
        for _ in range(20):
            self.reactor.iterate(0.01)
        self.assertEqual([], flaws)

    def test_nothing_is_left(self) -> None:
        """Whoever closes, resets, waits too long or is not there: counting references frees all
        that a connection had.
        """
        self.play(2 * WORKERS)  # what is made at first use
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.play(CONNECTIONS)
        gc.set_debug(gc.DEBUG_SAVEALL)
        self.addCleanup(gc.garbage.clear)
        self.addCleanup(gc.set_debug, 0)
        gc.collect()
        found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        self.assertEqual(
            {},
            {
                name: count
                for name, count in found.items()
                if name.startswith(("tcpmesh", "twisted", "tests"))
            },
        )
        stats = self.mesh.stats()
        self.assertEqual(0, self.network.pipes.used)
        for name in ("up", "dead", "silent"):
            self.assertEqual(0, stats[f"cluster.{name}.upstream_cx_active"], name)
        ways = (
            "up.upstream_cx_destroy_remote",
            "dead.upstream_cx_connect_fail",
            "silent.upstream_cx_connect_timeout",
        )
        for name in (*(f"cluster.{way}" for way in ways), "tcp.idle.idle_timeout"):
            self.assertGreater(stats[name], 0, name)
        self.assertGreater(self.network.pipes.taken, 0)
