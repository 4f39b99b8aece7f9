"""Twisted's own TCP and unix sockets as an `INetwork`: for other systems, other reactors, and to
compare with.

What moves the bytes is in `tcpmesh.net.stock.transport`; here connections are accepted and made.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet import tcp, unix
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, getConnectError
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import (
    IAdopts,
    ICountsAccepts,
    IHandsOver,
    INetwork,
    IPausable,
    IStreamTransport,
)
from tcpmesh.net.congestion import spare_loopback
from tcpmesh.net.connecting.connect_check import ConnectCheckListener, FactoryConnectCheck
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.descriptor_reserve import DescriptorReserve
from tcpmesh.net.listen import BoundSocket
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.sockets import EXHAUSTED
from tcpmesh.net.stock.open_sockets import OpenSockets
from tcpmesh.net.stock.transport import StockTransport
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions
from tcpmesh.values.stream.tcp_facts import TcpFacts

log = Logger(namespace="connection")

DONE = Failure(CONNECTION_DONE)

BATCH = 64
"""Accepts an event, at most."""


@implementer(IStreamTransport)
class _TCPServer(StockTransport, tcp.Server):
    """An accepted TCP connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._peer = self.socket.family, self.client
        port: Any = self.server
        self.count_in(port.sockets)


@implementer(IStreamTransport)
class _UNIXServer(StockTransport, unix.Server):
    """An accepted unix connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        port: Any = self.server
        self.count_in(port.sockets)


class _ListeningPort(tcp.Port):
    """What both kinds of ports do otherwise than Twisted's."""

    sockets: OpenSockets
    """Where this and its connections count as open."""
    reserve: DescriptorReserve
    accepts_per_event = BATCH
    pauses = 0
    """For how many reasons it accepts nobody."""
    passes: Callable[[int], bool] | None = None
    """See `INetwork.listen`."""
    _shouldShutdown = False
    """Twisted's: shutting down a listening socket would close its duplicates too."""

    def doRead(self) -> None:
        """The reactor: clients are waiting.  Where there are no descriptors for them they wait on,
        while Twisted's port would close them.
        """
        accepted = 0
        while accepted < self.accepts_per_event and not self.disconnecting:
            client = self._accept()
            if client is None:
                break
            accepted += 1
            self._serve_or_pass(*client)
        if ICountsAccepts.providedBy(self.factory):
            self.factory.accepted_in_event(accepted)

    def _accept(self) -> tuple[socket.socket, Any] | None:
        reserve = self.reserve
        if reserve.is_near and not reserve.has_room(self.fileno()):
            reserve.rest(self, "the limit of open files is near")
            return None
        try:
            sock, peer = self.socket.accept()
        except OSError as e:
            if e.errno in EXHAUSTED:
                reserve.rest(self, os.strerror(e.errno))
            return None
        if sock.fileno() >= reserve.near:
            reserve.is_near = True
        return sock, peer

    def _serve_or_pass(self, sock: socket.socket, peer: Any) -> None:
        try:
            is_passed = self.passes is not None and self.passes(sock.fileno())
        except BaseException:
            log.failure("closing a connection that could not be passed on")
            is_passed = True
        if is_passed:
            sock.close()
        else:
            self._serve(sock, peer)

    def _serve(self, sock: socket.socket, peer: Any) -> None:
        transport = None
        try:
            factory: Any = self.factory
            protocol = factory.buildProtocol(peer)
            if protocol is None:
                sock.close()
                return
            transport = self.transport(sock, protocol, peer, self, 0, self.reactor)
            protocol.makeConnection(transport)
        except BaseException:
            log.failure("closing a connection whose factory or protocol failed")
            if transport is None:
                sock.close()
            else:
                transport.abortConnection()

    def adopt(self, descriptor: int) -> None:
        """See `IAdopts`."""
        sock = socket.socket(fileno=descriptor)
        try:
            peer = sock.getpeername()
        except OSError:
            sock.close()  # it has gone meanwhile
            return
        self._serve(sock, peer)

    def pause_accepting(self) -> None:
        """Let clients wait."""
        self.pauses += 1
        self.stopReading()

    def resume_accepting(self) -> None:
        """Accept again, where nobody else has asked for a pause."""
        self.pauses -= 1
        self.startReading()

    def startReading(self) -> None:
        """The port has started, or may accept again."""
        if not self.pauses:
            super().startReading()

    def loseConnection(self, connDone: Any = DONE) -> Deferred[None]:
        """Close at once, while Twisted's port does so a turn later: until then another listener
        could not have the address.
        """
        self.disconnecting = True
        self.stopReading()
        if self.connected:
            self.connectionLost(connDone)
        return succeed(None)

    stopListening = loseConnection

    def stop(self) -> None:
        """The network stops, perhaps after this port was stopped."""
        if not self.disconnecting:
            self.stopListening()

    def connectionLost(self, reason: Any) -> None:
        """Close, and leave the path of a unix socket alone, unlike Twisted's: it may be that of a
        successor by now.
        """
        tcp.Port.connectionLost(self, reason)
        self.reserve.discard(self)
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


@implementer(IAdopts, IHandsOver, IPausable)
class _TCPPort(_ListeningPort):
    """A listening TCP socket."""

    transport: Any = _TCPServer


@implementer(IAdopts, IHandsOver, IPausable)
class _UNIXPort(_ListeningPort, unix.Port):
    """A listening unix socket."""

    transport: Any = _UNIXServer


@implementer(IStreamTransport)
class _Client(StockTransport, tcp.BaseClient):
    """A socket that connects, of any family."""

    def __init__(
        self,
        address: Address,
        options: ConnectOptions | None,
        connector: Any,
        reactor: Any,
        check: Callable[[int], None] | None,
    ) -> None:
        """`check` raises where a descriptor of this number is not to be had."""
        self.connector = connector
        self.realAddress = self.addr = address.sockaddr
        self._peer = address.family, address.sockaddr
        self.reactor = reactor
        sock: socket.socket | None = None
        problem: ConnectError | None = None
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
            if check is not None:
                check(sock.fileno())
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

    def failIfNotConnected(self, err: Any) -> None:
        """There is no connection, unless there is one."""
        if not self.connected:
            self.connector.fails(self.tcp_facts())
        super().failIfNotConnected(err)


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
        check: Callable[[int], None] | None,
    ) -> None:
        self._address = address
        self._options = options
        self._sockets = sockets
        self._check = check
        self._on_failure: Callable[[TcpFacts | None], object] | None = None
        super().__init__(factory, timeout, reactor)

    def connect(self) -> None:
        """Begin."""
        self._sockets.add(self)
        super().connect()

    def stop(self) -> None:
        """The network stops."""
        self.stopConnecting()

    def on_failure(self, call: Callable[[TcpFacts | None], object]) -> None:
        """If there will be no connection, call this with what the system knows of the attempt."""
        self._on_failure = call

    def fails(self, facts: TcpFacts | None) -> None:
        """The socket is about to be closed."""
        call, self._on_failure = self._on_failure, None
        if call is not None:
            call(facts)

    def buildProtocol(self, addr: Any) -> Any:
        """Connected: from now on it is the connection that is open."""
        transport: Any = self.transport
        self._on_failure = None
        transport.count_in(self._sockets)
        self._sockets.discard(self)
        return super().buildProtocol(addr)

    def connectionFailed(self, reason: Failure) -> None:
        """There is no connection."""
        super().connectionFailed(reason)
        if self.state == "disconnected":
            self._sockets.discard(self)

    def _makeTransport(self) -> _Client:  # type: ignore[override]
        return _Client(self._address, self._options, self, self.reactor, self._check)

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
    """Sockets of the reactor's own kind.

    :param reserve: what its clients may not have; as for every network where nothing is said.
    :param listening: where listening sockets come from.
    """

    def __init__(
        self,
        reactor: Any,
        reserve: DescriptorReserve | None = None,
        listening: ListeningSockets | None = None,
    ) -> None:
        self.clock = reactor
        self._listening = ListeningSockets() if listening is None else listening
        self.timers = TimeoutQueues(reactor)
        self.reserve = DescriptorReserve(reactor) if reserve is None else reserve
        self.cooperator = shared_cooperator(reactor)
        self._sockets = OpenSockets(reactor)

    def bind(self, address: Address, options: ListenOptions) -> socket.socket:
        """A socket of the system, bound and not yet listening, or one that is there already."""
        return self._listening.bind(address, options)

    def take_rest(self, address: Address, options: ListenOptions) -> list[BoundSocket]:
        """What a predecessor had more for an address."""
        return self._listening.take_rest(address, options)

    def listen(
        self,
        sock: socket.socket,
        factory: Any,
        accepts_per_event: int = 0,
        passes: Callable[[int], bool] | None = None,
    ) -> Any:
        """Accept connections of a bound and listening socket for the factory."""
        fd = sock.fileno()
        with all_or_nothing() as undo:
            if sock.family == socket.AF_UNIX:
                port = _UNIXPort._fromListeningDescriptor(self.clock, fd, factory)
                port.backlog = socket.SOMAXCONN  # Twisted listens again, with 50
                path = sock.getsockname()
                if isinstance(path, str):  # or Twisted would open it to the world
                    port.mode = stat.S_IMODE(os.stat(path).st_mode)
            else:
                port = _TCPPort._fromListeningDescriptor(self.clock, fd, sock.family, factory)
            # Not Twisted's own duplicate: this one is known to `ListeningSockets`.
            port._preexistingSocket.close()
            port._preexistingSocket = sock
            port.sockets, port.reserve = self._sockets, self.reserve
            port.accepts_per_event = min(accepts_per_event or BATCH, BATCH)
            port.passes = passes
            self._sockets.add(port)
            undo.callback(self._sockets.discard, port)
            self.reserve.add(port)
            undo.callback(self.reserve.discard, port)
            port.startListening()
        return port

    def connect(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> _Connector:
        """Connect within `timeout` seconds; the factory hears of the outcome."""
        check = self.reserve.check if for_client else None
        connector = _Connector(address, factory, timeout, options, self.clock, self._sockets, check)
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

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call this in the next turn of the reactor."""
        self.clock.callLater(0, call)

    def stop(self) -> Deferred[None]:
        """Close all that is open."""
        return self._sockets.stop().addCallback(self._stopped)

    def _stopped(self, _: None) -> None:
        self.timers.stop()
        self.cooperator.stop()
        self._listening.close()
