"""What becomes of completions that have to wait, and of those that somebody takes away."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
from functools import partial
from typing import Any
from unittest import mock

from tcpmesh.net.epoll.base_poller import EVERY, SLICE
from tests.net.uring.available import uring
from tests.net.uring.serving import PollerCase, Serving


@uring
class CompletionsTests(PollerCase):
    """A ring whose channels take half a millisecond for whatever they do."""

    def small(self, buffers: int) -> None:
        """The ring gets so many buffers, of 64 bytes."""
        from tcpmesh.net.uring import completions
        from tcpmesh.net.uring.poller import UringPoller

        self.patch(completions, "BUFFERS", buffers)
        self.poller = UringPoller(self.reactor, lambda: self.time, size=64)
        self.addCleanup(self.poller.stop)

    def test_quiet(self) -> None:
        """A ring that nobody has asked for anything wakes nobody."""
        self.assertFalse(self.is_due())

    def test_none_to_be_had(self) -> None:
        """A ring that gets no buffers, no descriptor to wake by, or whose kernel does not take
        that, leaves none open.
        """
        from tcpmesh.net.uring.ring import REGISTER_EVENTFD, REGISTER_PBUF_RING, Ring

        register = Ring.register
        for refused in (REGISTER_PBUF_RING, REGISTER_EVENTFD):

            def refuse(ring: Ring, what: int, *rest: Any, refused: int = refused) -> None:
                if what == refused:
                    raise OSError(errno.EINVAL, "no")
                register(ring, what, *rest)

            with mock.patch.object(Ring, "register", refuse):
                self.assert_fails()
        with mock.patch("os.eventfd", side_effect=OSError(errno.EMFILE, "too many")):
            self.assert_fails()

    def assert_fails(self) -> None:
        """No poller can be made, and nothing is left of it."""
        from tcpmesh.net.uring.poller import UringPoller

        before = set(os.listdir("/proc/self/fd"))
        self.assertRaises(OSError, UringPoller, self.reactor)
        self.assertEqual(before, set(os.listdir("/proc/self/fd")))

    def test_share_of_a_round(self) -> None:
        """Of what waits as much is served in each round as fits into two milliseconds, or a few
        that cost more than that; while something waits nobody sleeps.
        """
        rounds: list[int] = []
        wait = self.poller._ring.wait

        def waits(seconds: float) -> None:
            self.assertFalse(self.poller._rest)
            wait(seconds)

        self.patch(self.poller._ring, "wait", waits)

        def served() -> None:
            rounds.append(self.poller.turn)

        for self.cost in (SLICE / 20, SLICE):
            rounds.clear()
            for channel, peer in self.connect_many(100):
                self.acts[f"{channel.name} ended"] = served
                peer.close()
            self.rest()
            shares = [rounds.count(each) for each in sorted(set(rounds))[:-1]]
            fits = max(EVERY, round(SLICE / self.cost))
            self.assertLessEqual({*shares}, {fits, fits + EVERY})

    def test_full_at_a_boundary(self) -> None:
        """Where the other side takes no byte of a message it is told so, and gets all of it; that
        is no failure.
        """
        _, speaker, sink, _ = self.relay("talker")
        self.rest()
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(sink.fd, b"x")
        speaker.send(b"hello")
        self.assertEqual(["sink of talker full"], self.turn())
        self.assertEqual(b"hello", sink.unsent)

    def test_full_as_the_round_ends(self) -> None:
        """What it does not take is whole, however soon the buffers are filled again, and room for
        it that is asked for then is told; be it that the round goes on or ends.
        """
        for turns, goes_on in itertools.product(range(4), (True, False)):
            self.small(4)
            _, speaker, sink, listener = self.relay("talker")
            others = self.connect_many(4)
            for _ in range(turns):
                others[0][1].send(b"x")
                self.turn()
            self.fill(sink.fd)
            self.acts["sink of talker full"] = partial(self.poller.await_room, sink.fd, sink)
            speaker.send(b"hello")
            self.poller.doRead()
            for _, peer in others if goes_on else ():
                peer.send(b"other")
            self.rest()
            self.assertEqual(b"hello", sink.unsent)
            with contextlib.suppress(BlockingIOError):
                while listener.recv(1 << 24):
                    pass
            self.assertEqual(["sink of talker 4"], self.turn())

    def test_many_that_become_ready(self) -> None:
        """Where many have become ready at once, turns are short, and all are told, in order."""
        pairs = [self.pair(str(number)) for number in range(100)]
        for channel, peer in pairs:
            self.poller.await_ready(channel.fd, channel, select.EPOLLIN)
            peer.send(b"x")
        served = []
        while some := self.turn():
            self.assertLess(len(some), 50)
            served += some
        self.assertEqual([f"{number} awaited 1" for number in range(100)], served)
        for channel, _ in pairs:
            self.poller.close(channel.fd)

    def test_full_in_the_middle(self) -> None:
        """Where it takes a part of a message, it gets the rest, from the first byte it lacks."""
        source, speaker, sink, _ = self.relay("talker")
        with socket.create_server(("127.0.0.1", 0)) as server:
            listener = socket.create_connection(server.getsockname())
            self.addCleanup(listener.close)
            near, _ = server.accept()
        near.setblocking(False)
        source._onto = narrow = Serving("narrow", self, near.detach())
        self.poller.receive(narrow.fd, narrow)
        self.rest()
        sent = 0
        while narrow._out is None:
            sent += speaker.send(b"".join(b"%07d " % each for each in range(2000)))
            served = self.turn()
        got = b""
        while len(got) + len(narrow.unsent) < sent:
            got += listener.recv(1 << 20)
        pieces = (got + narrow.unsent).split()
        self.assertEqual([b"%07d" % (each % 2000) for each in range(sent // 8)], pieces)
        self.assertEqual(0, sink._protocol.bytes)
        self.assertEqual(1, served.count("narrow full"))

    def test_one_call_for_many(self) -> None:
        """The messages of many connections are passed on by few calls to the kernel."""
        from tcpmesh.net.uring import ring

        relays = [self.relay(str(number)) for number in range(40)]
        self.rest()
        for number, (_, speaker, _, _) in enumerate(relays):
            speaker.send(b"from %d" % number)
        with mock.patch.object(ring, "_enter", wraps=ring._enter) as enter:
            self.turn()
        self.assertLess(enter.call_count, 15)
        for number, (_, _, _, listener) in enumerate(relays):
            self.assertEqual(b"from %d" % number, listener.recv(100))

    def test_more_messages_than_entries(self) -> None:
        """More messages than the ring has entries for are all passed on, each once and to its own
        side, and all who sent them are looked at once more.
        """
        from tcpmesh.net.uring import requests
        from tcpmesh.net.uring.poller import UringPoller
        from tcpmesh.net.uring.ring import Ring

        self.patch(requests, "Ring", partial(Ring, 4))
        self.poller = UringPoller(self.reactor, lambda: self.time)
        self.addCleanup(self.poller.stop)
        relays = [self.relay(str(number)) for number in range(30)]
        self.rest()
        for number, (_, speaker, _, _) in enumerate(relays):
            speaker.send(b"from %d" % number)
        looked_at: list[int] = []
        for number, (source, _, _, _) in enumerate(relays):
            source.receive_anew = partial(looked_at.append, number)  # type: ignore[method-assign]
        for _ in range(10):
            self.turn()
        for number, (source, speaker, _, listener) in enumerate(relays):
            self.assertEqual(b"from %d" % number, source.data or listener.recv(100))
            speaker.shutdown(socket.SHUT_WR)
        self.reactor.advance(1)
        self.assertEqual([*range(30)], sorted(looked_at))

    def test_broken_while_waiting(self) -> None:
        """A side that turns out to be gone while the round waits for what comes next is told so in
        that round.
        """
        source, speaker = self.connect("talker")
        sink, listener = self.pair("sink")
        self.poller.replace(sink.fd, sink)
        source._onto = sink
        listener.close()
        speaker.send(b"hello")
        self.assertEqual(["sink broken"], self.turn())
        self.assertEqual(b"hello", sink.unsent)

    def test_comes_while_a_round_ends(self) -> None:
        """What comes at any moment of a round, be it the last, is served without another event."""
        from tcpmesh.net.uring.poller import UringPoller

        for moment in range(1, 12):
            calls: list[int] = []
            peers: list[socket.socket] = []

            def now(calls: list[int] = calls, peers: Any = peers, moment: int = moment) -> float:
                calls.append(0)
                if peers and len(calls) == moment:
                    peers[0].send(b"late")
                    self.time += 1
                return self.time

            self.poller = UringPoller(self.reactor, now)
            self.addCleanup(self.poller.stop)
            channel, peer = self.connect("0")
            self.rest()
            peers.append(peer)
            calls.clear()
            peer.send(b"early ")
            for _ in range(3):
                self.turn()
            if len(calls) < moment:
                break
            self.assertEqual(
                b"early late", channel.data, f"at the {moment}th moment of {len(calls)}"
            )
        else:
            self.fail("a round has no end")

    def test_passed_on_again(self) -> None:
        """What comes for a connection whose earlier bytes had to be served is passed on again as
        soon as these were, whether others still wait or not.
        """
        for others in (100, 0):
            connected = self.connect_many(others)
            source, speaker, sink, listener = self.relay("talker")
            self.rest()
            sink._out = b"full"
            speaker.send(b"one ")
            for _, peer in connected:
                peer.close()
            self.assertEqual("talker", self.turn()[0])
            sink._out = None
            speaker.send(b"two")
            self.assertEqual(bool(others), bool(self.turn()))
            self.assertEqual((b"one ", b"two"), (source.data, listener.recv(10)))
            self.rest()

    def test_settle_while_others_wait(self) -> None:
        """Who takes a descriptor away in a round takes none of the bytes that wait for others, or
        come for them meanwhile, however soon their buffers are filled again.
        """
        self.small(64)
        connected = self.connect_many(40)
        last, _ = connected[-1]
        _, speaker, _, listener = self.relay("talker")
        self.rest()
        first, firsts_peer = connected[0]

        def settle() -> None:
            firsts_peer.send(b" and more")
            self.poller.settle(last.fd)

        self.acts["0"] = settle
        for channel, peer in connected:
            peer.send(channel.name.encode())
        self.cost = 0.02  # so that each turn serves a few
        while self.turn():
            speaker.send(b"?" * 64 * 20)
            with contextlib.suppress(BlockingIOError):
                listener.recv(1 << 20)
        self.assertEqual(b"0 and more", first.data)
        for channel, _ in connected[1:]:
            self.assertEqual(channel.name.encode(), channel.data)

    def test_settle_wakes(self) -> None:
        """What was completed for others meanwhile is told them in the next turn of the reactor."""
        channel, _ = self.connect("0")
        _, peer = self.connect("1")
        self.rest()
        peer.send(b"x")
        self.poller.settle(channel.fd)
        self.assertEqual(["0 ended"], self.served)
        self.silence()
        self.assertEqual(["1"], self.turn())

    def test_settle_takes_its_time(self) -> None:
        """Where the kernel takes a while to cancel what is under way, that is waited for, though
        much has come for others; after that nothing is received by it.
        """
        channel, peer = self.connect("0")
        _, others_peer = self.connect("1")
        self.rest()
        ring = self.poller._ring
        exchange, calls = ring.exchange, [ring.submit] * 3

        def slow() -> None:
            calls.pop()() if calls else exchange()

        self.patch(ring, "exchange", slow)
        others_peer.send(b"x")
        others_peer.close()
        self.poller.settle(channel.fd)
        self.assertEqual([-errno.ECANCELED], channel.results)
        peer.send(b"hello")
        self.assertEqual({"1", "1 ended"}, set(self.rest()))
        self.assertEqual(b"hello", os.read(channel.fd, 10))

    def at_hand(self) -> int:
        """How many of the ring's buffers are, found by filling them."""
        others = self.connect_many(8)
        for other, peer in others:
            peer.send(other.name.encode())
        self.rest()
        full = [other for other, _ in others if other.data == other.name.encode()]
        refused = [other for other, _ in others if other.results == [-errno.ENOBUFS]]
        self.assertEqual(len(others), len(full) + len(refused))
        for other, _ in others:
            self.poller.close(other.fd)
        self.rest()
        return len(full)

    def test_settle_of_the_silent(self) -> None:
        """However often a silent connection is taken away and comes back, no buffer is given back
        that was not filled.
        """
        self.small(4)
        channel, peer = self.connect("silent")
        for _ in range(10):
            self.poller.settle(channel.fd)
            self.poller.receive(channel.fd, channel)
        self.rest()
        self.assertEqual(4, self.at_hand())
        peer.send(b"x")
        self.assertEqual(["silent"], self.rest())

    def test_buffers_of_many_rounds(self) -> None:
        """After however many rounds, in which bytes were passed on, served, or both, as many
        buffers are at hand as there are.
        """
        self.small(4)
        _, speaker, _, listener = self.relay("talker")
        _, peer = self.connect("other")
        for number in range(20):
            if number % 3:
                speaker.send(b"x")
            if number % 2:
                peer.send(b"x")
            self.turn()
        self.rest()
        self.assertEqual(b"x" * 13, listener.recv(100))
        self.assertEqual(4, self.at_hand())

    def test_settle_more_often_than_completions(self) -> None:
        """However often that happens between two rounds, the kernel has room for completions."""
        channel, peer = self.connect("0")
        ring = self.poller._ring
        for _ in range(ring.room + 100):
            self.poller.settle(channel.fd)
            self.poller.receive(channel.fd, channel)
        self.assertFalse(ring.words[ring.sq_flags] & 2)
        peer.send(b"x")
        self.assertIn("0", self.turn())
