"""dog_statsd: sends what was counted to Datadog's agent, in datagrams, with the tags of each name
and in Envoy's lines.

With `max_bytes_per_datagram` several lines are in one.  Datagrams that the kernel does not take are
counted (`dog_statsd.udp_lost`, ours).
"""

from __future__ import annotations

from typing import Any

from envoy.config.metrics.v3 import stats_pb2

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.statsd.datagram_sink import DatagramSink
from tcpmesh.stats.statsd.lines import datadog
from tcpmesh.values.address import Address


@extension(stats_pb2.DogStatsdSink)
class DogStatsdSink(DatagramSink):
    """Sends to an address."""

    def __init__(self, message: Any, context: MainContext) -> None:
        super().__init__(
            Address(*host_and_port(message.address)),
            message.max_bytes_per_datagram.value,
            context.store.scope("dog_statsd"),
            message.prefix,
            datadog,
        )
