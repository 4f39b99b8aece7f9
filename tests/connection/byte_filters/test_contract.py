"""What any transport and any relay has to do, with filters that change bytes on all transports."""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness, pattern
from tcpmesh.testing.wrappers import FramingTransport, Make, wrap_harness
from tests.connection.byte_filters.wrapping import (
    Delaying,
    DelayingWrites,
    Framing,
    Scrambling,
    Splitting,
    filtered,
)
from tests.connection.test_relay import FreedContract, RelayContract
from tests.connection.test_relay_properties import (
    MemoryGames,
    Move,
    SocketGames,
    in_memory,
    memory_sizes,
    wild,
)

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")

TINY = {"capacity": 4000, "chunk": 3000}


class FilteredContract(StreamContract, NetworkContract):
    """What the contract demands of a transport."""

    makers: tuple[Make, ...] = (filtered(Scrambling),)

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), self.makers)

    def make_below(self) -> TransportHarness:
        """What is below the filters."""
        return MemoryHarness()


class ScramblingTests(FilteredContract, TestCase):
    """A filter that changes every byte, in memory."""


class TinyDelayingTests(FilteredContract, TestCase):
    """A filter that holds what is written, where little fits."""

    makers: tuple[Make, ...] = (filtered(DelayingWrites),)

    def make_below(self) -> TransportHarness:
        return MemoryHarness(**TINY)


class ManyTests(TinyDelayingTests):
    """Several filters, above a transport socket."""

    makers: tuple[Make, ...] = (
        FramingTransport,
        filtered(DelayingWrites, Scrambling, Scrambling, DelayingWrites, Scrambling),
    )


class FramingTests(FilteredContract, TestCase):
    """A filter that makes bytes more."""

    makers: tuple[Make, ...] = (filtered(Framing),)

    async def test_cut_of_a_full_buffer(self) -> None:
        """As the contract has it; of bytes that became others only pieces are counted, of which the
        peer may have got a part.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.cutConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertGreaterEqual(len(server.received), written - client.transport.dropped)
        self.assertTrue(pattern(0, written).startswith(server.received))


@linux
class EpollTests(FilteredContract, TestCase):
    """Filters on the epoll transports."""

    makers: tuple[Make, ...] = (filtered(Scrambling, DelayingWrites),)
    family = "tcp4"

    def make_below(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, self.family)


class RelayTests(RelayContract, FreedContract, TestCase):
    """A relay between transports with a filter that changes bytes."""

    makers: tuple[Make, ...] = (filtered(Scrambling),)

    def make_harness(self) -> TransportHarness:
        return wrap_harness(MemoryHarness(**TINY), self.makers)


class DelayedRelayTests(RelayTests):
    """A relay between transports with filters that hold bytes and change them."""

    makers: tuple[Make, ...] = (filtered(DelayingWrites, Scrambling),)


class DelayingGames(MemoryGames, SynchronousTestCase):
    """Whatever two sides do, no filter shows that changes bytes and holds what is written."""

    makers: tuple[Make, ...] = (filtered(Scrambling, DelayingWrites),)

    def make_harness(self, **how: Any) -> TransportHarness:
        return wrap_harness(super().make_harness(**how), self.makers)


class FramingGames(DelayingGames):
    """... or that make bytes more, hold, split and join them, in both directions."""

    makers: tuple[Make, ...] = (filtered(Splitting, Delaying, Framing, Delaying),)

    @in_memory
    @given(st.booleans(), wild, memory_sizes, memory_sizes, st.randoms(use_true_random=False))
    def test_wild(
        self, relayed: bool, moves: list[Move], capacity: int, chunk: int, order: Any
    ) -> None:
        """What arrives is a beginning of what was sent, and each side ends once; a reset takes with
        it what filters hold.
        """
        self.play(relayed, moves, capacity, chunk, order)


@linux
class EpollGames(SocketGames, SynchronousTestCase):
    """... on the epoll transports."""

    makers: tuple[Make, ...] = (filtered(Scrambling, DelayingWrites),)

    def make_harness(self, buffers: int) -> TransportHarness:  # type: ignore[override]
        from tcpmesh.net.epoll.network import EpollNetwork

        below = SocketHarness(self.reactor, EpollNetwork, self.family, buffers=buffers)
        return wrap_harness(below, self.makers)
