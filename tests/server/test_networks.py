"""Which transports are chosen."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import Any
from unittest import skipUnless

from zope.interface import implementer

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.server.networks import BUSY_POLL, VARIABLE, NoSuchTransport, default_network
from tests.net.uring.available import uring


class DefaultNetworkTests(SynchronousTestCase):
    """The network of a server to which none was given."""

    def choose(self, value: str | None, on: Any = reactor, says_why: bool = True) -> Any:
        """The choice with this value in the environment."""
        environ = {name: text for name, text in os.environ.items() if name != VARIABLE}
        self.patch(os, "environ", environ if value is None else {**environ, VARIABLE: value})
        network: Any = default_network(on, says_why=says_why)
        self.addCleanup(network.stop)
        return network

    @skipUnless(sys.platform == "linux", "epoll is Linux's")
    def test_fast(self) -> None:
        """Where there is epoll, the fast transports are the default, and can be asked for."""
        for value in (None, "", "epoll"):
            self.assertEqual("EpollNetwork", type(self.choose(value)).__name__)

    @uring
    def test_uring(self) -> None:
        """Those of io_uring can be asked for."""
        for value in ("uring", "uring-only"):
            self.assertEqual("UringNetwork", type(self.choose(value)).__name__)

    @skipUnless(sys.platform == "linux", "epoll is Linux's")
    def test_refused(self) -> None:
        """Where the system refuses an io_uring, those of epoll take its place, and one line of the
        log says why; that can be an error.
        """
        from tcpmesh.net.uring import ring

        def refuse(*arguments: int) -> int:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        self.patch(ring, "_call", refuse)
        said: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            said.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.assertEqual("EpollNetwork", type(self.choose("uring")).__name__)
        why = "this system refuses an io_uring (Operation not permitted)"
        self.assertEqual([f"{why}: the transports are those of epoll"], said)
        self.choose("uring", says_why=False)
        self.assertEqual(1, len(said))
        error = self.assertRaises(NoSuchTransport, self.choose, "uring-only")
        self.assertEqual(
            f"{why}, and the environment variable TCPMESH_TRANSPORT is 'uring-only'", str(error)
        )

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
        said = "the environment variable TCPMESH_TRANSPORT is 'carrier pigeons'; there are "
        self.assertIn(str(failure), (f"{said}epoll, uring, uring-only and stock", f"{said}stock"))
        self.assertRaises(NoSuchTransport, self.choose, "epoll", Clock())

    def poll_busily(self, text: str) -> None:
        """What follows has this in the environment."""
        self.patch(os, "environ", {**os.environ, BUSY_POLL: text})

    @skipUnless(sys.platform == "linux", "epoll is Linux's")
    def test_busy_poll(self) -> None:
        """Busy polling is off unless it is asked for, by a time in microseconds."""
        self.poll_busily("")
        for text, seconds in (
            ("", 0.0),
            ("0", 0.0),
            ("0us", 0.0),
            ("50us", 5e-5),
            ("1000us", 1e-3),
        ):
            self.poll_busily(text)
            self.assertEqual(seconds, self.choose("epoll").poller._busy, text)

    @uring
    def test_busy_poll_on_uring(self) -> None:
        """So it is on io_uring."""
        self.poll_busily("50us")
        self.assertEqual(5e-5, self.choose("uring").poller._busy)

    @skipUnless(sys.platform == "linux", "epoll is Linux's")
    def test_no_busy_poll(self) -> None:
        """What is no such time is an error that says what may be there."""
        for text in ("on", "50", "-1us", "1001us", "5 us", "1ms", "12345us"):
            self.poll_busily(text)
            self.assertEqual(
                f"the environment variable TCPMESH_BUSY_POLL is '{text}'; it may be 0 or a time "
                f"from 1us to 1000us",
                str(self.assertRaises(NoSuchTransport, self.choose, "epoll")),
            )

    def test_stock_does_not_poll(self) -> None:
        """Twisted's own transports know nothing of it, which is an error too."""
        self.poll_busily("50us")
        error = self.assertRaises(NoSuchTransport, self.choose, "stock")
        self.assertIn("the transports 'stock' do not poll", str(error))
        self.poll_busily("0")
        self.assertIsInstance(self.choose("stock"), StockNetwork)
