"""Main has its workers go on with clients of the process before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.handover.taking import GONE, NOBODY, Taking
from tcpmesh.values.lifecycle.moving import ForgetClient, OfferAnswered, OfferClient, TakeClient
from tcpmesh.values.stream.moved import NO_DESCRIPTORS


class TakingTests(SynchronousTestCase):
    """Two workers."""

    def setUp(self) -> None:
        """They are ready."""
        self.fds = os.pipe()
        for fd in self.fds:
            self.addCleanup(os.close, fd)
        self.told: list[tuple[Any, ...]] = []
        self.answers: list[tuple[int, str]] = []
        self.ready: tuple[int, ...] = (1, 0)

        def tell(worker: int, message: Any, descriptors: Sequence[int] = ()) -> None:
            self.told.append((worker, message, tuple(descriptors)))

        self.taking = Taking(tell, lambda: self.ready)
        self.taking.giver = self

    def answer(self, client: int, refused: str) -> None:
        """The process before is told."""
        self.answers.append((client, refused))

    def answered(self, worker: int, client: int, refused: str = "") -> None:
        """A worker answers."""
        self.taking.receivers[OfferAnswered](OfferAnswered(worker, client, refused))

    def test_turns(self) -> None:
        """Workers get clients by turns, and each goes on with those that it was offered once these
        are let go.
        """
        for client in range(3):
            self.taking.offer(client, b"state", self.fds)
        offers = [(at % 2, OfferClient(at, b"state"), self.fds) for at in range(3)]
        self.assertEqual(offers, self.told)
        self.answered(1, 1)
        self.answered(0, 2, "no")
        self.assertEqual([(1, ""), (2, "no")], self.answers)
        self.taking.take(1)
        self.taking.take(2)
        self.taking.forget(0)
        self.assertEqual([(1, TakeClient(1), ()), (0, ForgetClient(0), ())], self.told[3:])

    def test_nobody(self) -> None:
        """Where no worker is ready none is taken."""
        self.ready = ()
        self.taking.offer(1, b"state", self.fds)
        self.assertEqual([(1, NOBODY)], self.answers)

    def test_no_descriptors(self) -> None:
        """One whose descriptors had no room here is refused, and so is one of which no copies can
        be made: the link to a worker would end.
        """
        self.taking.offer(1, b"state", ())
        self.patch(os, "dup", _fails)
        self.taking.offer(2, b"state", self.fds)
        self.assertEqual([(1, NO_DESCRIPTORS), (2, NO_DESCRIPTORS)], self.answers)
        self.assertEqual([], self.told)

    def test_lost(self) -> None:
        """What a worker was offered that dies then stays with the process before."""
        self.taking.offer(1, b"state", self.fds)
        self.taking.offer(2, b"state", self.fds)
        self.taking.lost(0)
        self.assertEqual([(1, GONE)], self.answers)
        self.answered(0, 1)
        self.taking.take(1)
        self.assertEqual(2, len(self.told))

    def test_giver_gone(self) -> None:
        """What was offered by a process that is gone is nobody's here."""
        self.taking.offer(1, b"state", self.fds)
        self.taking.giver_gone()
        self.assertEqual([(0, ForgetClient(1), ())], self.told[1:])
        self.answered(0, 1)
        self.assertEqual([], self.answers)


def _fails(fd: int) -> int:
    """There are none left."""
    raise OSError(24, os.strerror(24))
