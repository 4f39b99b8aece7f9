"""SUBSET in a cluster.  What it does in which case is compared with Envoy in `tests.differential`;
here is what else there is.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.cluster.hosts.metadata import struct_criteria
from tcpmesh.extensions.load_balancing_policies import round_robin, subset  # noqa: F401
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.hosts import HealthFlag
from tests.mesh import MeshTestCase
from tests.picks import Client, cluster_of, served_of

PROD = ({"stage": "prod", "v": 1}, {"stage": "prod", "v": 2})
DEV = ({"stage": "dev", "v": 2},)
SELECTORS: list[dict[str, Any]] = [{"keys": ["stage"]}, {"keys": ["stage", "v"]}]
TYPES = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def endpoint(number: int, labels: dict[str, Any]) -> dict[str, Any]:
    """The host 10.0.0.number with these labels."""
    address = {"socket_address": {"address": f"10.0.0.{number}", "port_value": 80}}
    return {"endpoint": {"address": address}, "metadata": {"filter_metadata": {"envoy.lb": labels}}}


def message(*labels: dict[str, Any], **fields: Any) -> cluster_pb2.Cluster:
    """A cluster with a host for each of these labels."""
    endpoints = [
        {"lb_endpoints": [endpoint(number, each) for number, each in enumerate(labels, 1)]}
    ]
    body = {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": endpoints}, **fields}
    return ParseDict(body, cluster_pb2.Cluster())


def made(*labels: dict[str, Any], **config: Any) -> Cluster:
    """A cluster that takes turns within subsets."""
    config.setdefault("subset_selectors", SELECTORS)
    return cluster_of(message(*labels, lb_subset_config=config))


def asking(**match: Any) -> Client:
    """A client that asks for hosts with these labels."""
    return Client(metadata_match=struct_criteria(ParseDict(match, Struct())))


def picks(cluster: Cluster, client: Client, times: int = 4) -> str:
    """The last digits of the addresses of so many picks; `-` for none."""
    found = (cluster.pick(client) for _ in range(times))
    return "".join("-" if host is None else host.address.host[-1] for host in found)


class SubsetTests(SynchronousTestCase):
    """Two hosts of prod and one of dev."""

    def setUp(self) -> None:
        """As most tests want it."""
        self.store = Store()
        config = {"subset_selectors": SELECTORS}
        self.served = served_of(message(*PROD, *DEV, lb_subset_config=config), self.store)
        self.cluster = self.served.cluster

    def stat(self, name: str) -> int:
        """Of the cluster."""
        return values_of(self.store)[f"cluster.c.{name}"]

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, self.cluster._balancer)

    def test_turns(self) -> None:
        """Within a subset its policy works as it does in a cluster."""
        self.assertIn(picks(self.cluster, asking(stage="prod")), ("1212", "2121"))
        self.assertEqual("3333", picks(self.cluster, asking(stage="dev")))
        self.assertEqual(8, self.stat("lb_subsets_selected"))

    def test_turns_survive_changes(self) -> None:
        """A subset keeps its place in the rotation when hosts elsewhere change."""
        client = asking(stage="prod")
        first = picks(self.cluster, client, 1)
        self.served.update_hosts(assignment(message(*PROD, *DEV, *DEV).load_assignment))
        self.assertNotEqual(first, picks(self.cluster, client, 1))

    def test_counts(self) -> None:
        """Subsets are counted as they come and go."""
        self.assertEqual((5, 5, 0), self.counts())
        self.served.update_hosts(assignment(message(*PROD, {"stage": "qa"}).load_assignment))
        self.assertEqual((4, 6, 2), self.counts())

    def counts(self) -> tuple[int, int, int]:
        """Subsets that there are, that were made, and that are gone."""
        self.cluster.collect()
        return (
            self.stat("lb_subsets_active"),
            self.stat("lb_subsets_created"),
            self.stat("lb_subsets_removed"),
        )

    def test_new_labels(self) -> None:
        """A host whose metadata changes moves to another subset."""
        self.served.update_hosts(assignment(message(*PROD, {"stage": "prod"}).load_assignment))
        self.assertEqual("123", "".join(sorted(picks(self.cluster, asking(stage="prod"), 3))))
        self.assertEqual("-", picks(self.cluster, asking(stage="dev"), 1))

    def test_health(self) -> None:
        """In a subset, too, hosts that are out get nothing while others are well."""
        self.served.set_flags(self.cluster.hosts[0].address, add=HealthFlag.failed_active_hc)
        self.assertEqual("2222", picks(self.cluster, asking(stage="prod")))

    def test_attempted(self) -> None:
        """A client whose host was tried in vain gets another one of its subset, and none beyond
        it.
        """
        client = asking(stage="prod")
        client.attempted = self.cluster.hosts[:1]
        self.assertEqual("2222", picks(self.cluster, client))
        client.attempted = self.cluster.hosts[:2]
        self.assertEqual({"1", "2"}, set(picks(self.cluster, client)))

    def test_no_context(self) -> None:
        """Whoever picks without a connection is one that asks for nothing."""
        self.assertIsNone(self.cluster.pick(None))
        self.assertIsNotNone(made(*PROD, fallback_policy="ANY_ENDPOINT").pick(None))

    def test_without_selectors(self) -> None:
        """Without selectors lb_subset_config changes nothing: there are no subsets and no
        fallback.
        """
        cluster = made(*PROD, subset_selectors=[], fallback_policy="NO_FALLBACK")
        self.assertIn(picks(cluster, asking(stage="dev")), ("1212", "2121"))

    def test_selector_fallback_whatever_the_order(self) -> None:
        """A selector keeps its fallback policy beside one with more keys, in whatever order they
        stand.
        """
        selectors = [
            {"keys": ["stage"], "fallback_policy": "ANY_ENDPOINT"},
            {"keys": ["stage", "v"]},
        ]
        for order in (selectors, selectors[::-1]):
            self.assertNotIn("-", picks(made(*PROD, subset_selectors=order), asking(stage="qa")))

    def test_redundant_keys(self) -> None:
        """With allow_redundant_keys, keys that are no selector's are left out of account."""
        for allow, expected in ((False, "-"), (True, "3")):
            within = {"policies": [policy("round_robin.v3.RoundRobin")]}
            config = {
                "subset_selectors": SELECTORS,
                "allow_redundant_keys": allow,
                "subset_lb_policy": within,
            }
            cluster = cluster_of(
                message(
                    *PROD,
                    *DEV,
                    load_balancing_policy={"policies": [policy("subset.v3.Subset", **config)]},
                )
            )
            self.assertEqual(expected, picks(cluster, asking(stage="dev", colour="red"), 1))
            self.assertEqual("3", picks(cluster, asking(stage="dev"), 1))


def policy(name: str, **fields: Any) -> dict[str, Any]:
    """A typed policy."""
    return {
        "typed_extension_config": {
            "name": name,
            "typed_config": {"@type": f"{TYPES}.{name}", **fields},
        }
    }


class ProxyTests(MeshTestCase):
    """The policy behind a listener."""

    def test_metadata_match(self) -> None:
        """What tcp_proxy asks for by metadata_match decides, and a weighted cluster's own goes
        before it.
        """
        self.mesh.clusters.add_or_update(
            message(*PROD, *DEV, lb_subset_config={"subset_selectors": SELECTORS})
        )
        upstreams = [self.mesh.upstream(f"10.0.0.{number}:80") for number in (1, 2, 3)]
        match = "metadata_match: {filter_metadata: {envoy.lb: {stage: %s, v: %d}}}"
        weighted = (
            f"weighted_clusters: {{clusters: [{{name: c, weight: 1, "
            f"{match % ('dev', 2)}}}]}}, {match % ('prod', 1)}"
        )
        self.mesh.serve(weighted)
        for _ in range(3):
            self.mesh.connect()
        self.assertEqual([0, 0, 3], [len(upstream.built) for upstream in upstreams])
