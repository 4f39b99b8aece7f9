"""How the epoll set shares its turns among connections."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from unittest import skipUnless

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.turns import turn

COST = 0.0005
"""Seconds that serving an event takes."""


class Serving:
    """One end of a connection, which notes when it was served and how long that took."""

    def __init__(self, name: str, tests: PollerTests) -> None:
        self.name = name
        self.fd = -1
        self._tests = tests

    def ready(self, mask: int) -> None:
        """The poller has an event."""
        self._tests.serve(f"{self.name} {mask:x}" if self._tests.shows_masks else self.name)

    def ready_again(self) -> None:
        """The poller has come to what was put off."""
        self._tests.serve(f"{self.name} again")

    def failed(self) -> None:
        """It has raised."""
        self._tests.served.append(f"{self.name} failed")

    def stop(self) -> None:
        """The poller stops."""
        self._tests.poller.close(self.fd)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class PollerTests(SynchronousTestCase):
    """A set whose channels take half a millisecond for whatever they do."""

    shows_masks = False

    def setUp(self) -> None:
        """An empty set, on a reactor and a clock that stand still by themselves."""
        from tcpmesh.net.epoll.poller import WATCH, Poller

        self.watch = WATCH
        self.time = 0.0
        self.served: list[str] = []
        self.acts: dict[str, Callable[[], object]] = {}
        """What is done when an event is served."""
        self.reactor = MemoryReactorClock()
        self.poller = Poller(self.reactor, lambda: self.time)
        self.addCleanup(self.poller.stop)

    def serve(self, what: str) -> None:
        """A channel does something."""
        self.served.append(what)
        self.time += COST
        self.acts.pop(what, lambda: None)()

    def connect(self, name: str) -> tuple[Serving, socket.socket]:
        """A channel of the set, which has told of itself already, and its peer."""
        near, peer = socket.socketpair()
        self.addCleanup(peer.close)
        channel = Serving(name, self)
        channel.fd = near.detach()
        self.poller.register(channel.fd, channel, self.watch)
        return channel, peer

    def connect_many(self, count: int) -> list[tuple[Serving, socket.socket]]:
        """Some of them, by numbers; the set is at rest."""
        connected = [self.connect(str(number)) for number in range(count)]
        self.rest()
        return connected

    def turn(self) -> list[str]:
        """What is served in one turn of the reactor."""
        self.served.clear()
        if not self.reactor.calls:
            self.poller.doRead()
        turn(self.reactor)
        return list(self.served)

    def rest(self) -> None:
        """Turns until nothing is to be done."""
        while self.turn():
            pass

    def test_failure(self) -> None:
        """A channel that raises, be it no `Exception`, fails; the others are served in that turn,
        and in those after it.
        """
        (_, first), (_, second) = self.connect_many(2)
        for failing in ("0", "1"):
            self.acts[failing] = sys.exit
            first.send(b"x")
            second.send(b"x")
            served = self.turn()
            self.assertEqual({"0", "1", f"{failing} failed"}, set(served))
            self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    def test_messages_first(self) -> None:
        """Where hundreds of clients leave at once, a message that came after them all waits for a
        few of them and no more, also where the kernel tells of the clients in several lists.
        """
        connected = self.connect_many(400)
        _, talker = self.connect("talker")
        self.rest()
        for _, peer in connected:
            peer.close()
        talker.send(b"hello")
        served = self.turn()
        self.assertIn("talker", served[:4])

    def test_a_turn_is_short(self) -> None:
        """Turns end after some milliseconds, though four hundred clients leave at once: all are
        served, each once, in turns to come, in their order.
        """
        connected = self.connect_many(400)
        for _, peer in connected:
            peer.close()
        served = []
        while some := self.turn():
            self.assertLess(len(some), 50)
            served += some
        self.assertEqual([each.name for each, _ in connected], served)

    def test_others_meanwhile(self) -> None:
        """Messages that come while clients that left wait for their turn go before these, and the
        clients have their share of each turn too.
        """
        connected = self.connect_many(400)
        talkers = [self.connect(f"talker {number}")[1] for number in range(20)]
        self.rest()
        for _, peer in connected:
            peer.close()
        turns = 0
        while any("talker" not in each for each in self.turn()):
            turns += 1
            for talker in talkers:
                talker.send(b"hello")
        self.assertLess(turns, 100)

    def test_closed_meanwhile(self) -> None:
        """Of a descriptor that is closed while its event waits nothing is heard, nor of whoever
        gets its number.
        """
        connected = self.connect_many(200)
        for _, peer in connected:
            peer.close()
        last, _ = connected[-1]
        self.assertNotIn(last.name, self.turn())
        self.poller.close(last.fd)
        self.rest_of = self.turn()
        near, peer = socket.socketpair()
        self.addCleanup(peer.close)
        successor = Serving("successor", self)
        successor.fd = os.dup2(near.fileno(), last.fd)
        near.close()
        self.poller.register(successor.fd, successor, self.watch)
        served = self.served_in_all()
        self.assertNotIn(last.name, served)
        self.assertEqual(1, served.count("successor"))

    def served_in_all(self) -> list[str]:
        """What is served in the turns to come."""
        served = []
        while some := self.turn():
            served += some
        return served

    def test_told_twice(self) -> None:
        """What the kernel tells of a descriptor whose event waits already is added to that: the
        channel hears of both, in one call.
        """
        from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP

        connected = self.connect_many(200)
        for _, peer in connected:
            peer.shutdown(socket.SHUT_WR)
        self.turn()
        last, peer = connected[-1]
        peer.close()
        self.shows_masks = True
        served = [each for each in self.served_in_all() if each.startswith(f"{last.name} ")]
        all_of_it = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP
        self.assertEqual([f"{last.name} {all_of_it:x}"], served)

    def test_put_off(self) -> None:
        """What hundreds of channels have put off is done a little in each turn, in order, and what
        is put off meanwhile comes behind it.
        """
        channels = [Serving(str(number), self) for number in range(300)]
        self.acts["0 again"] = lambda: self.poller.again(Serving("late", self))
        for channel in channels:
            self.poller.again(channel)
        served = []
        while some := self.turn():
            self.assertLess(len(some), 50)
            served += some
        self.assertEqual([*(f"{each.name} again" for each in channels), "late again"], served)

    def test_put_off_after_the_stop(self) -> None:
        """What is put off once all is stopped is not done, and wakes nobody."""
        self.poller.stop()
        self.poller.again(Serving("late", self))
        self.assertEqual([], self.reactor.calls)

    def test_stop(self) -> None:
        """A set that is stopped while events wait closes all, whatever time that takes."""
        connected = self.connect_many(400)
        for _, peer in connected:
            peer.close()
        self.turn()
        self.poller.again(Serving("waits", self))
        stopped = self.poller.stop()
        self.assertTrue(stopped.called)
        self.assertIn("waits again", self.served)
        for channel, _ in connected:
            self.assertRaises(OSError, os.fstat, channel.fd)
