"""ROUND_ROBIN: one host after the other, beginning at a random one, as Envoy does so that many proxies do not march in step.

Envoy's weights, slow start and locality options are not acted on here yet.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.priority import HostSets
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import Context, enum_value


@enum_value("load_balancing_policies", "ROUND_ROBIN")
@implementer(ILoadBalancer)
class RoundRobin:
    """The rotation of one cluster, shared by all that use it."""

    def __init__(self, context: Context) -> None:
        self._next = context.random.randrange(1 << 16)
        self._hosts: tuple[Any, ...] = ()

    @classmethod
    def from_cluster(cls, message: Any, context: Context) -> RoundRobin:
        """The policy as a cluster's `lb_policy` asks for it."""
        return cls(context)

    def update(self, sets: HostSets) -> None:
        """Rotate over these hosts; the place in the rotation is kept."""
        self._hosts = sets.hosts

    def pick(self, context: Any) -> Any:
        """The next host, or `None` where there are none."""
        hosts = self._hosts
        if not hosts:
            return None
        index = self._next = (self._next + 1) % len(hosts)
        return hosts[index]
