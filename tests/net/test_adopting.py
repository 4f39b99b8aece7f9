"""Connections that one port has accepted and another one serves, on either kind of transports."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.net.listen import open_socket
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions
from tests.net.uring.available import uring


class Echoing(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Something came."""
        assert self.transport is not None
        self.transport.write(data)


class StockTests(TestCase):
    """Twisted's transports."""

    def network(self) -> Any:
        """The network."""
        return StockNetwork(reactor)

    async def until(self, look: Any, what: str) -> None:
        """Wait for something to become true."""
        for _ in range(5000):
            if look():
                return
            await deferLater(reactor, 0.001)
        self.fail(f"waited in vain for {what}")

    def setUp(self) -> None:
        """A port whose connections go elsewhere, as long as it is wanted."""
        self.net = self.network()
        self.addCleanup(self.net.stop)
        self.passed: list[int] = []
        self.passes_on = True
        self.fault: Exception | None = None
        sock = self.net.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        self.port = self.net.listen(sock, ServerFactory.forProtocol(Echoing), 0, self.passes)
        self.addCleanup(self.port.stopListening)
        self.address = self.port.getHost().sockaddr

    def passes(self, descriptor: int) -> bool:
        """Somebody else has it, who has made a copy."""
        if self.fault is not None:
            self.passed.append(descriptor)
            raise self.fault
        if self.passes_on:
            self.passed.append(os.dup(descriptor))
        return self.passes_on

    def connect(self) -> socket.socket:
        """A client."""
        client = socket.create_connection(self.address)
        self.addCleanup(client.close)
        client.setblocking(False)
        return client

    async def assert_echoes(self, client: socket.socket) -> None:
        """It is served."""
        client.send(b"hello")
        came: list[bytes] = []

        def look() -> bool:
            try:
                came.append(client.recv(9))
            except BlockingIOError:
                return False
            return True

        await self.until(look, "an echo")
        self.assertEqual([b"hello"], came)

    async def test_stays(self) -> None:
        """What nobody else has is served as ever."""
        self.passes_on = False
        await self.assert_echoes(self.connect())

    async def test_adopted(self) -> None:
        """What has been passed on is served by whoever adopts it, also by a port that is closed."""
        clients = [self.connect() for _ in range(2)]
        await self.until(lambda: len(self.passed) == 2, "the clients")
        self.port.adopt(self.passed.pop(0))
        await self.assert_echoes(clients[0])
        self.port.stopListening()
        self.port.adopt(self.passed.pop(0))
        await self.assert_echoes(clients[1])

    async def test_raises(self) -> None:
        """A client is closed where passing it on goes wrong, and the next one is served."""
        self.fault = ZeroDivisionError()
        client = self.connect()
        await self.until(lambda: self.flushLoggedErrors(ZeroDivisionError), "the fault")
        (descriptor,) = self.passed
        await self.until(lambda: not _is_open(descriptor), "an end")
        self.assertEqual(b"", client.recv(1))
        self.fault, self.passes_on = None, False
        await self.assert_echoes(self.connect())

    async def test_gone(self) -> None:
        """A client that has gone meanwhile is closed."""
        client = self.connect()
        await self.until(lambda: self.passed, "the client")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        (descriptor,) = self.passed
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            await self.until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "an end")
        self.port.adopt(descriptor)
        self.assertRaises(OSError, os.fstat, descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollTests(StockTests):
    """Our own."""

    def network(self) -> Any:
        """The network."""
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor)


@uring
class UringTests(StockTests):
    """Those of io_uring."""

    def network(self) -> Any:
        """The network."""
        from tcpmesh.net.uring.network import UringNetwork

        return UringNetwork(reactor)
