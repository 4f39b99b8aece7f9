"""The garbage collector while something large is made."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import collector


class PausedTests(SynchronousTestCase):
    """`collector.paused`."""

    def test_what_was_made_is_old(self) -> None:
        """What was made meanwhile is not what the collector looks at first, and it runs again."""
        gc.unfreeze()  # what others have made, for what they froze is not to thaw
        with collector.paused():
            self.assertFalse(gc.isenabled())
            made: list[list[int]] = [[] for _ in range(10_000)]
        self.assertTrue(gc.isenabled())
        self.assertLess(len(gc.get_objects(0)) + len(gc.get_objects(1)), 10_000)
        self.assertEqual(0, gc.get_freeze_count())
        self.assertTrue(any(each is made for each in gc.get_objects(2)))

    def test_frozen_by_others(self) -> None:
        """What others have frozen stays so."""
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        before = gc.get_freeze_count()
        with collector.paused():
            pass
        self.assertLessEqual(before - 100, gc.get_freeze_count())

    def test_was_off(self) -> None:
        """Where it was off it stays off."""
        gc.disable()
        self.addCleanup(gc.enable)
        with collector.paused():
            pass
        self.assertFalse(gc.isenabled())


class CalmTests(SynchronousTestCase):
    """`collector.calm`."""

    def test_nothing_is_looked_at(self) -> None:
        """What exists is left alone from then on, without a look at it, which many clusters make
        long.
        """
        looks: list[str] = []
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)

        def watch(phase: str, _: object) -> None:
            looks.append(phase)

        gc.callbacks.append(watch)
        self.addCleanup(gc.callbacks.remove, watch)
        kept: list[list[int]] = [[] for _ in range(10_000)]

        collector.calm()

        self.assertEqual([], looks)
        self.assertLess(len(kept), gc.get_freeze_count())
        self.assertEqual(collector.THRESHOLDS, gc.get_threshold())
