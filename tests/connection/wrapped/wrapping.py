"""One wrapped end of a connection in memory, whose other end is bare and sees what is on the
wire.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.wrappers import BYE, DATA, HEADER, HELLO, ROUNDS, FramingTransport
from tcpmesh.values.address import Address

HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.2", 2)


def record(kind: int, body: bytes = b"") -> bytes:
    """One of a `FramingTransport`."""
    return HEADER.pack(kind, len(body)) + body


HELLOS = record(HELLO, b"hello") * ROUNDS
"""One side of the handshake."""

GOODBYE = record(BYE)


def data(body: bytes) -> bytes:
    """A record of plain bytes."""
    return record(DATA, body)


class Observer:
    """Writes down what becomes of a handshake; gives the wrapper its protocol when it is ready."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.told: list[str] = []
        self.reason: Failure | None = None

    def handshake_done(self, wrapper: WrappedTransport) -> None:
        """Ready."""
        self.told.append("done")
        if wrapper.protocol is None:
            wrapper.protocol = self.protocol
            self.protocol.makeConnection(wrapper)

    def handshake_failed(self, wrapper: WrappedTransport, reason: Failure) -> None:
        """Never."""
        self.told.append("failed")
        self.reason = reason


class WrappingTestCase(SynchronousTestCase):
    """A test of one wrapper."""

    def wrap(
        self, make: Any = FramingTransport, capacity: int = 65536, attached: bool = False
    ) -> Any:
        """A wrapper on its transport, and a bare peer.

        :param attached: whether the protocol above is there from the start.
        """
        self.network = MemoryNetwork(capacity=capacity)
        near, far = self.network.pair(HERE, THERE)
        self.above, self.peer = RecordingProtocol(), RecordingProtocol()
        self.observer = Observer(self.above)
        self.wrapper = make(self.network.clock, self.observer, False)
        if attached:
            self.wrapper.protocol = self.above
            self.above.transport = self.wrapper
        far.start(self.peer)
        near.start(self.wrapper)
        self.network.pump()
        return self.wrapper

    def say(self, wire: bytes) -> None:
        """The peer sends this, and it arrives."""
        self.peer.transport.write(wire)
        self.network.pump()

    def ready(self, make: Any = FramingTransport, capacity: int = 65536) -> Any:
        """A wrapper whose handshake is over; the peer has forgotten what it got of that."""
        wrapper = self.wrap(make, capacity)
        if isinstance(wrapper, FramingTransport):
            self.say(HELLOS)
            self.peer.received.clear()
        self.assertEqual(["done"], self.observer.told)
        return wrapper

    def pump(self) -> None:
        """Let all happen that can."""
        self.network.pump()

    @property
    def wire(self) -> bytes:
        """What the peer has got."""
        return bytes(self.peer.received)
