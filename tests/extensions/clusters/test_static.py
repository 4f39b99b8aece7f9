"""Clusters whose hosts stand in the configuration."""

from __future__ import annotations

from random import Random

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.clusters.static import StaticCluster
from tcpmesh.interfaces import IDiscovery
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec
from tests.mesh import cluster_message


class StaticTests(SynchronousTestCase):
    """STATIC discovery."""

    def test_tells_all_hosts_at_once(self) -> None:
        """The hosts are told before `start` returns, once, in the order of the configuration; the
        cluster is warm.
        """
        context = MainContext(MemoryNetwork(), Store(), Random(1))
        discovery = StaticCluster(
            cluster_message("c", ["127.0.0.2:80", "[::1]:81", "/run/x.sock"]), context
        )
        verifyObject(IDiscovery, discovery)
        told: list[Assignment] = []
        discovery.start(told.append)
        self.successResultOf(discovery.warm)
        discovery.stop()
        addresses = (Address("127.0.0.2", 80), Address("::1", 81), Address("/run/x.sock"))
        self.assertEqual([Assignment(tuple(HostSpec(address) for address in addresses))], told)
