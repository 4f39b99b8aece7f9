"""An upstream connection that has no client yet, as the pools of a cluster make it: see
`tcpmesh.cluster.upstream.pool`.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.counting import closed, failed, opened
from tcpmesh.connection.relay import Relay
from tcpmesh.net.protocol import OneShotFactory, QuietHalfCloseableProtocol
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions


class PendingClient(Protocol):
    """A client of a pool: a `Session`."""

    stream_info: StreamInfo
    relay: Relay

    @property
    def told(self) -> TransportSocketOptions:
        """What the transport socket of its connection is told."""

    def buildProtocol(self, addr: Any) -> Any:
        """What is to get the events of the connection, asked for after `pool_ready`."""

    def pool_ready(self, dialled: float) -> None:
        """There is a connection, begun at this time of the clock; the relay is about to start."""

    def pool_failed(self, flags: ResponseFlag, reason: Failure | None) -> None:
        """There is none, and the client waits no more."""

    def pool_full(self) -> None:
        """Too many wait already."""

    def pool_shed(self) -> None:
        """None is made, for want of resources."""


class PoolOwner(Protocol):
    """The pool of a connection, as the connection sees it."""

    host: Host
    clock: Any
    told: TransportSocketOptions
    """What the transport socket is told of the connections."""

    idle: TimeoutQueue[Any] | None
    """Where connections without a client wait for their idle timeout."""

    def connected(self, connection: PooledConnection) -> PendingClient | None:
        """There is a connection more; the client that gets it at once, if one waits."""

    def attached(self, client: PendingClient, dialled: float) -> None:
        """The client gets a connection that was begun at this time of the clock."""

    def settled(self) -> None:
        """A connection is there that has no client."""

    def failed(
        self, connection: PooledConnection, flags: ResponseFlag, reason: Failure | None
    ) -> None:
        """A connection could not be made; without a reason because the host is unhealthy."""

    def lost(self, connection: PooledConnection) -> None:
        """A connection without a client is gone."""


class PooledConnection(OneShotFactory, QuietHalfCloseableProtocol):
    """A connection that has no client yet: its client factory, and then its protocol."""

    __slots__ = ("_connector", "_data", "_dialled", "_pool", "_transport")

    def __init__(self, pool: PoolOwner) -> None:
        self._pool: PoolOwner | None = pool
        self._dialled = pool.clock.seconds()
        self._connector: Any = None
        self._transport: Any = None
        self._data = bytearray()

    def connect(self) -> None:
        """Begin."""
        assert self._pool is not None
        host = self._pool.host
        cluster = host.cluster
        opened(host)
        self._connector = cluster.dialer.connect(
            host, self, cluster.connect_timeout, self._another, self._pool.told
        )

    def _another(self) -> None:
        """A further one of the host's addresses is tried, in the same attempt."""
        assert self._pool is not None
        self._pool.host.cx_total += 1
        self._pool.host.cluster.stats.cx_total.tally += 1

    def give(self, client: PendingClient) -> None:
        """This connection is a client's from now on: it gets what the host has said already."""
        pool, transport = self._pool, self._transport
        assert pool is not None
        paused = self._is_full
        self._leave()
        pool.attached(client, self._dialled)
        protocol = transport.protocol = client.buildProtocol(None)
        protocol.makeConnection(transport)
        if self._data:
            protocol.dataReceived(bytes(self._data))
            self._data.clear()
        if paused and not client.relay.from_upstream.full:
            transport.resumeProducing()

    def give_up(self) -> None:
        """Nobody wants it, and it is not connected yet."""
        connector = self._connector
        self._closed(remote=False)
        connector.stopConnecting()

    def count_failure(self) -> None:
        """It is to be given up, and counts as failed."""
        assert self._pool is not None
        self._pool.host.cluster.stats.cx_connect_fail.tally += 1
        self._pool.host.cx_connect_fail += 1

    def expired(self) -> None:
        """It has had no client for the idle timeout."""
        assert self._pool is not None
        self._pool.host.cluster.stats.cx_idle_timeout.tally += 1
        self._lost(remote=False)

    def close(self) -> None:
        """End it from this side; where the host has said something, a reset tells it that this is
        lost.
        """
        self._end(remote=False)

    def _lost(self, remote: bool) -> None:
        pool = self._pool
        if pool is not None:
            self._end(remote)
            pool.lost(self)

    def _end(self, remote: bool) -> None:
        transport = self._transport
        self._closed(remote)
        if self._data:
            transport.abortConnection()
        else:
            transport.loseConnection()

    def _closed(self, remote: bool) -> None:
        pool = self._pool
        assert pool is not None
        closed(pool.host, pool.clock.seconds() - self._dialled, remote, active=False)
        self._leave()

    def _leave(self) -> None:
        """What comes from now on is not for the pool."""
        if self._pool is not None and self._pool.idle is not None:
            self._pool.idle.discard(self)
        self._pool = self._connector = self._transport = None

    # As the client factory

    def buildProtocol(self, addr: Any) -> Any:
        """Connected: the protocol of the client that has waited longest, or else this one."""
        pool = self._pool
        if pool is None:
            return None
        host = pool.host
        host.cluster.stats.cx_connect_ms.record(int((pool.clock.seconds() - self._dialled) * 1000))
        if host.outlier is not None:
            host.outlier.connect_succeeded()
        client = pool.connected(self)
        if client is None:
            return self
        self._leave()
        pool.attached(client, self._dialled)
        return client.buildProtocol(None)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """The attempt is over."""
        pool = self._pool
        if pool is None:
            return  # given up by us, and counted then
        flags, remote = failed(pool.host, reason)
        self._closed(remote)
        pool.failed(self, flags, reason)

    # As the protocol

    def makeConnection(self, transport: Any) -> None:
        """Connected, and nobody waits."""
        pool = self._pool
        assert pool is not None
        self._transport = transport
        self._connector = None
        if pool.idle is not None:
            pool.idle.add(self)
        pool.settled()

    def dataReceived(self, data: bytes) -> None:
        """Keep what the host says, and read no more than an upstream connection may buffer."""
        if self._pool is None:
            return
        self._data += data
        if self._is_full:
            self._transport.pauseProducing()

    @property
    def _is_full(self) -> bool:
        limit = self._pool.host.cluster.buffer_limit if self._pool is not None else 0
        return 0 < limit <= len(self._data)

    def readConnectionLost(self) -> None:
        """The host has said all it will: that is of no use to a client who comes later."""
        self._lost(remote=True)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._lost(remote=True)
