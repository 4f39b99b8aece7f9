"""The contract suite on wrapped transports: one upon another, and on every kind of transports."""

from __future__ import annotations

import sys
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness
from tcpmesh.testing.wrappers import (
    DelayingTransport,
    FramingTransport,
    IdentityTransport,
    Make,
    wrap_harness,
)

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")

TINY = {"capacity": 4000, "chunk": 3000}


class WrappedContract(StreamContract, NetworkContract):
    """What the contract demands of a transport, of one that is wrapped."""

    makers: tuple[Make, ...] = (FramingTransport,)

    def make_harness(self) -> TransportHarness:
        return wrap_harness(self.make_below(), self.makers)

    def make_below(self) -> TransportHarness:
        """Where the lowest wrapper stands."""
        return MemoryHarness()


class IdentityTests(WrappedContract, TestCase):
    """A wrapper that does nothing, in memory."""

    makers: tuple[Make, ...] = (IdentityTransport,)


class TinyIdentityTests(IdentityTests):
    """The same, where little fits."""

    def make_below(self) -> TransportHarness:
        return MemoryHarness(**TINY)


class TwoIdentitiesTests(IdentityTests):
    """The same, twice."""

    makers: tuple[Make, ...] = (IdentityTransport, IdentityTransport)


class DelayingTests(WrappedContract, TestCase):
    """A wrapper that holds bytes back and cuts them otherwise, in memory."""

    makers: tuple[Make, ...] = (DelayingTransport,)


class TinyDelayingTests(DelayingTests):
    """The same, where little fits."""

    def make_below(self) -> TransportHarness:
        return MemoryHarness(**TINY)


class TwoDelayingTests(DelayingTests):
    """The same, twice."""

    makers: tuple[Make, ...] = (DelayingTransport, DelayingTransport)


class FramingTests(WrappedContract, TestCase):
    """A wrapper with a handshake and records, in memory."""


class TinyFramingTests(FramingTests):
    """The same, where little fits."""

    def make_below(self) -> TransportHarness:
        return MemoryHarness(**TINY)


class TwoFramingsTests(FramingTests):
    """The same, twice."""

    makers: tuple[Make, ...] = (FramingTransport, FramingTransport)


class DelayingOnFramingTests(TinyFramingTests):
    """Records below one that holds back, where little fits."""

    makers: tuple[Make, ...] = (FramingTransport, DelayingTransport)


class FramingOnDelayingTests(TinyFramingTests):
    """Records on one that holds back, where little fits: handshakes come in pieces too."""

    makers: tuple[Make, ...] = (DelayingTransport, FramingTransport)


class StockTCP4Tests(WrappedContract, TestCase):
    """Records on Twisted's own transports over IPv4."""

    family = "tcp4"

    def make_below(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, self.family, watches_after_eof=False)


class StockUnixTests(StockTCP4Tests):
    """A wrapper that holds back, over unix sockets."""

    family = "unix"
    makers: tuple[Make, ...] = (DelayingTransport,)


@linux
class EpollTCP4Tests(WrappedContract, TestCase):
    """Records on the epoll transports over IPv4."""

    family = "tcp4"

    def make_below(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, self.family)


@linux
class EpollUnixTests(EpollTCP4Tests):
    """A wrapper that holds back, over unix sockets."""

    family = "unix"
    makers: tuple[Make, ...] = (DelayingTransport,)
