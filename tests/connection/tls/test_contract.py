"""The contract suite over TLS, of both versions, on every kind of transports."""

from __future__ import annotations

import sys
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.net.tls.openssl.public import PublicEngine
from tcpmesh.net.tls.settings import TLS1_2, TLS1_3
from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness, pattern
from tcpmesh.testing.tls import maker_of
from tcpmesh.testing.wrappers import wrap_harness

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class TlsContract(StreamContract, NetworkContract):
    """What the contract demands of a transport, of one that speaks TLS."""

    version = TLS1_3

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), [maker_of(self.version)])

    def make_below(self) -> TransportHarness:
        """Where TLS stands."""
        return MemoryHarness()


class MemoryTls1_3Tests(TlsContract, TestCase):
    """TLS 1.3 in memory."""


class PublicTls1_3Tests(TlsContract, TestCase):
    """TLS 1.3 in memory, on the public methods of pyOpenSSL alone."""

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), [maker_of(TLS1_3, PublicEngine)])


class TinyMemoryTls1_2Tests(TlsContract, TestCase):
    """TLS 1.2 in memory, where little fits."""

    version = TLS1_2

    def make_below(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)


class StockTls1_2Tests(TlsContract, TestCase):
    """TLS 1.2 on Twisted's own transports."""

    version = TLS1_2

    def make_below(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)

    async def test_cut_when_made(self) -> None:
        """A client that is cut from inside connectionMade may be cut before its last flight has
        left, which Twisted's transports send a turn later; so this plays with one that is cut from
        inside a delivery.
        """
        client, server = await self.harness.pair()
        server.transport.read_size = 10
        server.on_data = server.transport.cutConnection
        client.transport.write(pattern(0, 1000))
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertEqual(["made", "data", "lost"], server.events)


@linux
class EpollTls1_3Tests(TlsContract, TestCase):
    """TLS 1.3 on the epoll transports."""

    def make_below(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")
