"""The contract suite on connections in this process, and what goes without a turn of the event
loop.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.internal.listeners import InternalListeners, WithInternal
from tcpmesh.net.internal.transport import InternalTransport, joined
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.contract import StreamContract
from tcpmesh.testing.harness import SocketHarness, TransportHarness
from tcpmesh.testing.memory.pipe import EventQueue
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class _Port:
    """A listener in this process, as the port of a network."""

    def __init__(self, listeners: InternalListeners, address: Address, factory: Any) -> None:
        self._listeners, self._address, self._factory = listeners, address, factory
        listeners.listen(address.host.split("/")[2], self.accept)

    def accept(self, transport: InternalTransport) -> None:
        transport.start(self._factory.buildProtocol(transport.getPeer()))

    def getHost(self) -> Address:
        return self._address

    def stopListening(self) -> None:
        self._listeners.stop_listening(self._address.host.split("/")[2], self.accept)


class InternalHarness(SocketHarness):
    """Connections in this process, on the event loop of a network with sockets."""

    def __init__(self, network: Any, buffer: int) -> None:
        super().__init__(reactor, network, "tcp4")
        self.listeners = InternalListeners(self.network, buffer)
        self.network = WithInternal(self.network, self.listeners)
        self._number = 0

    def listen(self, factory: Any, address: Address | None = None) -> Any:
        self._number += 1
        return _Port(self.listeners, Address.internal(f"l{self._number}"), factory)

    def is_repeating(self, transport: Any) -> bool:
        return False


class InternalOnStockTests(StreamContract, TestCase):
    """On Twisted's own event loop, with little room."""

    def make_harness(self) -> TransportHarness:
        return InternalHarness(StockNetwork, 20_000)


@linux
class InternalOnEpollTests(StreamContract, TestCase):
    """On that of the epoll transports, with the room that there is by default."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return InternalHarness(EpollNetwork, 1 << 20)


class Straight(RecordingProtocol):
    """A protocol that says that it passes its bytes on."""

    straight = True


class StraightTests(SynchronousTestCase):
    """What is passed on at once, and what is not."""

    def setUp(self) -> None:
        """A pair whose steps this test runs."""
        self.steps = EventQueue()
        here = Address("127.0.0.1", 1)
        self.near, self.far = joined(InternalTransport, self.steps, here, here, 1000, 100)
        self.sender, self.receiver = RecordingProtocol(), RecordingProtocol()

    def start(self, receiver: RecordingProtocol) -> None:
        """Both have their protocols."""
        self.receiver = receiver
        self.near.start(self.sender)
        self.far.start(receiver)
        self.run_steps()

    def run_steps(self) -> None:
        """Let all happen that waits."""
        while self.steps.run_one():
            pass

    def test_at_once(self) -> None:
        """What is for a relay has reached it when the call returns, in pieces that are not larger
        than it is to read.
        """
        self.start(Straight())
        self.near.write(b"x" * 250)
        self.assertEqual([100, 100, 50], self.receiver.sizes)
        self.near.write(b"")
        self.near.loseWriteConnection()
        self.run_steps()
        self.assertEqual(["made", "data", "eof"], self.receiver.story)

    def test_not_from_within(self) -> None:
        """A protocol that wants to see its bytes is never called from within a call."""
        self.start(RecordingProtocol())
        self.near.write(b"x")
        self.assertEqual(b"", bytes(self.receiver.received))
        self.run_steps()
        self.assertEqual(b"x", bytes(self.receiver.received))

    def test_order(self) -> None:
        """Nothing overtakes what waits: while it is paused, is full, or was given something
        back.
        """
        self.start(Straight())
        self.receiver.on_data = self.far.pauseProducing
        self.near.write(b"1" * 150)
        self.near.write(b"2" * 2000)
        self.assertEqual([100], self.receiver.sizes)
        self.receiver.on_data = lambda: None
        self.far.resumeProducing()
        self.near.write(b"3")
        self.run_steps()
        self.far.unread(b"0")
        self.near.write(b"4")
        self.run_steps()
        self.assertEqual(b"1" * 150 + b"2" * 2000 + b"304", bytes(self.receiver.received))

    def test_failure(self) -> None:
        """A relay that fails loses its own connection: who has written hears of it later."""
        self.start(Straight())
        self.receiver.on_data = sys.exit
        self.near.write(b"x" * 300)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))
        self.assertTrue(self.receiver.lost)
        self.assertFalse(self.sender.lost)
        self.near.write(b"more")
        self.run_steps()
        self.assertTrue(self.sender.ended)

    def test_closed_meanwhile(self) -> None:
        """What is left when the receiver closes the sender goes nowhere, and is counted."""
        self.start(Straight())
        self.receiver.on_data = self.near.abortConnection
        self.near.write(b"x" * 300)
        self.assertEqual(200, self.near.dropped)
        self.run_steps()
        self.assertTrue(self.sender.lost)
