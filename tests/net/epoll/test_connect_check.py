"""What connect checks with bare sockets promise beyond the contract of networks."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.testing.contract.network import Visits
from tcpmesh.testing.upstreams import refusing
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollConnectCheckTests(TestCase):
    """Checks of real sockets."""

    def setUp(self) -> None:
        """A network of the test's own, and who hears of its checks."""
        from tcpmesh.net.epoll.network import EpollNetwork

        self.network: Any = EpollNetwork(reactor)
        self.addCleanup(self.network.stop)
        self.listener = Visits()

    def listen(self, family: int = socket.AF_INET) -> tuple[socket.socket, Address]:
        """A listening socket that takes one connection, and its address."""
        where: Any = ("127.0.0.1", 0) if family == socket.AF_INET else "\0" + self.id()
        listener = socket.socket(family)
        self.addCleanup(listener.close)
        listener.bind(where)
        listener.listen(0)
        return listener, Address.from_sockaddr(family, listener.getsockname())

    def check(self, address: Address, options: ConnectOptions | None = None) -> Any:
        """Check once."""
        connect_check = self.network.connect_check(address, self.listener, 30.0, options)
        connect_check.start()
        return connect_check

    def test_near(self) -> None:
        """An address of this machine answers at once."""
        for family in (socket.AF_INET, socket.AF_UNIX):
            self.check(self.listen(family)[1])
        self.assertEqual(["accepted"] * 2, self.listener.told)

    def test_refused(self) -> None:
        """So it does where it refuses, where there is no way to it, and where the socket cannot be
        made as it should be.
        """
        with refusing() as address:
            self.check(address)
        self.check(Address("255.255.255.255", 1))
        self.check(Address("@nobody"))
        self.check(self.listen()[1], ConnectOptions(source=Address("192.0.2.1")))
        self.assertEqual(["refused"] * 4, self.listener.told)

    def test_no_descriptor(self) -> None:
        """Without a descriptor nothing is known of the host."""

        def exhausted(*args: Any) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(sys.modules["tcpmesh.net.epoll.connect_check"], "BareSocket", exhausted)
        self.check(self.listen()[1])
        self.assertEqual(["not tried"], self.listener.told)

    async def test_far(self) -> None:
        """An address that answers later is watched until then: here the kernel asks again after a
        second.
        """
        pairs = [self.listen(), self.listen()]
        for _, address in pairs:
            held = socket.create_connection(address.sockaddr)
            self.addCleanup(held.close)
            self.check(address)
        (first, _), (second, _) = pairs
        self.assertEqual(([], 2), (self.listener.told, len(self.network.poller._channels)))
        self.addCleanup(first.accept()[0].close)
        second.close()
        while len(self.listener.told) < 2:
            await deferLater(reactor, 0.05)
        self.assertEqual(["accepted", "refused"], sorted(self.listener.told))
        await deferLater(reactor, 0)
        self.assertEqual({}, self.network.poller._channels)
