"""Twisted's own TCP and unix sockets as an `INetwork`: for other systems, other reactors, and to
compare with.

What moves the bytes is in `tcpmesh.net.stock.transport`; here connections are accepted and made.
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
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, getConnectError
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork, IStreamTransport
from tcpmesh.net.congestion import spare_loopback
from tcpmesh.net.connect_check import ConnectCheckListener, FactoryConnectCheck
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.listen import bind
from tcpmesh.net.stock.open_sockets import OpenSockets
from tcpmesh.net.stock.transport import StockTransport
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions

log = Logger(namespace="connection")

MOST_ACCEPTS = 64
"""Clients accepted in one event, at most: then others have their turn."""


class _Guarded:
    """A server factory whose bugs close a client, which Twisted would leave waiting."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.accepted_in_event = getattr(factory, "accepted_in_event", None)
        self.asked = 0
        """How many connections it was asked for."""
        self.doStart = factory.doStart
        self.doStop = factory.doStop

    def buildProtocol(self, addr: Any) -> Any:
        """The factory's protocol, or `None` where it raises."""
        self.asked += 1
        try:
            return self._factory.buildProtocol(addr)
        except Exception:
            log.failure("closing a connection whose factory failed")
            return None


@implementer(IStreamTransport)
class _TCPServer(StockTransport, tcp.Server):
    """An accepted TCP connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        port: Any = self.server
        self.count_in(port.sockets)


@implementer(IStreamTransport)
class _UNIXServer(StockTransport, unix.Server):
    """An accepted unix connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        port: Any = self.server
        self.count_in(port.sockets)


class _ListeningPort:
    """What both kinds of ports add to Twisted's."""

    socket: Any
    factory: Any
    sockets: OpenSockets
    """Where this and its connections count as open."""
    stopListening: Any
    numberAccepts: int
    most_accepts = MOST_ACCEPTS
    _shouldShutdown = False
    """Twisted's: shutting down a listening socket would close its duplicates too."""

    def doRead(self) -> None:
        """The reactor: clients are waiting."""
        # Twisted takes twenty more each time that it has taken all it would.
        self.numberAccepts = min(self.numberAccepts, self.most_accepts)
        guarded = self.factory
        before = guarded.asked
        super().doRead()  # type: ignore[misc]
        if guarded.accepted_in_event is not None:
            guarded.accepted_in_event(guarded.asked - before)

    def stop(self) -> None:
        """The network stops, perhaps after this port was stopped."""
        if not self.disconnecting:  # type: ignore[attr-defined]
            self.stopListening()

    def connectionLost(self, reason: Any) -> None:
        """Close, and leave the path of a unix socket alone, unlike Twisted's: it may be that of a
        successor by now.
        """
        tcp.Port.connectionLost(self, reason)  # type: ignore[arg-type]
        self.sockets.discard(self)

    def getHost(self) -> Any:
        """What is bound."""
        return Address.from_sockaddr(self.socket.family, self.socket.getsockname())

    def duplicate(self) -> Any:
        """Another descriptor of the same listening socket, which stays open when this port
        stops.
        """
        copy = self.socket.dup()
        copy.setblocking(
            False
        )  # `dup` gives both the mode that this object believes in, which is a blocking one
        return copy


class _TCPPort(_ListeningPort, tcp.Port):
    """A listening TCP socket."""

    transport: Any = _TCPServer


class _UNIXPort(_ListeningPort, unix.Port):
    """A listening unix socket."""

    transport: Any = _UNIXServer


@implementer(IStreamTransport)
class _Client(StockTransport, tcp.BaseClient):
    """A socket that connects, of any family."""

    def __init__(
        self, address: Address, options: ConnectOptions | None, connector: Any, reactor: Any
    ) -> None:
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
                spare_loopback(sock, address)
            if options is not None:
                options.apply(sock)
        except OSError as e:
            problem = getConnectError(
                (e.errno or errno.EINVAL, os.strerror(e.errno or errno.EINVAL))
            )
        except ConnectError as e:
            problem = e
        if problem is not None and sock is not None:
            sock.close()
        self._finishInit(None if problem else self.doConnect, sock, problem, reactor)


class _Connector(BaseConnector):
    """One attempt to connect."""

    def __init__(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None,
        reactor: Any,
        sockets: OpenSockets,
    ) -> None:
        self._address = address
        self._options = options
        self._sockets = sockets
        super().__init__(factory, timeout, reactor)

    def connect(self) -> None:
        """Begin."""
        self._sockets.add(self)
        super().connect()

    def stop(self) -> None:
        """The network stops."""
        self.stopConnecting()

    def buildProtocol(self, addr: Any) -> Any:
        """Connected: from now on it is the connection that is open."""
        transport: Any = self.transport
        transport.count_in(self._sockets)
        self._sockets.discard(self)
        return super().buildProtocol(addr)

    def connectionFailed(self, reason: Failure) -> None:
        """There is no connection."""
        super().connectionFailed(reason)
        if self.state == "disconnected":
            self._sockets.discard(self)

    def _makeTransport(self) -> _Client:  # type: ignore[override]
        return _Client(self._address, self._options, self, self.reactor)

    def connectionLost(self, reason: Failure) -> None:
        """It is over: unless the factory wants another, this forgets its transport, so that no
        cycle is left of both.
        """
        super().connectionLost(reason)
        if self.state == "disconnected":
            self.transport = None

    def getDestination(self) -> Address:
        """Where this connects to."""
        return self._address


@implementer(INetwork)
class StockNetwork:
    """Sockets of the reactor's own kind."""

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self.timers = TimeoutQueues(reactor)
        self.cooperator = shared_cooperator(reactor)
        self._sockets = OpenSockets(reactor)

    def bind(self, address: Address, options: ListenOptions) -> socket.socket:
        """A socket of the system, bound and not yet listening."""
        return bind(address, options)

    def listen(self, sock: socket.socket, factory: Any, accepts_per_event: int = 0) -> Any:
        """Accept connections of a bound and listening socket for the factory."""
        factory = _Guarded(factory)
        if sock.family == socket.AF_UNIX:
            port = _UNIXPort._fromListeningDescriptor(self.clock, sock.fileno(), factory)
            port.backlog = socket.SOMAXCONN  # Twisted listens again, with 50
            path = sock.getsockname()
            if isinstance(path, str):
                port.mode = stat.S_IMODE(
                    os.stat(path).st_mode
                )  # or Twisted would open it to the world
        else:
            port = _TCPPort._fromListeningDescriptor(
                self.clock, sock.fileno(), sock.family, factory
            )
        port.sockets = self._sockets
        self._sockets.add(port)
        port.startListening()
        port.most_accepts = min(accepts_per_event or MOST_ACCEPTS, MOST_ACCEPTS)
        # Twisted listens on a duplicate: this one would keep the port open after Twisted closes its
        # own.
        sock.close()
        return port

    def connect(
        self, address: Address, factory: Any, timeout: float, options: ConnectOptions | None = None
    ) -> _Connector:
        """Connect within `timeout` seconds; the factory hears of the outcome."""
        connector = _Connector(address, factory, timeout, options, self.clock, self._sockets)
        connector.connect()
        return connector

    def connect_check(
        self,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None = None,
    ) -> FactoryConnectCheck:
        """What finds out, time and again, whether an address accepts connections."""
        return FactoryConnectCheck(self, address, listener, timeout, options)

    def stop(self) -> Deferred[None]:
        """Close all that is open."""
        return self._sockets.stop().addCallback(self._stopped)

    def _stopped(self, _: None) -> None:
        self.timers.stop()
        self.cooperator.stop()
