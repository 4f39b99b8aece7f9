"""A connected pair of transports in memory that behaves like two sockets, so that a relay can be
tested without any.

Why not Twisted's own fakes: `iosim` and `StringTransport` ignore pause, never pause a producer and
cannot half-close, and those are the things a proxy gets wrong.

They are those of `tcpmesh.net.internal.transport`, which tells how they work, with what tests want
besides: every byte goes by steps, which are a test's to run, whoever keeps what was lent to him
finds others' bytes there, and what a kernel would know of a connection is what a test says.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.net.internal.pipe import Pipe
from tcpmesh.net.internal.transport import InternalTransport, joined
from tcpmesh.testing.memory.pipe import EventQueue
from tcpmesh.values.address import Address
from tcpmesh.values.stream.tcp_facts import TcpFacts


class MemoryTransport(InternalTransport):
    """One end of a connection in memory; make two with `connect_in_memory`."""

    passes_straight = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.redirected_from: Address | None = None
        """What `original_destination` is to tell."""
        self.quiet: float | None = None
        """What `quiet_for` is to tell."""
        self.facts: TcpFacts | None = None
        """What `tcp_facts` is to tell, until the end."""

    @property
    def outgoing(self) -> Pipe:
        """What the kernels hold of what was sent here."""
        return self._out

    @property
    def paused(self) -> bool:
        """True where the transport does not read now."""
        return self._paused

    def _deliver(self, data: bytes) -> None:
        take_view = getattr(self.protocol, "bufferReceived", None)
        if take_view is None:
            self._call(self.protocol.dataReceived, data)
            return
        shared = bytearray(data)
        self._call(take_view, memoryview(shared))
        shared[:] = b"\xdb" * len(data)  # whoever kept the view sees that others use the buffer now

    def quiet_for(self) -> float | None:
        """For how long nothing has moved, as a test says."""
        return self.quiet

    def tcp_facts(self) -> TcpFacts | None:
        """What a test says."""
        return self.facts

    def original_destination(self) -> Address | None:
        """Where the peer wanted to connect to."""
        return self.redirected_from


def connect_in_memory(
    steps: EventQueue, client: Address, server: Address, capacity: int, chunk: int
) -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports, client's first: `capacity` bytes fit into each direction, at most
    `chunk` are read at once.
    """
    return joined(MemoryTransport, steps, client, server, capacity, chunk)
