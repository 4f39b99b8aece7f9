"""Statistics of each host, and the others that `track_cluster_stats` asks for."""

from __future__ import annotations

from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.values.hosts import HealthFlag
from tests.mesh import MeshTestCase, cluster_message

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class EndpointStatsTests(MeshTestCase):
    """`track_cluster_stats`."""

    def make(self, more: str) -> None:
        """A client of a cluster with these fields."""
        self.mesh.add_cluster("c", HOST, more=more)
        self.mesh.upstream(HOST)
        self.mesh.serve()
        self.client = self.mesh.connect()

    def test_host(self) -> None:
        """Each host has its counters, its gauges and whether it is healthy."""
        self.make("track_cluster_stats: {per_endpoint_stats: true}")
        prefix = "cluster.c.endpoint.127.0.0.2_80."
        expected = {"cx_total": 1, "rq_total": 1, "cx_active": 1, "rq_active": 1, "healthy": 1}
        self.assertEqual(expected, self.mesh.moved(prefix))
        self.assertEqual(10, len(self.mesh.stats(prefix)))
        self.mesh.set_flags("c", HOST, add=HealthFlag.failed_active_hc)
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual({"cx_total": 1, "rq_total": 1}, self.mesh.moved(prefix))

    def test_gone(self) -> None:
        """A host that is removed leaves no statistics."""
        self.make("track_cluster_stats: {per_endpoint_stats: true}")
        self.mesh.stats()
        self.mesh.tell_hosts("c", assignment(cluster_message("c", (OTHER,)).load_assignment))
        found = {
            name.split("endpoint.")[1].rpartition(".")[0]
            for name in self.mesh.stats()
            if "endpoint." in name
        }
        self.assertEqual({"127.0.0.3_80"}, found)

    def test_not_asked_for(self) -> None:
        """Without a word there are none."""
        self.make("track_cluster_stats: {per_endpoint_stats: false}")
        self.assertEqual({}, self.mesh.stats("cluster.c.endpoint."))

    def test_histograms(self) -> None:
        """Those of HTTP requests are shown, and have no values."""
        for more, expected in (
            ("track_timeout_budgets: true", 2),
            ("track_cluster_stats: {timeout_budgets: true}", 2),
            ("track_cluster_stats: {request_response_sizes: true}", 4),
            ("", 0),
        ):
            self.mesh = self.make_mesh(1)
            self.make(more)
            self.mesh.store.collect()
            names = [
                each.name
                for each in self.mesh.store.histograms()
                if "budget" in each.name or each.name.endswith("_size")
            ]
            self.assertEqual(expected, len(names))
