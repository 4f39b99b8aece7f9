"""Messages and descriptors over a real socketpair, one turn of a reactor at a time."""

from __future__ import annotations

import array
import os
import resource
import socket
from collections.abc import Sequence
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import AT_ONCE, HEAD, FramingError
from tests.server.processes.watched import WatchingClock, open_descriptors


class ChannelTests(SynchronousTestCase):
    """`Channel`."""

    def setUp(self) -> None:
        """Two ends, of which one is a channel."""
        self.before = open_descriptors()
        self.reactor = WatchingClock()
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.came: list[tuple[bytes, tuple[int, ...]]] = []
        self.lost: list[str] = []
        self.channel = self.channel_of(ours)

    def channel_of(self, sock: socket.socket, most_waiting: int = 1 << 20) -> Channel:
        """The channel of an end."""
        channel = Channel(
            sock,
            self.reactor,
            lambda body, descriptors: self.came.append((body, descriptors)),
            self.lost.append,
            most=1 << 16,
            most_waiting=most_waiting,
        )
        self.addCleanup(channel.close)
        return channel

    def say(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """The peer sends this."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self.peer.sendmsg([data], [rights] if descriptors else [])
        self.reactor.settle()

    def file(self) -> int:
        """A new descriptor, closed at the end."""
        reading, writing = os.pipe()
        os.close(writing)
        self.addCleanup(os.close, reading)
        return reading

    def assert_nothing_leaks(self) -> None:
        """Once the peer's end is closed, there are the descriptors of before."""
        self.channel.close()
        self.peer.close()
        for _, descriptors in self.came:
            for fd in descriptors:
                os.close(fd)
        self.assertEqual(open_descriptors() - self.before, set())

    def test_both_ways(self) -> None:
        """A frame and its descriptors arrive at a channel of the other side."""
        other_came = self.came
        self.channel_of(self.peer.dup())
        fd = self.file()
        self.channel.send(b"with one", [fd])
        self.channel.send(b"with none")
        self.reactor.settle()
        (first, (arrived,)), second = other_came
        self.addCleanup(os.close, arrived)
        self.assertEqual([first, second], [b"with one", (b"with none", ())])
        self.assertTrue(os.path.sameopenfile(fd, arrived))
        self.assertFalse(os.get_inheritable(arrived))

    def test_many_descriptors(self) -> None:
        """More descriptors than the kernel takes at once arrive with their frame, in order."""
        self.channel_of(self.peer.dup())
        descriptors = [self.file() for _ in range(4)] * AT_ONCE
        self.channel.send(b"many", descriptors)
        self.reactor.settle()
        ((body, arrived),) = self.came
        self.assertEqual(body, b"many")
        self.assertEqual(len(arrived), len(descriptors))
        same = map(os.path.sameopenfile, descriptors, arrived)
        self.assertTrue(all(same))
        for fd in arrived:
            os.close(fd)

    def test_byte_by_byte(self) -> None:
        """A frame that comes in single bytes is handed on once, with its descriptor."""
        fd = self.file()
        data = HEAD.pack(2, 1) + b"hi"
        for at in range(len(data)):
            self.say(data[at : at + 1], [fd] if not at else ())
        ((body, (arrived,)),) = self.came
        os.close(arrived)
        self.assertEqual(body, b"hi")

    def test_slow_reader(self) -> None:
        """What the other side does not take at once arrives later, whole and in order, and the
        sender need not keep its descriptors open.
        """
        other: list[tuple[bytes, int]] = []
        bodies = [bytes([number]) * 60_000 for number in range(16)]
        for body in bodies:
            reading, writing = os.pipe()
            self.channel.send(body, [reading])
            os.close(reading)
            os.close(writing)

        def take(body: bytes, descriptors: tuple[int, ...]) -> None:
            other.append((body, len(descriptors)))
            for fd in descriptors:
                os.close(fd)

        slow = Channel(self.peer.dup(), self.reactor, take, self.lost.append)
        self.addCleanup(slow.close)
        self.reactor.settle()
        self.assertEqual(other, [(body, 1) for body in bodies])
        self.assertEqual(self.reactor.writers, set())

    def test_peer_that_reads_no_more(self) -> None:
        """A peer for which too much waits is lost, not from within `send`, and nothing that waited
        stays open.
        """
        fd = self.file()
        for _ in range(30):
            self.channel.send(b"x" * 60_000, [fd])
        self.assertEqual(self.lost, [])
        self.reactor.settle()
        self.assertEqual(len(self.lost), 1)
        self.assertRegex(self.lost[0], r"it does not read: \d+ bytes wait")
        self.peer.close()
        self.assertEqual(open_descriptors() - self.before, {str(fd)})

    def test_end(self) -> None:
        """The end of the other side is told once, and sending to it does nothing."""
        self.peer.close()
        self.channel.send(b"nobody is there")
        self.reactor.settle()
        self.channel.send(b"nor now")
        self.assertEqual(len(self.lost), 1)
        self.assertFalse(self.channel.is_open)
        self.assertEqual(self.channel.fileno(), -1)
        self.assert_nothing_leaks()

    def test_end_after_messages(self) -> None:
        """What came before the end is handed on before it is told."""
        self.peer.sendall(HEAD.pack(1, 0) + b"x")
        self.peer.close()
        self.reactor.settle()
        self.assertEqual((self.came, self.lost), ([(b"x", ())], ["its end is closed"]))

    def test_half_a_frame(self) -> None:
        """A peer that ends within a frame is lost, and the descriptors of that frame are closed."""
        fd = self.file()
        self.say(HEAD.pack(9, 1) + b"hal", [fd])
        self.peer.close()
        self.reactor.settle()
        self.assertEqual(self.lost, ["it ended in the middle of a message"])
        self.assertEqual(open_descriptors() - self.before, {str(fd)})

    def test_too_long(self) -> None:
        """A peer that announces a frame that is too long is lost."""
        self.say(HEAD.pack(1 << 30, 0))
        self.assertEqual(self.lost, [f"a frame of {1 << 30} bytes"])
        self.assert_nothing_leaks()

    def test_unwanted_descriptors(self) -> None:
        """A peer that sends descriptors beside a frame that has none is lost, and they are
        closed.
        """
        fd = self.file()
        self.say(HEAD.pack(0, 0), [fd])
        self.assertEqual(self.lost, ["descriptors came that belong to no frame"])
        self.peer.close()
        self.assertEqual(open_descriptors() - self.before, {str(fd)})

    def test_no_room_for_descriptors(self) -> None:
        """Where this process can have no more descriptors, so that the kernel drops those that
        come, the peer is lost, and what came of them is closed.
        """
        self.say_without_room(self.channel)
        self.assertEqual(self.lost, ["descriptors are lost: there is no room for them here"])

    def say_without_room(self, channel: Channel) -> None:
        """The peer sends descriptors for which there is no room."""
        fds = [self.file() for _ in range(3)]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = len(open_descriptors())
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self.peer.sendmsg([HEAD.pack(1, 3) + b"x"], [rights])
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
        try:
            channel.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertLessEqual(len(open_descriptors()), before)

    def test_cut(self) -> None:
        """Where that is wanted, the frame alone is told of that has lost its descriptors, and all
        goes on.
        """
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        cut: list[bytes] = []
        channel = Channel(
            ours,
            self.reactor,
            lambda body, descriptors: self.came.append((body, descriptors)),
            self.lost.append,
            cut=cut.append,
        )
        self.addCleanup(channel.close)
        self.say_without_room(channel)
        self.say(HEAD.pack(1, 0) + b"y")
        self.assertEqual(([b"x"], [(b"y", ())], []), (cut, self.came, self.lost))

    def test_refused_by_the_receiver(self) -> None:
        """Where the receiver finds no message in a frame, the peer is lost; what follows is not
        handed on, and its descriptors are closed.
        """
        ours, peer = socket.socketpair()
        self.addCleanup(peer.close)

        def refuse(body: bytes, descriptors: tuple[int, ...]) -> None:
            self.came.append((body, descriptors))
            raise FramingError("no message has the number 99")

        Channel(ours, self.reactor, refuse, self.lost.append)
        fd = self.file()
        before = open_descriptors()
        data = HEAD.pack(1, 0) + b"x" + HEAD.pack(1, 1) + b"y"
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        peer.sendmsg([data], [rights])
        self.reactor.settle()
        self.assertEqual((self.came, self.lost), ([(b"x", ())], ["no message has the number 99"]))
        self.assertLess(open_descriptors(), before)

    def test_bug_in_the_receiver(self) -> None:
        """An exception of the receiver is logged, and messages go on."""
        ours, peer = socket.socketpair()
        self.addCleanup(peer.close)
        bodies = []

        def fail(body: bytes, descriptors: tuple[int, ...]) -> None:
            bodies.append(body)
            if body == b"x":
                raise ZeroDivisionError

        channel = Channel(ours, self.reactor, fail, self.lost.append)
        self.addCleanup(channel.close)
        peer.sendall(HEAD.pack(1, 0) + b"x" + HEAD.pack(1, 0) + b"y")
        self.reactor.settle()
        self.assertEqual((bodies, self.lost), ([b"x", b"y"], []))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_long_work(self) -> None:
        """Where messages take long, others have their turn between them, and nothing more is read
        until they are dealt with.
        """
        ours, peer = socket.socketpair()
        self.addCleanup(peer.close)
        bodies: list[bytes] = []
        times = count()
        channel = Channel(
            ours,
            self.reactor,
            lambda body, fds: bodies.append(body),
            self.lost.append,
            now=lambda: float(next(times)),
        )
        self.addCleanup(channel.close)
        peer.sendall(b"".join(HEAD.pack(1, 0) + bytes([number]) for number in range(3)))
        channel.doRead()
        self.assertEqual(bodies, [b"\0"])
        self.assertNotIn(channel, self.reactor.readers)
        self.reactor.settle()
        self.assertEqual(bodies, [b"\0", b"\1", b"\2"])
        self.assertIn(channel, self.reactor.readers)

    def test_close(self) -> None:
        """A channel that is closed tells nobody, and leaves nothing with the reactor."""
        self.channel.send(b"x" * 60_000)
        self.channel.close()
        self.channel.close()
        self.reactor.settle()
        self.assertEqual(self.lost, [])
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
