"""What protocols and client factories inherit."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import IBufferedProtocol
from tcpmesh.net.protocol import OneShotFactory, QuietHalfCloseableProtocol, QuietProtocol


class Slotted(OneShotFactory, QuietHalfCloseableProtocol):
    """A protocol and factory in one, with slots of its own."""

    __slots__ = ("got",)

    def __init__(self) -> None:
        self.got = b""

    def dataReceived(self, data: bytes) -> None:
        self.got += data


class QuietTests(SynchronousTestCase):
    """Bases that do nothing."""

    def test_interfaces(self) -> None:
        """Both protocols are what Twisted expects; only one of them stays open at end of stream."""
        verifyObject(IProtocol, QuietProtocol())
        verifyObject(IBufferedProtocol, QuietHalfCloseableProtocol())
        self.assertFalse(IHalfCloseableProtocol.providedBy(QuietProtocol()))

    def test_all_events(self) -> None:
        """Every event of a connection and of a connector may come, and nothing happens."""
        each, reason = QuietHalfCloseableProtocol(), Failure(ConnectionDone())
        each.makeConnection(None)
        each.connectionMade()
        each.bufferReceived(memoryview(b"x"))
        each.readConnectionLost()
        each.writeConnectionLost()
        each.connectionLost(reason)
        factory = OneShotFactory()
        factory.doStart()
        factory.startedConnecting(None)
        factory.clientConnectionFailed(None, reason)
        factory.clientConnectionLost(None, reason)
        factory.doStop()

    def test_no_dictionary(self) -> None:
        """What inherits both bases and has slots has no dictionary."""
        self.assertFalse(hasattr(Slotted(), "__dict__"))

    def test_lent_bytes(self) -> None:
        """Bytes in a lent buffer reach `dataReceived` as a copy of their own."""
        each, buffer = Slotted(), bytearray(b"abc")
        each.bufferReceived(memoryview(buffer))
        buffer[:] = b"xyz"
        self.assertEqual(b"abc", each.got)

    def test_no_protocol(self) -> None:
        """A factory that inherits the base has to say which protocol it builds."""
        self.assertRaises(NotImplementedError, OneShotFactory().buildProtocol, None)
