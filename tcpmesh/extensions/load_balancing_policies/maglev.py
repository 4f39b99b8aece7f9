"""MAGLEV: a table in which every host has its share to the place, and a pick is one look at it.

Spread more evenly than a ring, at the cost that a host that comes or goes moves a few clients of
others too.  The table is Envoy's to the last place, see `tcpmesh.cluster.balancing.hash_tables`.

Building a table of 65537 places takes about 0.1 s, one of 5000011, the largest allowed, some 10 s,
at each change of the hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2

from tcpmesh.cluster.balancing.hash_balancer import HashBalancer, Hashing, hashing_config
from tcpmesh.cluster.balancing.hash_tables import Maglev, Share
from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.registry import enum_value, extension
from tcpmesh.stats.metrics import Merge

TABLE_SIZE = 65537


@extension(maglev_pb2.Maglev)
@enum_value("load_balancing_policies", "MAGLEV")
class MaglevPolicy(HashBalancer[Maglev]):
    """Built from a `Maglev` message."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        super().__init__(Hashing.of(message), context)
        self._table_size: int = (
            message.table_size.value if message.HasField("table_size") else TABLE_SIZE
        )
        scope = context.stats.scope.scope("maglev_lb")
        self._min_entries = scope.gauge("min_entries_per_host", Merge.MAX)
        self._max_entries = scope.gauge("max_entries_per_host", Merge.MAX)

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> MaglevPolicy:
        """The policy as a cluster's `lb_policy` asks for it."""
        made = maglev_pb2.Maglev(**hashing_config(message))
        if message.maglev_lb_config.HasField("table_size"):
            made.table_size.CopyFrom(message.maglev_lb_config.table_size)
        return cls(made, context)

    def build(self, shares: Sequence[Share]) -> Maglev:
        """A table of these hosts."""
        return Maglev(shares, self._table_size)

    def show(self, table: Maglev) -> None:
        """`maglev_lb.*`."""
        self._min_entries.set(table.spread.fewest)
        self._max_entries.set(table.spread.most)
