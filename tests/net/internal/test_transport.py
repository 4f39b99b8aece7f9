"""The contract suite on connections in this process, and what goes without a turn of the event
loop.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.net.internal.listeners import InternalListeners, WithInternal
from tcpmesh.net.internal.transport import InternalTransport
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.contract import StreamContract
from tcpmesh.testing.harness import SocketHarness, TransportHarness
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
