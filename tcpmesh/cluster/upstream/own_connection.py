"""A connection that the proxy makes to a host of a cluster for itself, as to a collector: picked,
dialled, limited and counted as those of clients are.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.counting import closed, failed, opened
from tcpmesh.net.protocol import OneShotFactory, QuietProtocol


class ConnectionUser(Protocol):
    """Who has made a connection."""

    @property
    def is_asking(self) -> bool:
        """Whether an answer is awaited: what the statistics call an active request."""

    def connected(self) -> None:
        """The connection is there."""

    def received(self, data: bytes) -> None:
        """The host has sent something."""

    def lost(self) -> None:
        """There is no connection, or no more: the last call, and none after `close`."""


def pick(cluster: Any) -> Host | None:
    """A host of a cluster to connect to; what stands against it is counted."""
    if cluster.breakers.full:
        cluster.stats.cx_overflow.tally += 1
        return None
    host: Host | None = cluster.pick(None)
    if host is None:
        cluster.stats.cx_none_healthy.tally += 1
    return host


class OwnConnection(OneShotFactory, QuietProtocol):
    """One connection, from the attempt to its end: its client factory and its protocol.

    The end of the host's stream ends it.
    """

    def __init__(self, host: Host, user: ConnectionUser, clock: IReactorTime) -> None:
        self.host = host
        self._user: ConnectionUser | None = user
        self._clock = clock
        self._began = clock.seconds()
        self._connector: Any = None
        self._transport: Any = None

    def connect(self) -> None:
        """Begin; the user may hear of a failure before this returns."""
        cluster = self.host.cluster
        opened(self.host)
        self._connector = cluster.dialer.connect(
            self.host, self, cluster.connect_timeout, self._another
        )

    def _another(self) -> None:
        """A further one of the host's addresses is tried, in the same attempt."""
        self.host.cx_total += 1
        self.host.cluster.stats.cx_total.tally += 1

    @property
    def is_connected(self) -> bool:
        """Whether what is written is sent."""
        return self._transport is not None

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken."""
        return self._transport.buffered if self._transport is not None else 0

    def write(self, data: bytes) -> None:
        """Send something; nothing where there is no connection."""
        if self._transport is not None:
            self.host.cluster.stats.cx_tx_bytes_total.tally += len(data)
            self._transport.write(data)

    def close(self, abort: bool = False) -> None:
        """End it, once what was written is sent or at once; its user hears nothing more."""
        transport, connector, is_open = self._transport, self._connector, self._user is not None
        if not is_open:
            return
        self._count_end(remote=False)
        if transport is None:
            connector.stopConnecting()
        elif abort:
            transport.abortConnection()
        else:
            transport.loseConnection()

    def _count_end(self, remote: bool) -> ConnectionUser | None:
        """It is over; who has to be told."""
        user, self._user = self._user, None
        self._transport = self._connector = None
        if user is not None:
            closed(self.host, self._clock.seconds() - self._began, remote, user.is_asking)
        return user

    # As the client factory

    def buildProtocol(self, addr: Any) -> OwnConnection | None:
        """Connected."""
        if self._user is None:
            return None
        milliseconds = int((self._clock.seconds() - self._began) * 1000)
        self.host.cluster.stats.cx_connect_ms.record(milliseconds)
        if self.host.outlier is not None:
            self.host.outlier.connect_succeeded()
        return self

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """The attempt is over."""
        if self._user is None:
            return
        _, remote = failed(self.host, reason)
        user = self._count_end(remote)
        if user is not None:
            user.lost()

    # As the protocol

    def makeConnection(self, transport: Any) -> None:
        """The connection is there."""
        self._connector = None
        if self._user is None:
            transport.loseConnection()
            return
        self._transport = transport
        self._user.connected()

    def dataReceived(self, data: bytes) -> None:
        """The host has sent something."""
        if self._user is not None:
            self.host.cluster.stats.cx_rx_bytes_total.tally += len(data)
            self._user.received(data)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        user = self._count_end(remote=True)
        if user is not None:
            user.lost()
