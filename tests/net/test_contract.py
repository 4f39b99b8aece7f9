"""The contract suite, applied to every network there is."""

from __future__ import annotations

import sys
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness
from tests.net.uring.available import uring

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class MemoryTests(StreamContract, NetworkContract, TestCase):
    """The memory network, with the buffers of an ordinary kernel."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness()


class TinyMemoryTests(StreamContract, NetworkContract, TestCase):
    """The memory network where little fits and less is read at once."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)


class StockTCP4Tests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over IPv4."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)


class StockTCP6Tests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over IPv6."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp6", watches_after_eof=False)


class StockUnixTests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over unix sockets."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "unix", watches_after_eof=False)


@linux
class EpollTCP4Tests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over IPv4."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")


@linux
class EpollTCP6Tests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over IPv6."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp6")


@linux
class EpollUnixTests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over unix sockets."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "unix")


@uring
class UringTCP4Tests(StreamContract, NetworkContract, TestCase):
    """The io_uring transports over IPv4."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "tcp4")


@uring
class UringTCP6Tests(StreamContract, NetworkContract, TestCase):
    """The io_uring transports over IPv6."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "tcp6")


@uring
class UringUnixTests(StreamContract, NetworkContract, TestCase):
    """The io_uring transports over unix sockets."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "unix")
