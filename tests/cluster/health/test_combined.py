"""Several health checks of one cluster: what they make of a host together."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.combined import CheckView, CombinedHealth
from tcpmesh.net.timer_wheel import GAP
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.hosts import HealthFlag
from tests.cluster.health.checked import HOST, CheckedTestCase
from tests.cluster.health.test_checker import (
    DEGRADED,
    EXCLUDED,
    FAILED,
    PENDING,
    TIMED_OUT,
    FakeCluster,
)
from tests.mesh import cluster_message

TIMES = (
    "timeout: 1s, interval: 10s, no_traffic_interval: 10s, unhealthy_threshold: 1, "
    "healthy_threshold: 1"
)
PING = '{send: {text: "50494e47"}, receive: [{text: "504f4e47"}]}'


class VerdictTests(SynchronousTestCase):
    """Two checks of one host."""

    def setUp(self) -> None:
        """Neither has a result."""
        self.cluster = FakeCluster()
        self.store = Store()
        self.verdicts = CombinedHealth(self.cluster, 2, self.store.scope("h"))
        self.one, self.two = (CheckView(self.verdicts, number) for number in range(2))
        self.host = 1
        self.cluster.set_flags(self.host, add=FAILED)

    def flags(self) -> HealthFlag:
        """What the cluster was told."""
        return self.cluster.flags[self.host]

    def gauges(self) -> tuple[int, int]:
        """Hosts that are healthy, and that are degraded."""
        values = values_of(self.store)
        return values["h.healthy"], values["h.degraded"]

    def test_all_pass(self) -> None:
        """A host is well once all say so, and out as soon as one says that."""
        self.one.set_flags(self.host, remove=FAILED)
        self.assertEqual((FAILED, (0, 0)), (self.flags(), self.gauges()))
        self.two.set_flags(self.host, remove=FAILED)
        self.assertEqual((0, (1, 0)), (self.flags(), self.gauges()))
        self.one.set_flags(self.host, add=FAILED)
        self.assertEqual((FAILED, (0, 0)), (self.flags(), self.gauges()))

    def test_any(self) -> None:
        """One suffices for a host to be degraded or shown as silent, and one without a result for
        it to be pending.
        """
        for flag in (DEGRADED, TIMED_OUT, PENDING):
            for voice in (self.one, self.two):
                voice.set_flags(self.host, add=flag, remove=FAILED)
            self.one.set_flags(self.host, remove=flag)
            self.assertEqual(flag, self.flags())
            self.two.set_flags(self.host, remove=flag)
            self.assertEqual(0, self.flags())

    def test_degraded_and_out(self) -> None:
        """A host that one check takes for degraded and another for failed counts as degraded, as in
        Envoy.
        """
        self.one.set_flags(self.host, add=DEGRADED, remove=FAILED)
        self.assertEqual((FAILED | DEGRADED, (0, 1)), (self.flags(), self.gauges()))

    def test_excluded(self) -> None:
        """That a host asks not to be counted has no effect, as in Envoy."""
        self.one.set_flags(self.host, add=FAILED | EXCLUDED)
        self.assertEqual(FAILED, self.flags())

    def test_gone(self) -> None:
        """A host that is gone is counted no more, and one of the same key would begin
        anew.
        """
        for voice in (self.one, self.two):
            voice.set_flags(self.host, add=DEGRADED, remove=FAILED)
        self.assertEqual((1, 1), self.gauges())
        self.verdicts.keep([self.host])
        self.assertEqual((1, 1), self.gauges())
        self.verdicts.keep([])
        self.assertEqual((0, 0), self.gauges())
        self.one.set_flags(self.host, remove=FAILED)
        self.assertEqual((0, 0), self.gauges())

    def test_traffic(self) -> None:
        """Each check sees the name and the traffic of the cluster."""
        self.cluster.traffic = False
        self.assertEqual(("c", False), (self.one.name, self.one.has_traffic()))


class WatchedTests(CheckedTestCase):
    """Two checks with names, over the network."""

    def watch(self, *more: str) -> list[Path]:
        """Check a host by connecting and by a ping; gives their event logs."""
        logs = [Path(self.mktemp()) for _ in range(2)]
        kinds = ("tcp_health_check: {}", f"tcp_health_check: {PING}")
        checks = [
            f"{{{TIMES}, event_log_path: {log}, {kind}}}"
            for log, kind in zip(logs, kinds, strict=True)
        ]
        message = cluster_message(
            "c", [HOST], "\n".join((f"health_checks: [{', '.join(checks)}]", *more))
        )
        for check, name in zip(message.health_checks, ("knock", "ping"), strict=True):
            check.name = name
        self.mesh.clusters.add_or_update(message)
        self.mesh.network.advance(GAP)
        return logs

    def test_statistics(self) -> None:
        """Each has its own statistics and events, below its name; those of the host as a whole
        stand above them.
        """
        self.answers()
        knock, ping = self.watch()
        self.assertEqual("failed_active_hc", self.health())
        self.mesh.network.advance(1)
        self.assertEqual("failed_active_hc/active_hc_timeout", self.health())
        stats = self.mesh.stats("cluster.c.health_check.")
        self.assertEqual(
            (1, 1, 0),
            tuple(stats[name] for name in ("name.knock.success", "name.ping.failure", "healthy")),
        )
        self.assertNotIn("success", stats)
        events = [
            json.loads(line) for log in (knock, ping) for line in log.read_text().splitlines()
        ]
        self.assertEqual([True, False], ["add_healthy_event" in event for event in events])

    def test_ready(self) -> None:
        """The cluster is ready once both have a result."""
        server = self.answers()
        self.watch()
        ready = self.mesh.clusters.initialize()
        self.assertNoResult(ready)
        server.lines[1].transport.write(b"PONG")
        self.mesh.network.pump()
        self.successResultOf(ready)
        self.assertEqual("", self.health())

    def test_removed(self) -> None:
        """A cluster that goes ends both."""
        server = self.answers(lambda asked: b"PONG")
        self.watch()
        self.mesh.clusters.remove("c")
        self.mesh.network.advance(20)
        self.assertEqual(2, len(server.lines))
        self.assertTrue(all(line.lost for line in server.lines))

    def test_name_of_one(self) -> None:
        """A single check may have a name, and then only the statistics below it."""
        self.answers()
        message = cluster_message(
            "c", [HOST], f"health_checks: [{{{TIMES}, tcp_health_check: {{}}}}]"
        )
        message.health_checks[0].name = "only"
        self.mesh.clusters.add_or_update(message)
        self.mesh.network.advance(GAP)
        stats = self.mesh.stats("cluster.c.health_check.")
        self.assertEqual(1, stats["name.only.healthy"])
        self.assertNotIn("healthy", stats)
