"""dog_statsd: sends what was counted to Datadog's agent, in datagrams, with the tags of each name
and in Envoy's lines.

With `max_bytes_per_datagram` several lines are in one.  Datagrams that the kernel does not take are
counted (`dog_statsd.udp_lost`, ours).
"""

from __future__ import annotations

from typing import Any

from envoy.config.metrics.v3 import stats_pb2

from twisted.logger import Logger

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.statsd.datagram_sink import DatagramSink
from tcpmesh.stats.statsd.lines import datadog
from tcpmesh.values.address import Address

log = Logger(namespace="stats")


@extension(stats_pb2.DogStatsdSink)
class DogStatsdSink(DatagramSink):
    """Sends to an address."""

    def __init__(self, message: Any, context: MainContext) -> None:
        address = Address(*host_and_port(message.address))
        clock = context.network.clock
        super().__init__(
            address,
            message.max_bytes_per_datagram.value,
            context.store.scope("dog_statsd"),
            Reachability(log, f"DogStatsD at {address}", clock.seconds),
            message.prefix,
            datadog,
        )
