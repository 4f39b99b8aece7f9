"""Which policy a cluster gets."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3.base_pb2 import Node
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.random.v3 import random_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.policy import (
    PolicyContext,
    balancer,
    locality_config,
    panic_threshold,
)
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.extensions.load_balancing_policies.least_request import LeastRequest
from tcpmesh.extensions.load_balancing_policies.random import RandomPolicy
from tcpmesh.extensions.load_balancing_policies.round_robin import RoundRobin
from tcpmesh.registry import UnknownExtension
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.hosts import Locality
from tests.mesh import cluster_message, parse


class BalancerTests(SynchronousTestCase):
    """`lb_policy` and `load_balancing_policy`."""

    def setUp(self) -> None:
        """A context."""
        store = Store()
        self.context = PolicyContext(
            MemoryNetwork(), store, lambda name: None, Random(1), stats=ClusterStats(store, "c")
        )

    def test_enum(self) -> None:
        """By `lb_policy`, ROUND_ROBIN where nothing is said."""
        for text, kind in (
            ("", RoundRobin),
            ("lb_policy: LEAST_REQUEST", LeastRequest),
            ("lb_policy: RANDOM", RandomPolicy),
        ):
            self.assertIsInstance(balancer(cluster_message("c", [], text), self.context), kind)

    def typed(self, *contents: object) -> cluster_pb2.Cluster:
        """A cluster with these policies; a string is the name of a type that nobody knows."""
        message = cluster_pb2.Cluster(name="c", lb_policy="RANDOM")
        message.load_balancing_policy.SetInParent()
        for content in contents:
            config = (
                message.load_balancing_policy.policies.add().typed_extension_config.typed_config
            )
            if isinstance(content, str):
                config.type_url = f"type.googleapis.com/{content}"
            else:
                config.Pack(content)
        return message

    def test_first_known(self) -> None:
        """Of typed policies the first that is known is taken, whatever `lb_policy` says."""
        message = self.typed(
            "my.unknown.Policy", least_request_pb2.LeastRequest(), random_pb2.Random()
        )
        self.assertIsInstance(balancer(message, self.context), LeastRequest)

    def test_none_known(self) -> None:
        """Where none is known the cluster cannot be made."""
        self.assertRaises(UnknownExtension, balancer, self.typed("my.unknown.Policy"), self.context)

    def test_locality(self) -> None:
        """The proxy's locality is that of its node, where it has one."""
        self.assertIsNone(self.context.locality)
        node = parse(Node, "locality: {region: r, zone: z}")
        self.assertEqual(Locality("r", "z"), replace(self.context, node=node).locality)
        self.assertIsNone(replace(self.context, node=Node(id="x")).locality)


class CommonTests(SynchronousTestCase):
    """What `common_lb_config` says, in the words of the typed policies."""

    def test_panic_threshold(self) -> None:
        """Percent to the nearest whole one; 50 where nothing is said."""
        given = [
            f"common_lb_config: {{healthy_panic_threshold: {{value: {value}}}}}"
            for value in (0, 33.4, 33.5, 100)
        ]
        self.assertEqual(
            [50, 0, 33, 34, 100],
            [panic_threshold(cluster_message("c", [], text)) for text in ("", *given)],
        )

    def test_localities(self) -> None:
        """What is said of localities is handed on, whichever kind it is."""
        self.assertIsNone(locality_config(cluster_message("c", [])))
        weighted = locality_config(
            cluster_message("c", [], "common_lb_config: {locality_weighted_lb_config: {}}")
        )
        self.assertTrue(weighted.HasField("locality_weighted_lb_config"))
        fields = "routing_enabled: {value: 40}, min_cluster_size: 3, fail_traffic_on_panic: true"
        zones = locality_config(
            cluster_message("c", [], f"common_lb_config: {{zone_aware_lb_config: {{{fields}}}}}")
        )
        aware = zones.zone_aware_lb_config
        told = (
            aware.routing_enabled.value,
            aware.min_cluster_size.value,
            aware.fail_traffic_on_panic,
        )
        self.assertEqual((40, 3, True), told)
