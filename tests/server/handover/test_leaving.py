"""Which clients of a worker stay, and how it is told."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.moving import OTHER_TRANSPORTS, WRAPPED
from tcpmesh.server.handover.leaving import Leaving
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.values.lifecycle.moving import ClientsStay, MoveClients


class FakeClient:
    """A client that could leave."""

    id = 5
    why_stays = ""


class FakeListeners:
    """Has clients."""

    inspected = 0

    def candidates(self) -> Any:
        """Two."""
        return iter((FakeClient(), FakeClient()))

    def staying(self) -> Any:
        """Three others."""
        return iter(((WRAPPED, 3),))


class LeavingTests(SynchronousTestCase):
    """A worker whose network hands nothing over."""

    def test_other_transports(self) -> None:
        """All stay, and for each it is told why."""
        network = NoNetwork()
        told: list[Any] = []
        listeners: Any = FakeListeners()
        leaving = Leaving(1, network, listeners, told.append)
        leaving.receivers[MoveClients](MoveClients(True))
        for _ in range(9):
            network.clock.advance(0)
        self.assertEqual([ClientsStay(1, 0, ((WRAPPED, 3), (OTHER_TRANSPORTS, 2)))], told)
        leaving.stop()
        self.assertEqual([], network.clock.getDelayedCalls())
