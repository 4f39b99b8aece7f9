"""Tunnels through a proxy of HTTP/1.1, as transports."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import TestCase

from tcpmesh.connection.http1_tunnel import Http1Tunnel
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.testing.contract.bytes import BytesContract
from tcpmesh.testing.contract.flow import FlowContract
from tcpmesh.testing.contract.network import NetworkContract
from tcpmesh.testing.harness import MemoryHarness, TransportHarness
from tcpmesh.testing.wrappers import IdentityTransport, wrap_harness
from tcpmesh.wire.http1_tunnel import TunnelAnswer

REQUEST = b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n\r\n"


class AnsweringTransport(IdentityTransport):
    """The other end of a tunnel: answers, and passes everything on as it is."""

    __slots__ = ("_wire",)

    def __init__(self, clock: Any, observer: Any, connected: bool = False) -> None:
        super().__init__(clock, observer)
        self._wire = b""

    def begin(self) -> None:
        """Wait for the request."""

    def received(self, data: memoryview) -> None:
        """Answer it once it is whole."""
        if self.is_ready:
            self.deliver(data)
            return
        self._wire += bytes(data)
        if len(self._wire) >= len(REQUEST):
            assert self._wire.startswith(REQUEST)
            self.send(OK)
            self.handshake_done()
            if len(self._wire) > len(REQUEST):
                self.deliver(self._wire[len(REQUEST) :])


def make_end(clock: Any, observer: Any, connected: bool) -> WrappedTransport:
    """Either end of a tunnel."""
    if connected:
        return Http1Tunnel(clock, observer, REQUEST, TunnelAnswer(True))
    return AnsweringTransport(clock, observer)


class Http1TunnelTests(BytesContract, FlowContract, NetworkContract, TestCase):
    """What the contract demands of a transport, but for half-close and resets, which a tunnel of
    HTTP/1.1 does not have.
    """

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), (make_end,))

    def make_below(self) -> TransportHarness:
        """Where it stands."""
        return MemoryHarness()

    async def test_write_inside_callbacks(self) -> None:
        """A protocol may write when it is connected and within a delivery, and not after the end:
        there is no half of a tunnel.
        """
        client, server = await self.harness.pair()
        server.on_data = lambda: server.transport.write(b"data")
        client.transport.write(b"x")
        await self.harness.until(lambda: len(client.received) == 4, "the answer")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: client.lost and server.ended, "both ends")
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)


class TinyHttp1TunnelTests(Http1TunnelTests):
    """The same, where little fits."""

    def make_below(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)
