"""STATIC clusters: the hosts are those of `load_assignment`, known at once and for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred

from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.interfaces import IDiscovery
from tcpmesh.registry import MainContext, enum_value
from tcpmesh.values.hosts import Assignment


@enum_value("clusters", "STATIC")
@implementer(IDiscovery)
class StaticCluster:
    """Discovery that has nothing to discover."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self.warm: Deferred[None] = Deferred()
        self.dropped_hosts_stay = False
        self._assignment = assignment(message.load_assignment)

    def start(self, found: Callable[[Assignment], object]) -> None:
        """Tell the hosts, before this call returns."""
        found(self._assignment)
        self.warm.callback(None)

    def stop(self) -> None:
        """Nothing is under way."""
