"""Which of several workers gets a client."""

from __future__ import annotations

import os
from random import Random

from envoy.config.listener.v3.listener_pb2 import Listener
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.balancing.exact import ExactBalance, are_balanced, key_of, rows_of_balance
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts

OWNER = "listener.l"


class FakeWorker:
    """One worker, with its view of a listener."""

    def __init__(self, proxy: FakeProxy, index: int) -> None:
        self.index = index
        self._proxy = proxy
        self.clients = 0
        self.waiting = 0
        """Clients that were passed to it and that it has not read yet."""
        self.has_room = True
        self._shared = WorkerCounts(os.dup(proxy.counts.fd), index)
        self._shared.assign(OWNER, proxy.block)
        counts = self._shared.block(OWNER)
        connections = counts.count("connections")
        self.balance = ExactBalance("l", counts, connections, lambda: self.clients, self)

    def pass_on(self, worker: int, key: bytes, place: int, descriptor: int) -> bool:
        """Take a client to another worker."""
        assert (key, place) == (key_of("l"), 7)
        target = self._proxy.workers[worker]
        target.waiting += target.has_room
        return target.has_room

    def accept(self) -> bool:
        """A client has come; whether it stays."""
        if self.balance.passes(7, 99):
            return False
        self.clients += 1
        return True

    def read(self, most: int = 1000) -> None:
        """Take what was passed."""
        for _ in range(min(most, self.waiting)):
            self.waiting -= 1
            self.balance.receives()
            self.clients += 1
            self.balance.count_again()
        if not self.waiting:
            self.balance.emptied()

    def lose(self) -> None:
        """A client goes."""
        self.clients -= 1
        self.balance.count_again()

    def close(self) -> None:
        """It is no more."""
        self._shared.close()


class FakeProxy:
    """Some workers."""

    def __init__(self, count: int) -> None:
        self.counts = MainCounts(count, 1 << 16)
        self.block = self.counts.allocate(OWNER, rows_of_balance(count))
        self.workers = [FakeWorker(self, index) for index in range(count)]
        for each in self.workers:
            each.balance.opened()

    def replace(self, index: int) -> FakeWorker:
        """A worker dies, and another one takes its place; what was passed to it waits."""
        waiting = self.workers[index].waiting
        self.counts.worker_died(index)
        self.counts.worker_started(index)
        self.workers[index] = FakeWorker(self, index)
        self.workers[index].waiting = waiting
        return self.workers[index]

    def loads(self) -> list[int]:
        """How many clients each has, or is about to have."""
        return [each.clients + each.waiting for each in self.workers]

    def close(self) -> None:
        """All is over."""
        for each in self.workers:
            each.close()
        self.counts.close()


class ExactTests(SynchronousTestCase):
    """`ExactBalance` of three workers."""

    def setUp(self) -> None:
        """None has a client."""
        self.proxy = FakeProxy(3)
        self.addCleanup(self.proxy.close)
        self.workers = self.proxy.workers

    def test_one_accepts_all(self) -> None:
        """Where one worker accepts all clients each gets as many, though the others read late."""
        stayed = [self.workers[1].accept() for _ in range(9)]
        self.assertEqual([3, 3, 3], self.proxy.loads())
        self.assertEqual(3, sum(stayed))
        self.assertTrue(stayed[0])

    def test_fewest(self) -> None:
        """A worker whose clients have gone gets the next ones."""
        for _ in range(9):
            self.workers[0].accept()
        for each in self.workers:
            each.read()
        self.workers[2].lose()
        self.workers[2].lose()
        self.assertEqual([False, False], [self.workers[0].accept() for _ in range(2)])
        self.assertEqual([3, 3, 3], self.proxy.loads())

    def test_no_room(self) -> None:
        """A client that the other worker has no room for stays, and counts once."""
        self.workers[0].accept()
        for each in self.workers[1:]:
            each.has_room = False
        self.assertTrue(self.workers[0].accept())
        for each in self.workers[1:]:
            each.has_room = True
        self.workers[1].accept()
        self.workers[1].accept()
        self.assertEqual([2, 1, 1], self.proxy.loads())

    def test_not_listening(self) -> None:
        """Who does not listen any more is passed nothing, and neither is who died."""
        self.workers[1].balance.closed()
        self.proxy.counts.worker_died(2)
        self.assertEqual([True] * 4, [self.workers[0].accept() for _ in range(4)])

    def test_replaced(self) -> None:
        """After a worker has died, whatever it had passed on and was passed, the next clients are
        spread as ever.
        """
        for _ in range(9):
            self.workers[0].accept()
        for each in self.workers:
            each.read()
        for _ in range(2):
            self.workers[1].accept()
        self.proxy.replace(0).balance.opened()
        self.workers[0].read()
        for _ in range(12):
            self.workers[1].accept()
            for each in self.workers:
                each.read()
        loads = self.proxy.loads()
        self.assertLessEqual(max(loads) - min(loads), 1)

    def test_configured(self) -> None:
        """It is for listeners with exact_balance that have addresses."""
        message = Listener()
        self.assertFalse(are_balanced(message))
        message.connection_balance_config.exact_balance.SetInParent()
        self.assertTrue(are_balanced(message))
        message.internal_listener.SetInParent()
        self.assertFalse(are_balanced(message))


class GameTests(SynchronousTestCase):
    """Clients come and go."""

    @given(st.integers(0, 1 << 32), st.integers(2, 5))
    def test_game(self, seed: int, count: int) -> None:
        """Whoever accepts, and whenever others read what they are passed, a client goes where the
        fewest are at that moment.
        """
        random, proxy = Random(seed), FakeProxy(count)
        try:
            for _ in range(60):
                worker = random.choice(proxy.workers)
                match random.randrange(4):
                    case 0 | 1:
                        least = min(proxy.loads())
                        before = proxy.loads()
                        worker.accept()
                        after = proxy.loads()
                        (grown,) = (b for b, a in zip(before, after, strict=True) if a > b)
                        self.assertEqual(least, grown)
                    case 2:
                        worker.read(random.randrange(3))
                    case 3:
                        if worker.clients:
                            worker.lose()
        finally:
            proxy.close()
