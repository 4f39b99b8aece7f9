"""Accepting on the fast transports when descriptors run short."""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from collections.abc import Callable
from select import EPOLLIN
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.epoll import accept
from tcpmesh.net.epoll.poller import EVENTS
from tcpmesh.net.listen import open_socket
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions


class ReserveTests(SynchronousTestCase):
    """How many descriptors are kept from clients."""

    def test_reserve(self) -> None:
        """64 are kept back, of a small limit an eighth."""
        self.assertEqual(
            (20000 - 64, 1024 - 64, 96 - 12, 0),
            tuple(map(accept.for_clients, (20000, 1024, 96, 0))),
        )


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
class ShortageTests(Listening):
    """A listener whose process has no descriptors left."""

    async def test_out_of_descriptors(self) -> None:
        """With none left it rests, once in a tenth of a second, and serves who waited as soon as
        there are some again.
        """
        factory, port = self.listen()
        await deferLater(reactor, 0)  # the reactor needs descriptors of its own when it starts
        self.connect(port, 5)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare.fileno(), limits[1]))
        spare.close()
        try:
            turns = port._network.poller.turn
            await deferLater(reactor, 0.25)
            self.assertLess(port._network.poller.turn - turns, 20)
            self.assertEqual([], factory.transports)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await self.until(lambda: len(factory.transports) == 5, "the clients that waited")

    async def test_reserve_is_kept(self) -> None:
        """It rests before the reserve is touched, so that what is not a client still gets
        descriptors.
        """
        factory, port = self.listen()
        with socket.socket() as spare:
            port._limit = spare.fileno()
        self.connect(port, 5)
        await self.until(lambda: factory.transports, "the first client")
        await deferLater(reactor, 0.02)
        self.assertEqual(1, len(factory.transports))
        port._limit = 1 << 20
        await self.until(lambda: len(factory.transports) == 5, "the others")

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

    async def test_out_of_descriptors_system_wide(self) -> None:
        """Where the whole system has no descriptors left (ENFILE), or no memory, it rests too."""
        for number in (errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            factory, port = self.listen()
            port._sock = Failing(port._sock, OSError(number, os.strerror(number)))
            self.addCleanup(setattr, port, "_sock", port._sock.real)
            self.connect(port, 2)
            await self.until(lambda p=port: p._resting is not None, "the rest")
            self.assertEqual([], factory.transports)
            await self.until(lambda f=factory: len(f.transports) == 2, "the clients that waited")


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
