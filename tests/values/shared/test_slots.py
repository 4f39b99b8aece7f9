"""What workers know of clients."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.shared.memory import MainCounts, WorkerCounts
from tcpmesh.values.shared.slots import SETS, WAYS, Slots

SMALL = 1 << 16


class SlotsTests(SynchronousTestCase):
    """Those of three workers."""

    def setUp(self) -> None:
        """Main and the workers, in one process."""
        self.main = MainCounts(3, SMALL)
        self.addCleanup(self.main.close)
        self.workers = [self.worker(number) for number in range(3)]

    def worker(self, number: int, limit: str = "limit") -> Slots:
        """One of the workers, for the clients of a limit."""
        counts = WorkerCounts(os.dup(self.main.fd), number)
        self.addCleanup(counts.close)
        return counts.clients_of_all(limit)

    def put(self, worker: int, client: str, connections: int, moment: int) -> int:
        """A worker has a client."""
        slots = self.workers[worker]
        place = slots.take(slots.key(client))
        assert place is not None
        slots.write(place, connections, moment)
        return place

    def others(self, worker: int, client: str) -> tuple[int, int]:
        """What a worker sees of a client."""
        slots = self.workers[worker]
        return slots.others(slots.key(client))

    def test_keys(self) -> None:
        """A client has one key in all workers, another one for another limit, and another one in
        another proxy.
        """
        keys = {each.key("10.0.0.1") for each in self.workers}
        self.assertEqual(1, len(keys))
        keys.add(self.worker(0, "other").key("10.0.0.1"))
        self.main = MainCounts(3, SMALL)
        self.addCleanup(self.main.close)
        keys.add(self.worker(0).key("10.0.0.1"))
        self.assertEqual(3, len(keys))

    def test_any_name(self) -> None:
        """A client may be called by bytes that are no UTF-8, as the server name of an attacker."""
        names = [each.decode("utf-8", "surrogateescape") for each in (b"\xff", b"\xfe")]
        self.assertEqual(2, len({self.workers[0].key(name) for name in names}))

    def test_of_a_block(self) -> None:
        """The limits of an owner are others than those of another one, and each of one name is one
        of its own; all workers have the same.
        """
        seen = []
        for owner in ("listener.a", "listener.b"):
            block = self.main.allocate(owner)
            for number in range(2):
                counts = WorkerCounts(os.dup(self.main.fd), number)
                self.addCleanup(counts.close)
                counts.assign(owner, block)
                taken = counts.block(owner)
                seen.append([taken.clients("limit").key("10.0.0.1") for _ in range(2)])
        self.assertEqual(seen[0::2], seen[1::2])
        self.assertEqual(4, len({key for keys in seen for key in keys}))

    def test_others(self) -> None:
        """Each worker sees the connections that all others have, and the latest moment."""
        self.put(0, "a", 1, 10)
        self.put(1, "a", 2, 30)
        self.put(1, "b", 5, 50)
        self.assertEqual(
            [(2, 30), (1, 10), (3, 30)], [self.others(worker, "a") for worker in range(3)]
        )
        self.assertEqual((0, 0), self.others(0, "c"))

    def test_free(self) -> None:
        """Who gives a slot back is not seen any more, and the slot is taken again."""
        place = self.put(0, "a", 1, 10)
        self.workers[0].free(place)
        self.assertEqual((0, 0), self.others(1, "a"))
        self.assertEqual(place, self.put(0, "a", 0, 0))
        self.assertEqual((0, 0), self.others(1, "a"))

    def test_full_set(self) -> None:
        """Where a set has no free slot a client gets none; in another worker it may."""
        for number in range(WAYS):
            self.assertIsNotNone(self.workers[0].take(7 + SETS * number))
        self.assertIsNone(self.workers[0].take(7 + SETS * WAYS))
        self.assertIsNotNone(self.workers[1].take(7 + SETS * WAYS))
        self.assertIsNotNone(self.workers[0].take(8))

    def test_dead_worker(self) -> None:
        """What a worker that has died knew is forgotten, and that of others stays."""
        self.put(1, "a", 3, 30)
        self.put(2, "a", 4, 40)
        self.main.worker_died(1)
        self.assertEqual((4, 40), self.others(0, "a"))
        self.assertEqual((4, 40), self.worker(1).others(self.workers[0].key("a")))
