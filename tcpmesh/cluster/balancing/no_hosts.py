"""The load balancer of a cluster that has been let go of: whoever asks it late gets no host, and
what its policy knew is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import ILoadBalancer


@implementer(ILoadBalancer)
class NoHosts:
    """Chooses nobody."""

    def update(self, sets: HostSets) -> None:
        """It makes no difference."""

    def pick(self, context: Any) -> Host | None:
        """None."""
        return None

    def candidates(self, context: Any) -> Iterator[Host]:
        """None either."""
        return iter(())
