"""The games of `tests.connection.test_relay_properties`, played with wrapped transports: whatever
two sides do, in whatever order, no wrapper shows.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import SocketHarness, TransportHarness
from tcpmesh.testing.wrappers import (
    DelayingTransport,
    FramingTransport,
    Make,
    wrap_harness,
)
from tests.connection.test_relay_properties import MemoryGames, SocketGames

linux = skipUnless(sys.platform == "linux", "epoll is Linux's")


class FramingTests(MemoryGames, SynchronousTestCase):
    """Records, in memory."""

    makers: tuple[Make, ...] = (FramingTransport,)

    def make_harness(self, **how: Any) -> TransportHarness:
        return wrap_harness(super().make_harness(**how), self.makers)


class TwoFramingsTests(FramingTests):
    """Records of records."""

    makers: tuple[Make, ...] = (FramingTransport, FramingTransport)


class DelayingTests(FramingTests):
    """Bytes that are held back, and come in other pieces."""

    makers: tuple[Make, ...] = (DelayingTransport,)


class StockTCP4Tests(SocketGames, SynchronousTestCase):
    """Records on Twisted's own transports over IPv4."""

    makers: tuple[Make, ...] = (FramingTransport,)

    def make_harness(self, buffers: int) -> TransportHarness:  # type: ignore[override]
        below = SocketHarness(
            self.reactor, StockNetwork, self.family, watches_after_eof=False, buffers=buffers
        )
        return wrap_harness(below, self.makers)


class StockUnixToTCP6Tests(StockTCP4Tests):
    """Bytes that are held back, from a unix socket to IPv6."""

    family, backend = "unix", "tcp6"
    makers: tuple[Make, ...] = (DelayingTransport,)


@linux
class EpollTCP4Tests(SocketGames, SynchronousTestCase):
    """Records on the fast transports over IPv4."""

    makers: tuple[Make, ...] = (FramingTransport,)

    def make_harness(self, buffers: int) -> TransportHarness:  # type: ignore[override]
        from tcpmesh.net.epoll.network import EpollNetwork

        below = SocketHarness(self.reactor, EpollNetwork, self.family, buffers=buffers)
        return wrap_harness(below, self.makers)


@linux
class EpollTCP6ToUnixTests(EpollTCP4Tests):
    """Bytes that are held back below records of records, from IPv6 to a unix socket."""

    family, backend = "tcp6", "unix"
    makers: tuple[Make, ...] = (DelayingTransport, FramingTransport, FramingTransport)
