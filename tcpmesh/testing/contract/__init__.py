"""One suite that every transport must pass: memory, Twisted's own, epoll, TLS, splice.

What a relay may rely on is what `IStreamTransport` says, and this suite is that text as
tests.  To put a transport to the test, subclass `StreamContract` (connected pairs) and, for an
`INetwork`, `NetworkContract` (listening and connecting) together with trial's `TestCase`, and say
in `make_harness` where to play::

    class MyTests(StreamContract, NetworkContract, TestCase):
        def make_harness(self):
            return SocketHarness(reactor, MyNetwork, "tcp4")

The tests are in four modules by subject: bytes and flow, half-close, close and reset, network.
"""

from __future__ import annotations

from tcpmesh.testing.contract.bytes import BytesContract
from tcpmesh.testing.contract.close import CloseContract
from tcpmesh.testing.contract.flow import FlowContract
from tcpmesh.testing.contract.half_close import HalfCloseContract
from tcpmesh.testing.contract.network import NetworkContract

__all__ = ["NetworkContract", "StreamContract"]


class StreamContract(BytesContract, FlowContract, HalfCloseContract, CloseContract):
    """What every connected pair of transports does."""
