"""What the kernel tells only once, or in its own way, as it tells an io_uring."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.testing.harness import SocketHarness
from tests.connection.relaying import spliced_uring_network
from tests.net.epoll import test_edges
from tests.net.uring.available import uring


@uring
class UrgentTests(test_edges.UrgentTests, TestCase):
    """Urgent data over io_uring."""

    def make_harness(self) -> SocketHarness:
        """Transports of io_uring whose bytes go by pipes."""
        return SocketHarness(reactor, spliced_uring_network, "tcp4")


@uring
class PipeTests(test_edges.PipeTests, TestCase):
    """Pipes over io_uring."""

    def make_harness(self) -> SocketHarness:
        """The same."""
        return SocketHarness(reactor, spliced_uring_network, "tcp4")
