"""Several hosts at one address: what is known of the one is nothing to the others, as in Envoy."""

from __future__ import annotations

from tcpmesh.cluster.discovery.dns import TOGETHER
from tcpmesh.net.timer_wheel import GAP
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.upstreams import Named
from tests.cluster.health.checked import CheckedTestCase
from tests.mesh import cluster_message, tcp_proxy
from tests.names import Names

HOST, BACKUP = "10.0.0.5", "10.0.0.6"
CHECK = (
    "health_checks: [{timeout: 1s, interval: 10s, no_traffic_interval: 10s, "
    "unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]"
)
OUTLIERS = "outlier_detection: {consecutive_5xx: 1, max_ejection_percent: 50}"


class StaticTests(CheckedTestCase):
    """An address given twice, with a health check of its own each."""

    def serve_twice(self, *ports: int) -> None:
        """Two endpoints of one address, checked at these ports."""
        message = cluster_message("c", [f"{HOST}:80"] * 2, CHECK)
        endpoints = message.load_assignment.endpoints[0].lb_endpoints
        for entry, port in zip(endpoints, ports, strict=True):
            entry.endpoint.health_check_config.port_value = port
        self.mesh.clusters.add_or_update(message)
        self.mesh.network.advance(GAP)

    def flags(self) -> str:
        """Of both hosts, in order."""
        (status,) = self.mesh.clusters.statuses()
        return ", ".join("/".join(host.health_flags) for host in status.hosts)

    def test_checks(self) -> None:
        """Each has a check of its own, which decides for it alone, whichever comes first."""
        self.mesh.upstream(f"{HOST}:81")
        for ports, expected in (
            ((81, 82), ", failed_active_hc"),
            ((82, 81), "failed_active_hc, "),
        ):
            self.serve_twice(*ports)
            self.assertEqual(expected, self.flags())
            stats = self.mesh.stats("cluster.c.")
            self.assertEqual((2, 1), (stats["membership_total"], stats["membership_healthy"]))
            self.mesh.clusters.remove("c")

    def test_outliers(self) -> None:
        """Each is ejected for its own failures, and each has its own numbers."""
        self.mesh.clusters.add_or_update(cluster_message("c", [f"{HOST}:80"] * 2, OUTLIERS))
        self.mesh.serve()
        self.mesh.connect()
        self.assertIn(self.flags(), ("failed_outlier_check, ", ", failed_outlier_check"))
        (status,) = self.mesh.clusters.statuses()
        numbers = [host.counters["cx_connect_fail"] for host in status.hosts]
        self.assertEqual([0, 1], sorted(numbers))


class StrictDnsTests(CheckedTestCase):
    """Names that lead to one address."""

    def setUp(self) -> None:
        """Three names of one address, and a backup."""
        super().setUp()
        self.names = Names(
            **{name: [HOST] for name in ("a.test", "b.test", "c.test")}, **{"d.test": [BACKUP]}
        )
        self.mesh.resolve_with(self.names)
        self.main = self.mesh.upstream(f"{HOST}:80", Named("main"))
        self.backup = self.mesh.upstream(f"{BACKUP}:80", Named("backup"))
        more = f"type: STRICT_DNS\ndns_refresh_rate: 1s\n{CHECK}"
        message = cluster_message("c", [f"{each}.test:80" for each in "abc"], more)
        message.load_assignment.endpoints.add(priority=1).lb_endpoints.add().CopyFrom(
            cluster_message("x", ["d.test:80"]).load_assignment.endpoints[0].lb_endpoints[0]
        )
        self.mesh.clusters.add_or_update(message)
        self.settle()

    def settle(self) -> None:
        """What was found is told, and new hosts are checked."""
        self.mesh.network.advance(TOGETHER)
        self.mesh.network.advance(GAP)

    def shown(self) -> list[tuple[str, str, str]]:
        """The name, the address and the flags of each host."""
        (status,) = self.mesh.clusters.statuses()
        return [
            (host.hostname, host.address.partition(":")[0], "/".join(host.health_flags))
            for host in status.hosts
        ]

    def test_all_are_hosts(self) -> None:
        """All three are healthy hosts, and the backup gets nothing."""
        self.assertEqual([""] * 4, [flags for _, _, flags in self.shown()])
        self.mesh.serve()
        served = [bytes(self.mesh.connect().received) for _ in range(20)]
        self.assertEqual({b"main"}, set(served))
        (status,) = self.mesh.clusters.statuses()
        self.assertEqual(20, sum(host.counters["cx_total"] for host in status.hosts[:3]))
        self.assertTrue(all(host.counters["cx_total"] for host in status.hosts[:3]))

    def test_appears_where_another_is(self) -> None:
        """A name that comes to an address known before begins like any other, failed until its
        first check; what it led to before stays while it is well.
        """
        self.names.records["c.test"] = [BACKUP]
        self.mesh.network.refused.add(address_of(f"{BACKUP}:80"))
        self.mesh.network.advance(1)
        self.settle()
        self.assertEqual(
            [
                ("a.test", HOST, ""),
                ("b.test", HOST, ""),
                ("c.test", BACKUP, "failed_active_hc"),
                ("d.test", BACKUP, ""),
                ("c.test", HOST, "pending_dynamic_removal"),
            ],
            self.shown(),
        )

    def test_returns(self) -> None:
        """A host that is found again while it stays is the same one, with its numbers."""
        self.mesh.serve()
        for _ in range(3):
            self.mesh.connect()
        before = self.mesh.clusters.statuses()[0].hosts
        for records in ([], [HOST]):
            self.names.records["c.test"] = records
            self.mesh.network.advance(1)
            self.settle()
        self.assertEqual(before, self.mesh.clusters.statuses()[0].hosts)


class LogicalDnsTests(CheckedTestCase):
    """One host that moves with its name."""

    def test_move(self) -> None:
        """When the name moves new connections go to the new address alone, however well the old one
        is; it is a new host.
        """
        names = Names(**{"a.test": [HOST]})
        self.mesh.resolve_with(names)
        old = self.mesh.upstream(f"{HOST}:80")
        new = self.mesh.upstream(f"{BACKUP}:80")
        more = f"type: LOGICAL_DNS\ndns_refresh_rate: 1s\n{CHECK}"
        self.mesh.clusters.add_or_update(cluster_message("c", ["a.test:80"], more))
        self.mesh.network.advance(GAP)
        self.mesh.add_listener("l", "127.0.0.1:1", tcp_proxy())
        self.mesh.listeners.start()
        self.mesh.connect()
        names.records["a.test"] = [BACKUP]
        self.mesh.network.advance(1)
        self.mesh.network.advance(TOGETHER)
        checked = len(old.built)
        for _ in range(4):
            self.assertFalse(self.mesh.connect().ended)
        self.mesh.network.advance(10)
        self.assertEqual((checked, False), (len(old.built), old.built[1].ended))
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual((f"{BACKUP}:80", 4), (host.address, host.counters["cx_total"]))
        self.assertGreaterEqual(len(new.built), 5)
        self.assertEqual(2, self.mesh.stat("cluster.c.membership_change"))
