"""Whatever two connected sides do, in whatever order: bytes in are bytes out, and each connection
ends once.

Hypothesis makes up what the sides do (writes and reads of all sizes, pauses, half-closes, closes,
resets), how large the kernels' buffers are and, in memory, in which order events are delivered.
The same game is played by a bare pair of transports, which must keep its contract, and by a pair
with a relay between, which must not show: in memory, on Twisted's own transports, on the fast ones
and through kernel pipes, over IPv4, IPv6 and unix sockets, and from one family to another.

`make fuzz` plays many more games than the suite does, and others each time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from unittest import skipUnless

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import TURN, MemoryHarness, SocketHarness, TransportHarness, pattern
from tcpmesh.testing.recording import RecordingProtocol
from tests.connection.relaying import OnRelay, spliced_network, spliced_uring_network
from tests.net.uring.available import uring

MARK = 5000
CLIENT, SERVER = 0, 1

GAMES = int(os.environ.get("TCPMESH_GAMES", "1"))
"""So many times as many games as usual; more than one: games that are not always the same."""

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")

Move = tuple[str, int, int]

sides = st.sampled_from([CLIENT, SERVER])
sizes = st.one_of(
    st.sampled_from([1, MARK - 1, MARK, MARK + 1, 2 * MARK, 3 << 20]), st.integers(1, 60_000)
)
quiet_moves: list[st.SearchStrategy[Move]] = [
    st.tuples(st.just("write"), sides, sizes),
    st.tuples(st.just("pause"), sides, st.just(0)),
    st.tuples(st.just("resume"), sides, st.just(0)),
    st.tuples(st.just("read"), sides, st.sampled_from([1, 100, 1000, 65536])),
    st.tuples(st.just("steps"), st.just(0), st.integers(1, 20)),
    st.tuples(st.just("settle"), st.just(0), st.just(0)),
]
fin = st.tuples(st.just("fin"), sides, st.just(0))
close = st.tuples(st.just("close"), sides, st.just(0))
abort = st.tuples(st.just("abort"), sides, st.just(0))
cut = st.tuples(st.just("cut"), sides, st.just(0))
reset = st.tuples(st.just("reset"), sides, st.just(0))

orderly = st.lists(st.one_of(*quiet_moves, *quiet_moves, fin), max_size=30)
wild = st.lists(
    st.one_of(*quiet_moves, *quiet_moves, *quiet_moves, fin, close, abort, cut, reset), max_size=40
)


ENDS = {
    "close": "loseConnection",
    "abort": "abortConnection",
    "cut": "cutConnection",
    "reset": "resetConnection",
}


@dataclass
class Player:
    """One side of the game."""

    recorder: RecordingProtocol
    offered: int = 0
    """Bytes that were written, whether they could be sent or not."""
    closed: bool = False
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = self.recorder.transport

    def write(self, size: int) -> None:
        """Write the next bytes."""
        self.transport.write(pattern(self.offered, size))
        self.offered += size

    @property
    def sent(self) -> bytes:
        """What the kernel has taken of it."""
        return pattern(0, self.offered - self.transport.dropped)


class Game(OnRelay):
    """A game on one harness; not a test of its own."""

    def __init__(self, harness: TransportHarness, relayed: bool, backend: str = "") -> None:
        """`backend`: the server's family, where it is another than the client's."""
        self.harness = harness
        self.is_relayed = relayed
        self._backend = backend

    async def play(self, moves: list[Move]) -> tuple[Player, Player]:
        """Do the moves, then let both sides read to the end and close; both players, when all is
        over.
        """
        ends = await (
            self.relayed(mark=MARK, backend=self._backend)
            if self.is_relayed
            else self.harness.pair()
        )
        players = Player(ends[0]), Player(ends[1])
        for move in moves:
            await self.move(players, *move)
        for player in players:
            player.transport.read_size = 65536
            player.transport.resumeProducing()
        await self.harness.settle()
        for end in ("loseWriteConnection", "loseConnection"):
            for player in players:
                getattr(player.transport, end)()
            if end == "loseWriteConnection":
                await self.harness.until(
                    lambda: all(player.recorder.ended or player.closed for player in players),
                    "both ends",
                )
        await self.harness.until(
            lambda: all(player.recorder.lost for player in players), "both losses"
        )
        if self.is_relayed:
            await self.harness.until(lambda: self.front.finished, "the end of the relay")
        await self.harness.settle()
        return players

    async def move(self, players: tuple[Player, Player], what: str, side: int, size: int) -> None:
        """Do one move."""
        player = players[side]
        if what == "write":
            player.write(size)
        elif what == "pause":
            player.transport.pauseProducing()
        elif what == "resume":
            player.transport.resumeProducing()
        elif what == "read":
            player.transport.read_size = size
        elif what == "fin":
            player.transport.loseWriteConnection()
        elif what in ENDS:
            player.closed = True
            getattr(player.transport, ENDS[what])()
        elif what == "taken":
            await self.harness.until(
                lambda: not player.transport.buffered, "the taking of all that a side wrote"
            )
        elif what == "steps" and isinstance(self.harness, MemoryHarness):
            for _ in range(size):
                self.harness.network.step()
        else:
            await self.harness.settle()
        self.check_bound()

    def check_bound(self) -> None:
        """The relay never holds more than its mark and one read."""
        if self.is_relayed and not self.front.finished:
            for direction in (self.front.relay.from_downstream, self.front.relay.from_upstream):
                assert direction.buffered <= 2 * MARK, f"{direction.buffered} bytes in a relay"


def check_ends(test: SynchronousTestCase, game: Game, players: tuple[Player, Player]) -> None:
    """What holds after every game: each event once and in order, and what arrived is a beginning of
    what was sent.
    """
    for one, other in (players, players[::-1]):
        test.assertIsNone(one.recorder.flaw())
        test.assertTrue(
            pattern(0, other.offered).startswith(one.recorder.received),
            "other bytes than were sent",
        )
    if game.is_relayed:
        test.assertEqual(["down lost", "finished", "started", "up lost"], sorted(game.front.told))


def check_all_arrived(
    test: SynchronousTestCase, game: Game, players: tuple[Player, Player]
) -> None:
    """What holds after a game without closes and resets: everything arrived, was counted, and ended
    in order.
    """
    client, server = players
    test.assertTrue(
        server.recorder.received == pattern(0, client.offered - client.transport.dropped)
    )
    test.assertTrue(
        client.recorder.received == pattern(0, server.offered - server.transport.dropped)
    )
    for player in players:
        test.assertTrue(player.recorder.lost_to(ConnectionDone), player.recorder.reason)
    if game.is_relayed:
        counts = game.front.counts
        up, down = len(client.recorder.received), len(server.recorder.received)
        test.assertEqual(
            (down, down, up, up),
            tuple(counts[f"{d} {n}"] for d in ("down", "up") for n in ("bytes", "written")),
        )
        test.assertEqual(
            (counts["down paused"], counts["up paused"]),
            (counts["down resumed"], counts["up resumed"]),
        )


def run_in_memory(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("something waits, in memory")


def end_of_one(side: int, how: str) -> list[Move]:
    """One side ends the connection.  The other, though it does not read, is rid of what it
    writes.
    """
    return [("pause", 1 - side, 0), (how, side, 0), ("taken", 1 - side, 0)]


in_memory = settings(
    max_examples=300 * GAMES,
    deadline=None,
    derandomize=GAMES == 1,
    suppress_health_check=[HealthCheck.differing_executors],  # as below
)
memory_sizes = st.sampled_from([1, 7, 1000, 4096, 65536])


class MemoryGames:
    """Many games, on the memory network."""

    assertEqual: Any
    assertTrue: Any

    def make_harness(self, **how: Any) -> TransportHarness:
        """Where to play."""
        return MemoryHarness(**how)

    def play(
        self, relayed: bool, moves: list[Move], capacity: int, chunk: int, order: Any
    ) -> tuple[Game, tuple[Player, Player]]:
        """Play on a network of these sizes, where events come in the order that `order` gives."""
        if capacity < 100:
            moves = [(what, side, size % 500 + 1) for what, side, size in moves]
        game = Game(
            self.make_harness(
                capacity=capacity, chunk=max(chunk, capacity // 64), choose=order.randrange
            ),
            relayed,
        )
        players = run_in_memory(game.play(moves))
        check_ends(self, game, players)  # type: ignore[arg-type]
        return game, players

    @in_memory
    @given(st.booleans(), orderly, memory_sizes, memory_sizes, st.randoms(use_true_random=False))
    def test_orderly(
        self, relayed: bool, moves: list[Move], capacity: int, chunk: int, order: Any
    ) -> None:
        """Without closes and resets all bytes arrive both ways, are counted exactly, and both sides
        end in order.
        """
        check_all_arrived(self, *self.play(relayed, moves, capacity, chunk, order))  # type: ignore[arg-type]

    @in_memory
    @given(st.booleans(), wild, memory_sizes, memory_sizes, st.randoms(use_true_random=False))
    @example(
        True,
        [("write", CLIENT, 60_000), ("abort", CLIENT, 0)],
        4096,
        4096,
        __import__("random").Random(1),
    )
    def test_wild(
        self, relayed: bool, moves: list[Move], capacity: int, chunk: int, order: Any
    ) -> None:
        """A side that does not close itself gets every byte that the other could send, before its
        close or its reset.
        """
        game, players = self.play(relayed, moves, capacity, chunk, order)
        for one, other in (players, players[::-1]):
            if one.closed:
                continue
            self.assertTrue(
                one.recorder.received == other.sent,
                f"{len(one.recorder.received)} of {len(other.sent)} bytes",
            )
            self.assertTrue(one.recorder.lost_to(ConnectionDone, ConnectionLost))
            if game.is_relayed:
                name = "down" if one is players[SERVER] else "up"
                self.assertEqual(len(one.recorder.received), game.front.counts[f"{name} written"])

    @in_memory
    @given(orderly, sides, memory_sizes, st.randoms(use_true_random=False))
    def test_reset_is_passed_on(
        self, moves: list[Move], side: int, capacity: int, order: Any
    ) -> None:
        """A reset at any point of a relayed connection that still has a direction open is a reset
        to the other side.
        """
        _game, players = self.play(
            True, [*moves, *end_of_one(side, "abort")], capacity, capacity, order
        )
        other = players[1 - side].recorder
        finished = {move[1] for move in moves if move[0] == "fin"}
        if finished != {CLIENT, SERVER}:
            self.assertTrue(other.lost_to(ConnectionLost), other.reason)


class MemoryTests(MemoryGames, SynchronousTestCase):
    """On bare transports."""


on_sockets = settings(
    max_examples=8 * GAMES,
    deadline=None,
    derandomize=GAMES == 1,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
    ],  # each class is to play the same games
)
kernel_buffers = st.sampled_from([0, 0, 4096, 65536])


class SocketGames:
    """Fewer games, on real sockets, in a reactor of their own that turns when told."""

    family = "tcp4"
    backend = ""
    """The server's family in relayed games, where it is another."""

    def setUp(self) -> None:
        """A reactor that is not the test runner's."""
        from twisted.internet.selectreactor import SelectReactor

        self.reactor = SelectReactor()

    def make_harness(self, buffers: int) -> SocketHarness:
        """Where to play."""
        raise NotImplementedError

    def make_game(self, buffers: int, relayed: bool) -> Game:
        """What to play."""
        return Game(self.make_harness(buffers), relayed, self.backend)

    def play(
        self, relayed: bool, moves: list[Move], buffers: int
    ) -> tuple[Game, tuple[Player, Player]]:
        """Play where the kernel has buffers of this size; with small ones much would take long."""
        if buffers:
            moves = [
                (what, side, size % (20 * buffers) if what == "write" else size)
                for what, side, size in moves
            ]

        async def game_and_players() -> tuple[Game, tuple[Player, Player]]:
            game = self.make_game(buffers, relayed)
            try:
                return game, await game.play(moves)
            finally:
                await game.harness.close()

        outcome: list[Any] = []
        ensureDeferred(game_and_players()).addBoth(outcome.append)
        while not outcome:
            self.reactor.iterate(TURN)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        game, players = outcome[0]
        check_ends(self, game, players)  # type: ignore[arg-type]
        return game, players

    @on_sockets
    @given(st.booleans(), orderly, kernel_buffers)
    def test_orderly(self, relayed: bool, moves: list[Move], buffers: int) -> None:
        """Without closes and resets all bytes arrive both ways, are counted exactly, and both sides
        end in order.
        """
        check_all_arrived(self, *self.play(relayed, moves, buffers))  # type: ignore[arg-type]

    @on_sockets
    @given(st.booleans(), wild, kernel_buffers)
    def test_wild(self, relayed: bool, moves: list[Move], buffers: int) -> None:
        """With closes and resets what arrives is a beginning of what was sent, and every connection
        ends, once.
        """
        self.play(relayed, moves, buffers)

    @on_sockets
    @given(orderly, sides, st.sampled_from(["abort", "reset"]), kernel_buffers)
    def test_reset_is_passed_on(self, moves: list[Move], side: int, how: str, buffers: int) -> None:
        """A reset at any point of a relayed connection without FIN is passed on, after all bytes
        where it waits for them.
        """
        moves = [move for move in moves if move[0] != "fin"]
        _, players = self.play(True, [*moves, *end_of_one(side, how)], buffers)
        other = players[1 - side].recorder
        if "unix" not in (self.family, self.backend):
            self.assertTrue(other.lost_to(ConnectionLost), other.reason)  # type: ignore[attr-defined]
        if how == "reset":
            self.assertTrue(other.received == players[side].sent)  # type: ignore[attr-defined]


class StockTCP4Tests(SocketGames, SynchronousTestCase):
    """On Twisted's own transports over IPv4."""

    def make_harness(self, buffers: int) -> SocketHarness:
        return SocketHarness(
            self.reactor, StockNetwork, self.family, watches_after_eof=False, buffers=buffers
        )


class StockTCP6Tests(StockTCP4Tests):
    """The same over IPv6."""

    family = "tcp6"


class StockUnixTests(StockTCP4Tests):
    """The same over unix sockets."""

    family = "unix"


class StockUnixToTCP4Tests(StockTCP4Tests):
    """The same from a unix socket to IPv4."""

    family, backend = "unix", "tcp4"


@linux
class EpollTCP4Tests(SocketGames, SynchronousTestCase):
    """On the fast transports over IPv4."""

    def make_harness(self, buffers: int) -> SocketHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(self.reactor, EpollNetwork, self.family, buffers=buffers)


@linux
class EpollTCP6Tests(EpollTCP4Tests):
    """The same over IPv6."""

    family = "tcp6"


@linux
class EpollUnixTests(EpollTCP4Tests):
    """The same over unix sockets."""

    family = "unix"


@linux
class EpollTCP6ToUnixTests(EpollTCP4Tests):
    """The same from IPv6 to a unix socket."""

    family, backend = "tcp6", "unix"


@linux
class SpliceTCP4Tests(SocketGames, SynchronousTestCase):
    """On the fast transports through kernel pipes, over IPv4."""

    def make_harness(self, buffers: int) -> SocketHarness:
        return SocketHarness(self.reactor, spliced_network, self.family, buffers=buffers)


@linux
class SpliceTCP6Tests(SpliceTCP4Tests):
    """The same over IPv6."""

    family = "tcp6"


@linux
class SpliceUnixTests(SpliceTCP4Tests):
    """The same over unix sockets."""

    family = "unix"


@linux
class SpliceUnixToTCP4Tests(SpliceTCP4Tests):
    """The same from a unix socket to IPv4."""

    family, backend = "unix", "tcp4"


@linux
class SpliceTCP4ToUnixTests(SpliceTCP4Tests):
    """The same from IPv4 to a unix socket."""

    backend = "unix"


@uring
class UringTCP4Tests(SocketGames, SynchronousTestCase):
    """On the transports of io_uring over IPv4."""

    def make_harness(self, buffers: int) -> SocketHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(self.reactor, UringNetwork, self.family, buffers=buffers)


@uring
class UringTCP6ToUnixTests(UringTCP4Tests):
    """The same from IPv6 to a unix socket."""

    family, backend = "tcp6", "unix"


@uring
class UringUnixToTCP4Tests(UringTCP4Tests):
    """The same from a unix socket to IPv4."""

    family, backend = "unix", "tcp4"


@uring
class UringSpliceTCP4Tests(SocketGames, SynchronousTestCase):
    """On the transports of io_uring and through kernel pipes, over IPv4."""

    def make_harness(self, buffers: int) -> SocketHarness:
        return SocketHarness(self.reactor, spliced_uring_network, self.family, buffers=buffers)


@uring
class UringSpliceUnixTests(UringSpliceTCP4Tests):
    """The same over unix sockets."""

    family = "unix"
