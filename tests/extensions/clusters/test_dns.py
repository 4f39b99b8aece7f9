"""Clusters of names: STRICT_DNS, LOGICAL_DNS and the extension that is both."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.manager import discovery_of
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.dns import Family
from tcpmesh.values.hosts import Assignment
from tests.mesh import parse
from tests.names import Names

TYPE = f"type.googleapis.com/{dns_cluster_pb2.DnsCluster.DESCRIPTOR.full_name}"
ENDPOINT = "{endpoint: {address: {socket_address: {address: a.test, port_value: 80}}}}"


class DnsClusterTests(SynchronousTestCase):
    """From a message to hosts."""

    def setUp(self) -> None:
        """A resolver that knows two addresses."""
        self.network = MemoryNetwork()
        self.names = Names(**{"a.test": ["10.0.0.1", "10.0.0.2"]})
        self.told: list[Assignment] = []
        self.warm: list[None] = []

    def start(self, fields: str) -> None:
        """Begin the discovery of a cluster with these fields, in YAML flow style."""
        text = (
            f"{{name: c, load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: "
            f"[{ENDPOINT}]}}]}}, {fields}}}"
        )
        context = MainContext(self.network, Store(), resolver=self.names)
        discovery = discovery_of(parse(cluster_pb2.Cluster, text), context)
        discovery.warm.addCallback(self.warm.append)
        discovery.start(self.told.append)

    def custom(self, fields: str) -> None:
        """The same for a DnsCluster with these fields."""
        self.start(f'cluster_type: {{name: x, typed_config: {{"@type": {TYPE}, {fields}}}}}')

    def hosts(self) -> list[Any]:
        """How many addresses each host has."""
        return [1 + len(spec.additional_addresses) for spec in self.told[-1].hosts]

    def test_strict(self) -> None:
        """STRICT_DNS has a host for each address; its fields count."""
        self.start("type: STRICT_DNS, dns_lookup_family: V4_PREFERRED, dns_refresh_rate: 2s")
        self.assertEqual([1, 1], self.hosts())
        self.network.advance(2)
        self.assertEqual([("a.test", Family.V4_PREFERRED)] * 2, self.names.asked)

    def test_logical(self) -> None:
        """LOGICAL_DNS has one host; the family is AUTO unless given."""
        self.start("type: LOGICAL_DNS")
        self.assertEqual([2], self.hosts())
        self.assertEqual([("a.test", Family.AUTO)], self.names.asked)

    def test_custom(self) -> None:
        """A DnsCluster is strict unless all addresses are to be in a single endpoint; its fields
        are its own.
        """
        self.custom("dns_lookup_family: ALL, dns_refresh_rate: 3s")
        self.assertEqual([1, 1], self.hosts())
        self.network.advance(3)
        self.assertEqual([("a.test", Family.ALL)] * 2, self.names.asked)
        self.custom("all_addresses_in_single_endpoint: true")
        self.assertEqual([2], self.hosts())
        self.assertEqual(Family.AUTO, self.names.asked[-1][1])

    def test_wait_for_warm(self) -> None:
        """A cluster of each type waits for its first result, unless `wait_for_warm_on_init` is
        false.
        """
        self.names.held = []
        custom = f'cluster_type: {{name: x, typed_config: {{"@type": {TYPE}}}}}'
        for fields in ("type: STRICT_DNS", "type: LOGICAL_DNS", custom):
            self.start(fields)
            self.assertEqual([], self.warm)
            self.start(f"{fields}, wait_for_warm_on_init: false")
            self.assertEqual([None], self.warm)
            self.warm.clear()
