"""dog_statsd: sends what was counted to Datadog's agent, in datagrams, with the tags of each name
and in Envoy's lines.

With `max_bytes_per_datagram` several lines are in one.  Datagrams that the kernel does not take are
counted (`dog_statsd.udp_lost`, ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.metrics.v3 import stats_pb2
from zope.interface import implementer

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.interfaces import IStatsSink, IStatsSnapshot
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.statsd.datagrams import Datagrams
from tcpmesh.stats.statsd.lines import PREFIX, datadog, lines, sending
from tcpmesh.values.address import Address


@implementer(IStatsSink)
@extension(stats_pb2.DogStatsdSink)
class DogStatsdSink:
    """Sends to an address."""

    wants_values = True

    def __init__(self, message: Any, context: MainContext) -> None:
        self._prefix = message.prefix or PREFIX
        self._writer = Datagrams(
            Address(*host_and_port(message.address)),
            message.max_bytes_per_datagram.value,
            context.store.scope("dog_statsd"),
        )

    def flush(self, snapshot: IStatsSnapshot) -> Iterator[None]:
        """Send all lines."""
        yield from sending(lines(snapshot, self._prefix, datadog), self._writer)

    def close(self) -> None:
        """Nothing more is sent."""
        self._writer.close()
