"""Datagrams of statistics, on real sockets."""

from __future__ import annotations

import os
import socket

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.reachability import Reachability
from tcpmesh.stats.statsd.datagrams import Datagrams
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tests.told import Told


class DatagramTests(SynchronousTestCase):
    """What a server receives."""

    def setUp(self) -> None:
        """A server."""
        self.store = Store()
        self.clock = Clock()
        self.told = Told()
        self.log = Logger(namespace="stats", observer=self.told)
        self.server = self.listening(socket.AF_INET, ("127.0.0.1", 0))

    def listening(self, family: int, address: object) -> socket.socket:
        """A socket that receives datagrams."""
        made = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.bind(address)  # type: ignore[arg-type]
        made.settimeout(5)
        return made

    def writer(self, size: int, address: Address | None = None) -> Datagrams:
        """What sends to the server."""
        made = Datagrams(
            address or Address(*self.server.getsockname()),
            size,
            self.store.scope("statsd"),
            Reachability(self.log, "statsd", self.clock.seconds),
        )
        self.addCleanup(made.close)
        return made

    def received(self, count: int) -> list[bytes]:
        """The next datagrams; there are no others."""
        found = [self.server.recv(1 << 16) for _ in range(count)]
        self.server.setblocking(False)
        self.assertRaises(BlockingIOError, self.server.recv, 1)
        return found

    def test_alone(self) -> None:
        """Without a size each line has a datagram of its own, at once."""
        writer = self.writer(0)
        for line in (b"a", b"b"):
            writer.write(line)
        self.assertEqual([b"a", b"b"], self.received(2))

    def test_together(self) -> None:
        """With a size a datagram has as many lines as fit, and a longer one goes alone."""
        writer = self.writer(7)
        for line in (b"aaa", b"bbb", b"ccc", b"dddddddd", b"e"):
            writer.write(line)
        writer.flush()
        writer.flush()
        self.assertEqual([b"aaa\nbbb", b"dddddddd", b"ccc\ne"], self.received(3))

    def test_exactly_as_long(self) -> None:
        """A line that fills a datagram waits for no other; two that fill it together share it."""
        writer = self.writer(7)
        for line in (b"aaa", b"1234567", b"bbb", b"cc"):
            writer.write(line)
        self.assertEqual([b"1234567", b"aaa\nbbb"], self.received(2))

    def test_end(self) -> None:
        """At the end what was kept is forgotten, and the socket closed."""
        before = os.listdir("/proc/self/fd")
        writer = self.writer(7)
        for line in (b"1234567", b"aaa"):
            writer.write(line)
        writer.close()
        writer.flush()
        self.assertEqual([b"1234567"], self.received(1))
        self.assertEqual(before, os.listdir("/proc/self/fd"))

    def test_unix(self) -> None:
        """A unix socket of datagrams will do, also one that comes later, or comes again."""
        path = os.path.abspath(self.mktemp())
        writer = self.writer(0, Address(path))
        writer.write(b"a")
        for line in (b"b", b"c"):
            self.server = self.listening(socket.AF_UNIX, path)
            writer.write(line)
            self.assertEqual([line], self.received(1))
            self.server.close()
            os.unlink(path)
        self.assertEqual(1, values_of(self.store)["statsd.udp_lost"])
        (lost,) = self.told.lines
        self.assertIn("statsd is lost: No such file or directory;", lost)

    def test_lost(self) -> None:
        """What the kernel has no room for is counted, and nobody waits."""
        path = os.path.abspath(self.mktemp())
        self.server = self.listening(socket.AF_UNIX, path)
        writer = self.writer(0, Address(path))
        for _ in range(10_000):
            writer.write(b"x" * 1000)
        self.assertTrue(values_of(self.store)["statsd.udp_lost"])
        self.assertEqual([], self.told.lines)

    def test_close(self) -> None:
        """Who never sent anything has nothing to close."""
        self.writer(0).close()
