"""graphite_statsd: sends what was counted to a statsd server with tags as Graphite has them, in
datagrams and in Envoy's lines.

With `max_bytes_per_datagram` several lines are in one.  Datagrams that the kernel does not take are
counted (`graphite_statsd.udp_lost`, ours).
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.stat_sinks.graphite_statsd.v3 import graphite_statsd_pb2

from twisted.logger import Logger

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.statsd.datagram_sink import DatagramSink
from tcpmesh.stats.statsd.lines import graphite
from tcpmesh.values.address import Address

log = Logger(namespace="stats")


@extension(graphite_statsd_pb2.GraphiteStatsdSink)
class GraphiteStatsdSink(DatagramSink):
    """Sends to an address."""

    def __init__(self, message: Any, context: MainContext) -> None:
        address = Address(*host_and_port(message.address))
        clock = context.network.clock
        super().__init__(
            address,
            message.max_bytes_per_datagram.value,
            context.store.scope("graphite_statsd"),
            Reachability(log, f"Graphite at {address}", clock.seconds),
            message.prefix,
            graphite,
        )
