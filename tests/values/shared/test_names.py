"""Counts that go by a name alone."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.shared import names
from tcpmesh.values.shared.counts import LocalCounts
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts
from tcpmesh.values.shared.names import NoRoom

SMALL = 1 << 16


class NamesTests(SynchronousTestCase):
    """Those of two workers."""

    def setUp(self) -> None:
        """Main and the workers, in one process."""
        self.main = MainCounts(2, SMALL)
        self.addCleanup(self.main.close)
        self.workers = [self.worker(number) for number in range(2)]

    def worker(self, number: int) -> WorkerCounts:
        """One of the workers."""
        counts = WorkerCounts(os.dup(self.main.fd), number)
        self.addCleanup(counts.close)
        return counts

    def test_one_for_all(self) -> None:
        """Those of one name are one, of which each worker moves its own part."""
        one, two = (each.count_of_all("a") for each in self.workers)
        other = self.workers[0].count_of_all("b")
        one.own += 3
        two.own += 4
        self.assertEqual(
            [(7, 4), (7, 4), (0, 0)], [(c.total, c.highest) for c in (one, two, other)]
        )

    def test_in_a_block(self) -> None:
        """Whoever builds something asks the block that it was given."""
        block = self.main.allocate("listener.l")
        self.workers[0].assign("listener.l", block)
        count = self.workers[0].block("listener.l").count_of_all("a")
        count.own += 1
        self.assertEqual(1, self.workers[1].count_of_all("a").total)

    def test_closed(self) -> None:
        """What is closed counts on for its user alone, and the next of its name in this worker
        begins at 0.
        """
        one, two = (each.count_of_all("a") for each in self.workers)
        one.own += 3
        two.own += 4
        one.close()
        one.own += 1
        again = self.workers[0].count_of_all("a")
        self.assertEqual(
            [(4, 4), (4, 4), (4, 4)], [(c.total, c.highest) for c in (one, two, again)]
        )
        self.assertEqual((4, 0), (two.own, again.own))

    def test_dead_worker(self) -> None:
        """What a worker that has died had counted is 0, and it holds nothing."""
        one, two = (each.count_of_all("a") for each in self.workers)
        one.own += 3
        two.own += 4
        self.main.worker_died(1)
        self.assertEqual(3, one.total)
        one.close()
        fresh = self.worker(1).count_of_all("a")
        self.assertEqual(0, fresh.total)

    def test_used_again(self) -> None:
        """The row of a name that all have closed is free for others, and only then; when none is
        left it is said.
        """
        self.patch(names, "ROWS", 2)
        self.main = MainCounts(2, SMALL)
        self.addCleanup(self.main.close)
        one, two = self.worker(0), self.worker(1)
        kept, of_both = one.count_of_all("a"), [each.count_of_all("b") for each in (one, two)]
        self.assertRaises(NoRoom, one.count_of_all, "c")
        of_both[0].own += 5
        of_both[0].close()
        self.assertRaises(NoRoom, one.count_of_all, "c")
        of_both[1].close()
        count = two.count_of_all("c")
        count.own += 2
        kept.own += 1
        self.assertEqual((2, 2), (count.total, one.count_of_all("c").total))

    def test_only_worker(self) -> None:
        """A worker without others has such a count for itself."""
        count = LocalCounts().count_of_all("a")
        count.own += 2
        count.close()
        self.assertEqual((2, 2), (count.total, count.highest))
