"""Relays that go on elsewhere: in another network of the same process, as it would be in another
process.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.connection.moving import arrive, can_leave, leave
from tcpmesh.connection.relay import IDLE_CHECKS, Relay, idle_queue
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import SocketHarness, pattern
from tcpmesh.testing.recording import RecordingProtocol
from tests.connection.relaying import Front, OnRelay, spliced_network, spliced_uring_network
from tests.connection.test_relay_properties import Game, Player, SocketGames
from tests.net.uring.available import uring

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")

BULK = 8 << 20

BUFFERS = 1 << 16
"""Bytes that the kernel holds for who does not read.  Left alone that may be 32 MiB (`tcp_rmem`),
and half of `BULK` it holds for the sender in any case (`tcp_wmem`).
"""

MUCH = 16 << 20
"""Bytes: more than the kernel keeps for two sockets."""


def move(front: Front, network: Any, to: Any) -> bool:
    """Let the relay of a front go on in another network; whether it could."""
    relay = front.relay
    if not can_leave(relay, network):
        return False
    moved, descriptors = leave(relay, network)
    downstream = to.arrive(descriptors[0], moved.from_downstream.source)
    upstream = to.arrive(descriptors[1], moved.from_upstream.source)
    downstream.high_watermark = upstream.high_watermark = front.mark
    front.transport = downstream
    front.relay = Relay(downstream, to.timers, front, front.flush_timeout)
    arrive(front.relay, upstream, moved)
    return True


def epoll_network(on: Any) -> Any:
    """An epoll network as they are."""
    from tcpmesh.net.epoll.network import EpollNetwork

    return EpollNetwork(on)


class MovingContract(OnRelay):
    """What holds for bytes that are copied and for those that go by pipes."""

    make_network: Any

    def make_harness(self) -> SocketHarness:
        return SocketHarness(reactor, type(self).make_network, "tcp4", buffers=BUFFERS)

    def setUp(self) -> None:
        """Another network."""
        super().setUp()
        self.other = type(self).make_network(self.harness.network.clock)
        self.networks = [self.harness.network, self.other]

    async def tearDown(self) -> None:  # type: ignore[override]
        """Everything of both networks is over, and no descriptor is left."""
        await super().tearDown()
        await self.other.stop()

    def move(self) -> None:
        """Let the relay go to the other network."""
        self.assertTrue(move(self.front, *self.networks))
        self.networks.reverse()

    async def ends(self, *sides: RecordingProtocol) -> None:
        """Let the sides close, and wait for the end of the relay."""
        for side in sides:
            side.transport.loseConnection()
        await self.over(*sides)

    async def test_messages(self) -> None:
        """Bytes go on both ways after one move and after another one, and all are counted; of where
        it was nothing is watched any more.
        """
        client, server = await self.relayed()
        for number in range(1, 4):
            client.transport.write(b"ask")
            await self.receives(server, b"ask" * number)
            server.transport.write(b"answer")
            await self.receives(client, b"answer" * number)
            self.move()
        await self.ends(client, server)
        self.assertEqual((9, 18), (self.front.counts["down bytes"], self.front.counts["up bytes"]))

    async def test_stalled(self) -> None:
        """What waits on both sides for who does not read arrives whole and in order, and each pause
        is followed by a resume.
        """
        client, server = await self.relayed()
        for side in (client, server):
            side.transport.pauseProducing()
            side.transport.write(pattern(0, MUCH))
        await self.harness.until(
            lambda: self.front.relay.from_downstream.full and self.front.relay.from_upstream.full,
            "a relay that is full both ways",
        )
        self.move()
        self.assertTrue(self.front.relay.from_downstream.full)
        for side in (client, server):
            side.transport.resumeProducing()
        await self.receives(server, pattern(0, MUCH))
        await self.receives(client, pattern(0, MUCH))
        await self.ends(client, server)
        counts = self.front.counts
        self.assertEqual((MUCH, MUCH), (counts["down written"], counts["up written"]))
        self.assertEqual(counts["down paused"], counts["down resumed"])
        self.assertEqual(counts["up paused"], counts["up resumed"])

    async def test_half_closed(self) -> None:
        """A side that has sent all stays so, and what the other one sends still comes, and its
        end.
        """
        client, server = await self.relayed()
        client.transport.write(b"all")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "the end of what the client sends")
        self.move()
        server.transport.write(b"answer")
        await self.receives(client, b"answer")
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "the end of what the server sends")
        await self.ends(client, server)

    async def test_half_closed_behind_bytes(self) -> None:
        """An end that stands behind bytes for which there is no room comes after them."""
        client, server = await self.relayed(mark=BULK)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, BULK))
        client.transport.loseWriteConnection()
        down = self.front.relay.from_downstream
        await self.harness.until(lambda: down.bytes == BULK, "all bytes at the relay")
        await self.harness.settle()
        self.move()
        self.assertFalse(server.ended)
        server.transport.resumeProducing()
        await self.receives(server, pattern(0, BULK))
        await self.harness.until(lambda: server.ended, "the end of what the client sends")

    async def test_reset(self) -> None:
        """A reset of either side is passed on by where it went, also if it came during the move."""
        for is_client in (True, False):
            ends = await self.relayed()
            one, other = ends if is_client else ends[::-1]
            one.transport.abortConnection()
            self.move()
            await self.harness.until(lambda other=other: other.lost, "the reset")  # type: ignore[misc]
            self.assertTrue(other.lost_to(ConnectionLost))
            await self.over(one, other)

    async def test_given_back(self) -> None:
        """Bytes that were read and given back are delivered first."""
        client, server = await self.relayed()
        client.transport.write(b"b")
        self.front.relay.from_downstream.source.pauseProducing()
        self.front.relay.from_downstream.source.unread(b"a")
        self.move()
        await self.receives(server, b"ab")

    async def test_idle(self) -> None:
        """The time that it was idle before counts."""
        await self.relayed()
        self.front.relay.watch_idle(idle_queue(self.harness.network.timers, 60.0))
        self.front.relay.go_on_watching(IDLE_CHECKS - 1)
        self.move()
        self.assertEqual(IDLE_CHECKS - 1, self.front.relay.quiet)
        self.front.relay.watch_idle(idle_queue(self.other.timers, 0.01))
        await self.over()
        self.assertIn("idle", self.front.told)

    async def test_cannot(self) -> None:
        """One that is being closed, or is closed, stays."""
        client, server = await self.relayed()
        relay = self.front.relay
        self.assertTrue(can_leave(relay, self.harness.network))
        relay.from_downstream.source.loseConnection()
        self.assertFalse(can_leave(relay, self.harness.network))
        relay.close()
        self.assertFalse(can_leave(relay, self.harness.network))
        await self.ends(client, server)

    async def test_nothing_is_left(self) -> None:
        """Where it was nothing holds the connections open, and no pipe is in use."""
        client, server = await self.relayed()
        server.transport.pauseProducing()
        client.transport.write(pattern(0, BULK))
        await self.harness.until(lambda: self.front.relay.from_downstream.full, "a full relay")
        self.move()
        self.assertEqual(0, self.harness.network.pipes.used)
        server.transport.resumeProducing()
        await self.receives(server, pattern(0, BULK))
        self.front.relay.close()
        await self.harness.until(lambda: client.ended and server.ended, "the end on both sides")
        await self.ends(client, server)


@linux
class EpollMovingTests(MovingContract, TestCase):
    """Bytes are copied."""

    make_network = epoll_network


def uring_network(on: Any) -> Any:
    """The network of io_uring."""
    from tcpmesh.net.uring.network import UringNetwork

    return UringNetwork(on)


@uring
class UringMovingTests(MovingContract, TestCase):
    """The ring has the bytes."""

    make_network = uring_network


@uring
class UringSpliceMovingTests(MovingContract, TestCase):
    """The ring, and pipes."""

    make_network = spliced_uring_network


@linux
class SpliceMovingTests(MovingContract, TestCase):
    """Bytes go by pipes."""

    make_network = spliced_network


class OtherNetworkTests(OnRelay, TestCase):
    """Twisted's own transports."""

    def make_harness(self) -> SocketHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)

    @linux
    async def test_stays(self) -> None:
        """A network of another kind cannot take a relay of theirs."""
        await self.relayed()
        network = epoll_network(self.harness.network.clock)
        self.assertFalse(can_leave(self.front.relay, network))
        await network.stop()


class MovingGame(Game):
    """A game in which the relay goes to another network after each move that leaves it whole."""

    async def move(self, players: tuple[Player, Player], what: str, side: int, size: int) -> None:
        await super().move(players, what, side, size)
        if self.is_relayed and move(self.front, *self.networks):
            self.networks.reverse()
            self.check_bound()

    networks: list[Any]


class MovingGames(SocketGames):
    """All games of relays, in which these move all the time."""

    make_network: Any

    def make_harness(self, buffers: int) -> SocketHarness:
        return SocketHarness(self.reactor, type(self).make_network, self.family, buffers=buffers)

    def make_game(self, buffers: int, relayed: bool) -> Game:
        game = MovingGame(self.make_harness(buffers), relayed, self.backend)
        network = game.harness.network
        game.networks = [network, type(self).make_network(network.clock)]
        return game


@linux
class EpollMovingGames(MovingGames, SynchronousTestCase):
    """Bytes are copied."""

    make_network = epoll_network


@linux
class SpliceMovingGames(MovingGames, SynchronousTestCase):
    """Bytes go by pipes."""

    make_network = spliced_network
