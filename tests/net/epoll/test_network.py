"""What the fast transports promise beyond the contract that all transports share."""

from __future__ import annotations

import gc
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.connecting.happy_eyeballs import HappyEyeballs
from tcpmesh.net.listen import open_socket
from tcpmesh.net.sockets import unsent
from tcpmesh.testing.child import free_port
from tcpmesh.testing.harness import Client
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions


class StopAll(ServerFactory):
    """A factory that stops every port as soon as it has a client."""

    def __init__(self, ports: list[Any]) -> None:
        self.ports = ports

    def buildProtocol(self, addr: Any) -> Protocol | None:
        for port in self.ports:
            port.stopListening()
        return None


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollTests(TestCase):
    """The poller and what is in its set."""

    def setUp(self) -> None:
        """A network of the test's own."""
        from tcpmesh.net.epoll.network import EpollNetwork

        self.network: Any = EpollNetwork(reactor)
        self.addCleanup(self.network.stop)

    def listen(self, factory: Any) -> Any:
        """A listening port."""
        sock = self.network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        return self.network.listen(sock, factory)

    async def test_stopped_with_an_event_waiting(self) -> None:
        """A port that is stopped while an event for it is already in hand gets no more of it, and
        the others go on.
        """
        ports: list[Any] = []
        ports += [self.listen(StopAll(ports)) for _ in range(2)]
        clients = [socket.create_connection(port.getHost().sockaddr) for port in ports]
        for client in clients:
            self.addCleanup(client.close)
        self.network.poller.doRead()
        self.assertFalse(self.network.poller._running)

    def test_ever_other_sizes(self) -> None:
        """Connections that each want to read another number of bytes at once leave little
        behind.
        """
        from tcpmesh.net.epoll.network import KEPT_SIZES

        sizes = range(1, 2 * KEPT_SIZES)
        self.assertEqual(list(sizes), [len(self.network.iov_of(size)[0]) for size in sizes])
        self.assertEqual(KEPT_SIZES, len(self.network._iovs))

    async def test_race_leaves_no_garbage(self) -> None:
        """Whoever wins or fails in a race, no cycle is left for the garbage collector."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            alive, dead = Address(*server.getsockname()), Address("127.0.0.1", free_port())
            gc.freeze()  # what was there before is not looked at
            self.addCleanup(gc.unfreeze)
            gc.disable()
            self.addCleanup(gc.enable)
            for first in (alive, dead):
                client = Client(RecordingProtocol())
                HappyEyeballs(
                    self.network, [(first, None), (alive, None)], client, 5, lambda: None
                ).connect()
                while not client.connected:
                    await deferLater(reactor, 0.001)
                client.given.transport.abortConnection()
            client = Client(RecordingProtocol())
            HappyEyeballs(
                self.network, [(dead, None), (dead, None)], client, 5, lambda: None
            ).connect()
            while client.failure is None:
                await deferLater(reactor, 0.001)
            await deferLater(reactor, 0.01)
            gc.set_debug(gc.DEBUG_SAVEALL)
            self.addCleanup(gc.garbage.clear)
            gc.collect()
            gc.set_debug(0)
            self.assertEqual(
                [], [each for each in gc.garbage if type(each).__module__.startswith("tcpmesh.net")]
            )


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class StopTests(SynchronousTestCase):
    """The end of a network whose clock stands still."""

    def test_stopped_while_a_reset_waits(self) -> None:
        """Where a reset waits until the peer has what came before it, and all is stopped, no timer
        is left.
        """
        from tcpmesh.net.epoll.network import EpollNetwork

        clock = MemoryReactorClock()
        network = EpollNetwork(clock)
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            near, address = server.accept()
        self.addCleanup(peer.close)
        near.setblocking(False)
        transport = network.transport_type(network, near.detach(), near.family, address, False)
        transport.serve(Protocol())
        while unsent(transport.fd) < 50_000:  # and so more than is just on its way
            transport.write(bytes(10_000))
        self.assertEqual(0, transport.buffered)
        transport.resetConnection()
        self.assertNotEqual([], clock.calls)
        self.successResultOf(network.stop())
        self.assertEqual([], clock.calls)
