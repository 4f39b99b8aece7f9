"""ORIGINAL_DST clusters: which host a connection names, and how long it stays."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from zope.interface.verify import verifyClass

from tcpmesh.connection.state_objects import Endpoint
from tcpmesh.extensions.clusters.original_dst import (
    FILTER_STATE,
    OriginalDstBalancer,
    OriginalDstCluster,
)
from tcpmesh.interfaces import IDiscovery, ILoadBalancer
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.mesh import MeshTestCase, parse

A, B = "10.0.0.1:80", "10.0.0.2:80"
HOSTS = (A, B, "10.0.0.1:81", "[fd00::1]:80")
ORIGINAL_DST = "{type: ORIGINAL_DST, name: c, lb_policy: CLUSTER_PROVIDED"


class OriginalDstTests(MeshTestCase):
    """A listener that restores addresses, before an ORIGINAL_DST cluster."""

    def setUp(self) -> None:
        """Hosts that nobody has configured."""
        super().setUp()
        self.upstreams = {host: self.mesh.upstream(host) for host in HOSTS}

    def serve_original_dst(self, more: str = "", name: str = ORIGINAL_DST) -> None:
        """The cluster with these further fields, and the listener."""
        self.mesh.clusters.add_or_update(parse(cluster_pb2.Cluster, f"{name}, {more}}}"))
        self.mesh.clusters.initialize()
        self.mesh.serve(more="use_original_dst: true")

    def before_picks(self, prepare: Any) -> None:
        """Let a function prepare what is known of each connection before its host is picked."""
        pick = OriginalDstBalancer.pick
        self.patch(
            OriginalDstBalancer,
            "pick",
            lambda balancer, context: prepare(context.stream_info) or pick(balancer, context),
        )

    def reached(self) -> list[str]:
        """The hosts that were connected to."""
        return [host for host, server in self.upstreams.items() if server.built]

    def shown(self) -> list[str]:
        """The hosts as `/clusters` shows them."""
        (status,) = self.mesh.clusters.statuses()
        return [host.address for host in status.hosts]

    def test_interfaces(self) -> None:
        """It is a discovery that brings a load balancer."""
        verifyClass(IDiscovery, OriginalDstCluster)
        verifyClass(ILoadBalancer, OriginalDstBalancer)

    def test_goes_where_the_client_wanted(self) -> None:
        """Each client is connected to the address it wanted; the host is made once and shown with
        Envoy's name of it.
        """
        self.serve_original_dst()
        for wanted in (A, HOSTS[3], A):
            client = self.mesh.redirect(wanted)
            client.transport.write(b"x")
            self.mesh.pump()
            self.assertEqual(b"x", self.upstreams[wanted].built[-1].received)
        self.assertEqual([A, HOSTS[3]], self.shown())
        (status,) = self.mesh.clusters.statuses()
        self.assertEqual("c10.0.0.1:80", status.hosts[0].hostname)
        self.assertEqual(2, status.hosts[0].counters["cx_total"])
        counted = {
            "membership_total": 2,
            "membership_healthy": 2,
            "membership_change": 2,
            "upstream_cx_total": 3,
        }
        moved = self.mesh.moved("cluster.c.")
        self.assertEqual(counted, {name: moved[name] for name in counted})

    def test_no_address(self) -> None:
        """A client that came directly names no host: it is closed with the flag UH, and nobody is
        connected to.
        """
        self.serve_original_dst()
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("UH", self.flags())
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_none_healthy"))
        self.assertEqual(0, self.mesh.stat("cluster.c.original_dst_host_invalid"))
        self.assertEqual([], self.shown())

    def test_by_name(self) -> None:
        """The cluster type envoy.cluster.original_dst, which has no message of its own, is the
        same.
        """
        name = (
            "{cluster_type: {name: envoy.cluster.original_dst}, name: c, lb_policy: "
            "CLUSTER_PROVIDED"
        )
        self.serve_original_dst(name=name)
        self.mesh.redirect(B)
        self.assertEqual([B], self.reached())

    def test_port_override(self) -> None:
        """upstream_port_override takes the place of the port of whatever address there is."""
        self.serve_original_dst("original_dst_lb_config: {upstream_port_override: 81}")
        self.mesh.redirect(A)
        self.assertEqual(["10.0.0.1:81"], self.reached())

    def test_filter_state(self) -> None:
        """The filter state of that name goes before all else, also for a client that came
        directly.
        """

        def prepare(info: StreamInfo) -> None:
            info.metadata = {"n": {"k": HOSTS[3]}}
            info.set_filter_state(FILTER_STATE, Endpoint(address_of(B)))

        self.before_picks(prepare)
        self.serve_original_dst(
            "original_dst_lb_config: {metadata_key: {key: n, path: [{key: k}]}}"
        )
        self.mesh.redirect(A)
        self.mesh.connect()
        self.assertEqual([B], self.reached())
        self.assertEqual(2, len(self.upstreams[B].built))

    def test_another_kind_of_filter_state(self) -> None:
        """An object of that name that is no address says nothing."""
        self.before_picks(lambda info: info.set_filter_state(FILTER_STATE, Text(B)) and None)
        self.serve_original_dst()
        self.mesh.redirect(A)
        self.assertEqual([A], self.reached())

    def test_metadata(self) -> None:
        """Dynamic metadata under metadata_key goes before the restored address; of a list the first
        counts.
        """
        for number, value in enumerate((B, [B, A], (B,))):
            self.mesh = self.make_mesh(number)
            self.upstreams = {host: self.mesh.upstream(host) for host in HOSTS}
            found: dict[str, Any] = {"n": {"a": {"b": value}}}
            self.before_picks(lambda info, found=found: setattr(info, "metadata", found))
            self.serve_original_dst(
                "original_dst_lb_config: {metadata_key: {key: n, path: [{key: a}, {key: b}]}}"
            )
            self.mesh.redirect(A)
            self.assertEqual([B], self.reached())

    def test_other_metadata(self) -> None:
        """Metadata that is not there or is no text says nothing, and without metadata_key none
        does.
        """
        key = "original_dst_lb_config: {metadata_key: {key: n, path: [{key: a}]}}"
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, key),
            ({"n": {}}, key),
            ({"n": {"a": 5}}, key),
            ({"n": {"a": []}}, key),
            ({"n": "a"}, key),
            ({"": {"": B}, "n": {"a": B}}, ""),
        ]
        for number, (found, more) in enumerate(cases):
            self.mesh = self.make_mesh(number)
            self.upstreams = {host: self.mesh.upstream(host) for host in HOSTS}
            self.before_picks(lambda info, found=found: setattr(info, "metadata", found))
            self.serve_original_dst(more)
            self.mesh.redirect(A)
            self.assertEqual(
                ([A], 0),
                (self.reached(), self.mesh.stat("cluster.c.original_dst_host_invalid")),
                found,
            )

    def test_no_address_in_a_text(self) -> None:
        """A text that is no address is counted, and the next source says where to go."""
        self.before_picks(lambda info: setattr(info, "metadata", {"n": {"a": "somewhere"}}))
        self.serve_original_dst(
            "original_dst_lb_config: {metadata_key: {key: n, path: [{key: a}]}}"
        )
        self.mesh.redirect(A)
        self.assertEqual([A], self.reached())
        self.assertEqual(1, self.mesh.stat("cluster.c.original_dst_host_invalid"))

    def test_refused(self) -> None:
        """A host that refuses is tried as often as max_connect_attempts says: there is no other."""
        self.mesh.clusters.add_or_update(parse(cluster_pb2.Cluster, ORIGINAL_DST + "}"))
        self.mesh.serve("cluster: c, max_connect_attempts: 3", "use_original_dst: true")
        client = self.mesh.redirect("10.0.0.9:80")
        self.mesh.advance(1)
        self.assertTrue(client.ended)
        self.assertEqual("UF,URX", self.flags())
        self.assertEqual(3, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))

    def test_forgotten(self) -> None:
        """A host goes when nobody has named it in a whole cleanup_interval, 5 seconds, and nobody
        is connected to it.
        """
        self.serve_original_dst()
        kept = self.mesh.redirect(A)
        self.mesh.redirect(B).transport.abortConnection()
        self.mesh.advance(5)
        self.assertEqual([A, B], self.shown())
        self.mesh.advance(5)
        self.assertEqual([A], self.shown())
        self.assertEqual(1, self.mesh.stat("cluster.c.membership_total"))
        self.mesh.advance(60)
        self.assertEqual([A], self.shown())
        kept.transport.abortConnection()
        self.mesh.advance(5)
        self.assertEqual([], self.shown())
        self.mesh.redirect(A)
        self.assertEqual([A], self.shown())

    def test_many(self) -> None:
        """With many hosts new ones are connected to at once and shown a little later, several
        together.
        """
        self.serve_original_dst("cleanup_interval: 1000s")
        for number in range(200):
            self.mesh.redirect(f"10.1.0.{number}:80")
        before = self.mesh.stat("cluster.c.membership_change")
        for host in (A, B):
            self.assertFalse(self.mesh.redirect(host).ended)
        self.assertNotIn(A, self.shown())
        self.mesh.advance(0.02)
        self.assertEqual([A, B], self.shown()[-2:])
        self.assertEqual(before + 1, self.mesh.stat("cluster.c.membership_change"))

    def test_interval(self) -> None:
        """cleanup_interval is that time."""
        self.serve_original_dst("cleanup_interval: 1s")
        self.mesh.redirect(B).transport.abortConnection()
        self.mesh.advance(2)
        self.mesh.advance(1)
        self.assertEqual([], self.shown())

    def test_health_does_not_matter(self) -> None:
        """With health checks a host that fails them is connected to all the same, and is forgotten
        like any other.
        """
        check = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
        self.serve_original_dst(
            f"health_checks: [{check}, tcp_health_check: {{receive: [{{text: '00'}}]}}}}]"
        )
        self.mesh.redirect(A).transport.abortConnection()
        self.mesh.advance(3)
        self.assertEqual(0, self.mesh.stat("cluster.c.membership_healthy"))
        client = self.mesh.redirect(A)
        self.assertFalse(client.ended)
        client.transport.abortConnection()
        for _ in range(3):
            self.mesh.advance(5)
        self.assertEqual([], self.shown())

    def test_replaced(self) -> None:
        """A cluster that is replaced or removed leaves no timer and no statistics behind, and its
        clients go on.
        """
        self.serve_original_dst()
        client = self.mesh.redirect(A)
        self.mesh.clusters.remove("c")
        self.mesh.advance(100)
        self.assertFalse(client.ended)
        self.assertEqual([], self.mesh.clock.getDelayedCalls()[1:])
