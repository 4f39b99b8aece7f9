"""PICK_FIRST: always the first host of the first priority that has a usable one; the next where
that cannot be connected to.

Envoy itself has no such policy, gRPC does: for primaries with stand-bys, where all connections are
to go to one host.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.load_balancing_policies.pick_first.v3 import pick_first_pb2
from zope.interface import implementer

from tcpmesh.cluster.balancing.locality import LocalityBalancer
from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import extension


@extension(pick_first_pb2.PickFirst)
@implementer(ILoadBalancer)
class PickFirst:
    """Built from a `PickFirst` message."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        self._random = context.random if message.shuffle_address_list else None
        self._spread = LocalityBalancer(None, context)
        self._ranks: dict[Host, float] = {}

    def update(self, sets: HostSets) -> None:
        """Pick among these hosts from now on.  Shuffled hosts keep their order, whoever comes or
        goes.
        """
        self._spread.update(sets)
        ranks, random = self._ranks, self._random
        self._ranks = {
            host: ranks.get(host, random.random()) if random else 0.0 for host in sets.hosts
        }

    def pick(self, context: Any) -> Host | None:
        """The first host, or `None` where there is none."""
        group = self._spread.group(0)
        if group is None or not group.hosts:
            return None
        if group.choose is None:
            first = min(group.hosts, key=self._ranks.__getitem__)
            group.choose = lambda: first
        return group.choose()

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts, in the order in which they are to be tried."""
        return iter(sorted(self._spread.candidates(), key=self._ranks.__getitem__))
