"""Descriptors that clients may not take, on both kinds of transports."""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net import descriptor_reserve as reserve_module
from tcpmesh.net.descriptor_reserve import QUIET, REST, DescriptorReserve
from tcpmesh.net.listen import open_socket
from tcpmesh.net.sockets import is_exhausted
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions
from tests.net.uring.available import uring


def next_free(count: int = 1) -> int:
    """The number that the next descriptor gets, or one of those after it."""
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    for fd in taken:
        os.close(fd)
    return taken[-1]


class Port:
    """A listening port that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def fileno(self) -> int:
        """That of standard input, which is open."""
        return 0

    def getHost(self) -> Any:
        """What is bound."""
        return "somewhere"

    def pause_accepting(self) -> None:
        """Remember."""
        self.told.append("pause")

    def resume_accepting(self) -> None:
        """Remember."""
        self.told.append("resume")


class DescriptorReserveTests(SynchronousTestCase):
    """What is kept, and who is told."""

    def setUp(self) -> None:
        """A clock."""
        self.clock = Clock()

    def test_numbers(self) -> None:
        """64 are kept from clients, of a small limit an eighth, and half of them from those that
        connect for clients; none where it is said so.
        """
        for limit, clients, upstreams in ((20000, 19936, 19968), (512, 448, 480), (96, 84, 90)):
            kept = DescriptorReserve(self.clock, limit)
            self.assertEqual((clients, upstreams), (kept.for_clients, kept.for_upstreams))
        self.assertEqual(100, DescriptorReserve(self.clock, 100, reserve=0).for_upstreams)

    def test_limit_of_the_process(self) -> None:
        """The limit is that of the process; where there is none, all numbers are for clients."""
        self.patch(resource, "getrlimit", lambda kind: (1024, 4096))
        self.assertEqual(1024 - 64, DescriptorReserve(self.clock).for_clients)
        self.patch(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
        self.assertGreater(DescriptorReserve(self.clock).for_clients, 1 << 40)

    def test_room(self) -> None:
        """There is room where the two next numbers are for clients."""
        limit = next_free(2) + 1
        self.assertTrue(DescriptorReserve(self.clock, limit, reserve=0).has_room(0))
        self.assertFalse(DescriptorReserve(self.clock, limit - 1, reserve=0).has_room(0))

    def test_rest(self) -> None:
        """Where one port finds no room all rest, those that come later too, until there is room."""
        reserve = DescriptorReserve(self.clock, next_free(), reserve=0)
        first, second, third = Port(), Port(), Port()
        reserve.add(first)
        reserve.add(second)
        reserve.rest(first, "no room")
        reserve.rest(second, "no room")
        reserve.add(third)
        self.clock.advance(REST)
        self.assertEqual([["pause"]] * 3, [each.told for each in (first, second, third)])
        reserve.limit_to(1 << 20)
        self.clock.advance(REST)
        self.assertEqual([["pause", "resume"]] * 3, [each.told for each in (first, second, third)])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_last_port(self) -> None:
        """Without ports nothing is waited for."""
        reserve = DescriptorReserve(self.clock, 3, reserve=0)
        port = Port()
        reserve.add(port)
        reserve.rest(port, "no room")
        reserve.discard(port)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_far_again(self) -> None:
        """Ports need not look before they accept once there is much room."""
        reserve = DescriptorReserve(self.clock, 1 << 20)
        reserve.is_near = True
        self.assertTrue(reserve.has_room(0))
        self.assertFalse(reserve.is_near)

    def test_upstreams(self) -> None:
        """What connects for a client may not have the numbers that are kept for others."""
        reserve = DescriptorReserve(self.clock, 512)
        reserve.check(479)
        self.assertEqual(errno.EMFILE, self.assertRaises(OSError, reserve.check, 480).errno)

    def test_said_once(self) -> None:
        """That nobody is accepted is said in the log, not more than once a minute."""
        said: list[str] = []
        self.patch(reserve_module.log, "warn", lambda text, **values: said.append(text))
        self.clock.advance(QUIET)
        reserve = DescriptorReserve(self.clock)
        for _ in range(3):
            reserve.add(port := Port())
            reserve.rest(port, "no room")
            self.clock.advance(REST)
        self.assertEqual(1, len(said))


class Failing:
    """A listening socket on which the first `accept` fails."""

    def __init__(self, real: Any, error: OSError) -> None:
        self.real = real
        self._error: OSError | None = error

    def accept(self) -> Any:
        """Fail, then do it."""
        self._fail()
        return self.real.accept()

    def _accept(self) -> Any:
        """The same for the fast transports."""
        self._fail()
        return self.real._accept()

    def _fail(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class ShortageTestCase:
    """Listeners of a process that has no descriptors left, over one kind of transports."""

    addCleanup: Any
    assertEqual: Any
    assertTrue: Any
    fail: Any
    sock_of = "_sock"
    """The name of a port's socket."""

    def network_on(self, reactor: Any) -> Any:
        """The network."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Two ports."""
        self.network = self.network_on(reactor)
        self.addCleanup(self.network.stop)
        self.servers = [Server(), Server()]
        self.ports = [self.listen(each) for each in self.servers]

    def listen(self, factory: Any) -> Any:
        """A listening port."""
        sock = self.network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        return self.network.listen(sock, factory)

    async def until(self, look: Any, what: str) -> None:
        """Wait for something to become true."""
        for _ in range(5000):
            if look():
                return
            await deferLater(reactor, 0.001)
        self.fail(f"waited in vain for {what}")

    def connect(self, port: Any, count: int) -> None:
        """So many clients."""
        for _ in range(count):
            client = socket.create_connection(port.getHost().sockaddr)
            self.addCleanup(client.close)

    @property
    def served(self) -> list[int]:
        """How many clients each port has accepted."""
        return [len(each.built) for each in self.servers]

    async def test_reserve_is_kept(self) -> None:
        """No port accepts a client whose descriptor, or that of its upstream, is not for clients,
        however long it waits; all go on as soon as there is room.
        """
        await deferLater(reactor, 0)  # the reactor needs descriptors of its own when it starts
        reserve = self.network.reserve
        for port in self.ports:
            self.connect(port, 5)
        reserve.limit_to(next_free(4) + 1, reserve=0)
        reserve.is_near = True
        await self.until(lambda: sum(self.served) == 3, "clients for whom there is room")
        for _ in range(4):
            await deferLater(reactor, REST)
        self.assertEqual(3, sum(self.served))
        reserve.limit_to(1 << 20)
        await self.until(lambda: self.served == [5, 5], "the others")

    async def test_paused_by_others(self) -> None:
        """A port that somebody else has paused accepts nobody when there is room again, and one
        that is resumed meanwhile waits for room.
        """
        await deferLater(reactor, 0)  # as above
        reserve = self.network.reserve
        for port in self.ports:
            self.connect(port, 2)
            port.pause_accepting()
        reserve.rest(self.ports[0], "no room")
        reserve.limit_to(1, reserve=0)
        self.ports[0].resume_accepting()
        await deferLater(reactor, 1.5 * REST)
        self.assertEqual([0, 0], self.served)
        reserve.limit_to(1 << 20)
        await self.until(lambda: self.served == [2, 0], "the clients of the first")
        await deferLater(reactor, REST)
        self.assertEqual([2, 0], self.served)
        self.ports[1].resume_accepting()
        await self.until(lambda: self.served == [2, 2], "the others")

    async def test_out_of_descriptors(self) -> None:
        """With none left clients wait, and are served as soon as there are some again."""
        await deferLater(reactor, 0)  # as above
        self.connect(self.ports[0], 5)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_free(), limits[1]))
        try:
            await deferLater(reactor, 2.5 * REST)
            self.assertEqual([0, 0], self.served)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await self.until(lambda: self.served == [5, 0], "the clients that waited")

    async def test_out_of_descriptors_system_wide(self) -> None:
        """Where the whole system has no descriptors left (ENFILE), or no memory, it is the same."""
        for port, number in zip(self.ports, (errno.ENFILE, errno.ENOBUFS), strict=True):
            real = getattr(port, self.sock_of)
            setattr(port, self.sock_of, Failing(real, OSError(number, os.strerror(number))))
            self.addCleanup(setattr, port, self.sock_of, real)
            self.connect(port, 2)
        await self.until(lambda: self.network.reserve.is_near, "the rest")
        self.assertEqual([0, 0], self.served)
        await self.until(lambda: self.served == [2, 2], "the clients that waited")

    async def test_connecting(self) -> None:
        """What connects for a client fails where only the reserve is left, and that is told from a
        failure of the host; others may have what is left.
        """
        self.network.reserve.limit_to(next_free(), reserve=0)
        clients = [Client(RecordingProtocol()) for _ in range(2)]
        for client, for_client in zip(clients, (True, False), strict=True):
            address = self.ports[0].getHost()
            self.network.connect(address, client, 5.0, for_client=for_client)
        refused, connected = clients
        await self.until(lambda: refused.failure and connected.connected, "both")
        assert refused.failure is not None
        self.assertTrue(refused.failure.check(ConnectError))
        self.assertTrue(is_exhausted(refused.failure))


class StockShortageTests(ShortageTestCase, TestCase):
    """Twisted's own transports."""

    sock_of = "socket"

    def network_on(self, reactor: Any) -> Any:
        return StockNetwork(reactor)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollShortageTests(ShortageTestCase, TestCase):
    """The fast transports."""

    def network_on(self, reactor: Any) -> Any:
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor)


@uring
class UringShortageTests(ShortageTestCase, TestCase):
    """The transports of io_uring."""

    def network_on(self, reactor: Any) -> Any:
        from tcpmesh.net.uring.network import UringNetwork

        return UringNetwork(reactor)
