"""Tunnels through a proxy of HTTP/2, as transports: what the contract demands, over a carrier that
has the frames of one stream and nothing else.
"""

from __future__ import annotations

import struct
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, ResetReason, TwoWayObserver, TwoWayStream
from tcpmesh.rpc.http2.tunnel import Http2Tunnel
from tcpmesh.testing.contract.bytes import BytesContract
from tcpmesh.testing.contract.close import CloseContract
from tcpmesh.testing.contract.flow import FlowContract
from tcpmesh.testing.contract.half_close import HalfCloseContract
from tcpmesh.testing.harness import MemoryHarness, TransportHarness
from tcpmesh.testing.wrappers import wrap_harness

HEAD = struct.Struct("!BI")
DATA, END, RESET, WINDOW = range(4)
FRAME = 16384
ROOM = 1 << 16
CANCEL = 8


@implementer(IPushProducer)
class OneStream(QuietHalfCloseableProtocol):
    """The protocol of a connection that carries one stream."""

    def __init__(self, clock: Any, observer: Any, connected: bool) -> None:
        self.observer = observer
        self.tunnel = Http2Tunnel(clock, self)
        self.window = ROOM
        self.full = self.is_over = self.is_sending = False
        self._wire = bytearray()

    def makeConnection(self, transport: Any) -> None:
        """Open at once."""
        self.transport = transport
        transport.registerProducer(self, True)
        self.tunnel.ask(self._open)
        self.tunnel.read_size = transport.read_size
        self.tunnel.high_watermark = transport.high_watermark
        self.stream.begun(transport)
        self.tunnel.on_headers(((":status", "200"),), False)

    def _open(self, observer: TwoWayObserver) -> TwoWayStream:
        self.stream = TwoWayStream((), observer, lambda stream, reset: None)
        self.stream.carrier = self
        self.stream.id = 1
        return self.stream

    def loseConnection(self) -> None:
        """As who waits for a handshake may ask."""
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """As who waits for a handshake may ask."""
        self.transport.abortConnection()

    # Who has asked

    def handshake_done(self, tunnel: Http2Tunnel) -> None:
        """It is open."""
        self.observer.handshake_done(tunnel)

    def handshake_failed(self, tunnel: Http2Tunnel, reason: Failure) -> None:
        """It is not."""
        self.observer.handshake_failed(tunnel, reason)

    def tunnel_trailers(self, fields: Any) -> None:
        """There are none."""

    # The carrier

    def charge(self, count: int) -> None:
        """Nothing is counted."""

    def wants_to_send(self, stream: Http2Stream) -> None:
        """Send what there is room for."""
        if self.is_sending:
            return
        self.is_sending = True
        while not self.full and self.window and stream.buffered and not self.is_over:
            piece = stream.take(min(FRAME, self.window))
            self.window -= len(piece)
            self._frame(DATA, len(piece), piece)
            stream.sent()
        if stream.is_ended and not stream.is_last and not stream.buffered and not self.is_over:
            stream.is_last = True
            self._frame(END)
            stream.sent()
            if self.stream.has_ended:
                self._both_ended()
        self.is_sending = False

    def took(self, stream: TwoWayStream, size: int) -> None:
        """Tell the other side."""
        self._frame(WINDOW, size)

    def give_up(self, stream: Http2Stream, reset: Reset) -> None:
        """Break it off."""
        self._frame(RESET)
        stream.finish(reset)
        self._close()

    def _both_ended(self) -> None:
        observer = self.stream.finish()
        if observer is not None:
            observer.on_end()
        self._close()

    def _close(self) -> None:
        self.is_over = True
        self.transport.loseConnection()

    def _frame(self, kind: int, size: int = 0, data: bytes = b"") -> None:
        self.transport.write(HEAD.pack(kind, size) + data)

    def pauseProducing(self) -> None:
        """The connection takes no more."""
        self.full = True

    def resumeProducing(self) -> None:
        """It does again."""
        self.full = False
        if not self.is_over:
            self.wants_to_send(self.stream)

    def stopProducing(self) -> None:
        """It is gone."""

    def dataReceived(self, data: bytes) -> None:
        """Take whole frames."""
        self._wire += data
        while len(self._wire) >= HEAD.size and not self.is_over:
            kind, size = HEAD.unpack_from(self._wire)
            whole = HEAD.size + (size if kind == DATA else 0)
            if len(self._wire) < whole:
                return
            body = bytes(self._wire[HEAD.size : whole])
            del self._wire[:whole]
            self._take(kind, size, body)

    def _take(self, kind: int, size: int, body: bytes) -> None:
        observer = self.stream.observer
        if kind == WINDOW:
            self.window += size
            self.wants_to_send(self.stream)
        elif kind == RESET:
            self.stream.finish(Reset(ResetReason.REMOTE_RESET, code=CANCEL))
            self._close()
            if observer is not None:
                observer.on_reset(Reset(ResetReason.REMOTE_RESET, code=CANCEL))
        elif kind == DATA and observer is not None:
            observer.on_data(body)
        elif kind == END:
            self.stream.has_ended = True
            if self.stream.is_last:
                self._both_ended()
            elif observer is not None:
                observer.on_end()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        if not self.is_over:
            self.is_over = True
            self.stream.fail(Reset(ResetReason.CONNECTION_TERMINATION))


class Http2TunnelTests(BytesContract, FlowContract, HalfCloseContract, CloseContract, TestCase):
    """What the contract demands of a transport, of either end of a stream."""

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), (OneStream,))  # type: ignore[arg-type]

    def make_below(self) -> TransportHarness:
        """Where the carrier stands."""
        return MemoryHarness()

    async def test_cut_of_a_full_buffer(self) -> None:
        """A stream that is cut is reset: there is no other way to end it at once."""
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.cutConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.lost, "the peer's loss")
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_socket_options(self) -> None:
        """The options of a socket that others share stay as they are."""
        client, _ = await self.harness.pair()
        before = bool(client.transport.getTcpNoDelay()), bool(client.transport.getTcpKeepAlive())
        client.transport.setTcpNoDelay(not before[0])
        client.transport.setTcpKeepAlive(not before[1])
        after = bool(client.transport.getTcpNoDelay()), bool(client.transport.getTcpKeepAlive())
        self.assertEqual(before, after)


class TinyHttp2TunnelTests(Http2TunnelTests):
    """The same, where little fits."""

    def make_below(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)
