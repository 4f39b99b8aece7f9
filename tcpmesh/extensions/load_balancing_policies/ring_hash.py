"""RING_HASH: a ketama ring, on which a host that comes or goes moves only its own share of the
clients.

The ring is Envoy's to the last place, see `tcpmesh.cluster.balancing.hash_tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2
from xxhash import xxh64_intdigest

from tcpmesh.cluster.balancing.hash_balancer import HashBalancer, Hashing, hashing_config
from tcpmesh.cluster.balancing.hash_tables import Ring, Share
from tcpmesh.cluster.balancing.murmur import murmur_hash_2
from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.registry import enum_value, extension
from tcpmesh.stats.metrics import Merge

MINIMUM_RING_SIZE = 1024
MAXIMUM_RING_SIZE = 8 << 20


@extension(ring_hash_pb2.RingHash)
@enum_value("load_balancing_policies", "RING_HASH")
class RingHash(HashBalancer[Ring]):
    """Built from a `RingHash` message."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        hashing = Hashing.of(message)
        if not message.HasField("consistent_hashing_lb_config"):
            factor = message.hash_balance_factor.value
            hashing = replace(
                hashing, by_hostname=message.use_hostname_for_hashing, balance_factor=factor
            )
        super().__init__(hashing, context)
        self._least: int = (
            message.minimum_ring_size.value
            if message.HasField("minimum_ring_size")
            else MINIMUM_RING_SIZE
        )
        self._most: int = (
            message.maximum_ring_size.value
            if message.HasField("maximum_ring_size")
            else MAXIMUM_RING_SIZE
        )
        self._digest = (
            murmur_hash_2 if message.hash_function == message.MURMUR_HASH_2 else xxh64_intdigest
        )
        scope = context.stats.scope.scope("ring_hash_lb")
        self._size = scope.gauge("size", Merge.MAX)
        self._min_hashes = scope.gauge("min_hashes_per_host", Merge.MAX)
        self._max_hashes = scope.gauge("max_hashes_per_host", Merge.MAX)

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> RingHash:
        """The policy as a cluster's `lb_policy` asks for it."""
        old = message.ring_hash_lb_config
        made = ring_hash_pb2.RingHash(**hashing_config(message))
        for name in ("minimum_ring_size", "maximum_ring_size"):
            if old.HasField(name):
                getattr(made, name).CopyFrom(getattr(old, name))
        if old.hash_function == cluster_pb2.Cluster.RingHashLbConfig.MURMUR_HASH_2:
            made.hash_function = made.MURMUR_HASH_2
        return cls(made, context)

    def build(self, shares: Sequence[Share]) -> Ring:
        """A ring of these hosts."""
        return Ring(shares, self._least, self._most, self._digest)

    def show(self, table: Ring) -> None:
        """`ring_hash_lb.*`."""
        self._size.set(table.size)
        self._min_hashes.set(table.spread.fewest)
        self._max_hashes.set(table.spread.most)
