"""The relay between wrapped transports, on both sides and on every kind of transports."""

from __future__ import annotations

import sys
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.wrappers import (
    DelayingTransport,
    FramingTransport,
    IdentityTransport,
    Make,
    wrap_harness,
)
from tests.connection.relaying import spliced_network
from tests.connection.test_relay import FreedContract, LimitContract, RelayContract
from tests.net.uring.available import uring

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class WrappedRelayContract(RelayContract):
    """A relay between wrapped transports is a relay."""

    makers: tuple[Make, ...] = (FramingTransport,)

    begun = 50_000  # a record is as long as what was read for it, at most

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), self.makers)

    def make_below(self) -> TransportHarness:
        """Where the lowest wrapper stands."""
        return MemoryHarness(capacity=4000, chunk=3000)

    async def test_reset_from_a_server_at_once(self) -> None:
        """A server that resets as soon as it is ready: the client hears a reset, unless the other
        end of the handshake was not ready yet; then there never is a relay.
        """
        server = RecordingProtocol()
        server.on_made = lambda: server.transport.abortConnection()
        client, _ = await self.relayed(RecordingProtocol(), server, wait=False)
        await self.harness.until(lambda: server.lost and client.transport, "the reset")
        await self.harness.settle()
        if self.front.told:
            await self.over(client, server)
            self.assertTrue(client.lost_to(ConnectionLost), client.reason)
        self.assertEqual(["made", "lost"], server.events)


class FramingTests(WrappedRelayContract, FreedContract, TestCase):
    """Records, on a memory network where little fits."""


class TwoFramingsTests(FramingTests):
    """Records of records."""

    makers: tuple[Make, ...] = (FramingTransport, FramingTransport)


class DelayingTests(FramingTests):
    """Bytes that are held back, and come in other pieces."""

    makers: tuple[Make, ...] = (DelayingTransport,)


class FramingOnDelayingTests(FramingTests):
    """Records that come in pieces."""

    makers: tuple[Make, ...] = (DelayingTransport, FramingTransport)


class IdentityTests(FramingTests):
    """Nothing at all."""

    makers: tuple[Make, ...] = (IdentityTransport,)


class StockTests(WrappedRelayContract, TestCase):
    """Records on Twisted's own transports."""

    def make_below(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)


@linux
class EpollTests(WrappedRelayContract, FreedContract, LimitContract, TestCase):
    """Records on the epoll transports."""

    def make_below(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")


@linux
class SpliceTests(WrappedRelayContract, FreedContract, TestCase):
    """A wrapper that does nothing, where bare traffic would go through kernel pipes."""

    makers: tuple[Make, ...] = (IdentityTransport,)

    def make_below(self) -> TransportHarness:
        return SocketHarness(reactor, spliced_network, "tcp4")

    async def test_sees_every_byte(self) -> None:
        """Bulk bytes do not go past a wrapper: no pipe is taken."""
        client, server = await self.relayed()
        client.transport.write(bytes(4 << 20))
        await self.receives(server, bytes(4 << 20))
        self.assertEqual(0, self.harness.network.pipes.taken)
        await self.ends(client, server)


@uring
class UringTests(WrappedRelayContract, FreedContract, LimitContract, TestCase):
    """Records on the transports of io_uring."""

    def make_below(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "tcp4")
