"""The contract suite, applied to every network there is."""

from __future__ import annotations

import sys
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock import StockNetwork
from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.stage import MemoryStage, SocketStage, Stage

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class MemoryTests(StreamContract, NetworkContract, TestCase):
    """The memory network, with the buffers of an ordinary kernel."""

    def make_stage(self) -> Stage:
        return MemoryStage()


class TinyMemoryTests(StreamContract, NetworkContract, TestCase):
    """The memory network where little fits and less is read at once."""

    def make_stage(self) -> Stage:
        return MemoryStage(capacity=4000, chunk=3000)


class StockTCP4Tests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over IPv4."""

    def make_stage(self) -> Stage:
        return SocketStage(reactor, StockNetwork, "tcp4", watches_after_eof=False)


class StockTCP6Tests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over IPv6."""

    def make_stage(self) -> Stage:
        return SocketStage(reactor, StockNetwork, "tcp6", watches_after_eof=False)


class StockUnixTests(StreamContract, NetworkContract, TestCase):
    """Twisted's own transports over unix sockets."""

    def make_stage(self) -> Stage:
        return SocketStage(reactor, StockNetwork, "unix", watches_after_eof=False)


@linux
class EpollTCP4Tests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over IPv4."""

    def make_stage(self) -> Stage:
        from tcpmesh.net.epoll import EpollNetwork

        return SocketStage(reactor, EpollNetwork, "tcp4")


@linux
class EpollTCP6Tests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over IPv6."""

    def make_stage(self) -> Stage:
        from tcpmesh.net.epoll import EpollNetwork

        return SocketStage(reactor, EpollNetwork, "tcp6")


@linux
class EpollUnixTests(StreamContract, NetworkContract, TestCase):
    """The epoll transports over unix sockets."""

    def make_stage(self) -> Stage:
        from tcpmesh.net.epoll import EpollNetwork

        return SocketStage(reactor, EpollNetwork, "unix")
