"""What a peer may send beside plain bytes once the handshake is over: rightly encrypted, but more
than any honest peer would.
"""

from __future__ import annotations

from typing import Any, cast

from cryptography import x509
from OpenSSL import SSL

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol

from tcpmesh.connection.tls.transport import POOR_READ_SIZE, READ_SIZE
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.names import VERSIONS
from tcpmesh.net.tls.openssl.engine import CompiledEngine
from tcpmesh.net.tls.openssl.public import PublicEngine
from tcpmesh.testing.tls import certificate, settings
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS
from tests.connection.tls.test_transport import End, TlsTestCase
from tests.connection.wrapped.wrapping import HERE, THERE
from tests.forged import (
    ALERT,
    DATA,
    HANDSHAKE,
    HELLO,
    HELLO_REQUEST,
    KEY_UPDATE_ASKED,
    TICKET,
    WARNING,
    Forger,
)

TLS1_2, TLS1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


class Wire:
    """The forger's end of a connection in memory."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.came = b""
        self.lost = False

    def makeConnection(self, transport: Any) -> None:
        """Connected."""
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """Kept."""
        self.came += data

    def readConnectionLost(self) -> None:
        """The other side has ended."""

    def connectionLost(self, reason: object) -> None:
        """It is over."""
        self.lost = True


class ForgedTests(TlsTestCase):
    """A forger at one end."""

    engine: type[CompiledEngine] = CompiledEngine

    def forge(self, version: int, is_server: bool = False) -> tuple[Forger, Wire, End]:
        """A forger that has shaken hands, its wire, and the other side."""
        name = "TLSv1_3" if version == TLS1_3 else "TLSv1_2"
        ours = settings(*(() if is_server else (certificate(),)), version=VERSIONS[name])
        near, far = self.network.pair(HERE, THERE)
        end, wire = End(self.network, TlsContext(ours, self.engine), NO_OPTIONS), Wire()
        far.start(end.transport)
        near.start(cast(IProtocol, wire))
        forger = Forger(version, is_server=is_server, prepare=_prepare)

        def receive() -> bytes:
            self.network.pump()
            data, wire.came = wire.came, b""
            return data

        forger.shake(near.write, receive)
        self.network.pump()
        return forger, wire, end

    def send(self, wire: Wire, data: bytes) -> None:
        """Let the other side have this."""
        wire.transport.write(data)
        self.network.pump()

    def assert_ended(self, end: End, why: str) -> None:
        """The connection was closed for this reason."""
        self.assertTrue(end.above.lost_to(ConnectionDone))
        self.assertEqual([why], [str(each) for each in end.watcher.failures])

    def test_key_updates(self) -> None:
        """A client may change its keys, as often as BoringSSL lets it."""
        forger, wire, end = self.forge(TLS1_3)
        for _ in range(3):
            self.send(wire, b"".join(forger.key_update() for _ in range(32)))
            self.send(wire, forger.record(DATA, b"a"))
        self.assertEqual(b"aaa", end.above.received)
        self.assertEqual([], end.watcher.failures)

    def test_endless_key_updates(self) -> None:
        """Whoever changes keys and says nothing is closed, at once or bit by bit, and those that
        came with it are not even looked at.
        """
        for size, times in ((5_000, 1), (1, 70)):
            forger, wire, end = self.forge(TLS1_3)
            for _ in range(times):
                self.send(wire, b"".join(forger.key_update() for _ in range(size)))
            self.assert_ended(end, "too many key updates")

    def test_key_updates_between_bytes(self) -> None:
        """Thousands of changes in one piece are too many though bytes are between them."""
        forger, wire, end = self.forge(TLS1_3)
        both = b"".join(forger.key_update() + forger.record(DATA, b"a") for _ in range(1000))
        self.send(wire, both)
        self.assert_ended(end, "too many key updates")

    def test_answers(self) -> None:
        """A change of keys that asks for another is answered though nobody writes, so answers do
        not pile up.
        """
        forger, wire, end = self.forge(TLS1_3)
        end.transport.write(b"the tickets go with this")
        self.network.pump()
        wire.came = b""
        for _ in range(200):
            self.send(wire, forger.key_update(KEY_UPDATE_ASKED) + forger.record(DATA, b"a"))
        self.assertEqual(b"a" * 200, end.above.received)
        self.assertEqual(199 * 27, len(wire.came))
        self.assertFalse(wire.lost)

    def test_unheard_answers(self) -> None:
        """A client that asks on and on and takes no answer is cut off."""
        forger, wire, end = self.forge(TLS1_3)
        wire.transport.pauseProducing()
        end.transport.write(b"a" * (1 << 20))
        for _ in range(100):
            self.send(wire, forger.key_update(KEY_UPDATE_ASKED) + forger.record(DATA, b"a"))
        self.assertTrue(end.above.lost)

    def test_renegotiation(self) -> None:
        """A client of TLS 1.2 that wants to shake hands once more is closed, and so is a server."""
        for is_server, message in ((False, HELLO), (True, HELLO_REQUEST)):
            forger, wire, end = self.forge(TLS1_2, is_server)
            self.send(wire, forger.record(HANDSHAKE, message))
            self.assert_ended(end, "no renegotiation")

    def test_tickets(self) -> None:
        """A server may send tickets, but not without end."""
        forger, wire, end = self.forge(TLS1_3, True)
        self.send(wire, b"".join(forger.record(HANDSHAKE, TICKET) for _ in range(30)))
        self.send(wire, forger.record(DATA, b"a"))
        self.assertEqual(b"a", end.above.received)
        self.send(wire, b"".join(forger.record(HANDSHAKE, TICKET) for _ in range(3000)))
        self.assert_ended(end, "too many key updates")

    def test_poor_records(self) -> None:
        """From a peer whose records hold a byte each less is read at once, until they hold more."""
        forger, wire, end = self.forge(TLS1_3)
        below = end.transport.below
        below.read_size = READ_SIZE
        self.send(wire, b"".join(forger.record(DATA, b"a") for _ in range(2000)))
        self.assertEqual(POOR_READ_SIZE, below.read_size)
        self.send(wire, b"".join(forger.record(DATA, bytes(16000)) for _ in range(8)))
        self.assertEqual(READ_SIZE, below.read_size)
        self.assertEqual(130_000, len(end.above.received))

    def test_warnings_and_empty_records(self) -> None:
        """Neither warnings nor empty records go on without end."""
        for version in (TLS1_2, TLS1_3):
            for kind, body in ((ALERT, WARNING), (DATA, b"")):
                forger, wire, end = self.forge(version)
                self.send(wire, b"".join(forger.record(kind, body) for _ in range(100)))
                self.assertTrue(end.above.lost_to(ConnectionDone))


class PublicEngineTests(ForgedTests):
    """The same with the public methods of pyOpenSSL."""

    engine = PublicEngine


def _prepare(context: SSL.Context) -> None:
    own = certificate()
    context.use_certificate(x509.load_der_x509_certificate(own.chain[0]))
    key: Any = own.key
    context.use_privatekey(key)
