"""Accepting on the fast transports."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from select import EPOLLIN
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.epoll.poller import EVENTS
from tcpmesh.net.listen import open_socket
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions


class Counting(ServerFactory):
    """Counts the clients that it serves, and keeps their transports."""

    def __init__(self) -> None:
        self.transports: list[Any] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        served = self

        class Served(Protocol):
            def connectionMade(self) -> None:
                served.transports.append(self.transport)

        return Served()


class Busy:
    """A channel that always has something to do, and counts how often it was served while somebody
    waited.
    """

    def __init__(self, somebody_waits: Callable[[], bool]) -> None:
        self._somebody_waits = somebody_waits
        self.served = 0

    def ready(self, mask: int) -> None:
        """One more event."""
        self.served += self._somebody_waits()

    def ready_again(self) -> None:
        """Never asked for."""

    def failed(self) -> None:
        """Never happens."""

    def stop(self) -> None:
        """Its descriptors are closed by the test."""


class Listening(TestCase):
    """A listening port on the test's own network."""

    async def until(self, look: Any, what: str) -> None:
        """Wait for something to become true."""
        for _ in range(5000):
            if look():
                return
            await deferLater(reactor, 0.001)
        self.fail(f"waited in vain for {what}")

    def listen(self) -> Any:
        """A listening port that counts, on the test's own network."""
        from tcpmesh.net.epoll.network import EpollNetwork

        network = EpollNetwork(reactor)
        self.addCleanup(network.stop)
        sock = network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        factory = Counting()
        port = network.listen(sock, factory)
        self.addCleanup(port.stopListening)
        return factory, port

    def connect(self, port: Any, count: int) -> list[socket.socket]:
        """So many clients."""
        clients = [socket.create_connection(port.getHost().sockaddr) for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
        return clients


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class CrowdTests(Listening):
    """A listener beside more busy connections than the kernel reports in one call."""

    async def test_newcomers(self) -> None:
        """A hundred newcomers are all accepted before the others have been served ten times
        each.
        """
        factory, port = self.listen()
        poller, busy = port._network.poller, Busy(lambda: len(factory.transports) < 100)
        pipes = [
            os.pipe() for _ in range(6)
        ]  # the kernel lets one of them be watched 500 times, not more often
        for _, writer in pipes:
            os.write(writer, b"x")
        many = [os.dup(reader) for reader, _ in pipes for _ in range(100)]
        self.assertGreater(len(many), 2 * EVENTS)
        for fd in many:
            poller.register(fd, busy, EPOLLIN)
        self.connect(port, 100)
        await self.until(lambda: len(factory.transports) == 100, "the newcomers")
        for fd in (*many, *(end for pipe in pipes for end in pipe)):
            poller.close(fd)
        self.assertLess(busy.served, 10 * len(many))


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class QueueTests(Listening):
    """Who waits to be accepted."""

    async def test_client_that_left_the_queue(self) -> None:
        """A client that resets while it waits (ECONNABORTED) costs nobody else anything."""
        factory, port = self.listen()
        port._sock = Failing(
            port._sock,
            ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort"),
        )
        self.addCleanup(setattr, port, "_sock", port._sock.real)
        self.connect(port, 3)
        await self.until(lambda: len(factory.transports) == 3, "the clients")


class Failing:
    """A listening socket on which the first `accept` fails."""

    def __init__(self, real: Any, error: OSError) -> None:
        self.real = real
        self._error: OSError | None = error

    def _accept(self) -> Any:
        """Fail, then do it."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self.real._accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class LongTurnTests(SynchronousTestCase):
    """A listener whose clients cost two milliseconds each to accept."""

    def test_stops_in_time(self) -> None:
        """It accepts a few in each turn, however many wait, and all in the end."""
        from tcpmesh.net.epoll.network import EpollNetwork
        from tcpmesh.net.epoll.poller import Poller

        time = [0.0]
        clock = MemoryReactorClock()
        network = EpollNetwork(clock)
        network.poller.stop()
        network.poller = Poller(clock, lambda: time[0])
        self.addCleanup(network.stop)
        sock = network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())

        class Slow(Counting):
            def buildProtocol(self, addr: Any) -> Protocol:
                time[0] += 0.002
                return super().buildProtocol(addr)

        factory = Slow()
        port = network.listen(sock, factory)
        for _ in range(60):
            client = socket.create_connection(port.getHost().sockaddr)
            self.addCleanup(client.close)
        counts = []
        for _ in range(60):
            before = len(factory.transports)
            network.poller.doRead()
            counts.append(len(factory.transports) - before)
        self.assertEqual(60, sum(counts))
        self.assertLessEqual(max(counts), 6)

    def test_pauses_at_a_client(self) -> None:
        """A listener that is paused while one of many clients is served accepts nobody behind it,
        until it is resumed.
        """
        from tcpmesh.net.epoll.network import EpollNetwork

        clock = MemoryReactorClock()
        network = EpollNetwork(clock)
        self.addCleanup(network.stop)
        sock = network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())

        class Pausing(Counting):
            def buildProtocol(self, addr: Any) -> Protocol:
                if len(self.transports) == 3:  # and so the first of several in one event
                    port.pause_accepting()
                return super().buildProtocol(addr)

        factory = Pausing()
        port = network.listen(sock, factory)
        for _ in range(20):
            client = socket.create_connection(port.getHost().sockaddr)
            self.addCleanup(client.close)
        for _ in range(20):
            network.poller.doRead()
        self.assertEqual(4, len(factory.transports))
        port.resume_accepting()
        for _ in range(20):
            network.poller.doRead()
        self.assertEqual(20, len(factory.transports))
