"""ROUND_ROBIN: one host after the other, by weight, beginning at a random one, so that many proxies
do not march in step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2

from tcpmesh.cluster.balancing.locality import Group
from tcpmesh.cluster.balancing.policy import PolicyContext, locality_config, slow_start_config
from tcpmesh.cluster.balancing.weighted import WeightedPolicy
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.registry import enum_value, extension


@extension(round_robin_pb2.RoundRobin)
@enum_value("load_balancing_policies", "ROUND_ROBIN")
class RoundRobin(WeightedPolicy):
    """The rotation of one cluster, shared by all that use it."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        super().__init__(message, context)
        self._start = self.random.getrandbits(32)
        self._places: dict[Any, int] = {}

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
        hosts, key, places = group.hosts, group.key, self._places
        count = len(hosts)
        places.setdefault(key, self._start)

        def choose() -> Host:
            place = places[key]
            places[key] = place + 1
            return hosts[place % count]

        return choose

    def load_weight(self, host: Host) -> float:
        """What discovery says."""
        return host.weight
