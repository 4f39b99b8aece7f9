"""One suite that every transport must pass: memory, Twisted's own, epoll, TLS, splice.

What a relay may rely on is what L{IStreamTransport<tcpmesh.interfaces.IStreamTransport>} says, and this suite is that text as
tests.  To put a transport to the test, subclass L{StreamContract} (connected pairs) and, for an
L{INetwork<tcpmesh.interfaces.INetwork>}, L{NetworkContract} (listening and connecting) together with trial's C{TestCase}, and say
in C{make_stage} where to play::

    class MyTests(StreamContract, NetworkContract, TestCase):
        def make_stage(self):
            return SocketStage(reactor, MyNetwork, "tcp4")

The tests are in four modules by subject: bytes and flow, half-close, close and reset, network.
"""

from __future__ import annotations

from tcpmesh.testing.contract_bytes import BytesContract
from tcpmesh.testing.contract_close import CloseContract
from tcpmesh.testing.contract_flow import FlowContract
from tcpmesh.testing.contract_half_close import HalfCloseContract
from tcpmesh.testing.contract_network import NetworkContract

__all__ = ["NetworkContract", "StreamContract"]


class StreamContract(BytesContract, FlowContract, HalfCloseContract, CloseContract):
    """What every connected pair of transports does."""
