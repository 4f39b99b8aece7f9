"""What knocking with bare sockets promises beyond the contract of networks."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.net.address import Address
from tcpmesh.net.options import ConnectOptions
from tcpmesh.testing.contract_network import Visits


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollKnockTests(TestCase):
    """Knocks of real sockets."""

    def setUp(self) -> None:
        """A network of the test's own, and who knocks."""
        from tcpmesh.net.epoll import EpollNetwork

        self.network: Any = EpollNetwork(reactor)
        self.addCleanup(self.network.stop)
        self.visitor = Visits()

    def listen(self, family: int = socket.AF_INET) -> tuple[socket.socket, Address]:
        """A listening socket that takes one connection, and its address."""
        where: Any = ("127.0.0.1", 0) if family == socket.AF_INET else "\0" + self.id()
        listener = socket.socket(family)
        self.addCleanup(listener.close)
        listener.bind(where)
        listener.listen(0)
        return listener, Address.from_sockaddr(family, listener.getsockname())

    def knock(self, address: Address, options: ConnectOptions | None = None) -> Any:
        """Knock once."""
        knocker = self.network.knocker(address, self.visitor, 30.0, options)
        knocker.start()
        return knocker

    def test_near(self) -> None:
        """An address of this machine answers at once."""
        for family in (socket.AF_INET, socket.AF_UNIX):
            self.knock(self.listen(family)[1])
        self.assertEqual(["accepted"] * 2, self.visitor.told)

    def test_refused(self) -> None:
        """So it does where it refuses, where there is no way to it, and where the socket cannot be made as it should be."""
        listener, address = self.listen()
        listener.close()
        self.knock(address)
        self.knock(Address("255.255.255.255", 1))
        self.knock(Address("@nobody"))
        self.knock(self.listen()[1], ConnectOptions(source=Address("192.0.2.1")))
        self.assertEqual(["refused"] * 4, self.visitor.told)

    def test_no_descriptor(self) -> None:
        """Without a descriptor nothing is known of the host, and the check fails as one that finds no connection."""

        def exhausted(*args: Any) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(sys.modules["tcpmesh.net.knock"], "BareSocket", exhausted)
        self.knock(self.listen()[1])
        self.assertEqual(["refused"], self.visitor.told)

    async def test_far(self) -> None:
        """An address that answers later is watched until then: here the kernel asks again after a second."""
        pairs = [self.listen(), self.listen()]
        for _, address in pairs:
            held = socket.create_connection(address.sockaddr)
            self.addCleanup(held.close)
            self.knock(address)
        (first, _), (second, _) = pairs
        self.assertEqual(([], 2), (self.visitor.told, len(self.network.poller._channels)))
        self.addCleanup(first.accept()[0].close)
        second.close()
        while len(self.visitor.told) < 2:
            await deferLater(reactor, 0.05)
        self.assertEqual(["accepted", "refused"], sorted(self.visitor.told))
        await deferLater(reactor, 0)
        self.assertEqual({}, self.network.poller._channels)
