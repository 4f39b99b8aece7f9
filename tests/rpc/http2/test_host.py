"""The connections to the hosts of a cluster, as calls come and hosts change."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import StringValue

from tcpmesh.testing.mesh import address_of
from tcpmesh.values.hosts import HealthFlag
from tests.rpc.called import HOST, METHOD, Observer, RpcTestCase, Server

OTHER = "127.0.0.3:80"


class HostTests(RpcTestCase):
    """Which host a call goes to, over which connection."""

    def test_balanced(self) -> None:
        """Each call is for the host that the load balancer picks; each host has a connection."""
        other = Server(self, OTHER)
        self.add(hosts=(HOST, OTHER))
        for _ in range(6):
            self.call()
        self.assertEqual([3, 3], [len(self.server.calls), len(other.calls)])
        self.assertEqual([1, 1], [len(self.server.connections), len(other.connections)])

    def test_removed(self) -> None:
        """A host that has left gets no more calls, and keeps those it has to their end."""
        Server(self, OTHER)
        self.add(hosts=(HOST,))
        _, observer = self.begin()
        entry = self.mesh.clusters.get("c")
        assert entry is not None
        assignment = entry.membership.told().assignment
        self.mesh.tell_hosts("c", type(assignment)())
        self.pump()
        self.assertEqual([], observer.ends)
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.server.calls[0].head()
        self.server.calls[0].end()
        self.pump()
        self.assertEqual(("OK", [0]), (observer.end, self.moved("upstream_cx_active")))

    def test_removed_while_connecting(self) -> None:
        """A host that leaves while it is being connected to serves the calls that wait, and is then
        hung up on.
        """
        observer = Observer()
        self.client.stream(METHOD, StringValue, observer).half_close()
        entry = self.mesh.clusters.get("c")
        assert entry is not None
        self.mesh.tell_hosts("c", type(entry.membership.told().assignment)())
        self.pump()
        self.assertEqual((["a"], "OK"), (observer.heard, observer.end))
        self.assertEqual([0], self.moved("upstream_cx_active"))

    def test_exhausted(self) -> None:
        """An attempt for which this machine lacks a descriptor is no failure of the host."""
        self.mesh.network.exhausted.add(address_of(HOST))
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        names = ("upstream_cx_total", "upstream_cx_destroy_local", "upstream_cx_connect_fail")
        self.assertEqual([1, 1, 0], self.moved(*names))

    def test_no_host(self) -> None:
        """Without a host a call is UNAVAILABLE, and counted."""
        self.add(hosts=())
        found = self.call()
        self.assertEqual("UNAVAILABLE", self.status(found))
        self.assertEqual("no healthy upstream", found[0].message)
        self.assertEqual(
            [1, 1, 0],
            self.moved("upstream_cx_none_healthy", "upstream_rq_503", "upstream_rq_total"),
        )

    def test_unhealthy(self) -> None:
        """A host that fails gets no more calls on the connection that it has."""
        self.call()
        other = Server(self, OTHER)
        self.mesh.set_flags("c", HOST, HealthFlag.failed_outlier_check)
        self.pump()
        self.assertEqual([0], self.moved("upstream_cx_active"))
        self.assertEqual([], other.calls)

    def test_failed(self) -> None:
        """Where a cluster closes the connections of hosts that fail, calls are broken off."""
        for more, ends in (("", []), ("close_connections_on_host_health_failure: true", [14])):
            self.mesh.clusters.remove("c")
            self.add(more=more)
            _, observer = self.begin()
            self.mesh.set_flags("c", HOST, HealthFlag.failed_active_hc)
            self.pump()
            self.assertEqual(ends, [error and error.status for error in observer.ends])
            self.assertEqual([1 - len(ends)], self.moved("upstream_cx_active"))

    def test_refused(self) -> None:
        """All calls that wait for a connection fail with it; the next one tries again."""
        self.mesh.network.refused.add(address_of(HOST))
        found = [self.call(), self.call()]
        self.assertEqual(["UNAVAILABLE"] * 2, [self.status(each) for each in found])
        text = "upstream connect error or disconnect/reset before headers. reset reason: "
        self.assertIn(f"{text}remote connection failure, ", found[0][0].message)
        self.mesh.network.refused.clear()
        self.assertEqual(["a"], self.call())

    def test_counted(self) -> None:
        """An attempt that fails counts as in Envoy."""
        self.mesh.network.refused.add(address_of(HOST))
        self.call()
        self.assertEqual(
            [1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0],
            self.moved(
                "upstream_cx_total",
                "upstream_cx_http2_total",
                "upstream_cx_connect_fail",
                "upstream_cx_destroy",
                "upstream_cx_destroy_remote",
                "upstream_rq_pending_total",
                "upstream_rq_pending_active",
                "upstream_rq_pending_failure_eject",
                "upstream_rq_503",
                "upstream_rq_completed",
                "internal.upstream_rq_5xx",
                "upstream_rq_total",
            ),
        )

    def test_bytes(self) -> None:
        """What goes over a connection is counted."""
        self.call()
        (line,) = self.server.connections
        self.assertEqual([len(line.received)], self.moved("upstream_cx_tx_bytes_total"))
        self.assertLess(0, self.moved("upstream_cx_rx_bytes_total")[0])

    def test_late(self) -> None:
        """A connection that takes too long is a failure."""
        self.mesh.network.silent.add(address_of(HOST))
        found = self.call()
        self.mesh.network.advance(5)
        self.assertEqual("UNAVAILABLE", self.status(found))
        self.assertEqual([1], self.moved("upstream_cx_connect_timeout"))

    def test_closed_while_connecting(self) -> None:
        """A cluster that goes while a connection is being made takes its calls along."""
        self.mesh.network.silent.add(address_of(HOST))
        found = self.call()
        self.mesh.clusters.remove("c")
        self.pump()
        self.assertEqual("UNAVAILABLE", self.status(found))
        self.assertEqual(set(), self.mesh.network.connecting)

    def test_connection_limit(self) -> None:
        """`max_connections` of the cluster keeps no host from its first connection."""
        self.add(more="circuit_breakers: {thresholds: [{max_connections: 0}]}")
        self.assertEqual(["a"], self.call())

    def test_without_options(self) -> None:
        """A cluster that does not say that it speaks HTTP/2 is spoken to so all the same."""
        self.mesh.add_cluster("c", HOST)
        self.assertEqual(["a"], self.call())

    def test_replaced(self) -> None:
        """A cluster that is replaced takes its calls along; the next one is its successor's."""
        _, observer = self.begin()
        self.add("max_concurrent_streams: 7")
        self.pump()
        self.assertEqual("UNAVAILABLE", observer.end)
        self.assertEqual(["a"], self.call())


class MainTests(RpcTestCase):
    """Calls that main makes."""

    def setUp(self) -> None:
        """A client of main's."""
        super().setUp()
        self.client = self.make_client(context=self.mesh.main.context)

    def test_follows(self) -> None:
        """Main picks of the hosts that there are, and knows how they are."""
        self.assertEqual(["a"], self.call())
        other = Server(self, OTHER)
        entry = self.mesh.clusters.get("c")
        assert entry is not None
        first = entry.membership.told().assignment
        spec = type(first.hosts[0])(address_of(OTHER))
        self.mesh.tell_hosts("c", type(first)((first.hosts[0], spec)))
        self.mesh.network.advance(1)
        for _ in range(4):
            self.call()
        self.assertEqual(2, len(other.calls))

        self.mesh.set_flags("c", OTHER, HealthFlag.failed_active_hc)
        self.mesh.network.advance(1)
        for _ in range(4):
            self.call()
        self.assertEqual(2, len(other.calls))

    def test_shown(self) -> None:
        """What main's calls count of a host is shown with what workers' do."""
        self.call()
        self.client = self.make_client()
        self.call()
        self.call()
        (status,) = self.mesh.clusters.statuses()
        (host,) = status.hosts
        self.assertEqual((2, 3), (host.counters["cx_total"], host.counters["rq_total"]))
        self.assertEqual(2, host.gauges["cx_active"])

    def test_outliers(self) -> None:
        """Attempts of main's count for outlier detection."""
        self.add(
            more="outlier_detection: {consecutive_local_origin_failure: 2, "
            "split_external_local_origin_errors: true, max_ejection_percent: 100}"
        )
        self.mesh.network.refused.add(address_of(HOST))
        self.call()
        self.call()
        (status,) = self.mesh.clusters.statuses()
        self.assertEqual(("failed_outlier_check",), status.hosts[0].health_flags)

    def test_removed(self) -> None:
        """With the cluster main's connection goes, and its statistics."""
        self.call()
        self.mesh.clusters.remove("c")
        self.pump()
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.mesh.network.advance(1)
        self.assertEqual({}, self.mesh.stats("cluster.c."))
