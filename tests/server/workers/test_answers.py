"""What workers say together: how connections come out, which hosts are unused, what was counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.server.workers.workers import PATIENCE
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.hosts import HealthFlag
from tcpmesh.values.link import (
    HostFails,
)
from tcpmesh.values.stream.live import ConnectionQuery
from tests.mesh import Mesh, cluster_message
from tests.server.workers.several import HOST, OTHER, WorkersTestCase


class OutlierTests(WorkersTestCase):
    """Outlier detection decides over what all workers have seen."""

    def begin_with(self, more: str) -> None:
        """One host, that refuses."""
        self.mesh.add_cluster("c", HOST, more=f"outlier_detection: {{{more}}}")
        self.mesh.serve()
        self.mesh.network.refused.add(address_of(HOST))

    def is_out(self) -> bool:
        """Whether the host is ejected."""
        (cluster,) = self.mesh.main.cluster_statuses()
        return "failed_outlier_check" in cluster.hosts[0].health_flags

    def test_failures_in_a_row(self) -> None:
        """Failures count that workers have had in turn, and an ejection holds in all of them."""
        self.begin_with("consecutive_5xx: 4, max_ejection_percent: 100")
        self.connect(3)
        self.assertFalse(self.is_out())
        self.connect(1)
        self.assertTrue(self.is_out())
        for each in self.mesh.workers:
            cluster = each.worker.clusters.get("c")
            assert cluster is not None
            self.assertIn(HealthFlag.failed_outlier_check, cluster.hosts[0].flags)

    def test_success_of_another(self) -> None:
        """A success ends the row, whichever worker has it."""
        self.begin_with("consecutive_5xx: 4, max_ejection_percent: 100")
        for _ in range(3):
            self.connect(1)  # of worker 0 ...
            self.mesh.network.refused.clear()
            self.connect(1)  # ... and of worker 1
            self.mesh.network.refused.add(address_of(HOST))
        self.connect(2)
        self.assertFalse(self.is_out())
        self.assertEqual([HostFails(1, 1)] * 4, self.told(HostFails, 1))

    def test_rates(self) -> None:
        """The rate of successes in an interval is that of all workers: main decides when the last
        one has answered, or at the end of the next interval.
        """
        self.mesh.add_cluster(
            "c",
            HOST,
            OTHER,
            more="outlier_detection: {consecutive_5xx: 1000, interval: 10s, "
            "failure_percentage_minimum_hosts: 2, failure_percentage_request_volume: 8, "
            "failure_percentage_threshold: 60, enforcing_failure_percentage: 100, "
            "max_ejection_percent: 50}",
        )
        self.mesh.serve()
        self.mesh.network.refused.add(address_of(HOST))
        self.connect(20)
        self.mesh.workers[1].is_stuck = True
        self.mesh.advance(10)
        self.assertFalse(self.is_out())
        self.mesh.workers[1].go_on()
        self.assertTrue(self.is_out())


class NamedHostsTests(WorkersTestCase):
    """Hosts that connections name (ORIGINAL_DST)."""

    def setUp(self) -> None:
        """A cluster of what clients wanted."""
        self.mesh = Mesh(1, workers=2)
        self.mesh.upstream(HOST)
        message = cluster_message("c", [])
        message.ClearField("load_assignment")
        message.type = message.ORIGINAL_DST
        message.lb_policy = message.CLUSTER_PROVIDED
        message.cleanup_interval.seconds = 10
        self.mesh.clusters.add_or_update(message)
        more = "use_original_dst: true"
        self.mesh.serve(more=more)

    def hosts(self) -> list[str]:
        """The hosts that there are."""
        (cluster,) = self.mesh.main.cluster_statuses()
        return [host.address for host in cluster.hosts]

    def test_seen_by_two(self) -> None:
        """A host that two workers have seen is one, and it is forgotten when neither uses it."""
        clients = [self.mesh.redirect(HOST) for _ in range(2)]
        self.mesh.advance(1)
        self.assertEqual([HOST], self.hosts())
        for left, client in ((1, clients[0]), (0, clients[1])):
            client.transport.abortConnection()
            self.mesh.pump()
            for _ in range(3):
                self.mesh.advance(10)
            self.assertEqual([HOST] * left, self.hosts())

    def test_answer_that_is_missing(self) -> None:
        """As long as a worker has not answered nothing is known to be unused."""
        self.mesh.redirect(HOST).transport.abortConnection()
        self.mesh.workers[1].is_stuck = True
        for _ in range(3):
            self.mesh.advance(10)
        self.assertEqual([HOST], self.hosts())
        self.mesh.workers[1].go_on()
        self.mesh.advance(10)
        self.assertEqual([], self.hosts())


class SlowTests(WorkersTestCase):
    """A worker that does not answer."""

    def setUp(self) -> None:
        """One of two has stopped hearing anything."""
        super().setUp()
        self.begin()
        self.connect(4)
        self.mesh.workers[1].is_stuck = True

    def test_numbers(self) -> None:
        """It is waited for a quarter of a second; what the others have counted is there, and what
        it tells later is added.
        """
        asked = self.mesh.main.numbers()
        self.mesh.advance(PATIENCE - 0.01)
        self.assertNoResult(asked)
        self.mesh.advance(0.01)
        self.successResultOf(asked)
        self.assertEqual(2, self.total())
        self.mesh.workers[1].go_on()
        self.mesh.pump()
        self.assertEqual(4, self.total())

    def total(self) -> int:
        """The clients that the store knows of."""
        counters = {each.name: each.tally for each in self.mesh.store.counters()}
        return counters["listener.127.0.0.1_1.downstream_cx_total"]

    def test_dies(self) -> None:
        """Where it dies nobody waits any longer."""
        asked: list[Deferred[Any]] = [
            self.mesh.main.numbers(),
            self.mesh.main.count_connections(),
            self.mesh.main.live.connections(ConnectionQuery()),
            self.mesh.main.watching.traffic(),
            self.mesh.main.stop(),
        ]
        self.mesh.pump()
        for each in asked:
            self.assertNoResult(each)
        self.mesh.workers[1].die()
        self.mesh.pump()
        for each in asked:
            self.successResultOf(each)
