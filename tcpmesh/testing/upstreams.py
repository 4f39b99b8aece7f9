"""Upstream servers of known behaviour, for tests of a proxy: real sockets on Twisted, or a memory
network, the same either way.

Each factory builds one kind of server: it echoes, it names itself, it records, it closes every
connection at once, it reads only when told.  `unanswering` and `refusing` give addresses at which
connecting hangs or fails.  Use them with `reactor.listenTCP`, an endpoint, or
`MemoryNetwork.listen`::

    port = reactor.listenTCP(0, Named("a"), interface="127.0.0.1")
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tcpmesh.values.address import Address


@implementer(IHalfCloseableProtocol)
class Upstream(Protocol):
    """One client of an upstream: it answers a client's FIN by closing, once all is sent."""

    factory: Any
    transport: Any

    def connectionMade(self) -> None:
        """A client came."""
        self.factory.clients.append(self)

    def readConnectionLost(self) -> None:
        """The client sends no more."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our FIN is sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self.factory.clients.remove(self)
        self.factory.ends.append(reason)


class _Upstreams(ServerFactory):
    """The clients that are connected, in order, and why each of the others went."""

    noisy = False
    protocol: type[Upstream]

    def __init__(self) -> None:
        self.clients: list[Any] = []
        self.ends: list[Failure] = []


class _Echo(Upstream):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        super().readConnectionLost()


class Echo(_Upstreams):
    """Sends back what it gets, no faster than it is taken, and closes after the client's FIN."""

    protocol = _Echo


class _Named(Upstream):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.write(self.factory.name)
        self.transport.loseConnection()


class Named(_Upstreams):
    """Greets each client with its name and closes: what tells one upstream from another."""

    protocol = _Named

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name.encode()


class _Recorder(Upstream):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.received = bytearray()
        self.factory.received.append(self.received)

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Recorder(_Upstreams):
    """Keeps what each client sent, in `received`, in the order in which they came."""

    protocol = _Recorder

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytearray] = []


class _Refusing(Upstream):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.abortConnection()


class Refusing(_Upstreams):
    """Accepts, and resets the client at once.  Where connecting itself shall fail, use
    `refusing`.
    """

    protocol = _Refusing


class _Gated(Upstream):
    def connectionMade(self) -> None:
        super().connectionMade()
        if not self.factory.is_open:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.factory.count += len(data)
        self.factory.sha256.update(data)


class Gated(_Upstreams):
    """Reads nothing until `open` is called; then counts bytes in `count` and hashes them in
    `sha256`.
    """

    protocol = _Gated

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self.count = 0
        self.sha256 = hashlib.sha256()

    def open(self) -> None:
        """Read from now on."""
        self.is_open = True
        for client in self.clients:
            client.transport.resumeProducing()


@contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[Address]:
    """An address at which every connect is refused, kept from other users while the context
    lasts.
    """
    family = Address(host, 1).family
    with socket.socket(family) as bound:
        bound.bind((host, 0))
        yield Address.from_sockaddr(family, bound.getsockname())


@contextmanager
def unanswering(host: str = "127.0.0.1") -> Iterator[Address]:
    """An address at which a connect is neither accepted nor refused: a listening socket whose
    accept queue is full.
    """
    family = Address(host, 1).family
    with socket.create_server((host, 0), family=family, backlog=0) as listening:
        address = Address.from_sockaddr(family, listening.getsockname())
        fill = [socket.socket(family) for _ in range(2)]
        try:
            for client in fill:
                client.setblocking(False)
                client.connect_ex(address.sockaddr)
            yield address
        finally:
            for client in fill:
                client.close()
