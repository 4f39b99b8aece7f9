"""The merge window alone."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.merge_window import MergeWindow
from tcpmesh.stats.store import Store


class MergeWindowTests(SynchronousTestCase):
    """When changes are delivered."""

    def window(self, seconds: float = 1.0) -> MergeWindow:
        """A window, long after the start."""
        self.clock, self.store = Clock(), Store()
        self.clock.advance(100)
        self.delivered: list[float] = []
        return MergeWindow(
            self.clock,
            seconds,
            self.store,
            lambda: self.delivered.append(self.clock.seconds() - 100),
        )

    def stats(self) -> list[int]:
        """Updates delivered at once and merged, those out of the window and those cancelled."""
        names = (
            "cluster_updated",
            "cluster_updated_via_merge",
            "update_out_of_merge_window",
            "update_merge_cancelled",
        )
        return [self.store.counter(f"cluster_manager.{name}").tally for name in names]

    def test_merged(self) -> None:
        """Many changes of health within the window make two deliveries: the first at once, the
        others together.
        """
        window = self.window()
        for _ in range(5):
            window.health_changed()
            self.clock.advance(0.125)
        self.assertEqual([0.0], self.delivered)
        self.clock.advance(0.5)
        self.assertEqual([0.0, 1.125], self.delivered)
        self.assertEqual([1, 1, 1, 0], self.stats())

    def test_again_after_the_window(self) -> None:
        """After a window without changes the next one is delivered at once."""
        window = self.window()
        window.health_changed()
        self.clock.advance(1.5)
        window.health_changed()
        self.assertEqual([0.0, 1.5], self.delivered)
        self.assertEqual([2, 0, 2, 0], self.stats())

    def test_window_after_a_merge(self) -> None:
        """A merged delivery begins a window of its own."""
        window = self.window()
        window.health_changed()
        window.health_changed()
        self.clock.advance(1)
        window.health_changed()
        self.assertEqual([0.0, 1.0], self.delivered)
        self.clock.advance(1)
        self.assertEqual([0.0, 1.0, 2.0], self.delivered)

    def test_hosts_at_once(self) -> None:
        """Hosts that come or go are delivered at once, and what waited needs no delivery of its
        own.
        """
        window = self.window()
        window.health_changed()
        window.health_changed()
        window.hosts_changed()
        self.clock.advance(5)
        self.assertEqual([0.0, 0.0], self.delivered)
        self.assertEqual([2, 0, 1, 1], self.stats())

    def test_switched_off(self) -> None:
        """A window of 0 holds nothing back."""
        window = self.window(0)
        for _ in range(3):
            window.health_changed()
        self.assertEqual([0.0] * 3, self.delivered)
        self.assertEqual([3, 0, 0, 0], self.stats())

    def test_stopped(self) -> None:
        """What waits when it is stopped is never delivered."""
        window = self.window()
        window.health_changed()
        window.health_changed()
        window.stop()
        self.clock.advance(5)
        self.assertEqual([0.0], self.delivered)
        self.assertEqual([], self.clock.getDelayedCalls())
