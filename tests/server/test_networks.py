"""Which transports are chosen."""

from __future__ import annotations

import os
import select
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.server.networks import VARIABLE, NoSuchTransport, default_network


class DefaultNetworkTests(SynchronousTestCase):
    """The network of a server to which none was given."""

    def choose(self, value: str | None, on: Any = reactor) -> Any:
        """The choice with this value in the environment."""
        environ = {name: text for name, text in os.environ.items() if name != VARIABLE}
        self.patch(os, "environ", environ if value is None else {**environ, VARIABLE: value})
        network: Any = default_network(on)
        self.addCleanup(network.stop)
        return network

    @skipUnless(sys.platform == "linux", "epoll is Linux's")
    def test_fast(self) -> None:
        """Where there is epoll, the fast transports are the default, and can be asked for."""
        for value in (None, "", "epoll"):
            self.assertEqual("EpollNetwork", type(self.choose(value)).__name__)

    def test_stock(self) -> None:
        """Twisted's own transports can be asked for."""
        self.assertIsInstance(self.choose("stock"), StockNetwork)

    def test_elsewhere(self) -> None:
        """Without epoll, or on a reactor that cannot watch a descriptor, it is Twisted's own."""
        self.assertIsInstance(self.choose(None, Clock()), StockNetwork)
        if hasattr(select, "epoll"):
            epoll = select.epoll
            del select.epoll
            self.addCleanup(setattr, select, "epoll", epoll)
        self.assertIsInstance(self.choose(None), StockNetwork)

    def test_unknown(self) -> None:
        """Another name, or transports that this system lacks, is an error that tells which there
        are.
        """
        failure = self.assertRaises(NoSuchTransport, self.choose, "carrier pigeons")
        self.assertIn("TCPMESH_TRANSPORT is 'carrier pigeons'; there are", str(failure))
        self.assertIn("stock", str(failure))
        self.assertRaises(NoSuchTransport, self.choose, "epoll", Clock())
