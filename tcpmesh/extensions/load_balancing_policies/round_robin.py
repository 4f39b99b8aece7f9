"""ROUND_ROBIN: one host after the other, by weight, beginning at a random one, so that many proxies
do not march in step.

Where all hosts weigh the same the place in the rotation is one for all workers: whichever has the
next connection, it goes to the next host.  (In Envoy each worker has a rotation of its own.)  With
weights each worker keeps to them for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2

from tcpmesh.cluster.balancing.locality import Group
from tcpmesh.cluster.balancing.policy import PolicyContext, locality_config, slow_start_config
from tcpmesh.cluster.balancing.priority_load import Kind
from tcpmesh.cluster.balancing.weighted import WeightedPolicy
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.registry import enum_value, extension
from tcpmesh.values.shared.counts import LocalCount, SharedCount
from tcpmesh.values.shared.names import NoRoom


@extension(round_robin_pb2.RoundRobin)
@enum_value("load_balancing_policies", "ROUND_ROBIN")
class RoundRobin(WeightedPolicy):
    """The rotation of one cluster, shared by all that use it."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        super().__init__(message, context)
        self._start = self.random.getrandbits(32)
        self._shared = context.shared
        self._places: dict[Any, SharedCount] = {}

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> RoundRobin:
        """The policy as a cluster's `lb_policy` asks for it."""
        slow = slow_start_config(message.round_robin_lb_config)
        return cls(
            round_robin_pb2.RoundRobin(
                slow_start_config=slow, locality_lb_config=locality_config(message)
            ),
            context,
        )

    def equal(self, group: Group) -> Callable[[], Host]:
        """In turn; the place in the rotation is kept when hosts come and go."""
        hosts, place = group.hosts, self._place(group.key)
        count = len(hosts)

        def choose() -> Host:
            number = place.total
            place.own += 1
            return hosts[number % count]

        return choose

    def _place(self, key: tuple[int, Kind, int]) -> SharedCount:
        """Where the rotation of a group is."""
        place = self._places.get(key)
        if place is None:
            priority, kind, locality = key
            try:
                place = self._shared.count(f"round_robin.{priority}.{kind.name}.{locality}")
            except NoRoom:  # one group of very many
                place = LocalCount()
            if not place.total:
                place.own += self._start
            self._places[key] = place
        return place

    def load_weight(self, host: Host) -> float:
        """What discovery says."""
        return host.weight
