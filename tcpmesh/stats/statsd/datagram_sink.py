"""A sink that sends its lines in datagrams: what DogStatsD's and Graphite's have in common."""

from __future__ import annotations

from collections.abc import Iterator

from zope.interface import implementer

from tcpmesh.interfaces import IStatsSink, IStatsSnapshot
from tcpmesh.logs.reachability import Reachability
from tcpmesh.stats.scope import Scope
from tcpmesh.stats.statsd.datagrams import Datagrams
from tcpmesh.stats.statsd.lines import PREFIX, Dialect, lines, sending
from tcpmesh.values.address import Address


@implementer(IStatsSink)
class DatagramSink:
    """Sends to an address.

    :param size: as of `Datagrams`.
    :param scope: likewise.
    :param reachability: likewise.
    :param prefix: what names begin with; empty for Envoy's default.
    :param dialect: how the tags of a name are written.
    """

    wants_values = True

    def __init__(
        self,
        address: Address,
        size: int,
        scope: Scope,
        reachability: Reachability,
        prefix: str,
        dialect: Dialect,
    ) -> None:
        self._writer = Datagrams(address, size, scope, reachability)
        self._prefix = prefix or PREFIX
        self._dialect = dialect

    def flush(self, snapshot: IStatsSnapshot) -> Iterator[None]:
        """Send all lines."""
        yield from sending(lines(snapshot, self._prefix, self._dialect), self._writer)

    def close(self) -> None:
        """Nothing more is sent."""
        self._writer.close()
