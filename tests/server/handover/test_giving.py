"""Main offers clients that leave to the process that has taken over, and decides whose they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.handover.giving import GONE, LATE, PATIENCE, Giving
from tcpmesh.values.lifecycle.moving import (
    ClientLeaves,
    ClientMoved,
    ClientsStay,
    ClientStays,
    MoveClients,
)
from tcpmesh.values.stream.moved import NONE_LEFT
from tests.told import told_in


class FakeTaker:
    """A process that takes clients; writes down what it is told."""

    pid = 7

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can it go on with this client?"""
        self.told.append(("offer", client, state, tuple(descriptors)))

    def take(self, client: int) -> None:
        """A client is its own."""
        self.told.append(("take", client))

    def forget(self, client: int) -> None:
        """A client stays here."""
        self.told.append(("forget", client))

    def stay(self, reasons: Mapping[str, int]) -> None:
        """No more come."""
        self.told.append(("stay", dict(reasons)))


class GivingTests(SynchronousTestCase):
    """Two workers, whose clients may leave."""

    def setUp(self) -> None:
        """They do."""
        self.fds = os.pipe()
        for fd in self.fds:
            self.addCleanup(os.close, fd)
        self.clock = Clock()
        self.all: list[Any] = []
        self.told: list[tuple[int, Any]] = []
        self.log = told_in(self, "main")
        self.workers = (0, 1)
        self.giving = Giving(
            self.all.append,
            lambda worker, message: self.told.append((worker, message)),
            self.clock,
            lambda: self.workers,
        )
        self.taker = FakeTaker()
        self.over: Deferred[None] = self.giving.begin(self.taker)

    def leaves(self, worker: int = 1, client: int = 5) -> None:
        """A client has left its worker."""
        self.giving.leaves(ClientLeaves(worker, client, b"state"), self.fds)

    def test_taken(self) -> None:
        """A client that can be taken is the other process's, and its worker hears of it after
        that.
        """
        self.assertEqual([MoveClients(True)], self.all)
        self.leaves()
        self.assertEqual([], self.told)
        self.giving.answered(1, "")
        self.assertEqual([("offer", 1, b"state", self.fds), ("take", 1)], self.taker.told)
        self.assertEqual([(1, ClientMoved(5))], self.told)

    def test_refused(self) -> None:
        """One that is refused stays, and why."""
        self.leaves()
        self.giving.answered(1, "there is no listener l")
        self.assertEqual([(1, ClientStays(5, "there is no listener l"))], self.told)
        self.assertEqual(1, len(self.taker.told))

    def test_numbers(self) -> None:
        """Clients of different workers are told apart."""
        self.leaves(0)
        self.leaves(1)
        self.giving.answered(2, "")
        self.giving.answered(1, "no")
        self.assertEqual([(1, ClientMoved(5)), (0, ClientStays(5, "no"))], self.told)

    def test_late(self) -> None:
        """Where there is no answer in time all go on where they were, none leaves any more, and a
        later answer changes nothing.
        """
        self.leaves()
        self.clock.advance(PATIENCE / 2)
        self.leaves(0)
        self.giving.answered(1, "")
        self.clock.advance(PATIENCE / 2)
        self.assertEqual([(1, ClientMoved(5))], self.told)
        self.clock.advance(PATIENCE / 2)
        self.assertEqual([(0, ClientStays(5, LATE))], self.told[1:])
        self.assertEqual([("take", 1), ("forget", 2)], self.taker.told[2:])
        self.assertEqual(MoveClients(False, LATE), self.all[-1])
        self.giving.answered(2, "")
        self.leaves(0, 6)
        self.assertEqual([(0, ClientStays(6, LATE))], self.told[2:])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_gone(self) -> None:
        """Where the other process dies all that it has not taken go on where they were."""
        self.leaves()
        self.leaves(0)
        self.giving.answered(1, "")
        self.giving.taker_gone()
        self.assertEqual([(1, ClientMoved(5)), (0, ClientStays(5, GONE))], self.told)
        self.assertEqual(MoveClients(False, GONE), self.all[-1])

    def test_no_descriptors(self) -> None:
        """One whose descriptors had no room here stays."""
        self.giving.leaves(ClientLeaves(1, 5, b"state"), ())
        self.assertEqual([(1, ClientStays(5, NONE_LEFT))], self.told)
        self.assertEqual([], self.taker.told)

    def test_over(self) -> None:
        """When all workers are done the log and the other process know how many stay, and why; a
        worker that is lost is not waited for.
        """
        self.leaves()
        self.clock.advance(0.25)
        self.giving.answered(1, "")
        self.taker.told.clear()
        self.giving.receivers[ClientsStay](ClientsStay(0, 3, (("a", 2), ("b", 1))))
        self.assertNoResult(self.over)
        self.giving.receivers[ClientsStay](ClientsStay(1, 4, (("a", 1),)))
        self.successResultOf(self.over)
        self.assertEqual([("stay", {"a": 3, "b": 1})], self.taker.told)
        self.assertEqual(
            [
                "7 clients have moved to process 7 in 0.250 s, none was on its way for longer than "
                "0.250 s, and 4 stay: 3 (a); 1 (b)"
            ],
            self.log.lines,
        )

    def test_longest(self) -> None:
        """One that comes back was on its way, too."""
        for ends, seconds in ((self.giving.taker_gone, 1.5), (lambda: None, PATIENCE)):
            self.giving.begin(self.taker)
            self.leaves()
            self.clock.advance(seconds)
            ends()
            for worker in self.workers:
                self.giving.receivers[ClientsStay](ClientsStay(worker, 0, ()))
            self.assertIn(f"for longer than {seconds:.3f} s", self.log.lines[-1])

    def test_lost(self) -> None:
        """A worker that is lost is not waited for."""
        self.giving.receivers[ClientsStay](ClientsStay(0, 3, ()))
        self.giving.lost(1)
        self.successResultOf(self.over)
        self.giving.receivers[ClientsStay](ClientsStay(1, 3, ()))
        self.assertEqual([("stay", {})], self.taker.told)

    def test_nobody(self) -> None:
        """Where no worker is there it is over at once."""
        self.workers = ()  # type: ignore[assignment]
        self.successResultOf(self.giving.begin(self.taker))

    def test_stop(self) -> None:
        """The process ends, and nothing waits."""
        self.leaves()
        self.giving.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.giving.answered(1, "")
        self.assertEqual([], self.told)
