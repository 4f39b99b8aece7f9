"""What is asked of the ring outside of its rounds, and how that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable

from tcpmesh.values.address import Address
from tests.net.uring.available import uring
from tests.net.uring.serving import PollerCase, Serving


@uring
class RequestsTests(PollerCase):
    """A ring in whose descriptors nothing happens but what a test does."""

    def is_closed(self, fd: int) -> bool:
        """Whether a descriptor is, some turns later."""
        for _ in range(3):
            self.turn()
        return not os.path.exists(f"/proc/self/fd/{fd}")

    def asks(self) -> dict[str, Callable[[Serving], object]]:
        """All that can be asked for a descriptor, but connecting."""
        poller = self.poller
        return {
            "0": lambda it: poller.receive(it.fd, it),
            "0 4": lambda it: poller.await_room(it.fd, it),
            "0 awaited 1": lambda it: poller.await_ready(it.fd, it, select.EPOLLIN),
            "0 1": lambda it: poller.register(it.fd, it, select.EPOLLIN | select.EPOLLONESHOT),
        }

    def test_is_there_already(self) -> None:
        """What is there when it is asked for is told in the next turn of the reactor, and not
        before, be that because of what the kernel tells, or not.
        """
        for expected, ask in self.asks().items():
            channel, peer = self.pair()
            peer.send(b"x")
            self.served.clear()
            ask(channel)
            self.silence()
            self.assertEqual([], self.served)
            self.assertEqual([expected], self.turn())
            self.poller.close(channel.fd)
            self.assertTrue(self.is_closed(channel.fd))

    def test_comes_later(self) -> None:
        """What is not there does not keep the reactor from its sleep, and wakes it when it comes;
        then it is told.
        """
        for expected, ask in self.asks().items():
            channel, peer = self.pair()
            self.fill(channel.fd)
            ask(channel)
            self.assertFalse(self.is_due())
            peer.send(b"x")
            peer.recv(1 << 24)
            self.assertTrue(self.is_due())
            self.assertEqual([expected], self.turn())
            self.poller.close(channel.fd)
            self.assertTrue(self.is_closed(channel.fd))

    def test_closed_while_under_way(self) -> None:
        """A descriptor that is closed is closed soon, whatever was asked for it, one or all; its
        peer sees that, and nothing more is told of it, though it was there.
        """
        asks = list(self.asks().values())
        for some in ([], *([each] for each in asks), asks):
            for is_there in (False, True):
                channel, peer = self.pair()
                self.fill(channel.fd)
                for ask in some:
                    ask(channel)
                if is_there:
                    peer.send(b"x")
                self.poller.close(channel.fd)
                self.assertTrue(self.is_closed(channel.fd))
                self.assertEqual([], self.served)
                with contextlib.suppress(ConnectionResetError):
                    while peer.recv(1 << 24):
                        pass
        self.assertEqual({0}, set(self.poller._under_way))

    def test_closed_while_connecting(self) -> None:
        """The same of an attempt to connect that nobody answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            first = socket.create_connection(server.getsockname())
            self.addCleanup(first.close)
            sock = socket.socket()
            channel = Serving("0", self, sock.detach())
            self.poller.connect(channel.fd, channel, Address(*server.getsockname()))
            self.turn()
            self.poller.close(channel.fd)
            self.assertTrue(self.is_closed(channel.fd))
            self.assertEqual([], channel.results)

    def test_receives_no_more(self) -> None:
        """Receiving that is cancelled ends soon, though nothing comes; what comes after that stays
        in the socket.
        """
        channel, peer = self.connect("0")
        self.poller.cancel_receive(channel.fd)
        self.assertEqual(["0 ended"], self.turn())
        self.assertEqual([-errno.ECANCELED], channel.results)
        peer.send(b"x")
        self.assertEqual([], self.rest())
        self.assertEqual(b"x", os.read(channel.fd, 10))

    def test_receives_once(self) -> None:
        """Who asks for so many bytes gets these once, and the others stay in the socket."""
        channel, peer = self.pair()
        peer.send(b"8 bytes.")
        self.poller.receive(channel.fd, channel, 3)
        self.assertEqual(["0", "0 ended"], self.rest())
        self.assertEqual((b"8 b", [3]), (channel.data, channel.results))
        self.assertEqual(b"ytes.", os.read(channel.fd, 10))

    def test_reset_of_what_has_ended(self) -> None:
        """Of a connection whose peer has ended a reset is told when it comes; the end itself once
        at most.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            near, _ = server.accept()
        channel = Serving("0", self, near.detach())
        peer.shutdown(socket.SHUT_WR)
        select.select([channel.fd], [], [])
        self.poller.watch_for_reset(channel.fd, channel)
        self.assertIn(self.rest(), ([], [f"0 awaited {select.EPOLLRDHUP:x}"]))
        os.write(channel.fd, b"what the peer does not read")
        peer.close()
        told = [int(each.removeprefix("0 awaited "), 16) for each in self.rest()]
        self.assertEqual([select.EPOLLERR], [each & select.EPOLLERR for each in told])

    def test_nothing_under_way(self) -> None:
        """A descriptor for which nothing was ever asked can be left and closed, be its number
        within what there is room for, the first beyond, or a greater one; no call to the kernel is
        made for leaving it.
        """
        from tcpmesh.net.uring import requests
        from tcpmesh.net.uring.poller import UringPoller

        for more in (1, 0, -1):
            channel, peer = self.pair()
            self.patch(requests, "MOST_AT_FIRST", channel.fd + more)
            self.poller = UringPoller(self.reactor, lambda: self.time)
            self.addCleanup(self.poller.stop)
            calls: list[int] = []
            self.patch(self.poller._ring, "exchange", lambda calls=calls: calls.append(0))
            self.poller.unregister(channel.fd)
            self.assertEqual([], calls)
            self.poller.close(channel.fd)
            self.assertTrue(self.is_closed(channel.fd))
            self.assertEqual(b"", peer.recv(10))

    def test_first_of_a_great_number(self) -> None:
        """Whatever is the first that is asked for a descriptor of a greater number than there was
        room for, it is told, and so is what is asked for those below.
        """
        from tcpmesh.net.uring import requests
        from tcpmesh.net.uring.poller import UringPoller

        for expected in self.asks():
            lesser, lessers_peer = self.pair()
            channel, peer = self.pair()
            self.patch(requests, "MOST_AT_FIRST", 1)
            self.poller = UringPoller(self.reactor, lambda: self.time)
            self.addCleanup(self.poller.stop)
            for each, its_peer in ((channel, peer), (lesser, lessers_peer)):
                its_peer.send(b"x")
                self.asks()[expected](each)
                self.assertEqual([expected], self.turn())
                self.poller.close(each.fd)
                self.assertTrue(self.is_closed(each.fd))

    def test_watched_anew(self) -> None:
        """What is watched by somebody else from now on is told to that one, once each time, be it
        in the middle of being told.
        """
        first, peer = self.pair("first")
        second = Serving("second", self, first.fd)

        def hand_on() -> None:
            for channel in (first, second):
                self.poller.unregister(channel.fd)
                self.poller.register(channel.fd, channel, select.EPOLLIN | select.EPOLLONESHOT)

        peer.send(b"x")
        self.poller.register(first.fd, first, select.EPOLLIN)
        hand_on()
        self.assertEqual(["second 1"], self.rest())
        self.acts["first 1"] = hand_on
        self.poller.register(first.fd, first, select.EPOLLIN)
        self.assertEqual(["first 1", "second 1"], self.rest())
        self.poller.close(first.fd)
        self.assertTrue(self.is_closed(first.fd))

    def test_many_addresses_at_once(self) -> None:
        """Connections that are asked for in the same round go each to its own address, however few
        of these are kept.
        """
        from tcpmesh.net.uring import requests

        self.patch(requests, "MOST_NAMES", 2)
        servers, channels, kept = [], [], []
        for number in range(1, 8):
            server = socket.create_server((f"127.0.0.{number}", 0))
            self.addCleanup(server.close)
            servers.append(server)

        def connect() -> None:
            for server in servers:
                sock = socket.socket()
                sock.setblocking(False)
                channel = Serving("", self, sock.detach())
                channels.append(channel)
                self.poller.connect(channel.fd, channel, Address(*server.getsockname()))
                kept.append(len(self.poller._names))

        _, peer = self.connect("0")
        self.acts["0"] = connect
        peer.send(b"x")
        while not all(each.results for each in channels) or not channels:
            self.turn()
        self.assertEqual({(0,)}, {tuple(each.results) for each in channels})
        for server in servers:
            server.setblocking(False)
            server.accept()[0].close()
        self.assertEqual(2, max(kept))
