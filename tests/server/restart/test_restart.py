"""A process takes over from another: what both do, and what goes wrong in the newer one alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from tcpmesh.server.channel.framing import pieces_of
from tcpmesh.server.restart import predecessor, rendezvous, successor
from tcpmesh.server.restart.messages import encode
from tcpmesh.server.restart.rendezvous import restart_address
from tcpmesh.server.restart.restart import MOST_SUCCESSORS, Restart
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address
from tcpmesh.values.lifecycle.restart import VERSION, CannotTakeOver
from tests.server.processes.watched import open_descriptors
from tests.server.restart.row import FakeProcess, RowTestCase
from tests.told import told_in


class FakeArrivals:
    """Takes clients, and writes down what it is told."""

    def __init__(self) -> None:
        self.giver: Any = None
        self.told: list[tuple[Any, ...]] = []

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can a client go on here?"""
        inodes = tuple(os.fstat(each).st_ino for each in descriptors)
        self.told.append(("offer", client, state, inodes))

    def take(self, client: int) -> None:
        """One that can is to."""
        self.told.append(("take", client))

    def forget(self, client: int) -> None:
        """One is not to."""
        self.told.append(("forget", client))

    def giver_gone(self) -> None:
        """The older process is no more."""
        self.told.append(("gone",))


class TakeOverTests(RowTestCase):
    """All goes well."""

    def take_over(self) -> tuple[FakeProcess, Restart]:
        """The second process serves."""
        new = FakeProcess()
        second = self.restart(new, self.begun(restart_epoch=1))
        self.clock.settle()
        self.assertEqual([], self.old.handed)
        drained = second.serve(30)
        self.clock.until(lambda: drained.called)
        return new, second

    def test_sockets(self) -> None:
        """It gets the listening sockets, with the names of their listeners and the addresses that
        these have in the configuration.
        """
        self.old.out = [self.listening("a"), self.listening("b", Address("127.0.0.1", 0))]
        taken = self.begun(restart_epoch=1).taken
        self.addCleanup(taken.close)
        self.assertEqual(["a", "b"], [each.name for each in taken.listening])
        self.assertEqual([each.asked for each in self.old.out], [e.asked for e in taken.listening])
        self.assertEqual(
            [each.sock.getsockname() for each in self.old.out],
            [each.sock.getsockname() for each in taken.listening],
        )

    def test_many_sockets(self) -> None:
        """More sockets than the kernel hands over at once come in several messages."""
        one = self.listening("a")
        self.old.out = [one._replace(name=str(number)) for number in range(600)]
        taken = self.begun(restart_epoch=1).taken
        self.addCleanup(taken.close)
        self.assertEqual([str(number) for number in range(600)], [e.name for e in taken.listening])

    def test_serves(self) -> None:
        """The older one accepts clients until the newer one does, and then ends by itself, in the
        time that the newer one gives it.
        """
        _, second = self.take_over()
        self.assertEqual([(os.getpid(), 30)], self.old.handed)
        self.assertIn("has taken over", self.first.why_not_alone(None))
        self.assertEqual(1, second.left_before)
        self.end(self.first)
        self.assertEqual(0, second.left_before)
        self.assertIs(None, second.predecessor)

    def test_counts_from_the_beginning(self) -> None:
        """What the older one has counted is asked for at once, also where its clients stay."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        second.serve(30)
        self.clock.settle()
        self.assertIn("numbers", self.old.done)

    def test_takes_its_time(self) -> None:
        """Once it has said hello the newer one may warm up for as long as it likes."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        self.clock.advance(10 * successor.HELLO_TIME)
        self.clock.settle()
        second.serve(30)
        self.clock.settle()
        self.assertEqual([(os.getpid(), 30)], self.old.handed)

    def test_facts(self) -> None:
        """The newer one knows its generation, and for how long those before it have served."""
        self.clock.advance(7)
        begun = self.begun(restart_epoch=1)
        facts = begun.facts
        self.assertEqual((1, 2, 7.0), (facts.epoch, facts.generation, facts.before))
        second = self.restart(FakeProcess(), begun)
        self.clock.advance(2)
        self.assertEqual(9.0, second.served)

    def test_place_is_handed_over(self) -> None:
        """The next process finds the newer one, also once the older one is gone; nobody else can
        begin meanwhile.
        """
        self.take_over()
        self.end(self.first)
        error = self.assertRaises(CannotTakeOver, self.begun)
        self.assertIn("another tcpmesh has base id 0", str(error))
        third = self.begun(restart_epoch=2)
        self.restart(FakeProcess(), third)
        self.assertEqual(3, third.facts.generation)

    def test_numbers(self) -> None:
        """Counters go on, sums of gauges show both processes as long as both are there, and names
        that only the older one had are gone with it.
        """
        scope = self.old.store.scope("c.")
        count = scope.counter("cx_total")
        count.tally += 3
        active = scope.gauge("cx_active", Merge.SUM)
        active.add(2)
        scope.gauge("members", Merge.MAX).set(5)
        self.old.store.scope("gone.").counter("cx_total").tally += 1
        new, second = self.take_over()
        ours = new.store.scope("c.").counter("cx_total")
        gauge = new.store.scope("c.").gauge("cx_active", Merge.SUM)
        members = new.store.scope("c.").gauge("members", Merge.MAX)
        ours.tally += 1
        gauge.add(1)
        members.set(1)
        second.ask()
        self.clock.settle()
        self.assertEqual((4, 3, 1), (ours.tally, gauge.tally, members.tally))
        count.tally += 5
        active.add(-1)
        second.ask()
        self.clock.settle()
        self.assertEqual((9, 2), (ours.tally, gauge.tally))
        self.assertIn("gone.cx_total", {each.name for each in new.store.counters()})
        count.tally += 1
        self.end(self.first)
        self.assertEqual((10, 1), (ours.tally, gauge.tally))
        self.assertNotIn("gone.cx_total", {each.name for each in new.store.counters()})

    def test_clients(self) -> None:
        """Where both want it clients go to the newer one: each is offered with its descriptors and
        what is known of it, is taken or refused, and at the end it is known how many stay and why.
        """
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        arrivals = FakeArrivals()
        second.serve(30, arrivals)
        self.clock.until(lambda: self.old.taker)
        taker = self.old.taker
        assert taker is not None
        before = open_descriptors()
        with socket.socket() as one, socket.socket() as other:
            fds = (one.fileno(), other.fileno())
            taker.offer(1, b'{"new": "\n"}', fds)
            self.clock.settle()
            expected = tuple(os.fstat(each).st_ino for each in fds)
        self.assertEqual(before, open_descriptors())
        arrivals.giver.answer(1, "")
        arrivals.giver.answer(2, "no room")
        taker.take(1)
        taker.forget(2)
        taker.stay({"a transport socket wraps it": 3})
        self.clock.settle()
        self.assertEqual([(1, ""), (2, "no room")], self.old.answers)
        told = [("offer", 1, b'{"new": "\n"}', expected), ("take", 1), ("forget", 2)]
        self.assertEqual(told, arrivals.told)
        assert second.predecessor is not None
        self.assertEqual({"a transport socket wraps it": 3}, second.predecessor.reasons)
        self.end(self.first)
        self.assertEqual(("gone",), arrivals.told[-1])

    def test_no_clients(self) -> None:
        """Where the newer one does not want them they stay, and who takes none is sent none."""
        _, second = self.take_over()
        self.assertIs(None, self.old.taker)
        self.first._successors[0].offer(1, b"{}", ())
        self.clock.settle()
        self.assertEqual([], self.old.answers)
        self.assertIsNot(None, second.predecessor)

    def test_taker_gone(self) -> None:
        """The older one hears of it when the newer one is gone, and warns that nobody accepts
        clients.
        """
        told = told_in(self, "main")
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        second.serve(30, FakeArrivals())
        self.clock.until(lambda: self.old.taker)
        self.end(second)
        self.assertIs(None, self.old.taker)
        self.assertIn("accepted no more, those that are here stay", told.lines[-1])

    def test_names_of_workers(self) -> None:
        """Names that a worker of the newer process has stay with what both have counted, though it
        was not asked for them before the older one was gone.
        """
        scope = self.old.store.scope("c.")
        scope.counter("cx_total").tally += 3
        worker = Store()
        worker.scope("c.").counter("cx_total").tally += 1
        new, second = self.take_over()
        new.store.add_collector(lambda: new.store.merge(worker.deltas(), "worker_0"))
        second.ask()
        self.clock.settle()
        scope.close()
        self.end(self.first)
        self.assertEqual({"c.cx_total": 4}, {e.name: e.tally for e in new.store.counters()})

    def test_workers_tell(self) -> None:
        """Workers of the older one tell what they have counted before it is told."""
        _, second = self.take_over()
        self.old.done.clear()
        second.ask()
        self.clock.settle()
        self.assertEqual(["numbers", "flush"], self.old.done)

    def test_connections(self) -> None:
        """The clients of the older one are known at each flush."""
        self.old.open_connections = 4
        new, second = self.take_over()
        new.open_connections = 1
        second.ask()
        self.clock.settle()
        self.assertEqual((4, 4), (second.parent_connections, second.left_before))

    def test_sinks(self) -> None:
        """What the older one has flushed to stats sinks, the newer one tells none once more."""
        for has_sinks, untold in ((True, 2), (False, 0)):
            self.old = FakeProcess()
            self.old.has_sinks = has_sinks
            counter = self.old.store.counter("n")
            counter.tally += 3
            for _ in self.old.store.taking_snapshot(0.0):
                pass
            counter.tally += 2
            self.path += "+"
            self.first = self.restart(self.old, self.begun())
            self.first.serve(0)
            new, second = self.take_over()
            ours = new.store.counter("n")
            second.ask()
            self.clock.settle()
            self.assertEqual(5, ours.tally)
            self.assertEqual(untold, new.store.deltas().counters.get("n", 0))

    def test_no_numbers(self) -> None:
        """With --skip-hot-restart-parent-stats nothing is counted on."""
        new = FakeProcess()
        second = self.restart(new, self.begun(restart_epoch=1), imports=False)
        second.serve(1)
        second.ask()
        self.clock.settle()
        self.assertNotIn("flush", self.old.done)

    def test_logs(self) -> None:
        """Log files are opened anew in all processes."""
        _, second = self.take_over()
        second.reopen_logs()
        self.clock.settle()
        self.assertIn("reopen", self.old.done)

    def test_ends_with_the_newer_one(self) -> None:
        """Where the newer one is told to end, so is the older one."""
        _, second = self.take_over()
        second.end_predecessor()
        self.clock.settle()
        self.assertIn("quit", self.old.done)

    def test_two_at_most(self) -> None:
        """A third process that somebody starts ends the first one, as in Envoy."""
        self.take_over()
        self.restart(FakeProcess(), self.begun(restart_epoch=2))
        self.clock.settle()
        self.assertIn("quit", self.old.done)

    def test_slow_to_drain(self) -> None:
        """An older one that does not answer is not waited for long."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        drained = second.serve(30)
        self.assertFalse(drained.called)
        self.clock.advance(predecessor.PATIENCE)
        self.assertTrue(drained.called)
        self.assertIn("does not say that it accepts no more clients", self.told.lines[-1])


class RefusedTests(RowTestCase):
    """No process takes over: the older one serves on."""

    def refused(self, **more: object) -> str:
        """Why a process cannot begin."""
        return str(self.assertRaises(CannotTakeOver, self.begun, **more))

    def peer(self) -> socket.socket:
        """Somebody who has come."""
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(restart_address(self.path, 0).sockaddr)
        self.clock.settle()
        return sock

    def say(self, sock: socket.socket, *messages: bytes) -> None:
        """It says this."""
        for message in messages:
            for piece in pieces_of(message):
                sock.sendall(piece.data)
        self.clock.settle()

    def assert_serves_on(self, says: str) -> None:
        """Nothing has changed, the log has one line more, and another process can take over."""
        (line,) = [each for each in self.told.lines if "serves on" in each]
        self.assertIn(says, line)
        self.assertEqual([], self.old.handed)
        self.restart(FakeProcess(), self.begun(restart_epoch=1))

    def test_epoch(self) -> None:
        """Its epoch has to be the next one."""
        self.assertIn("the next epoch is 1, not 2", self.refused(restart_epoch=2))
        self.assert_serves_on("the next epoch is 1, not 2")

    def test_not_now(self) -> None:
        """The older one may have a reason."""
        self.old.reason = "it drains"
        self.assertIn("the running process serves on: it drains", self.refused(restart_epoch=1))
        self.old.reason = ""
        self.assert_serves_on("it drains")

    def test_other_users(self) -> None:
        """Another user's process is not listened to, and root's is; nobody takes over from a
        process that is neither one's own, nor root's, nor of the user that one becomes.
        """
        self.patch(rendezvous, "peer_uid", lambda sock: 4321)
        self.assertEqual(b"", self.peer().recv(1))
        self.assertEqual("user 4321 may not take over from this process", self.told.lines[-1])
        address = restart_address(self.path, 0)
        error = self.assertRaises(CannotTakeOver, rendezvous.connect, address, 1.0, 5)
        self.assertIn("is a socket of user 4321", str(error))
        rendezvous.connect(address, 1.0, 4321).close()
        self.patch(rendezvous, "peer_uid", lambda sock: 0)
        rendezvous.connect(address, 1.0, 5).close()
        self.clock.settle()
        self.peer().close()
        self.clock.settle()
        self.assertIn("its end is closed", self.told.lines[-1])

    def test_two_at_once(self) -> None:
        """While one is about to take over, no other is."""
        self.restart(FakeProcess(), self.begun(restart_epoch=1))
        self.assertIn("is about to take over", self.refused(restart_epoch=1))

    def test_version(self) -> None:
        """One of another version is told so."""
        peer = self.peer()
        self.say(peer, encode("hello", version="no", epoch=1, pid=7))
        self.assertIn(b"hot restart version", peer.recv(999))
        self.assertEqual(b"", peer.recv(1))
        self.assert_serves_on("process 7 does not take over")

    def test_garbage(self) -> None:
        """What is no message, or none that belongs here, is the end of its sender alone."""
        hello = encode("hello", version=VERSION, epoch=1)
        for messages, says in (
            ((b"GET / HTTP/1.1",), "it is not JSON"),
            ((b"[" * 100_000,), "it is not JSON"),
            ((b"[]",), "it has no kind"),
            ((encode("hello", epoch="one"),), "epoch is no number"),
            ((encode("drain"),), "it takes over what it has not asked for"),
            ((hello, encode("drain", pid=[])), "pid is no number"),
        ):
            self.told.lines.clear()
            self.say(self.peer(), *messages)
            (line,) = [each for each in self.told.lines if "serves on" in each]
            self.assertIn(says, line)
            self.assertEqual([], self.old.handed)

    def test_frame_that_is_none(self) -> None:
        """A head that promises gigabytes is refused before anything is kept."""
        self.peer().sendall(b"\xff" * 8)
        self.clock.settle()
        self.assert_serves_on("a frame of 4294967295 bytes")

    def test_half_a_message(self) -> None:
        """One that ends in the middle has said nothing."""
        peer = self.peer()
        peer.sendall(b"\x50\0\0\0")
        peer.close()
        self.clock.settle()
        self.assert_serves_on("it ended in the middle of a message")

    def test_silence(self) -> None:
        """One that says nothing does not stay."""
        self.peer()
        self.clock.advance(successor.HELLO_TIME)
        self.assert_serves_on("it has not said hello within 10 s")

    def test_unknown_kinds(self) -> None:
        """A message of a later release that is not known here changes nothing."""
        peer = self.peer()
        self.say(peer, encode("later", more=1), encode("hello", version=VERSION, epoch=1, new=2))
        self.assertIn(b'"kind": "sockets"', peer.recv(999))

    def test_dies(self) -> None:
        """One that has the sockets and dies leaves the older one with them."""
        self.old.out = [self.listening("a")]
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        self.end(second)
        self.assert_serves_on("its end is closed")

    def test_fails(self) -> None:
        """One that cannot start says why."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        second.fail("no such extension")
        self.clock.settle()
        self.assert_serves_on("no such extension")

    def test_fails_with_many_words(self) -> None:
        """Whatever one that cannot start says, it is one line."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        second.fail("no\n" * 10_000)
        self.clock.settle()
        self.assertIn("serves on: no no no", self.told.lines[-1])
        self.assertLess(len(self.told.lines[-1]), 1000)

    def test_ends(self) -> None:
        """One that is told to end before it serves does not end the older one."""
        second = self.restart(FakeProcess(), self.begun(restart_epoch=1))
        second.end_predecessor()
        self.clock.settle()
        self.assertEqual([], self.old.done)

    def test_many(self) -> None:
        """Of peers that say nothing there are only so many."""
        peers = [self.peer() for _ in range(MOST_SUCCESSORS)]
        self.assertEqual(b"", self.peer().recv(1))
        self.assertIn("there are too many of them", self.told.lines[-1])
        for each in peers:
            each.close()
        self.clock.settle()

    def test_nothing_leaks(self) -> None:
        """Whatever comes of it, no descriptor is left."""
        self.old.out = [self.listening("a")]
        self.end(self.restart(FakeProcess(), self.begun(restart_epoch=1)))
        before = open_descriptors()
        self.end(self.restart(FakeProcess(), self.begun(restart_epoch=1)))
        self.refused(restart_epoch=3)
        self.assertEqual(before, open_descriptors())
        self.peer()
        self.end(self.first)
        self.assertEqual([], self.clock.getDelayedCalls())
