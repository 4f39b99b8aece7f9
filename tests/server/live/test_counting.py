"""How much traffic a worker says there is, and what main keeps of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.live.watching import KEPT, PERIOD, Watching
from tcpmesh.values.live.traffic import AskTraffic, Flow, FlowCounts, Sample, Traffic, TrafficTold
from tests.connection.live.test_rows import answer
from tests.server.live.test_asked import mesh_with


def traffic(mesh: Any) -> Traffic:
    """How much there is now."""
    told: Traffic = answer(mesh, mesh.main.watching.traffic())
    return told


class CountingTests(SynchronousTestCase):
    """One worker."""

    def test_sums(self) -> None:
        """Bytes of open connections and of those that have ended are one sum, which never falls,
        and so are those that were accepted.
        """
        mesh, clients = mesh_with(10)
        before = traffic(mesh).sample
        self.assertEqual((10, 10, 45), (before.open, before.accepted, before.received))
        for client in clients[:4]:
            client.transport.abortConnection()
        mesh.advance(1)
        clients[5].transport.write(b"x" * 100)
        mesh.advance(1)
        after = traffic(mesh).sample
        self.assertEqual((6, 10, 145), (after.open, after.accepted, after.received))

    def test_flows(self) -> None:
        """Connections are counted by listener, chain, cluster and host."""
        mesh, _ = mesh_with(5)
        self.assertEqual(
            {("db", "127.0.0.1:8080"): 5},
            {(flow.cluster, flow.host): count for flow, count in traffic(mesh).flows.items()},
        )
        self.assertEqual(1, len({flow.listener for flow in traffic(mesh).flows}))

    def test_ended_meanwhile(self) -> None:
        """Connections that end while they are counted are in the next sum at the latest."""
        mesh, clients = mesh_with(200)
        asked = mesh.main.watching.traffic()
        for client in clients[:50]:
            client.transport.abortConnection()
        mesh.pump()
        first = answer(mesh, asked).sample
        second = traffic(mesh).sample
        self.assertLessEqual(first.received, second.received)
        self.assertEqual((150, 200), (second.open, second.accepted))

    def test_nobody(self) -> None:
        """A proxy without clients has no traffic."""
        mesh, _ = mesh_with(0)
        told = traffic(mesh)
        self.assertEqual((0, 0, 0, 0), told.sample[1:])
        self.assertEqual({}, told.flows)


class WatchingTests(SynchronousTestCase):
    """What main keeps."""

    def setUp(self) -> None:
        """Two workers that answer when a test wants them to."""
        self.clock: Any = Clock()
        self.sent: list[Any] = []
        self.wall = 1000.0
        self.spent = 0.0
        self.watching = Watching(self.sent.append, self.clock, lambda: range(2), lambda: self.wall)

    def tell(self, *flows: tuple[str, str, str, str, int]) -> None:
        """Both answer."""
        for worker in range(2):
            self.watching.receivers[FlowCounts](FlowCounts(worker, flows))
            self.watching.receivers[TrafficTold](
                TrafficTold(worker, 1, 2, 3, 4, self.spent * worker)
            )

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.clock.advance(seconds)

    def test_workers(self) -> None:
        """The answers of all workers are one sum, and whoever asks meanwhile gets the same one."""
        one, other = self.watching.traffic(), self.watching.traffic()
        self.assertEqual([AskTraffic()], self.sent)
        self.tell(("l", "", "c", "h", 2))
        told = self.successResultOf(one)
        self.assertEqual(Sample(1000.0, 2, 4, 6, 8), told.sample)
        self.assertEqual({Flow("l", "", "c", "h"): 4}, told.flows)
        self.assertEqual(told, self.successResultOf(other))

    def test_samples(self) -> None:
        """One is taken every five seconds, and those of ten minutes are kept."""
        self.watching.start()
        self.tell()
        for _ in range(200):
            self.pass_time(PERIOD)
            self.tell()
        self.assertEqual(KEPT / PERIOD + 1, len(self.watching.samples))
        self.watching.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_somebody_looks(self) -> None:
        """However often somebody asks, samples are five seconds apart."""
        for _ in range(50):
            self.watching.traffic()
            self.tell()
            self.pass_time(1.0)
        self.assertEqual(10, len(self.watching.samples))

    def test_long_answers(self) -> None:
        """Where an answer takes a worker long main asks more rarely."""
        self.spent = 0.25
        self.watching.start()
        self.tell()
        self.pass_time(49)
        self.assertEqual(1, len(self.sent))
        self.pass_time(1)
        self.assertEqual(2, len(self.sent))

    def test_stopped_while_asking(self) -> None:
        """An answer that comes after the end begins nothing."""
        self.watching.start()
        self.watching.stop()
        self.tell()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_time_set_back(self) -> None:
        """Where the time of day is set back, what was before is forgotten."""
        self.watching.traffic()
        self.tell()
        self.wall -= 3600
        self.watching.traffic()
        self.tell()
        self.assertEqual([self.wall], [sample.when for sample in self.watching.samples])
