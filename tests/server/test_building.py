"""A worker of several builds thousands of filter chains beside its traffic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

from envoy.config.listener.v3.listener_pb2 import Listener

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.updates import MANY
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.server.building import NOT_WAITING, Building
from tcpmesh.server.link.numbers import WorkerMessage
from tcpmesh.values.lifecycle.moving import MoveClients, OfferClient
from tcpmesh.values.link import (
    AddListener,
    Ask,
    BuildAhead,
    RemoveListener,
    SharedBlocks,
    Start,
    Stop,
    UpdateChains,
)
from tests.listener.test_building_ahead import many
from tests.listener.test_filter_chains import listener_of, says
from tests.server.workers.several import WorkersTestCase
from tests.turns import turn

OTHER = "127.0.0.9:9"


def listener(chains: int) -> Any:
    """One with so many filter chains."""
    message = Listener(name="l")
    for _ in range(chains):
        message.filter_chains.add()
    return message


MUCH = AddListener(7, "l", listener(MANY + 1))
LITTLE = AddListener(8, "l", listener(MANY))


class FakeListeners:
    """Takes two turns for each."""

    def __init__(self) -> None:
        self.built: list[BuildAhead] = []

    def build_ahead(self, told: BuildAhead) -> Iterator[None]:
        """Note it."""
        yield
        self.built.append(told)
        yield


class Sock:
    """A socket that comes with a listener."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


class BuildingTests(SynchronousTestCase):
    """`Building`, told by main what the tests say."""

    def setUp(self) -> None:
        """A worker that serves."""
        self.clock = Clock()
        cooperator = shared_cooperator(self.clock, partial(next, count()))  # a step in each turn
        self.listeners = FakeListeners()
        self.done: list[WorkerMessage] = []
        self.fails: list[WorkerMessage] = []
        self.building = Building(self.listeners, cooperator, self.take)
        self.receive(Start())
        self.done.clear()

    def take(self, message: WorkerMessage, sockets: Sequence[Any]) -> None:
        """What the worker does."""
        self.done.append(message)
        if message in self.fails:
            raise ValueError("this message")

    def receive(self, *messages: WorkerMessage) -> None:
        """Main says this."""
        for each in messages:
            self.building.receive(each, ())

    def test_at_once(self) -> None:
        """What takes no time is done at once."""
        update = UpdateChains(7, 1, listener(MANY + 1), (), tuple(range(MANY)))
        self.receive(LITTLE, update, Ask(1))
        self.assertEqual([LITTLE, update, Ask(1)], self.done)

    def test_in_turn(self) -> None:
        """What main says while chains are built is done after that, in its order, and so is what
        takes as long.
        """
        update = UpdateChains(7, 1, listener(MANY + 1), (), tuple(range(MANY + 1)))
        self.receive(MUCH, Ask(1), update, Ask(2))
        self.assertEqual([], self.done)
        self.clock.pump([0] * 20)
        self.assertEqual([MUCH, Ask(1), update, Ask(2)], self.done)
        self.assertEqual([None, update.come], [each.come for each in self.listeners.built])
        self.receive(Ask(3))
        self.assertEqual(Ask(3), self.done[-1])

    def test_before_the_start(self) -> None:
        """A worker that does not serve yet builds all at once: nobody waits."""
        building = Building(self.listeners, shared_cooperator(self.clock), self.take)
        building.receive(MUCH, ())
        self.assertEqual(([MUCH], []), (self.done, self.listeners.built))

    def test_not_waiting(self) -> None:
        """Clients that leave or come do not wait, nor do descriptors that are lent."""
        self.receive(MUCH, MoveClients(True), OfferClient(1, b""), Ask(1))
        self.assertEqual([MoveClients(True), OfferClient(1, b"")], self.done)

    def test_stop(self) -> None:
        """The end comes at once: nothing else is done, and sockets that came are closed."""
        sock = Sock()
        self.building.receive(MUCH, [sock])
        turn(self.clock)
        self.receive(Ask(1), Stop())
        self.clock.pump([0] * 20)
        self.assertEqual(([Stop()], True), (self.done, sock.is_closed))

    def test_fault(self) -> None:
        """Where a message cannot be dealt with the log says so, and the next one is."""
        self.fails = [MUCH, Ask(1)]
        self.receive(MUCH, Ask(1), Ask(2))
        self.clock.pump([0] * 20)
        self.assertEqual([MUCH, Ask(1), Ask(2)], self.done)
        self.assertEqual(2, len(self.flushLoggedErrors(ValueError)))
        self.receive(Ask(3))
        self.assertEqual(Ask(3), self.done[-1])

    def test_blocks(self) -> None:
        """What tells of shared counts waits with what it is for."""
        self.assertNotIn(SharedBlocks, NOT_WAITING)
        self.receive(MUCH, SharedBlocks(()), LITTLE)
        self.assertEqual([], self.done)


class SeveralTests(WorkersTestCase):
    """Two workers that serve."""

    def add(self) -> None:
        """Main adds a listener of many chains."""
        message = listener_of(*many(), default=says("rest"), address=OTHER)
        message.name = "other"
        self.mesh.listeners.add_or_update(message)

    def test_served(self) -> None:
        """Clients are served while workers build, and those of what they build after it."""
        self.begin()
        self.add()
        self.assertIn(self.mesh.connect().received, (b"a", b"b"))
        self.mesh.pump()
        self.assertEqual(b"rest", self.mesh.connect(OTHER).received)

    def test_removed(self) -> None:
        """A listener that is removed before it is built is not there."""
        self.begin()
        self.add()
        self.mesh.listeners.remove("other")
        self.mesh.pump()
        self.assertEqual([1, 1], [len(self.told(RemoveListener, index)) for index in (0, 1)])
        self.assertEqual(set(), {name for name in self.mesh.stats() if "127.0.0.9" in name})
