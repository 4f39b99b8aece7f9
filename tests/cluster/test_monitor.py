"""What main watches of a cluster, with the cluster and its clients."""

from __future__ import annotations

import json
from pathlib import Path

from envoy.extensions.health_check.event_sinks.file.v3 import file_pb2

from tcpmesh.cluster.monitor import HealthMonitor
from tcpmesh.net.timer_wheel import GAP
from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.values.hosts import Assignment, HostSpec
from tests.cluster.health.checked import CheckedTestCase
from tests.mesh import cluster_message

SINK = f"type.googleapis.com/{file_pb2.HealthCheckEventFileSink.DESCRIPTOR.full_name}"
A, B = "127.0.0.2:80", "127.0.0.3:80"
CHECK = (
    "{timeout: 1s, interval: 10s, no_traffic_interval: 10s, unhealthy_threshold: 1, "
    "healthy_threshold: 1, tcp_health_check: {}}"
)
CHECKS = f"health_checks: [{CHECK}]"
OUTLIERS = "outlier_detection: {consecutive_5xx: 1, max_ejection_percent: 100}"


class ServedTests(CheckedTestCase):
    """Clients of a cluster that is watched."""

    def test_unhealthy_gets_none(self) -> None:
        """A host that fails its check gets no clients, from the start on."""
        server = self.mesh.upstream(A)
        self.mesh.add_cluster("c", A, B, more=CHECKS)
        self.mesh.network.advance(GAP)
        self.mesh.serve()
        for _ in range(6):
            self.mesh.connect()
        self.assertEqual(1 + 6, len(server.built))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        self.assertEqual(1, self.mesh.stat("cluster.c.membership_healthy"))

    def test_interval_with_traffic(self) -> None:
        """Once the cluster has made a connection for a client the interval is the usual one."""
        self.mesh.upstream(A)
        self.mesh.add_cluster(
            "c", A, more=CHECKS.replace("no_traffic_interval: 10s", "no_traffic_interval: 1s")
        )
        self.mesh.network.advance(GAP)
        self.mesh.serve()
        self.mesh.network.advance(1)
        self.mesh.connect()
        seen = []
        for _ in range(3):
            self.mesh.network.advance(1)
            seen.append(self.mesh.stat("cluster.c.health_check.attempt"))
        self.assertEqual([3, 3, 3], seen)

    def test_close_connections(self) -> None:
        """Connections to a host that fails are closed where
        close_connections_on_host_health_failure says so, and else stay.
        """
        for more, closed in (("close_connections_on_host_health_failure: true", True), ("", False)):
            self.mesh = self.make_mesh(1)
            server = self.mesh.upstream(A)
            self.mesh.add_cluster("c", A, more=f"{CHECKS}\n{more}")
            self.mesh.network.advance(GAP)
            self.mesh.serve()
            client = self.mesh.connect()
            self.mesh.network.refused.add(address_of(A))
            self.mesh.network.advance(10)
            self.assertEqual(closed, client.ended)
            self.assertEqual(closed, server.built[-1].ended)

    def test_close_connections_of_outliers(self) -> None:
        """Outlier detection closes them too; also the client whose failure was the last straw is
        served to its end.
        """
        self.mesh.upstream(A)
        self.mesh.add_cluster(
            "c", A, more=f"{OUTLIERS}\nclose_connections_on_host_health_failure: true"
        )
        self.mesh.serve()
        client = self.mesh.connect()
        self.assertFalse(client.ended)
        self.mesh.network.refused.add(address_of(A))
        self.mesh.connect()
        self.assertTrue(client.ended)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))

    def test_health_check_ends_ejection(self) -> None:
        """A host that clients fail to reach and that passes its check is back."""
        self.mesh.upstream(A)
        self.mesh.add_cluster("c", A, more=f"{CHECKS}\n{OUTLIERS}")
        self.mesh.network.advance(GAP)
        self.mesh.serve()
        self.mesh.network.refused.add(address_of(A))
        self.mesh.connect()
        self.assertEqual("failed_outlier_check", self.health())
        self.mesh.network.refused.clear()
        self.again()
        self.assertEqual("", self.health())


class WarmTests(CheckedTestCase):
    """When a cluster can be used."""

    def test_first_round(self) -> None:
        """The clusters are ready once each host has the result of a check."""
        self.mesh.upstream(A)
        self.silence(B)
        self.mesh.add_cluster("c", A, B, more=CHECKS)
        self.mesh.add_cluster("d", A)
        ready = self.mesh.clusters.initialize()
        self.mesh.network.advance(GAP)
        self.assertNoResult(ready)
        self.mesh.network.advance(1)
        self.successResultOf(ready)

    def test_update(self) -> None:
        """A changed cluster takes the place of the one before when its hosts were checked, and the
        checks of that one end.
        """
        server = self.mesh.upstream(A)
        self.mesh.add_cluster("c", A, more=CHECKS)
        ready = self.mesh.clusters.initialize()
        self.mesh.network.advance(GAP)
        self.successResultOf(ready)
        self.mesh.add_cluster("c", A, more=f"{CHECKS}\nconnect_timeout: 3s")
        before = self.mesh.cluster("c")
        self.mesh.network.advance(GAP)
        self.assertIsNot(before, self.mesh.cluster("c"))
        checked = len(server.built)
        self.mesh.network.advance(10)
        self.assertEqual(checked + 1, len(server.built))


class StayingTests(CheckedTestCase):
    """Hosts that discovery drops."""

    def setUp(self) -> None:
        """A cluster with two hosts that are well, one of which is dropped."""
        super().setUp()
        self.mesh.upstream(A)
        self.mesh.upstream(B)

    def watch(self, more: str = "") -> HealthMonitor:
        """The monitor of the cluster, which discovery has told of both hosts."""
        self.mesh.add_cluster("c", more=f"type: STRICT_DNS\n{CHECKS}\n{more}")
        entry = self.mesh.clusters.get("c")
        assert entry is not None
        monitor = entry._monitor
        monitor.update_hosts(self.hosts(A, B))
        self.mesh.network.advance(GAP)
        return monitor

    def hosts(self, *addresses: str) -> Assignment:
        """Hosts at these addresses."""
        return Assignment(tuple(HostSpec(address_of(each)) for each in addresses))

    def seen(self) -> dict[str, str]:
        """The flags of each host there is."""
        (status,) = self.mesh.clusters.statuses()
        return {host.address: "/".join(host.health_flags) for host in status.hosts}

    def test_stays(self) -> None:
        """A host that is dropped and well stays, and is shown as leaving; if it comes back nothing
        has happened.
        """
        watch = self.watch()
        watch.update_hosts(self.hosts(A))
        self.assertEqual({A: "", B: "pending_dynamic_removal"}, self.seen())
        watch.update_hosts(self.hosts(A))
        self.assertEqual({A: "", B: "pending_dynamic_removal"}, self.seen())
        watch.update_hosts(self.hosts(A, B))
        self.assertEqual({A: "", B: ""}, self.seen())

    def test_fails_then(self) -> None:
        """It goes when it fails a check."""
        watch = self.watch()
        watch.update_hosts(self.hosts(A))
        self.mesh.network.refused.add(address_of(B))
        self.again()
        self.assertEqual({A: ""}, self.seen())

    def test_failed_before(self) -> None:
        """A host that is dropped and out goes at once."""
        watch = self.watch()
        self.mesh.network.refused.add(address_of(B))
        self.again()
        watch.update_hosts(self.hosts(A))
        self.assertEqual({A: ""}, self.seen())

    def test_given_up(self) -> None:
        """A host that discovery itself called unhealthy goes at once."""
        watch = self.watch()
        watch.update_hosts(
            Assignment(
                (HostSpec(address_of(A)), HostSpec(address_of(B), health_status="UNHEALTHY"))
            )
        )
        watch.update_hosts(self.hosts(A))
        self.assertEqual({A: ""}, self.seen())

    def test_ignored(self) -> None:
        """With ignore_health_on_host_removal a host that is dropped goes."""
        watch = self.watch("ignore_health_on_host_removal: true")
        watch.update_hosts(self.hosts(A))
        self.assertEqual({A: ""}, self.seen())


class LogTests(CheckedTestCase):
    """Event logs of clusters."""

    def test_file_sink(self) -> None:
        """Events go to a file sink and to the file of event_log_path, and to new files once they
        are reopened.
        """
        paths = [Path(self.mktemp()) for _ in range(2)]
        sink = f'{{"@type": {SINK}, event_log_path: {paths[0]}}}'
        more = f"event_logger: [{{name: f, typed_config: {sink}}}], event_log_path: {paths[1]}"
        self.mesh.upstream(A)
        self.check("tcp_health_check: {}", more)
        for path in paths:
            self.assertEqual("c", json.loads(path.read_text())["cluster_name"])
            path.unlink()
        self.mesh.clusters.reopen_logs()
        self.mesh.network.refused.add(address_of(A))
        self.again()
        self.assertEqual([2, 2], [len(path.read_text().splitlines()) for path in paths])
        self.mesh.clusters.stop()

    def test_outlier_log(self) -> None:
        """All clusters share the event log of outlier detection."""
        path = Path(self.mktemp())
        text = f"cluster_manager: {{outlier_detection: {{event_log_path: {path}}}}}"
        mesh = Mesh(text, self.mesh.network)
        for name in ("c", "d"):
            mesh.clusters.add_or_update(cluster_message(name, [A], OUTLIERS))
            cluster = mesh.cluster(name)
            assert cluster is not None
            cluster.hosts[0].outlier.connect_failed()
        mesh.pump()
        path.rename(self.mktemp())
        mesh.main.reopen_logs()
        mesh.advance(100)
        self.assertEqual(
            ["c", "d"],
            sorted(json.loads(line)["cluster_name"] for line in path.read_text().splitlines()),
        )
        mesh.main.stop()
