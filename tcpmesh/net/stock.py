"""Twisted's own TCP and unix transports as an `INetwork`: for other systems, other reactors, and to compare with.

Twisted's transports are used as they are; the subclasses here only add what `IStreamTransport` asks beyond Twisted's
interfaces: how many bytes wait to be sent, a high watermark of one's own, and a close that flushes and then resets.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any

from zope.interface import implementer

from twisted.internet import tcp, unix
from twisted.internet.base import BaseConnector
from twisted.internet.error import ConnectError, getConnectError

from tcpmesh.interfaces import INetwork, IStreamTransport
from tcpmesh.net.address import Address
from tcpmesh.net.epoll import RESET, bind_source
from tcpmesh.net.timers import Timers


class _StreamTransport:
    """What every transport of this module has beyond Twisted's."""

    bufferSize: int
    dropped = 0
    _reset = False

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return int(len(self.dataBuffer) - self.offset + self._tempDataLen)  # type: ignore[attr-defined]

    @property
    def high_watermark(self) -> int:
        """Above this many bytes the producer is paused; Twisted resumes it once all are sent."""
        return self.bufferSize

    @high_watermark.setter
    def high_watermark(self, size: int) -> None:
        # Twisted reads and buffers by one number: never more than its own default, or each read would allocate so much.
        self.bufferSize = min(size or self.bufferSize, tcp.Connection.bufferSize)

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call."""
        return self.bufferSize

    @read_size.setter
    def read_size(self, size: int) -> None:
        self.bufferSize = min(size, self.bufferSize)

    def resetConnection(self) -> None:
        """Close with a reset once what was written is flushed."""
        self._reset = True
        self.unregisterProducer()  # type: ignore[attr-defined]
        self.loseConnection()  # type: ignore[attr-defined]

    def getPeer(self) -> Any:
        """The other side's address."""
        return self._address("getpeername")

    def getHost(self) -> Any:
        """This side's address."""
        return self._address("getsockname")

    def _address(self, method: str) -> Address:
        sock: socket.socket = self.socket  # type: ignore[attr-defined]
        try:
            return Address.from_sockaddr(sock.family, getattr(sock, method)())
        except (OSError, AttributeError):
            return Address("")

    def _closeSocket(self, orderly: bool) -> None:
        if self._reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # type: ignore[attr-defined]
            orderly = False
        super()._closeSocket(orderly)  # type: ignore[misc]


@implementer(IStreamTransport)
class _TCPServer(_StreamTransport, tcp.Server):
    """An accepted TCP connection."""


@implementer(IStreamTransport)
class _UNIXServer(_StreamTransport, unix.Server):
    """An accepted unix connection."""


class _TCPPort(tcp.Port):
    """A listening TCP socket."""

    transport = _TCPServer

    def getHost(self) -> Address:
        """What is bound."""
        return Address.from_sockaddr(self.socket.family, self.socket.getsockname())


class _UNIXPort(unix.Port):
    """A listening unix socket."""

    transport = _UNIXServer

    def getHost(self) -> Address:
        """What is bound."""
        return Address.from_sockaddr(self.socket.family, self.socket.getsockname())


@implementer(IStreamTransport)
class _Client(_StreamTransport, tcp.BaseClient):
    """A socket that connects, of any family."""

    def __init__(self, address: Address, source: Address | None, connector: Any, reactor: Any) -> None:
        self.connector = connector
        self.realAddress = self.addr = address.sockaddr
        self.reactor = reactor
        sock: socket.socket | None = None
        problem: ConnectError | None = None
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
            sock.setblocking(False)
            if address.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None:
                bind_source(sock, source)
        except OSError as e:
            problem = getConnectError((e.errno or errno.EINVAL, os.strerror(e.errno or errno.EINVAL)))
        self._finishInit(None if problem else self.doConnect, sock, problem, reactor)


class _Connector(BaseConnector):
    """One attempt to connect."""

    def __init__(self, address: Address, factory: Any, timeout: float, source: Address | None, reactor: Any) -> None:
        self._address = address
        self._source = source
        super().__init__(factory, timeout, reactor)

    def _makeTransport(self) -> _Client:  # type: ignore[override]
        return _Client(self._address, self._source, self, self.reactor)

    def getDestination(self) -> Address:
        """Where this connects to."""
        return self._address


@implementer(INetwork)
class StockNetwork:
    """Sockets of the reactor's own kind."""

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self.timers = Timers(reactor)

    def listen(self, sock: socket.socket, factory: Any, accepts_per_event: int = 0) -> Any:
        """Accept connections of a bound and listening socket for the factory."""
        if sock.family == socket.AF_UNIX:
            port = _UNIXPort._fromListeningDescriptor(self.clock, sock.fileno(), factory)
            path = sock.getsockname()
            if isinstance(path, str):
                port.mode = stat.S_IMODE(os.stat(path).st_mode)  # or Twisted would open it to the world
        else:
            port = _TCPPort._fromListeningDescriptor(self.clock, sock.fileno(), sock.family, factory)
        port.startListening()
        if accepts_per_event:
            port.numberAccepts = accepts_per_event
        # Twisted listens on a duplicate: this one would keep the port open after Twisted closes its own.
        sock.close()
        return port

    def connect(self, address: Address, factory: Any, timeout: float, source: Address | None = None) -> _Connector:
        """Connect within `timeout` seconds; the factory hears of the outcome."""
        connector = _Connector(address, factory, timeout, source, self.clock)
        connector.connect()
        return connector

    def stop(self) -> None:
        """Forget the timers, for tests; nothing else is held beyond the sockets."""
        self.timers.stop()
