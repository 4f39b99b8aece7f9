"""`envoy.extensions.transport_sockets.tcp_stats.v3.Config`: counts what the kernel knows of the TCP
connections below another transport socket, when they end and, where there is an `update_period`,
meanwhile.  An attempt to connect to a host that fails is counted too.

The connection is that of the inner transport socket; nothing is put between, but for a call before
the descriptor is closed.  A connection of which the system tells nothing, as over a unix socket, is
not counted.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from envoy.extensions.transport_sockets.tcp_stats.v3 import tcp_stats_pb2
from zope.interface import alsoProvides, implementer

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.connection.wrapped.first import FirstOnConnection
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    IPerClientTransportSocketFactory,
    ITransportSocketFactory,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.registry import Context, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.scope import Scope
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions

NOTHING = TcpFacts(0, 0, 0.0)

_COUNTERS = {
    "cx_tx_segments": "segments_sent",
    "cx_rx_segments": "segments_received",
    "cx_tx_data_segments": "data_segments_sent",
    "cx_rx_data_segments": "data_segments_received",
    "cx_tx_retransmitted_segments": "retransmits",
    "cx_rx_bytes_received": "bytes_received",
    "cx_tx_bytes_sent": "bytes_sent",
}


class TcpStats:
    """The statistics of one scope.

    :param scope: of its own, with the prefix of a listener's or a cluster's.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        below = scope.scope("tcp_stats")
        self._counters = tuple(
            (below.counter(name), TcpFacts._fields.index(field))
            for name, field in _COUNTERS.items()
        )
        self._unsent = below.gauge("cx_tx_unsent_bytes", Merge.SUM)
        self._unacked = below.gauge("cx_tx_unacked_segments", Merge.SUM)
        self._retransmitted = below.histogram("cx_tx_percent_retransmitted_segments", "percent")
        self._rtt = below.histogram("cx_rtt_us", "us")
        self._variance = below.histogram("cx_rtt_variance_us", "us")

    def count(self, before: TcpFacts, now: TcpFacts) -> None:
        """Count what has come to a connection since it was looked at before."""
        for counter, field in self._counters:
            counter.tally += max(0, int(now[field] - before[field]))
        self.pending(before, now)
        sent = now.data_segments_sent - before.data_segments_sent
        if sent > 0:
            self._retransmitted.record((now.retransmits - before.retransmits) / sent)
        self._rtt.record(now.rtt)
        self._variance.record(now.rtt_variance)

    def attempt_failed(self, facts: TcpFacts | None) -> None:
        """Count what an attempt to connect has sent and received in vain."""
        if facts is not None:
            self.count(NOTHING, facts)
            self.pending(facts, NOTHING)

    def pending(self, before: TcpFacts, now: TcpFacts) -> None:
        """What waits in the kernel has changed."""
        self._unsent.add(now.unsent - before.unsent)
        self._unacked.add(now.unacked - before.unacked)

    def close(self) -> None:
        """Let go of all names."""
        self._scope.close()


class Watch:
    """What was counted of one connection.

    :param again: where it is to wait for the next look, if there is an `update_period`.
    """

    __slots__ = ("_again", "_last", "_stats", "_transport")

    def __init__(self, stats: TcpStats, transport: Any, again: TimeoutQueue[Watch] | None) -> None:
        self._stats = stats
        self._transport = transport
        self._again = again
        self._last = NOTHING
        transport.before_close(self.end)
        if again is not None:
            again.add(self)

    def look(self) -> None:
        """Count what is new."""
        facts: TcpFacts | None = self._transport.tcp_facts()
        if facts is not None:
            self._stats.count(self._last, facts)
            self._last = facts

    def on_period(self) -> None:
        """It is time to look again."""
        assert self._again is not None
        self._again.add(self)
        self.look()

    def end(self) -> None:
        """The descriptor is about to be closed: nothing waits there any more."""
        if self._again is not None:
            self._again.discard(self)
        self.look()
        self._stats.pending(self._last, NOTHING)
        self._transport = None


@extension(tcp_stats_pb2.Config)
@implementer(ITransportSocketFactory)
class TcpStatsSocket:
    """Built from a `Config` message; stands where the inner transport socket can."""

    wraps = True
    needs_header = False

    def __init__(self, message: Any, context: Context) -> None:
        prefix = context.scope.prefix if context.scope is not None else ""
        key = (TcpStats, prefix)
        with all_or_nothing() as undo:
            self._inner: Any = transport_socket(message, ITransportSocketFactory, context)
            if self._inner is not None:
                undo.callback(self._inner.close)
            self._stats: TcpStats = context.objects.obtain(
                key, lambda: TcpStats(context.store.scope(prefix))
            )
            undo.callback(context.objects.release, key)
            self._held = undo.pop_all()
        for side in (IDownstreamTransportSocketFactory, IUpstreamTransportSocketFactory):
            if self._inner is None or side.providedBy(self._inner):
                alsoProvides(self, side)
        self.serves_many_chains: bool = getattr(self._inner, "serves_many_chains", True)
        if IPerClientTransportSocketFactory.providedBy(self._inner):
            self.needs_header = self._inner.needs_header
            alsoProvides(self, IPerClientTransportSocketFactory)
        self._queue: TimeoutQueue[Watch] | None = None
        if message.HasField("update_period"):
            period = seconds(message.update_period)
            self._queue = context.network.timers.queue(period, Watch.on_period)

    def watch(self, transport: Any) -> None:
        """Count this connection."""
        Watch(self._stats, transport, self._queue)

    def accepted(self, connection: Any, observer: Any) -> Any:
        """Wrap a client."""
        self.watch(connection.transport)
        return None if self._inner is None else self._inner.accepted(connection, observer)

    def connecting(self, connector: Any, options: TransportSocketOptions) -> None:
        """Count the attempt, should it fail."""
        connector.on_failure(self._stats.attempt_failed)

    def connected(
        self, address: Address, observer: Any, options: TransportSocketOptions
    ) -> FirstOnConnection:
        """What makes room for the inner transport socket."""
        return _Connected(self, self._inner, address, observer, options)

    def pool_key(self, options: TransportSocketOptions) -> Hashable:
        """What makes a difference to the inner one."""
        key: Hashable = self._inner.pool_key(options)
        return key

    def close(self) -> None:
        """No more connections will be counted; those that are live on."""
        self._held.close()


class _Connected(FirstOnConnection):
    """Begins to count."""

    __slots__ = ("_socket",)

    def __init__(self, owner: TcpStatsSocket, *args: Any) -> None:
        super().__init__(*args)
        self._socket = owner

    def begin(self, transport: Any) -> None:
        """The connection is there."""
        self._socket.watch(transport)
