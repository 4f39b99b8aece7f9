"""What is counted of a cluster."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.hosts.stats import DECLARED, ClusterStats
from tcpmesh.stats.store import Store


class ClusterStatsTests(SynchronousTestCase):
    """The statistics of the connections of a cluster."""

    def setUp(self) -> None:
        self.store = Store()

    def shown(self) -> dict[str, int]:
        """All counters and gauges, as they are shown."""
        counters = {stat.name: stat.tally for stat in self.store.counters()}
        return counters | {stat.name: stat.tally for stat in self.store.gauges()}

    def made(self) -> int:
        """How many counters there are in memory."""
        return len(self.store._families.counters.made)

    def test_shown_at_zero(self) -> None:
        """Before its first connection all are shown, and none takes memory."""
        ClusterStats(self.store, "c")

        self.assertEqual(
            {f"cluster.c.{name}": 0 for name in (*DECLARED.counters, *DECLARED.gauges)},
            self.shown(),
        )
        self.assertEqual(0, self.made())

    def test_first_use(self) -> None:
        """They are made once one is moved, all that are moved have been declared, and nothing else
        is shown then than before.
        """
        stats = ClusterStats(self.store, "c")
        before = self.shown()
        stats.cx_total.tally += 1
        stats.cx_active.add(2)

        self.assertTrue(stats.are_made)
        self.assertEqual(
            {**before, "cluster.c.upstream_cx_total": 1, "cluster.c.upstream_cx_active": 2},
            self.shown(),
        )
        self.assertLessEqual(
            set(self.store._families.histograms.made),
            {f"cluster.c.{name}" for name in DECLARED.histograms},
        )

    def test_as_quick_as_any(self) -> None:
        """After that they are attributes as any other's: nothing is asked on the way."""
        stats = ClusterStats(self.store, "c")
        stats.cx_total.tally += 1

        self.assertIs(ClusterStats, type(stats))
        self.assertIs(stats.__dict__["cx_total"], stats.cx_total)

    def test_successor(self) -> None:
        """Those of a cluster that replaces one with connections go on with its values."""
        first = ClusterStats(self.store, "c")
        first.cx_active.add(3)
        second = ClusterStats(self.store, "c")
        first.scope.close()

        self.assertTrue(second.are_made)
        self.assertEqual(3, self.shown()["cluster.c.upstream_cx_active"])

    def test_no_such(self) -> None:
        """An attribute that they do not have is none, made or not."""
        stats = ClusterStats(self.store, "c")
        for _ in range(2):
            self.assertFalse(hasattr(stats, "cx_of_another_kind"))

    def test_closed(self) -> None:
        """Nothing is shown of a cluster that is gone, whether they were made or not."""
        for used in (False, True):
            stats = ClusterStats(self.store, "c")
            if used:
                stats.cx_total.tally += 1
            stats.scope.close()
            self.assertEqual({}, self.shown(), used)
