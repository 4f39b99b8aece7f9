"""RANDOM: each host with the same probability, whatever it weighs, so that nothing has to be
remembered between picks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.load_balancing_policies.random.v3 import random_pb2
from zope.interface import implementer

from tcpmesh.cluster.balancing.locality import LocalityBalancer
from tcpmesh.cluster.balancing.policy import PolicyContext, locality_config
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import IPeekableBalancer
from tcpmesh.registry import enum_value, extension


@extension(random_pb2.Random)
@enum_value("load_balancing_policies", "RANDOM")
@implementer(IPeekableBalancer)
class RandomPolicy:
    """Built from a `Random` message."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        self._random = context.random
        self._spread = LocalityBalancer(
            message.locality_lb_config if message.HasField("locality_lb_config") else None, context
        )

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> RandomPolicy:
        """The policy as a cluster's `lb_policy` asks for it."""
        return cls(random_pb2.Random(locality_lb_config=locality_config(message)), context)

    def update(self, sets: HostSets) -> None:
        """Pick among these hosts from now on."""
        self._spread.update(sets)

    def pick(self, context: Any) -> Host | None:
        """Any host, or `None` where there is none."""
        group = self._spread.group(self._random.getrandbits(32))
        return self._random.choice(group.hosts) if group is not None and group.hosts else None

    def peek(self, context: Any) -> Host | None:
        """As a pick, for who keeps the host until the next one."""
        return self.pick(context)

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose, the better ones first."""
        return self._spread.candidates()
