"""Clients of one proxy go on in another one: both in one process, on real sockets, with all that
stands between two processes between them.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, cast
from unittest import skipUnless

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import TestCase

from tcpmesh.server.handover import arriving, leaving
from tcpmesh.server.handover.giving import GONE
from tcpmesh.server.restart.predecessor import Predecessor
from tcpmesh.server.restart.successor import Stage, Successor
from tcpmesh.stats.store import Store
from tcpmesh.testing.harness import Client, HarnessTestCase, SocketHarness, pattern
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.stream.moved import NO_DESCRIPTORS, NONE_LEFT
from tests.listener.test_moving import Proxy
from tests.mesh import cluster_message, listener_message, tcp_proxy

BULK = 1 << 20


class Servers(ServerFactory):
    """A recorder for each connection."""

    noisy = False

    def __init__(self, built: list[RecordingProtocol]) -> None:
        self._built = built

    def buildProtocol(self, addr: Any) -> RecordingProtocol:  # type: ignore[override]
        """One more."""
        self._built.append(RecordingProtocol())
        return self._built[-1]


class Handing:
    """The process that clients leave."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.store = proxy.store
        self.over: Deferred[None] = Deferred()
        """Fires when all has gone over."""

    def taken_over(self, successor: Successor, seconds: int, takes_clients: bool) -> None:
        """See `tcpmesh.server.restart.successor.Handing`."""
        assert takes_clients
        self.proxy.main.giving.begin(successor).chainDeferred(self.over)

    def can_take(self, client: int, refused: str) -> None:
        """Likewise."""
        self.proxy.main.giving.answered(client, refused)

    def successor_gone(self) -> None:
        """Likewise."""
        self.proxy.main.giving.taker_gone()

    def begin_numbers(self) -> bool:
        """Likewise."""
        return False

    clients = 0


class Counting:
    """The process that clients come to: it counts."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def numbers(self) -> Deferred[None]:
        """All is counted."""
        return succeed(None)


class HandoverContract(HarnessTestCase):
    """Over each kind of link between main and its worker."""

    link: str

    def make_harness(self) -> SocketHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")

    async def begin(self, clients: int = 1, listener: str = "l", fields: str = "") -> None:
        """So many clients of the first proxy, each of which has said its number and got it back.

        :param listener: the name of that of the second.
        """
        self.patch(os, "environ", {**os.environ, "TCPMESH_LINK": self.link})
        self.servers: list[RecordingProtocol] = []
        self.clients: list[RecordingProtocol] = []
        self.host = self.harness.listen(Servers(self.servers)).getHost()
        clock = self.harness.network.clock
        filters = tcp_proxy(f"cluster: c, {fields}" if fields else "cluster: c")
        cluster = cluster_message("c", [str(self.host)])
        self.old, self.new = (
            Proxy(
                clock,
                listener_message(name, "127.0.0.1:0", filters, "stat_prefix: l"),
                cluster,
                begin=Bootstrap(),
            )
            for name in ("l", listener)
        )
        for each in (self.old, self.new):
            self.addCleanup(each.stop)
            await each.start()
        for number in range(clients):
            self.clients.append(RecordingProtocol())
            self.harness.network.connect(self.old.address, Client(self.clients[-1]), 10.0)
            await self.harness.until(lambda: len(self.servers) == number + 1, "a host")  # noqa: B023
        self.harness.recorders += [*self.servers, *self.clients]
        await self.harness.until(lambda: set(self.old.open().values()) == {clients}, "connections")
        self.sent = [b""] * clients

    def active(self, proxy: Proxy) -> int:
        """Connections to hosts, which are as many as clients."""
        values = proxy.open()
        self.assertEqual(1, len(set(values.values())), values)
        return values["cluster.c.upstream_cx_active"]

    def hand_over(self) -> None:
        """The second takes over from the first."""
        ours, theirs = socket.socketpair()
        clock = self.harness.network.clock
        self.handing = Handing(self.old)
        handing = cast("Any", self.handing)
        cooperator = self.old.network.cooperator
        self.successor = Successor(ours, clock, cooperator, handing, lambda *told: None, None)
        self.successor.stage = Stage.STARTS
        self.predecessor = Predecessor(
            theirs, clock, Counting(self.new.store), self.new.network.cooperator, imports=False
        )
        for each in (self.successor, self.predecessor):
            self.addCleanup(each.close)
        self.predecessor.drain(5, self.new.main.taking)

    async def handed_over(self) -> None:
        """All that can have gone over."""
        await self.harness.until(lambda: self.handing.over.called, "the end")
        await self.harness.settle()

    async def exchange(self) -> None:
        """Each client says its number more, and gets it back."""
        for number, (client, server) in enumerate(zip(self.clients, self.servers, strict=True)):
            word = b"%03d" % number
            self.sent[number] += word
            client.transport.write(word)
            await self.receives(server, self.sent[number])
            server.transport.write(word)
            await self.receives(client, self.sent[number])

    async def test_all(self) -> None:
        """All go over, none notices, and what counts those that are open counts them there."""
        await self.begin(40)
        await self.exchange()
        self.hand_over()
        await self.handed_over()
        self.assertEqual((0, 40), (self.active(self.old), self.active(self.new)))
        self.assertEqual(0, self.old.proxy.worker.connections)
        self.assertEqual({}, self.predecessor.reasons)
        await self.exchange()

    async def test_stalled(self) -> None:
        """So do those whose bytes nobody takes on either side, with all that waits, and those of
        which one side has sent all.
        """
        await self.begin(8)
        for client, server in zip(self.clients, self.servers, strict=True):
            for one, other in ((client, server), (server, client)):
                one.transport.pauseProducing()
                other.transport.write(pattern(0, 4 * BULK))
        self.clients[0].transport.loseWriteConnection()
        self.servers[1].transport.loseWriteConnection()
        await self.harness.settle()
        self.hand_over()
        await self.handed_over()
        self.assertEqual(8, self.active(self.new))
        for each in (*self.clients, *self.servers):
            each.transport.resumeProducing()
        for each in (*self.clients, *self.servers):
            await self.receives(each, pattern(0, 4 * BULK))
        await self.harness.until(lambda: self.servers[0].ended and self.clients[1].ended, "ends")

    async def test_refused(self) -> None:
        """Where they find no listener all go on where they were, and both sides know why."""
        await self.begin(5, listener="other")
        self.hand_over()
        await self.handed_over()
        self.assertEqual(5, self.active(self.old))
        await self.exchange()
        self.assertEqual({"there is no listener l": 5}, self.predecessor.reasons)

    async def test_dies(self) -> None:
        """Where the other process dies in the middle all that it has not taken go on where they
        were, and what they have sent meanwhile arrives.
        """
        await self.begin(5)
        offered: list[int] = []
        self.patch(self.new.main.taking, "offer", lambda client, *more: offered.append(client))
        self.hand_over()
        await self.harness.until(lambda: len(offered) == 2, "what is on its way")
        self.assertEqual(3, self.active(self.old))
        self.assertEqual(5, self.old.proxy.worker.connections)
        self.clients[0].transport.write(b"a")
        self.predecessor.close()
        await self.handed_over()
        self.assertEqual(5, self.active(self.old))
        self.assertEqual({GONE: 5}, self.old.main.giving._reasons)
        await self.receives(self.servers[0], b"a")
        self.servers[0].transport.write(b"a")
        self.sent[0] = b"a"
        await self.exchange()

    async def test_dies_late(self) -> None:
        """What was offered and not let go is touched by nobody, so it goes on where it was also
        where the other process dies after it has said that it can go on with it.
        """
        await self.begin(1)
        self.patch(self.old.main.giving, "answered", lambda client, refused: None)
        self.hand_over()
        offered = self.new.proxy.worker._arriving._offered
        await self.harness.until(lambda: offered, "an offer that is kept")
        self.clients[0].transport.write(b"000")
        await self.harness.settle()
        self.predecessor.close()
        self.new.main.taking.giver_gone()
        await self.handed_over()
        self.assertEqual({}, offered)
        self.sent = [b"000"]
        await self.receives(self.servers[0], b"000")
        self.servers[0].transport.write(b"000")
        await self.exchange()

    async def test_resets_on_its_way(self) -> None:
        """A client that resets while it is on its way is seen to by whoever has it then."""
        await self.begin(2)
        offer, kept = self.new.main.taking.offer, []

        def later(client: int, state: bytes, descriptors: Any) -> None:
            kept.append((client, state, tuple(map(os.dup, descriptors))))

        self.patch(self.new.main.taking, "offer", later)
        self.hand_over()
        await self.harness.until(lambda: len(kept) == 2, "what is on its way")
        self.clients[0].transport.abortConnection()
        self.servers[1].transport.abortConnection()
        for client, state, descriptors in kept:
            offer(client, state, descriptors)
            for each in descriptors:
                os.close(each)
        await self.handed_over()
        await self.harness.until(lambda: self.active(self.new) == 0, "the ends")
        self.assertTrue(self.servers[0].lost_to(ConnectionLost))
        self.assertTrue(self.clients[1].lost_to(ConnectionLost))

    async def test_no_descriptors(self) -> None:
        """Where the other process has no descriptors left all go on where they were."""
        await self.begin(3)

        def copies(*descriptors: int) -> tuple[int, int]:
            raise OSError(24, os.strerror(24))

        self.patch(arriving, "copies", copies)
        self.hand_over()
        await self.handed_over()
        self.assertEqual(3, self.active(self.old))
        await self.exchange()
        self.assertEqual({NO_DESCRIPTORS: 3}, self.predecessor.reasons)

    async def test_none_left(self) -> None:
        """So they do where there are none left here for sending them."""
        await self.begin(3)
        self.patch(leaving, "can_be_copied", lambda descriptors: False)
        self.hand_over()
        await self.handed_over()
        self.assertEqual(3, self.active(self.old))
        await self.exchange()
        self.assertEqual({NONE_LEFT: 3}, self.predecessor.reasons)

    async def test_not_connected_yet(self) -> None:
        """One that has no host yet goes over once it has."""
        await self.begin(1)
        self.old.main.steering.pause("c", 30.0)
        self.clients.append(RecordingProtocol())
        self.harness.recorders.append(self.clients[-1])
        self.harness.network.connect(self.old.address, Client(self.clients[-1]), 10.0)
        await self.harness.until(
            lambda: self.old.stat("listener.l.downstream_cx_active") == 2, "a client that waits"
        )
        self.hand_over()
        await self.harness.until(lambda: self.active(self.new) == 1, "the first")
        self.assertNoResult(self.handing.over)
        self.old.main.steering.pause("c", 0.0)
        await self.handed_over()
        self.assertEqual(2, self.active(self.new))
        self.harness.recorders.append(self.servers[1])
        self.sent.append(b"")
        await self.exchange()

    async def test_stops(self) -> None:
        """Where both processes end in the middle no descriptor and no timer is left."""
        await self.begin(3)
        self.patch(self.new.main.taking, "take", lambda client: None)
        self.hand_over()
        offered = self.new.proxy.worker._arriving._offered
        await self.harness.until(lambda: offered, "an offer that is kept")


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class DirectTests(HandoverContract, TestCase):
    """Messages are handed over as they are."""

    link = "direct"


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class BytesTests(HandoverContract, TestCase):
    """Each is written and read."""

    link = "bytes"
