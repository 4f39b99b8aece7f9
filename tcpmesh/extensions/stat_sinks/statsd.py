"""statsd: sends what was counted to a statsd server, in datagrams or over a connection through a
cluster, in Envoy's lines.

Names are full ones, without tags.  A datagram holds one line, as Envoy's do.  Over TCP a server
that is down or takes nothing costs at most `BUFFERED_LIMIT`: what does not fit is dropped and
counted (`statsd.cx_overflow`), and so is what comes while there is no host to connect to
(`statsd.cx_unavailable`, ours).  Datagrams that the kernel does not take are counted too
(`statsd.udp_lost`, ours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from envoy.config.metrics.v3 import stats_pb2
from zope.interface import implementer

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.interfaces import IStatsSink, IStatsSnapshot
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.statsd.datagrams import Datagrams
from tcpmesh.stats.statsd.lines import PREFIX, lines, plain, sending
from tcpmesh.values.address import Address

log = Logger(namespace="stats")

BUFFERED_LIMIT = 16 << 20
"""Bytes that may wait for a server that does not take them; Envoy's."""

PIECE = 1 << 14
"""Lines are written to a connection so many bytes at a time."""


@implementer(IStatsSink)
@extension(stats_pb2.StatsdSink)
class StatsdSink:
    """Sends to an address (UDP or a unix socket of datagrams) or to a cluster."""

    wants_values = True

    def __init__(self, message: Any, context: MainContext) -> None:
        self._prefix = message.prefix or PREFIX
        self._writer: Datagrams | _Lines = (
            _datagrams(message.address, context)
            if message.HasField("address")
            else _Lines(message.tcp_cluster_name, context)
        )

    def flush(self, snapshot: IStatsSnapshot) -> Iterator[None]:
        """Send all lines, the last ones at once."""
        return sending(lines(snapshot, self._prefix, plain), self._writer)

    def close(self) -> None:
        """Let the server have what was written."""
        self._writer.close()


def _datagrams(message: Any, context: MainContext) -> Datagrams:
    address = Address(*host_and_port(message))
    reachability = Reachability(log, f"statsd at {address}", context.network.clock.seconds)
    return Datagrams(address, 0, context.store.scope("statsd"), reachability)


class _Lines:
    """Lines for a host of a cluster, which is connected to where there is something to send."""

    def __init__(self, cluster: str, context: MainContext) -> None:
        self._scope = context.store.scope("statsd")
        self._overflow = self._scope.counter("cx_overflow")
        self._cluster = cluster
        self._context = context
        self._lines = bytearray()
        clock = context.network.clock
        self._reachability = Reachability(log, f"statsd of cluster {cluster!r}", clock.seconds)
        self._client: _Client | None = None

    def write(self, line: bytes) -> None:
        """Send a line, with others."""
        self._lines += line + b"\n"
        if len(self._lines) >= PIECE:
            self.flush()

    def flush(self) -> None:
        """Send what is kept."""
        data = bytes(self._lines)
        self._lines.clear()
        if not data:
            return
        client = self._client
        if client is None or client.is_lost:
            client = self._client = self._connect()
        if client is None:
            self._unavailable("there is no host to connect to")
        elif client.waiting + len(data) > BUFFERED_LIMIT:
            self._overflow.tally += 1
        else:
            client.write(data)
            if client.is_connected:
                self._reachability.succeeded()

    def close(self) -> None:
        """Send what is written, and leave."""
        self.flush()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _unavailable(self, why: str) -> None:
        self._scope.counter("cx_unavailable").tally += 1
        self._reachability.failed(why)

    def _connect(self) -> _Client | None:
        cluster = self._context.cluster(self._cluster)
        host = cluster.pick(None) if cluster is not None else None
        if cluster is None or host is None:
            return None
        client = _Client(self._unavailable)
        cluster.dialer.connect(host, client, cluster.connect_timeout, lambda: None)
        return client


class _Client(ClientFactory, Protocol):
    """One connection, and the factory that made it: what is written before it is there waits.

    :param failed: told why it cannot be made.
    """

    noisy = False

    def __init__(self, failed: Callable[[str], object]) -> None:
        self.is_lost = False
        self._failed = failed
        self._early = bytearray()
        self._connector: Any = None

    @property
    def is_connected(self) -> bool:
        """Whether what is written is sent."""
        return self.transport is not None and not self.is_lost

    @property
    def waiting(self) -> int:
        """Bytes that the server has not taken."""
        transport: Any = self.transport
        return len(self._early) + (transport.buffered if transport is not None else 0)

    def write(self, data: bytes) -> None:
        """Send this as soon as can be."""
        if self.is_lost:
            self._failed("it cannot be connected to")
        elif self.transport is None:
            self._early += data
        else:
            self.transport.write(data)

    def close(self) -> None:
        """Let the server have what was written; who is not connected by now has nothing."""
        if self.transport is not None:
            self.transport.loseConnection()
        elif self._connector is not None and not self.is_lost:
            self._connector.stopConnecting()

    def startedConnecting(self, connector: Any) -> None:
        """Remember what to give up."""
        self._connector = connector

    def buildProtocol(self, addr: object) -> _Client:
        """Itself."""
        return self

    def connectionMade(self) -> None:
        """Send what has waited."""
        assert self.transport is not None
        self.transport.write(bytes(self._early))
        self._early.clear()

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody is there."""
        self.is_lost = True
        self._early.clear()
        self._failed(reason.getErrorMessage())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The next flush connects anew."""
        self.is_lost = True
