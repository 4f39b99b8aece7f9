"""How the ring shares its rounds among connections, and keeps their bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
from functools import partial
from typing import Any
from unittest import mock

from tcpmesh.values.address import Address
from tests.net.uring.available import uring
from tests.net.uring.serving import PollerCase, Receiving, Serving, Watched


@uring
class PollerTests(PollerCase):
    """A ring whose channels take half a millisecond for whatever they do."""

    def test_passed_on(self) -> None:
        """What nobody wants to see goes to the other side, in its order, and is counted."""
        source, speaker, _, listener = self.relay("talker")
        for number in range(50):
            speaker.send(b"message %d " % number)
        speaker.send(bytes(100_000))
        self.assertEqual([], self.turn())
        expected = b"".join(b"message %d " % number for number in range(50)) + bytes(100_000)
        self.assertEqual(expected, listener.recv(1 << 20))
        self.assertEqual(len(expected), source._protocol.bytes)

    def test_full_sink(self) -> None:
        """Of what the other side does not take, the rest is given back, from the first byte that it
        lacks, and what comes after that goes through the protocol.
        """
        source, speaker, sink, listener = self.relay("talker")
        sent = got = b""
        speaker.setblocking(False)
        number = 0
        while sink._out is None:
            piece = number.to_bytes(4, "big") * 1000
            number += 1
            sent += piece[: speaker.send(piece)]
            self.turn()
        sent += b"behind"
        listener.setblocking(False)
        speaker.setblocking(True)
        speaker.send(b"behind")
        self.turn()
        while True:
            try:
                got += listener.recv(1 << 20)
            except BlockingIOError:
                break
        self.assertEqual(sent, got + sink.unsent + source.data)
        self.assertTrue(sink.unsent.startswith(sent[len(got) : len(got) + 10]))
        self.assertTrue(source.data.endswith(b"behind"))

    def test_full_sink_and_full_queue(self) -> None:
        """The same where there are more completions than find room in their queue: nothing is sent
        behind what the other side has not taken.
        """
        from tcpmesh.net.uring import requests
        from tcpmesh.net.uring.poller import UringPoller
        from tcpmesh.net.uring.ring import SQ_CQ_OVERFLOW, Ring

        with mock.patch.object(requests, "Ring", partial(Ring, 32)):
            self.poller = UringPoller(self.reactor, lambda: self.time)
        self.addCleanup(self.poller.stop)
        source, speaker, sink, _ = self.relay("talker")
        self.rest()
        os.set_blocking(sink.fd, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(sink.fd, bytes(1000))
        self.poller.cancel_receive(source.fd)
        self.rest()
        for piece in (b"A", b"B"):
            speaker.send(piece * self.poller.size)
        self.poller.receive(source.fd, source)
        ready, peer = socket.socketpair()
        self.addCleanup(peer.close)
        peer.send(b"x")
        for number in range(100):
            channel = Serving(str(number), self, os.dup(ready.fileno()))
            self.poller.await_ready(channel.fd, channel, select.EPOLLIN)
        ready.close()
        ring = self.poller._ring
        self.assertTrue(ring.words[ring.sq_flags] & SQ_CQ_OVERFLOW)
        served = self.rest()
        self.assertEqual(100, sum("awaited" in each for each in served))
        self.assertLessEqual(served.count("sink of talker full"), 1)
        sent = b"A" * self.poller.size + b"B" * self.poller.size
        self.assertTrue(sink.unsent + source.data == sent)

    def test_broken_sink(self) -> None:
        """What cannot be sent because the other side is gone is given back as that; the next round
        goes on.
        """
        _, speaker, sink, listener = self.relay("talker")
        _, other, _, heard = self.relay("other")
        listener.close()
        self.rest()
        speaker.send(b"hello")
        other.send(b"hello")
        self.assertEqual(["sink of talker broken"], self.turn())
        self.assertEqual(b"hello", sink.unsent)
        self.assertEqual(b"hello", heard.recv(10))

    def test_failing_sink(self) -> None:
        """A channel that raises when it is told of that fails, and others are served."""
        _, speaker, _, listener = self.relay("talker")
        _, other, _, heard = self.relay("other")
        listener.close()
        self.rest()
        self.acts["sink of talker broken"] = sys.exit
        speaker.send(b"hello")
        other.send(b"hello")
        self.assertEqual(["sink of talker broken", "sink of talker failed"], self.turn())
        self.assertEqual(b"hello", heard.recv(10))
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    def test_end_after_bytes(self) -> None:
        """Where bytes and the end came together, the end is told when the bytes were sent on."""
        source, speaker, sink, listener = self.relay("talker")
        self.acts["talker ended"] = lambda: os.write(sink.fd, b"after")
        speaker.send(b"hello ")
        speaker.close()
        self.assertEqual(["talker ended"], self.turn())
        self.assertEqual(b"hello after", listener.recv(100))
        self.assertEqual([0], source.results)

    def test_reset_that_the_kernel_missed(self) -> None:
        """A reset that came with bytes for many buffers, of which the kernel tells no more once
        somebody has written in vain, is told soon, however silent all is.
        """
        from tcpmesh.net.uring.poller import UringPoller

        self.poller = UringPoller(self.reactor, lambda: self.time, size=64)
        self.addCleanup(self.poller.stop)
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            near, _ = server.accept()
        near.setblocking(False)
        channel = Serving("0", self, near.detach())
        os.write(channel.fd, b"what the peer does not read")
        select.select([peer], [], [])
        peer.send(bytes(6400))
        peer.close()
        self.assertRaises(ConnectionResetError, os.write, channel.fd, b"in vain")
        self.acts["0 ended"] = lambda: (
            channel.results == [-errno.ECANCELED] and self.poller.receive(channel.fd, channel)
        )
        self.poller.receive(channel.fd, channel)
        self.rest()
        self.reactor.advance(1)
        self.rest()
        self.assertEqual(bytes(6400), channel.data)
        self.assertEqual(0, channel.results[-1])

    def test_looked_at_once_more(self) -> None:
        """Whatever has received is looked at once, a little later, whether it has ended; be its
        bytes served or passed on.
        """
        for source, speaker in (self.connect("0"), self.relay("1")[:2]):
            self.rest()
            looks: list[str] = []
            source.receive_anew = partial(looks.append, "")  # type: ignore[method-assign]
            speaker.send(b"x")
            self.turn()
            speaker.shutdown(socket.SHUT_WR)
            self.turn()
            self.assertEqual([], looks)
            for _ in range(2):
                self.reactor.advance(1)
                self.assertEqual([""], looks)

    def test_more_than_buffers(self) -> None:
        """More bytes than there are buffers for arrive all, in their order: who gets none asks
        anew.
        """
        from tcpmesh.net.uring.completions import BUFFERS

        connected = self.connect_many(BUFFERS + 100)
        for number, (channel, peer) in enumerate(connected):
            self.acts[f"{channel.name} ended"] = partial(self.poller.receive, channel.fd, channel)
            peer.send(b"hello %d" % number)
        for _ in range(BUFFERS):
            self.turn()
        for number, (channel, _) in enumerate(connected):
            self.assertEqual(b"hello %d" % number, channel.data)
            self.assertLessEqual(set(channel.results), {-errno.ENOBUFS})

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
        """Where eight hundred clients leave at once, a message that came after them all waits for
        none of them.
        """
        connected = self.connect_many(800)
        _, talker, _, listener = self.relay("talker")
        self.rest()
        for _, peer in connected:
            peer.close()
        talker.send(b"hello")
        self.acts["0 ended"] = lambda: self.assertEqual(b"hello", listener.recv(10))
        self.assertIn("0 ended", self.turn())

    def test_work_that_completes_nothing(self) -> None:
        """Where the kernel has to look at three hundred connections of which there is nothing to be
        told, a message that came after them is passed on in the same turn.
        """
        front = socket.create_server(("127.0.0.1", 0), backlog=300)
        self.addCleanup(front.close)
        near = []
        for number in range(300):
            peer = socket.create_connection(front.getsockname())
            self.addCleanup(peer.close)
            near.append(front.accept()[0])
            fd = os.dup(near[-1].fileno())
            self.poller.receive(fd, Serving(str(number), self, fd))
        _, talker, _, listener = self.relay("talker")
        self.rest()
        for sock in near:
            sock.shutdown(socket.SHUT_WR)  # that its peer has noted that, wakes it
            sock.close()
        talker.send(b"hello")
        self.assertEqual([], self.turn())
        self.assertEqual(b"hello", listener.recv(10))

    def test_a_turn_is_short(self) -> None:
        """Turns end after some milliseconds, though four hundred clients send and leave at once:
        all are served in turns to come, in their order, and no byte is lost or another's.
        """
        connected = self.connect_many(400)
        for channel, peer in connected:
            peer.send(channel.name.encode())
            peer.close()
        served = []
        while some := self.turn():
            self.assertLess(len(some), 50)
            served += some
        expected = [name for each, _ in connected for name in (each.name, f"{each.name} ended")]
        self.assertEqual(sorted(expected), sorted(served))
        self.assertEqual(expected[::2], [each for each in served if "ended" not in each])
        for channel, _ in connected:
            self.assertEqual(channel.name.encode(), channel.data)

    def test_bytes_behind_what_waits(self) -> None:
        """What comes while earlier bytes of the same connection wait for their turn is delivered
        behind them.
        """
        connected = self.connect_many(200)
        for _, peer in connected:
            peer.send(b"one ")
        self.turn()
        for _, peer in connected:
            peer.send(b"two")
        self.rest()
        self.assertEqual({b"one two"}, {each.data for each, _ in connected})

    def test_more_bytes_than_can_be_served(self) -> None:
        """Where bytes come faster than channels take them, a few pieces of each wait here, and the
        others in the kernel, until there is no room for more; all arrive in their order.
        """
        connected = [self.connect(str(number), Receiving) for number in range(100)]
        self.rest()
        sent = dict.fromkeys(range(100), b"")
        for piece in range(100):
            for number, (_, peer) in enumerate(connected):
                data = b"%d of %d " % (piece, number)
                sent[number] += data
                peer.send(data)
            self.turn()
            self.assertLess(len(self.poller._rest), 300)
        self.rest()
        self.assertEqual(sent, {number: each.data for number, (each, _) in enumerate(connected)})

    def test_awaited(self) -> None:
        """What is awaited of a descriptor is told once: at once where it is there already, and not
        again before somebody asks.
        """
        near, peer = socket.socketpair()
        self.addCleanup(peer.close)
        channel = Serving("0", self, near.detach())
        for sent in (b"x", b"", b"x"):
            peer.send(sent)
            self.poller.await_ready(channel.fd, channel, select.EPOLLIN)
            self.assertEqual(["0 awaited 1"], self.rest())
        os.read(channel.fd, 2)
        self.poller.await_ready(channel.fd, channel, select.EPOLLIN)
        self.assertEqual([], self.rest())
        self.poller.close(channel.fd)
        self.assertEqual([], self.turn() + self.turn())
        self.assertEqual(b"", peer.recv(1))

    def poll_busily(self, seconds: float, asked: int) -> list[str]:
        """How the kernel is asked in a turn, by a poller that polls busily for so long, if the
        talker says something more when it is asked for this time.
        """
        _, speaker = self.connect("talker")
        self.rest()
        self.poller._busy = seconds
        asks: list[str] = []
        ring = self.poller._ring
        exchange, wait = ring.exchange, ring.wait

        def exchanged() -> None:
            asks.append("ask")
            if len(asks) == asked:
                speaker.send(b"more")
            self.time += 0.0001
            exchange()

        def waited(seconds: float) -> None:
            asks.append("wait")
            wait(0.0)

        self.patch(ring, "exchange", exchanged)
        self.patch(ring, "wait", waited)
        speaker.send(b"x")
        self.turn()
        return asks

    def test_polls_busily(self) -> None:
        """After an event the kernel is asked for so long before anybody sleeps; what comes
        meanwhile is served at once.
        """
        asks = self.poll_busily(0.001, 5)
        self.assertEqual(["talker", "talker"], self.served)
        self.assertEqual(["ask"] * 5, asks[:5])
        self.assertGreater(asks.index("wait"), 5 + 8)

    def test_sleeps_at_once(self) -> None:
        """Without that it sleeps at once."""
        self.assertEqual(["ask", "wait"], self.poll_busily(0.0, -1)[:2])

    def test_put_off(self) -> None:
        """What hundreds of channels have put off is done a little in each turn, in order, and what
        is put off meanwhile comes behind it.
        """
        channels = [Serving(str(number), self, -1) for number in range(300)]
        self.acts["0 again"] = lambda: self.poller.again(Serving("late", self, -1))
        for channel in channels:
            self.poller.again(channel)
        served = []
        while some := self.turn():
            self.assertLess(len(some), 50)
            served += some
        self.assertEqual([*(f"{each.name} again" for each in channels), "late again"], served)

    def test_close(self) -> None:
        """A descriptor that is closed while it receives is really closed: its peer sees the end,
        its number is free, and nothing more is served of it.
        """
        channel, peer = self.connect("0")
        self.rest()
        peer.send(b"too late")
        self.poller.close(channel.fd)
        self.assertEqual([], self.rest())
        self.assertRaises(OSError, os.fstat, channel.fd)
        self.assertEqual(b"", peer.recv(10))

    def test_great_numbers(self) -> None:
        """Descriptors of greater numbers than there was room for at first receive, and are closed,
        as all others.
        """
        from tcpmesh.net.uring import requests
        from tcpmesh.net.uring.poller import UringPoller

        self.patch(requests, "MOST_AT_FIRST", 1)
        self.poller = UringPoller(self.reactor, lambda: self.time)
        self.addCleanup(self.poller.stop)
        connected = self.connect_many(20)
        for channel, peer in connected:
            peer.send(channel.name.encode())
        self.rest()
        for channel, _ in connected:
            self.assertEqual(channel.name.encode(), channel.data)
            self.poller.close(channel.fd)
        for _ in range(3):
            self.turn()
        for _, peer in connected:
            self.assertEqual(b"", peer.recv(1))
        self.assertEqual({0}, set(self.poller._under_way))

    def test_number_of_a_closed_one(self) -> None:
        """A descriptor whose number was that of a connection which received a moment ago is not
        taken for it, be that closed or given away, at once or later.
        """

        def give_away(fd: int) -> None:
            self.poller.unregister(fd)
            os.close(fd)

        for end, at_once in (
            (self.poller.close, False),
            (self.poller.close, True),
            (give_away, False),
            (give_away, True),
        ):
            channel, peer = self.connect("0")
            if at_once:
                self.acts["0"] = partial(end, channel.fd)
            peer.send(b"hello")
            self.turn()
            if not at_once:
                end(channel.fd)
            while os.path.exists(f"/proc/self/fd/{channel.fd}"):
                self.turn()
            sock = socket.socket()
            if sock.fileno() == channel.fd:
                sock.detach()
            else:
                os.dup2(sock.fileno(), channel.fd)
                sock.close()
            other = Watched("other", self, channel.fd)
            self.poller.register(channel.fd, other, select.EPOLLIN | select.EPOLLONESHOT)
            self.reactor.advance(1)
            self.rest()
            self.poller.close(channel.fd)
            self.rest()

    def test_settle(self) -> None:
        """Who takes a descriptor away gets all bytes that were received for it before, and the next
        ones are in the socket; those of others are theirs, in order.
        """
        channel, peer = self.connect("0")
        other, others_peer = self.connect("1")
        self.rest()
        for sock in (peer, others_peer):
            sock.send(b"hello")
        ring = self.poller._ring
        with mock.patch.object(ring, "exchange", wraps=ring.exchange) as exchange:
            self.poller.settle(channel.fd)
        self.assertLess(exchange.call_count, 5)
        self.assertNotIn(channel.fd, self.poller._odd)
        received = channel.data
        self.assertEqual([-errno.ECANCELED], channel.results)
        peer.send(b" again")
        others_peer.send(b" again")
        self.poller.unregister(channel.fd)
        self.rest()
        self.assertEqual(b"hello again", other.data)
        left = os.read(channel.fd, 100)
        self.assertEqual(b"hello again", received + left)
        os.close(channel.fd)

    def test_settle_again_and_again(self) -> None:
        """However often that happens, no buffer is lost, and none is given back twice."""
        from tcpmesh.net.uring.completions import BUFFERS

        channel, peer = self.connect("0")
        for _ in range(BUFFERS + 100):
            peer.send(b"x")
            self.poller.settle(channel.fd)
            self.poller.receive(channel.fd, channel)
        self.assertLessEqual(self.poller._buffers._tail, BUFFERS + BUFFERS + 100)
        for _ in range(2 * BUFFERS):
            peer.send(b"x")
            self.turn()
        self.assertEqual(b"x" * (3 * BUFFERS + 100), channel.data)
        self.assertEqual({-errno.ECANCELED}, set(channel.results))

    def test_settle_in_a_round(self) -> None:
        """The same from within a round, while bytes of it wait to be served."""
        connected = self.connect_many(30)
        last, _ = connected[-1]
        self.acts["0"] = lambda: self.poller.settle(last.fd)
        for channel, peer in connected:
            peer.send(channel.name.encode())
        served = self.turn()
        self.assertEqual(["0", "29", "29 ended"], served[:3])
        self.rest()
        for channel, _ in connected:
            self.assertEqual(channel.name.encode(), channel.data)

    def test_watched(self) -> None:
        """A descriptor that is watched tells of its readiness as long as that lasts, or once, as an
        epoll set does; and of nothing when it is not watched any more.
        """
        for mask, expected in (
            (select.EPOLLIN, [["0 1"], ["0 1"], ["0 1"]]),
            (select.EPOLLIN | select.EPOLLONESHOT, [["0 1"], [], []]),
        ):
            near, peer = socket.socketpair()
            self.addCleanup(near.close)
            self.addCleanup(peer.close)
            channel = Serving("0", self, near.fileno())
            self.poller.register(channel.fd, channel, mask)
            peer.send(b"x")
            seen = [sorted(set(self.turn()))]
            seen.append(sorted(set(self.turn())))
            peer.send(b"x")
            seen.append(sorted(set(self.turn())))
            self.assertEqual(expected, seen)
            self.poller.unregister(channel.fd)
            peer.send(b"x")
            self.assertEqual([], self.turn())

    def test_watched_and_failing(self) -> None:
        """A descriptor whose channel has raised is still watched, as a listening socket has to be
        whose factory failed for one client.
        """
        near, peer = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(peer.close)
        channel = Serving("0", self, near.fileno())
        self.poller.register(channel.fd, channel, select.EPOLLIN)
        self.acts["0 1"] = sys.exit
        peer.send(b"x")
        self.assertEqual(["0 1", "0 failed"], self.turn()[:2])
        peer.send(b"x")
        self.assertIn("0 1", self.turn())
        self.poller.unregister(channel.fd)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    def test_duplicates(self) -> None:
        """Of two descriptors of one socket each is watched by itself: the one goes on telling when
        the other is watched no more, or closed.
        """
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        server.setblocking(False)
        for end in (self.poller.unregister, self.poller.close):
            first = Serving("first", self, os.dup(server.fileno()))
            second = Serving("second", self, os.dup(server.fileno()))
            for channel in (first, second):
                self.poller.register(channel.fd, channel, select.EPOLLIN)
            self.rest()
            end(first.fd)
            self.rest()
            with socket.create_connection(server.getsockname()):
                select.select([server], [], [])
                self.assertEqual({"second 1"}, set(self.turn()))
                server.accept()[0].close()
            self.turn()
            self.poller.close(second.fd)
            self.rest()

    def test_duplicate_of_a_connection(self) -> None:
        """The same of two descriptors of one connection: who receives by the one is not cancelled
        with the other.
        """
        channel, peer = self.connect("0")
        copy = Serving("copy", self, os.dup(channel.fd))
        self.poller.await_room(copy.fd, copy)
        self.poller.receive(copy.fd, copy)
        self.rest()
        self.poller.close(copy.fd)
        self.rest()
        peer.send(b"hello")
        self.assertEqual(["0"], self.turn())
        self.assertEqual([], channel.results)

    def test_stale_flag(self) -> None:
        """Where the kernel says for ever that it has work, and has none, turns end, the next is not
        at once, but soon, and what does come is served.
        """
        from tcpmesh.net.uring.ring import SQ_TASKRUN

        _, peer = self.connect("0")
        self.rest()
        ring = self.poller._ring
        for _ in range(3):
            ring.words[ring.sq_flags] |= SQ_TASKRUN
            for _ in range(2):
                self.poller.doRead()
                self.assertTrue(ring.words[ring.sq_flags] & SQ_TASKRUN)
                (later,) = self.reactor.calls
                self.assertGreater(later.getTime(), self.reactor.seconds())
            with mock.patch.object(ring, "exchange", wraps=ring.exchange) as exchange:
                self.reactor.advance(1)
            self.assertTrue(exchange.called)
            (later,) = self.reactor.calls
            self.assertEqual([], self.served)
        peer.send(b"x")
        self.assertEqual(["0"], self.turn())

    def test_wakes_the_reactor(self) -> None:
        """What comes while nobody is in a round makes the descriptor readable, each time, and after
        the round it is not.
        """
        _, peer = self.connect("0")
        self.rest()
        for _ in range(3):
            self.assertEqual([], select.select([self.poller], [], [], 0)[0])
            peer.send(b"x")
            self.assertEqual([self.poller], select.select([self.poller], [], [], 5)[0])
            self.assertEqual(["0"], self.turn())

    def test_connect(self) -> None:
        """Connecting gives what the system call would, for either family, however many addresses
        there are.
        """
        from tcpmesh.net.uring import requests

        self.patch(requests, "MOST_NAMES", 2)
        for host in ("127.0.0.1", "::1", "127.0.0.2", "127.0.0.3"):
            address = Address(host)
            with socket.create_server((host, 0), family=address.family) as server:
                for port, expected in ((server.getsockname()[1], 0), (1, -errno.ECONNREFUSED)):
                    sock = socket.socket(address.family)
                    sock.setblocking(False)
                    channel = Serving(host, self, sock.detach())
                    self.poller.connect(channel.fd, channel, Address(host, port))
                    while not channel.results:
                        self.turn()
                    self.assertEqual([expected], channel.results)
                    self.poller.close(channel.fd)

    def test_put_off_after_the_stop(self) -> None:
        """What is put off once all is stopped is not done, and wakes nobody."""
        self.poller.stop()
        self.poller.again(Serving("late", self, -1))
        self.assertEqual([], self.reactor.calls)

    def test_stop(self) -> None:
        """A ring that is stopped while much is under way closes all, and itself."""
        connected = self.connect_many(400)
        for _, peer in connected[:200]:
            peer.close()
        self.turn()
        self.poller.again(Serving("waits", self, -1))
        self.assertTrue(self.poller.stop().called)
        self.assertIn("waits again", self.served)
        for channel, _ in connected:
            self.assertRaises(OSError, os.fstat, channel.fd)
        for _, peer in connected[200:]:
            self.assertEqual(b"", peer.recv(1))
            peer.close()
        self.assertEqual(self.before, set(os.listdir("/proc/self/fd")))

    def test_stop_in_a_round(self) -> None:
        """Stopping from within a round closes all at its end."""
        (first, peer), (second, other) = self.connect_many(2)
        stopped: list[Any] = []
        self.acts["0"] = lambda: stopped.append(self.poller.stop())
        peer.send(b"x")
        self.turn()
        self.assertTrue(stopped[0].called)
        for channel in (first, second):
            self.assertRaises(OSError, os.fstat, channel.fd)
        self.assertEqual(b"", other.recv(1))
